"""The shape of a profile: every key of the language, and nothing else."""

from __future__ import annotations

from typing import Any, Final

from modemtls.profile.operations import CAPABILITIES, FAMILIES
from modemtls.profile.problems import nearest
from modemtls.profile.shapes import (
    BOOL,
    CONSTANT,
    DURATION,
    INT,
    NAME,
    TEXT,
    Choice,
    Either,
    Int,
    Later,
    ListOf,
    MapOf,
    OneOf,
    Range,
    Rec,
    Shape,
    Text,
)
from modemtls.profile.source import Node

__all__ = [
    "BEHAVIOUR",
    "EVIDENCE_KINDS",
    "KINDS",
    "MEANINGS",
    "OUTCOMES",
    "PROFILE",
    "SECTIONS",
    "json_schema",
]

LANGUAGE: Final = 1
OUTCOMES: Final = ("ok", "partial", "empty", "eof", "closed", "busy", "absent", "fail")
KINDS: Final = (
    "connect_or_handshake", "connect_failed", "handshake_failed", "certificate", "name_not_resolved", "timeout",
    "socket_in_use", "no_such_socket", "closed", "pdp_failed", "pdp_lost", "busy", "memory", "parameter",
    "not_supported", "not_allowed", "exists", "not_found", "no_space", "sim_absent", "sim_locked", "pin_wrong", "puk",
    "network", "power_cycle", "mismatch", "unknown",
)  # fmt: skip
EVIDENCE_KINDS: Final = ("manual", "device", "driver", "inferred")
SCOPES: Final = ("command", "socket", "context", "boot")
# Meanings of unsolicited results and the fields that they may have; ``!`` must have.
MEANINGS: Final = {
    "boot": "",
    "startup": "",
    "data": "socket length data host port",
    "closed": "socket",
    "broken": "socket",
    "opened": "socket! error",
    "accepted": "socket! listener host port",
    "network_lost": "pdp",
    "registration": "stat!",
    "sim": "state",
    "power_down": "",
    "session": "context!",
    "noise": "",
}
LIMIT_LISTS: Final = (
    "contexts",
    "tls_sockets",
    "dtls_sockets",
    "tcp_sockets",
    "udp_sockets",
    "pdp_contexts",
    "dtls_timeouts",
)
LIMIT_NUMBERS: Final = (
    "send", "receive", "dtls_send", "dtls_receive", "tcp_send", "tcp_receive", "udp_send", "udp_receive", "host",
    "apn", "credential_name", "credential_size", "credentials", "credential_bytes", "credential_chain", "psk_key",
    "psk_identity", "pdp_active", "connecting", "secure_sockets", "saved_connections", "handshake_timeout_min",
    "handshake_timeout_max", "suites",
)  # fmt: skip

_list_or_one: Final = Either(
    ((("text", "int", "bool"), CONSTANT), (("list",), ListOf(CONSTANT, 1))), "a value or a list"
)
_name_or_int: Final = Either(((("text",), NAME), (("int",), INT)), "a name or a number")
_glob_or_globs: Final = Either(((("text",), TEXT), (("list",), ListOf(TEXT, 1, "texts"))), "text or a list of texts")
_MOST: Final = 1024
"""Numbers of one kind: no modem has as many sockets or contexts, and each costs memory."""
_range: Final = Range(Rec({"from": INT, "to": INT}, frozenset({"from", "to"}), "in a range"), _MOST)
_ints: Final = Either(
    ((("list",), ListOf(Int(0), 1, "numbers")), (("map",), _range)), "a list of numbers or {from, to}"
)

_test: Final = Either(
    (
        (("text", "int", "bool"), CONSTANT),
        (("list",), ListOf(CONSTANT, 1)),
        (
            ("map",),
            Rec(
                {
                    "not": _list_or_one, "min": INT, "max": INT, "given": BOOL,
                    "below": _name_or_int, "same": NAME, "from": TEXT,
                },
                what="in a condition",
            ),
        ),
    ),
    "a value, a list, or a map",
)  # fmt: skip
# `firmware: {from, below}` compares versions; `below` of any other name is a name or a number.
_firmware: Final = Rec({"from": TEXT, "below": TEXT}, what="in a firmware range")


class _Condition(Shape):
    def take(self, node: Any, problems: Any) -> Any:
        names = dict.fromkeys(node.entries, _test) if node.kind == "map" else {}
        if "firmware" in names and node.entries["firmware"].kind == "map":
            names["firmware"] = _firmware  # type: ignore[assignment]
        if node.kind == "map" and not node.entries:
            problems.add(node, "an empty condition")
            return None
        taken = Rec(names, what="in a condition").take(node, problems)
        # A condition that lost a part would hold too often.
        return taken if taken is not None and len(taken.entries) == len(node.entries) else None

    def json(self, *, child: bool = False) -> dict[str, Any]:
        tests = {
            "anyOf": [_test.json(child=child), _firmware.json(child=child), *([{"type": "null"}] if child else [])]
        }
        return {"type": "object", "minProperties": 1, "additionalProperties": tests}


_condition: Final = _Condition()
CONDITION: Final = Later("condition", lambda: _condition)
_evidence_one: Final = Rec(dict.fromkeys(EVIDENCE_KINDS, Text(".*[A-Za-z].*", "a source")), what="as evidence")
_evidence: Final = Either(
    ((("map",), _evidence_one), (("list",), ListOf(_evidence_one, 1, "sources"))), "evidence like {manual: …}"
)


class _Evidence(Shape):
    """A source that is wrong is a source all the same: that there is none would not be true."""

    def take(self, node: Any, problems: Any) -> Any:
        taken = _evidence.take(node, problems)
        if taken is not None and (taken.entries or taken.items):
            return taken
        stub = Node("map", node.file, node.line, node.column)
        stub.entries["inferred"] = Node("text", node.file, node.line, node.column, "")
        return stub

    def json(self, *, child: bool = False) -> dict[str, Any]:
        return _evidence.json(child=child)


_source: Final = _Evidence()
EVIDENCE: Final = Later("evidence", lambda: _source)

_read_map: Final = Either(
    (
        (("text",), NAME),
        (("map",), Rec({"table": NAME, "otherwise": CONSTANT}, frozenset({"table"}), "in a map")),
    ),
    "a table or {table, otherwise}",
)
_maps: Final = MapOf(_read_map)
_names: Final = ListOf(NAME, 1, "names")
_constants: Final = MapOf(CONSTANT, NAME.pattern, NAME.wanted)
_least: Final = Rec({"least": ListOf(_name_or_int, 2, "names or numbers")}, frozenset({"least"}), "in a value")
VALUE: Final = Either(((("text", "int", "bool"), CONSTANT), (("map",), _least)), "a constant, a placeholder or {least}")
_items: Final = Rec({"list": NAME, "table": NAME, "between": TEXT}, frozenset({"list", "between"}), "in a value")
_checked: Final = MapOf(
    Either(
        (
            (("text", "int", "bool"), CONSTANT),
            (("map",), Rec({**_least.fields, **_items.fields}, what="in a value")),
        ),
        "a constant, a placeholder, {least} or {list, between}",
    ),
    NAME.pattern,
    NAME.wanted,
    1,
)
_values: Final = MapOf(VALUE, NAME.pattern, NAME.wanted, 1)
_save: Final = MapOf(_names, "socket|context|boot", "a scope (socket, context, boot)", 1)
_rule: Final = Rec(
    {"if": CONDITION, "is": Choice(OUTCOMES), "set": _constants}, frozenset({"if", "is"}), "in an outcome rule"
)
_outcome: Final = ListOf(_rule, 1, "rules")
_fail: Final = Rec(
    {"unless": CONDITION, "if": CONDITION, "code": NAME, "from": NAME, "kind": Choice(KINDS), "text": TEXT},
    what="in fail",
)
_cause: Final = Rec(
    {"use": NAME, "code": NAME, "from": NAME, "except": ListOf(CONSTANT, 1)}, frozenset({"use", "code"}), "in cause"
)


class _Pattern(Either):
    """A pattern, or a map around one. YAML makes a map of a pattern with a colon that stands without quotes."""

    def take(self, node: Any, problems: Any) -> Any:
        known = dict(self.options)[("map",)].fields  # type: ignore[attr-defined]
        if (
            node.kind == "map"
            and node.entries
            and not any(name in known or nearest(name, known) for name in node.entries)
        ):
            problems.add(node, "a pattern with a colon needs quotes", "quote it: '+X: {name:type}'", final=True)
            return None
        return super().take(node, problems)


_line: Final = _Pattern(
    (
        (("text",), TEXT),
        (
            ("map",),
            Rec(
                {
                    "match": TEXT, "repeat": Choice(("one", "optional", "many")), "map": _maps, "keep": CONDITION,
                    "sets": _constants, "secret": _names,
                },
                frozenset({"match"}),
                "in a line",
            ),
        ),
    ),
    "a pattern or a map",
)  # fmt: skip
_prompt: Final = Either(
    (
        (("text",), TEXT),
        (
            ("map",),
            Rec({"text": TEXT, "line": TEXT, "settle": DURATION, "swallow": TEXT, "see": EVIDENCE}, what="in prompt"),
        ),
    ),
    "text or a map",
)
_escape: Final = Rec({"text": TEXT, "quiet": DURATION, "see": EVIDENCE}, frozenset({"text"}), "in escape")
_close_quote: Final = Rec({"text": TEXT, "see": EVIDENCE}, frozenset({"text", "see"}), "in close_quote")
_end_of_data: Final = Rec({**_escape.fields, "split": BOOL}, frozenset({"text"}), "in escape")
_payload: Final = Either(
    (
        (("text",), NAME),
        (
            ("map",),
            Rec(
                {
                    "data": TEXT, "codec": Choice(("pemlf", "der")), "as": Choice(("raw", "hex")), "end": TEXT,
                    "forbid": TEXT, "chunk": Int(1), "pause": DURATION, "escape": _end_of_data, "see": EVIDENCE,
                },
                frozenset({"data"}),
                "in payload",
            ),
        ),
    ),
    "a name or a map",
)  # fmt: skip
_timeout: Final = Either(
    (
        (("int", "text"), DURATION),
        (
            ("map",),
            Rec({"base": DURATION, "plus": NAME, "otherwise": DURATION}, frozenset({"base", "plus"}), "in timeout"),
        ),
    ),
    "a duration or {base, plus}",
)


def _steps() -> Shape:
    return _STEPS


def _one_step() -> Shape:
    return _STEP


STEPS: Final = Later("steps", _steps)
_tolerate: Final = Either(((("bool",), BOOL), (("map",), CONDITION)), "true or a condition")
_retry: Final = Rec(
    {"if": CONDITION, "times": Int(1, 20), "after": DURATION, "within": DURATION, "before": STEPS, "see": EVIDENCE},
    frozenset({"if", "times"}),
    "in retry",
)
_common: Final[dict[str, Shape]] = {"when": CONDITION, "tolerate": _tolerate, "retry": _retry, "see": EVIDENCE}
_answer: Final[dict[str, Shape]] = {
    "outcome": _outcome, "fail": _fail, "cause": _cause, "save": _save, "secret": _names
}  # fmt: skip
_group: Final[dict[str, Shape]] = {"on_fail": STEPS, "finally": STEPS}
_await_one: Final = _Pattern(
    (
        (("text",), TEXT),
        (
            ("map",),
            Rec(
                {"match": TEXT, "map": _maps, "sets": _constants, "secret": _names, "outcome": _outcome, "fail": _fail},
                frozenset({"match"}),
                "in an awaited line",
            ),
        ),
    ),
    "a pattern or a map",
)
_elements: Final = Either(
    (
        (("text",), NAME),
        (("list",), ListOf(CONSTANT, 1)),
        (("map",), Range(Rec({"from": INT, "to": INT, "limit": Choice(LIMIT_LISTS)}, what="in `in`"), _MOST)),
    ),
    "a name, a list, {from, to} or {limit}",
)


def _step(kind: str, fields: dict[str, Shape], *required: str) -> Rec:
    return Rec({**_common, **fields}, frozenset({kind, *required}), f"in a step of kind {kind}")


STEP_KINDS: Final[dict[str, Rec]] = {
    "send": _step(
        "send",
        {
            **_answer,
            "send": TEXT, "timeout": _timeout, "blocking": BOOL, "lines": ListOf(_line, 1, "patterns"),
            "finals": MapOf(Choice(OUTCOMES), wanted="a pattern", least=1), "prompt": _prompt, "payload": _payload,
            "input_timeout": DURATION, "cme": NAME, "check": _checked,
        },
    ),
    "await": _step(
        "await",
        {
            **_answer,
            "await": Either(
                ((("text",), TEXT), (("list",), ListOf(_await_one, 1, "patterns")), (("map",), _await_one)),
                "a pattern or a list",
            ),
            "timeout": _timeout, "collect": TEXT, "optional": BOOL,
        },
        "timeout",
    ),
    "use": _step("use", {"use": NAME, "with": _values}),
    "each": _step(
        "each", {"each": NAME, "in": _elements, "index": NAME, "first_index": INT, "do": STEPS}, "in", "do"
    ),
    "first": _step(
        "first",
        {
            "first": ListOf(
                Either(((("map",), Later("step", _one_step)), (("list",), STEPS)), "a step or a list"),
                2,
                "alternatives",
            ),
            "remember": NAME,
        },
    ),
    "atomic": _step("atomic", {**_group, "atomic": STEPS}),
    "do": _step("do", {**_group, "do": STEPS, "atomic": BOOL}),
    "set": _step("set", {"set": _values, "scope": Choice(SCOPES)}),
    "pause": _step("pause", {"pause": DURATION}),
    "return": _step("return", {"return": Choice(OUTCOMES[:-1])}),
    "check": _step("check", {"check": _checked}),
    "doubt": _step("doubt", {"doubt": TEXT}),
    "fail": _step("fail", {"fail": Choice(KINDS), "text": TEXT, "code": NAME, "from": NAME}),
}  # fmt: skip


class _Step(OneOf):
    """`do: …` with `atomic: true` is a group; `atomic: […]` alone is one as well."""

    def take(self, node: Any, problems: Any) -> Any:
        kind = next((name for name in self.options if name in node.entries), "")
        others = [name for name in self.options if name in node.entries and name not in STEP_KINDS[kind].fields]
        if others:
            for name in others:
                problems.add(node.key(name), f"a step is of one kind, and {kind} and {name} are two", "two steps")
                problems.lose(node.entries[name])
            keys = {name: one for name, one in node.entries.items() if name not in others}
            node = Node("map", node.file, node.line, node.column, entries=keys, keys=node.keys)
        if node.kind == "map" and "do" in node.entries and "each" not in node.entries:
            return STEP_KINDS["do"].take(node, problems)
        return super().take(node, problems)


_STEP: Final[Shape] = _Step(STEP_KINDS, "a step")
_STEPS: Final[Shape] = ListOf(_STEP, 1, "steps")
_program: Final = Either(
    (
        (("list",), STEPS),
        (
            ("map",),
            Rec(
                {"steps": STEPS, "see": EVIDENCE, "lock": NAME, "on_fail": STEPS, "finally": STEPS},
                frozenset({"steps"}),
                "in a program",
            ),
        ),
    ),
    "steps or a map",
)

_asked: Final = Rec({"send": TEXT, "match": TEXT, "see": EVIDENCE}, frozenset({"send", "match"}), "in a question")
_version: Final = Text(r"1\.[0-3]", "a TLS version ('1.0' to '1.3')")
_dtls_version: Final = Text(r"1\.[02]", "a DTLS version ('1.0' or '1.2')")


def _capability(value: Shape) -> Shape:
    full = Rec({"value": value, "when": CONDITION, "see": EVIDENCE}, frozenset({"value"}), "in a capability")
    return Either(((("text", "int", "bool", "list"), value), (("map",), full)), "a value or {value, when, see}")


def _capability_shapes() -> dict[str, Shape]:
    out: dict[str, Shape] = {}
    for one in CAPABILITIES.values():
        if one.families:
            some = ListOf(Choice(one.families), 1, "families of sockets")
            shape: Shape = Either(
                ((("bool",), BOOL), (("list",), some)), "true, false or a list of families of sockets"
            )
        elif one.type == "bool":
            shape = BOOL
        elif one.type == "versions":
            shape = ListOf(_version, 1, "versions")
        elif one.type == "dtls":
            shape = ListOf(_dtls_version, 1, "versions")
        else:
            shape = Either(((("text",), Choice(one.words)),), "a word")
        out[one.name] = _capability(shape)
    return out


BEHAVIOUR: Final[dict[str, Shape]] = {
    "socket_ids": Choice(("host", "modem")),
    "shared_ids": BOOL,
    "failed_open": Choice(("held", "freed")),
    "remote_close": Choice(("held", "freed")),
    "drained": Choice(("empty", "short")),
    "poll": DURATION,
    "announced_only": BOOL,
    "sent_means": Choice(("queued", "sent", "acknowledged")),
    "credentials_radio_off": BOOL,
    "credential_store": Choice(("named", "tagged")),
    "credential_form": Choice(("pem", "der")),
    "credential_digest": Choice(("none", "sha256", "md5-der")),
    "tls_contexts": Choice(("shared", "none")),
    "server_name": Choice(("separate", "together")),
    "datagram_rest": Choice(("kept", "dropped")),
    "settings_survive": Choice(("none", "restart")),
    "attach_context": Int(0),
}
_token: Final = Either(((("text",), Text("[ -~]+", "printable ASCII")), (("int",), INT)), "text or a number")


def _version_table(name: str, version: Shape) -> Shape:
    versions = ListOf(version, 1, "versions")
    return ListOf(Rec({"token": _token, "versions": versions}, frozenset({"token", "versions"}), f"in {name}"), 1)


_tls_versions: Final = _version_table("tls_versions", _version)
_dtls_versions: Final = _version_table("dtls_versions", _dtls_version)
_suites: Final = Rec(
    {
        "mode": Choice(("one", "list")),
        "all": _token,
        "codes": MapOf(_token, "0x[0-9A-F]{4}", "an IANA number like 0xC02F", 1),
    },
    frozenset({"mode", "codes"}),
    "in suites",
)


class _Tables(Shape):
    """Some tables have a shape of their own."""

    _plain = MapOf(
        Either(((("text",), TEXT), (("int",), INT), (("list",), ListOf(_token, 1))), "text, a number or a list"),
        least=1,
    )
    _special: Final[dict[str, Shape]] = {
        "tls_versions": _tls_versions,
        "dtls_versions": _dtls_versions,
        "suites": _suites,
    }

    def take(self, node: Any, problems: Any) -> Any:
        if node.kind != "map":
            return MapOf(self._plain).take(node, problems)
        return Rec({name: self._special.get(name, self._plain) for name in node.entries}, what="in tables").take(
            node, problems
        )

    def json(self, *, child: bool = False) -> dict[str, Any]:
        special = Rec(self._special).json(child=child)
        return {**special, "additionalProperties": MapOf(self._plain).json(child=child)["additionalProperties"]}


_urc: Final = Rec(
    {
        "match": TEXT,
        "means": Choice(tuple(MEANINGS)),
        "family": Choice(FAMILIES),
        "number": Choice(("held",)),
        "map": _maps,
        "secret": _names,
        "save": _save,
        "clears": _names,
        "see": EVIDENCE,
    },
    frozenset({"match", "means"}),
    "in a URC",
)
_secret: Final = Rec(
    {"match": TEXT, "secret": _names, "see": EVIDENCE}, frozenset({"match", "secret", "see"}), "in a line with secrets"
)
_errors: Final = MapOf(
    Rec(
        {
            "see": EVIDENCE,
            "codes": MapOf(Rec({"kind": Choice(KINDS), "text": TEXT}, frozenset({"kind", "text"}), "in an error code")),
        },
        frozenset({"codes"}),
        "in an error namespace",
    ),
    NAME.pattern,
    NAME.wanted,
)
_limits: Final = Rec(
    {
        **dict.fromkeys(LIMIT_LISTS, _ints),
        **dict.fromkeys(LIMIT_NUMBERS, Int(1)),
        "credential_names": ListOf(TEXT, 1, "texts"),
        "credential_tags": Rec({"from": Int(0), "to": Int(0)}, frozenset({"from", "to"}), "in a range"),
    },
    what="in limits",
)
# What a variant may change.
SECTIONS: Final[dict[str, Shape]] = {
    "line": Rec(
        {
            "terminator": Choice(("CR", "CRLF")), "timeout": DURATION, "after_result": DURATION, "after_urc": DURATION,
            "max_line": Int(80, 1 << 20), "max_payload": Int(1, 1 << 24), "cmee": Choice((0, 1, 2)),
        },
        what="in line",
    ),
    "capabilities": Rec(_capability_shapes(), what="in capabilities"),
    "limits": _limits,
    "behaviour": Rec(BEHAVIOUR, what="in behaviour"),
    "tables": _Tables(),
    "errors": _errors,
    "urcs": Either(((("map",), MapOf(_urc)), (("list",), ListOf(_urc))), "a map of rules"),
    "secrets": MapOf(_secret),
    "recovery": Rec(
        {
            "probes": ListOf(_asked, 2, "probes"), "input_timeout": DURATION, "escape": _escape,
            "close_quote": _close_quote, "boot_time": DURATION,
        },
        what="in recovery",
    ),
    "programs": MapOf(_program, "[a-z][a-z0-9_]*", "a program's name (small letters, digits, _)"),
}  # fmt: skip


class _Anything(Shape):
    """What a variant sets: checked in the merged profile, since it may be incomplete by itself."""

    def take(self, node: Any, problems: Any) -> Any:
        return Rec(dict.fromkeys(SECTIONS, _Any()), what="in what a variant sets").take(node, problems)

    def json(self, *, child: bool = False) -> dict[str, Any]:
        del child  # it always is laid over something
        return Rec(SECTIONS).json(child=True)


class _Any(Shape):
    def take(self, node: Any, problems: Any) -> Any:
        del problems
        return node

    def json(self, *, child: bool = False) -> dict[str, Any]:
        del child
        return {}


_variant: Final = Rec({"when": CONDITION, "set": _Anything()}, frozenset({"when", "set"}), "in a variant")
_identify: Final = Rec(
    {
        "manufacturer": _glob_or_globs,
        "model": _glob_or_globs,
        "revision": _glob_or_globs,
        "ask": ListOf(_asked, 1, "questions"),
        "firmware": _asked,
    },
    what="in identify",
)
PROFILE: Final = Rec(
    {
        "profile": Choice((LANGUAGE,)),
        "name": Text("[a-z0-9][a-z0-9-]*", "a profile's name (small letters, digits, -)"),
        "extends": Text("[a-z0-9][a-z0-9-]*", "a profile's name (small letters, digits, -)"),
        "abstract": BOOL,
        "title": TEXT,
        "vendor": TEXT,
        "models": ListOf(TEXT, 1, "texts"),
        "identify": _identify,
        **SECTIONS,
        "variants": MapOf(_variant),
    },
    frozenset({"profile", "name"}),
    "in a profile",
)


def json_schema() -> dict[str, Any]:
    """Return the language as JSON Schema, for editors. What only the loader can check is not in it."""
    own = {name: PROFILE.fields[name].json() for name in ("profile", "name", "extends", "abstract")}
    child = PROFILE.json(child=True)
    shared: dict[str, Shape] = {"condition": _condition, "evidence": _evidence}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "modemtls profile",
        "type": "object",
        "required": sorted(PROFILE.required),
        # What extends another profile may leave out what it inherits, and remove it with null.
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/child"},
        "else": {"$ref": "#/$defs/whole"},
        "$defs": {
            "whole": PROFILE.json(),
            "child": {**child, "properties": {**child["properties"], **own}},
            "steps": _STEPS.json(),
            "step": _STEP.json(),
            "steps_of_child": {"$ref": "#/$defs/steps"},  # a list replaces what was inherited: nothing in it is removed
            **{name: shape.json() for name, shape in shared.items()},
            **{f"{name}_of_child": shape.json(child=True) for name, shape in shared.items()},
        },
    }

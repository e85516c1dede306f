"""Compiles a merged, well-shaped profile and checks what only the whole can show."""

from __future__ import annotations

import re
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import Grammar, UrcRule
from modemtls.at.recovery import Recovery, probe
from modemtls.profile import model as m
from modemtls.profile.identity import identify, question, texts
from modemtls.profile.names import MODEM_NAMES, Names, Var, saved_names
from modemtls.profile.needs import Needs, protection, removed
from modemtls.profile.operations import OPERATIONS, Input
from modemtls.profile.parts import Parts, evidence
from modemtls.profile.problems import did_you_mean, nearest
from modemtls.profile.profile import Profile
from modemtls.profile.programs import Compiler
from modemtls.profile.results import check_results
from modemtls.profile.schema import LIMIT_LISTS, MEANINGS
from modemtls.profile.shadows import shadowed
from modemtls.profile.shapes import seconds
from modemtls.profile.source import Node, section
from modemtls.profile.standard import STANDARD_ERRORS
from modemtls.profile.template import TemplateError, unescape

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from modemtls.at.grammar import LinePattern
    from modemtls.profile.problems import Problems

__all__ = ["compile_profile"]

# A command with a value, or an answer with one: by its name it is found wherever it stands.
_NAMED: Final = re.compile(r"AT[^A-Za-z0-9\s{][^=:{]*=|[^A-Za-z0-9\s{][^=:{]*:")
_SPECIAL: Final = frozenset({"tls_versions", "dtls_versions", "suites"})
_BEHAVIOUR: Final[dict[str, Any]] = {
    "socket_ids": "host",
    "shared_ids": False,
    "failed_open": "held",
    "remote_close": "held",
    "drained": "empty",
    "poll": None,
    "announced_only": False,
    "sent_means": "queued",
    "credentials_radio_off": False,
    "credential_store": "named",
    "credential_form": "pem",
    "credential_digest": "none",
    "tls_contexts": "shared",
    "server_name": "separate",
    "datagram_rest": "kept",
    "settings_survive": "none",
    "attach_context": None,
}


def _ints(node: Node) -> tuple[int, ...]:
    if node.kind == "list":
        return tuple(int(str(one.scalar)) for one in node.items)
    low, high = (int(str(node.entries[key].scalar)) for key in ("from", "to"))
    return tuple(range(low, high + 1))


def _session_fields(urcs: tuple[m.UrcSpec, ...]) -> dict[str, Input]:
    """Return what the modem tells of sessions, as inputs of ``session_restore``."""
    return {
        name: Input(name, "text" if var.type == "any" else var.type, optional=True, secret=var.secret)
        for one in urcs
        if one.rule.means == "session"
        for name, var in one.fields.items()
        if name not in {"context", "socket"}
    }


def _boolean(word: str) -> str | bool:
    return {"true": True, "false": False}.get(word, word)


class _Whole:
    def __init__(self, root: Node, problems: Problems) -> None:
        self.root = root
        self.problems = problems
        self.lost_sections = frozenset(root.lost)
        self.urcs_lost = "urcs" in root.lost
        self.abstract = "abstract" in root.entries and root.entries["abstract"].scalar is True
        self.tables: dict[str, Mapping[str, int | str]] = {}
        self.read_tables: dict[str, Mapping[str, str | bool]] = {}
        self.one_way: dict[str, str] = {}  # tables that cannot be read backwards, with the word that stands for two

    # -- sections ---------------------------------------------------------------------------------------------

    def read_tables_section(self) -> None:
        for name in section(self.root, "tables").names():
            if name not in _SPECIAL:
                self.tables[name] = {}
                self.read_tables[name] = {}
        for name, node in section(self.root, "tables").entries.items():
            if name in _SPECIAL:
                continue
            out: dict[str, int | str] = {}
            back: dict[str, str | bool] = {}
            for neutral, one in node.entries.items():
                values = [item.scalar for item in one.items] if one.kind == "list" else [one.scalar]
                out[neutral] = values[0]  # type: ignore[assignment]
                for value in values:
                    if str(value) in back:
                        self.one_way[name] = str(value)
                    back.setdefault(str(value), _boolean(neutral))
            self.tables[name] = MappingProxyType(out)
            self.read_tables[name] = MappingProxyType(back)

    def line(self) -> m.LineSettings:
        node = section(self.root, "line").entries
        recovery = section(self.root, "recovery").entries
        values: dict[str, Any] = {}
        for key in ("timeout", "after_result", "after_urc"):
            if key in node:
                values[key] = seconds(node[key])
        for key in ("max_line", "max_payload", "cmee"):
            if key in node:
                values[key] = node[key].scalar
        if "terminator" in node:
            values["terminator"] = b"\r\n" if node["terminator"].scalar == "CRLF" else b"\r"
        if "boot_time" in recovery:
            values["boot_time"] = seconds(recovery["boot_time"])
        return m.LineSettings(**values)

    def limits(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, node in section(self.root, "limits").entries.items():
            if name in LIMIT_LISTS:
                out[name] = _ints(node)
                if not out[name]:
                    self.problems.add(node, "an empty range")
                if len(set(out[name])) != len(out[name]):
                    self.problems.add(node, "a number occurs twice")
            elif name == "credential_names":
                out[name] = texts(node)
            elif name == "credential_tags":
                first, last = (int(str(node.entries[key].scalar)) for key in ("from", "to"))
                out[name] = (first, last)
                if last < first:
                    self.problems.add(node, "an empty range")
            else:
                out[name] = node.scalar
        return out

    def behaviour(self) -> dict[str, Any]:
        out = dict(_BEHAVIOUR)
        for name, node in section(self.root, "behaviour").entries.items():
            out[name] = seconds(node) if name == "poll" else node.scalar
        return out

    def errors(self) -> dict[str, Mapping[str, m.ErrorCode]]:
        out: dict[str, dict[str, m.ErrorCode]] = {name: dict(codes) for name, codes in STANDARD_ERRORS.items()}
        for name, node in section(self.root, "errors").entries.items():
            codes = out.setdefault(name, {})
            for code, one in section(node, "codes").entries.items():
                codes[code] = m.ErrorCode(str(one.entries["kind"].scalar), str(one.entries["text"].scalar))
        return {name: MappingProxyType(codes) for name, codes in out.items()}

    def versions(self, table: str) -> tuple[m.VersionChoice, ...]:
        node = section(self.root, "tables").entries.get(table)
        return tuple(
            m.VersionChoice(item.entries["token"].scalar, texts(item.entries["versions"]))  # type: ignore[arg-type]
            for item in (node.items if node is not None else ())
        )

    def suites(self) -> m.SuiteTable | None:
        node = section(self.root, "tables").entries.get("suites")
        if node is None:
            return None
        every = node.entries.get("all")
        codes = {int(code, 16): one.scalar for code, one in node.entries["codes"].entries.items()}
        return m.SuiteTable(
            str(node.entries["mode"].scalar),
            every.scalar if every is not None else None,
            MappingProxyType(codes),  # type: ignore[arg-type]
        )

    def recovery(self, parts: Parts) -> Recovery | None:
        node = self.root.entries.get("recovery")
        if node is None or "probes" not in node.entries:
            return None
        entries = node.entries
        probes = []
        heads: dict[bytes, Node] = {}
        for item in entries["probes"].items:
            asked = question(item, parts)
            if asked is None:
                continue
            if asked.pattern.head in heads:
                self.problems.add(item, f"its answer cannot be told from that of line {heads[asked.pattern.head].line}")
                continue
            heads[asked.pattern.head] = item
            probes.append(probe(asked.line.decode("ascii"), asked.pattern.source))
        if len(probes) < 2:
            return None
        escape = entries["escape"].entries if "escape" in entries else {}
        return Recovery(
            tuple(probes),
            input_timeout=seconds(entries["input_timeout"]) if "input_timeout" in entries else None,
            escape=self._text_of(entries.get("escape")),
            escape_guard=seconds(escape["quiet"]) if "quiet" in escape else 0.0,
            close_quote=self._text_of(entries.get("close_quote")),
        )

    def _text_of(self, node: Node | None) -> bytes:
        """Give the bytes of a ``{text: …}``, none if it is not there."""
        if node is None or "text" not in node.entries:
            return b""
        try:
            return unescape(str(node.entries["text"].scalar)).encode("latin-1")
        except TemplateError as error:
            self.problems.add(node.entries["text"], error.message)
            return b""

    def urcs(self, parts: Parts) -> tuple[m.UrcSpec, ...]:
        node = section(self.root, "urcs")
        rules = node.entries.items() if node.kind == "map" else ((str(i), n) for i, n in enumerate(node.items, 1))
        out: list[m.UrcSpec] = []
        places: list[Node] = []
        for name, one in rules:
            entries = one.entries
            hidden = frozenset(texts(entries.get("secret")))
            pattern = parts.pattern(entries["match"], Names({}, set()), hidden, bound=False)
            if pattern is None or pattern.bound:
                self.urcs_lost = True
                continue
            fields = parts.captured(pattern, given=True)
            self.captures(entries.get("secret", one), hidden, fields)
            means = str(entries["means"].scalar)
            for field in MEANINGS[means].split():
                if field.endswith("!") and field[:-1] not in fields:
                    self.problems.add(entries["match"], f"a URC that means {means} captures {field[:-1]}")
            saves = []
            for scope, item in parts.saves(entries.get("save")):
                if str(item.scalar) not in fields:
                    self.problems.add(
                        item, f"the pattern captures no {item.scalar}", did_you_mean(str(item.scalar), fields)
                    )
                saves.append((scope, str(item.scalar)))
            family = entries.get("family")
            for earlier, place in zip(out, places, strict=True):
                if shadowed(earlier.rule.pattern, pattern):
                    self.problems.add(
                        entries["match"], f"never matches: {earlier.name} (line {place.line}) takes every such line"
                    )
                    break
            held = "number" in entries
            if held and means not in {"closed", "broken"}:
                self.problems.add(one.key("number"), "only of a URC that means closed or broken the number may be held")
            rule = UrcRule(pattern, means, str(family.scalar) if family is not None else None, held)
            out.append(
                m.UrcSpec(
                    name=name,
                    rule=rule,
                    maps=parts.read_maps(entries.get("map"), fields),
                    save=tuple(saves),
                    clears=texts(entries.get("clears")),
                    data=pattern.payload.name if pattern.payload is not None else None,
                    fields=MappingProxyType(fields),
                    secret=hidden,
                    see=evidence(entries.get("see")),
                )
            )
            places.append(entries["match"])
        return tuple(out)

    def secrets(self, parts: Parts) -> tuple[LinePattern, ...]:
        out = []
        for one in section(self.root, "secrets").entries.values():
            entries = one.entries
            hidden = frozenset(texts(entries["secret"]))
            pattern = parts.pattern(entries["match"], Names({}, set()), hidden, bound=False)
            if pattern is None or pattern.bound:
                continue
            self.captures(entries["secret"], hidden, {field.name for field in pattern.fields})
            if not _NAMED.match(pattern.source):
                hint = "write AT+X=… or '+X: …'"
                self.problems.add(entries["match"], "neither a command nor an answer with a name and a value", hint)
            out.append(pattern)
        return tuple(out)

    def captures(self, node: Node, names: Iterable[str], fields: Collection[str]) -> None:
        """Tell of names that a pattern does not capture."""
        for each in names:
            if each not in fields:
                self.problems.add(node, f"the pattern captures no {each}", did_you_mean(each, fields))

    def capabilities(self, parts: Parts, flags: Mapping[str, Var]) -> dict[str, m.CapabilityRule]:
        out = {}
        for name, node in section(self.root, "capabilities").entries.items():
            value, condition = node, None
            if node.kind == "map":
                value = node.entries["value"]
                if "when" in node.entries:
                    condition = parts.condition(node.entries["when"], Names(dict(flags), set()), MODEM_NAMES)
            plain: object = texts(value) if value.kind == "list" else value.scalar
            see = evidence(node.entries.get("see")) if node.kind == "map" else ()
            out[name] = m.CapabilityRule(name, plain, condition, see)
        return out

    # -- everything -------------------------------------------------------------------------------------------

    def right_operations(self) -> None:
        """Tell of programs whose names are misspelt operations, and go on with what was meant."""
        programs = section(self.root, "programs")
        used = {str(one.entries["use"].scalar) for one in programs.walk() if "use" in one.entries}
        for name in () if self.abstract else list(programs.entries):
            meant = None if name in OPERATIONS or name in used else nearest(name, OPERATIONS)
            if meant is not None and meant not in programs.names():
                hint = did_you_mean(name, OPERATIONS)
                self.problems.add(programs.key(name), f"{name} is no operation and nothing uses it", hint)
                programs.entries[meant] = programs.entries.pop(name)
                programs.keys[meant] = programs.key(name)

    def compile(self, variants: tuple[tuple[m.Condition, Node, Profile | None], ...], source: Node) -> Profile:
        root = self.root
        self.read_tables_section()
        namespaces = set(STANDARD_ERRORS) | set(section(self.root, "errors").names())
        parts = Parts(
            self.problems,
            self.tables,
            self.read_tables,
            namespaces,
            one_way=self.one_way,
            lenient=self.abstract,
            unknown_sections=self.lost_sections,
            removed=partial(removed, root),
        )
        line = self.line()
        limits = self.limits()
        behaviour = self.behaviour()
        urcs = self.urcs(parts)
        secrets = self.secrets(parts)
        urc_node = root.entries.get("urcs")
        self.urcs_lost |= urc_node is not None and bool(urc_node.lost)
        self.right_operations()
        program_nodes = section(root, "programs").entries
        saved = saved_names(root.entries.get("programs"), urc_node)
        compiler = Compiler(
            parts, program_nodes, saved, line, limits, behaviour=behaviour, session=_session_fields(urcs)
        )
        programs = {name: compiler.operation(name) for name in program_nodes if name in OPERATIONS}
        for each in programs.values():
            modem_ids = behaviour["socket_ids"] == "modem"
            check_results(each, section(root, "programs"), self.problems, modem_ids=modem_ids)
        capabilities = self.capabilities(parts, saved)
        identified = identify(root.entries.get("identify"), parts)
        recovery = self.recovery(parts)
        for one in urcs:
            for flag in one.clears:
                if flag not in saved and not self.abstract and not self.problems.excused(flag):
                    where = urc_node.entries.get(one.name, urc_node) if urc_node is not None else root
                    self.problems.add(where, f"no step keeps {flag}", did_you_mean(flag, saved))
        if not self.abstract:
            for name in ("vendor", "models", "identify"):
                if name not in root.names():
                    self.problems.add(root, f"missing {name} in a profile that is not abstract")
            for name in program_nodes:
                if name not in OPERATIONS and name not in compiler.used and name not in self.problems.lost:
                    key = section(root, "programs").key(name)
                    self.problems.add(
                        key, f"{name} is no operation and nothing uses it", did_you_mean(name, OPERATIONS)
                    )
            Needs(
                root,
                self.problems,
                capabilities=capabilities,
                programs=programs,
                urcs=urcs,
                urcs_lost=self.urcs_lost,
                behaviour=behaviour,
                limits=limits,
            ).check()
        profile = Profile(
            name=str(root.entries["name"].scalar) if "name" in root.entries else "",
            abstract=self.abstract,
            title=str(root.entries["title"].scalar) if "title" in root.entries else "",
            vendor=str(root.entries["vendor"].scalar) if "vendor" in root.entries else "",
            models=texts(root.entries.get("models")),
            identify=identified or m.Identify(),
            line=line,
            capabilities=MappingProxyType(capabilities),
            limits=MappingProxyType(limits),
            behaviour=MappingProxyType(behaviour),
            tables=MappingProxyType(self.tables),
            read_tables=MappingProxyType(self.read_tables),
            tls_versions=self.versions("tls_versions"),
            dtls_versions=self.versions("dtls_versions"),
            suites=self.suites(),
            errors=MappingProxyType(self.errors()),
            urcs=urcs,
            secrets=secrets,
            grammar=Grammar(
                tuple(one.rule for one in urcs),
                max_line=line.max_line,
                max_payload=line.max_payload,
                guard_after_result=line.after_result,
                guard_after_urc=line.after_urc,
            ),
            recovery=recovery,
            programs=MappingProxyType(programs),
            variants=variants,
            source=source,
        )
        if not (self.abstract or len(self.problems)):
            protection(root, profile, self.problems)
        return profile


def compile_profile(raw: Node, root: Node, problems: Problems) -> Profile:
    """Compile a merged profile. ``raw`` is the merged tree, ``root`` what of it has the right shape."""
    from modemtls.profile.merge import copy, merge
    from modemtls.profile.schema import PROFILE

    variants: list[tuple[m.Condition, Node, Profile | None]] = []
    base = copy(raw)
    for name in raw.entries:  # a misspelt section is told; what changes it finds it all the same
        meant = nearest(name, PROFILE.fields)
        if name not in PROFILE.fields and meant is not None:
            base.entries.setdefault(meant, raw.entries[name])
    plain = Parts(problems, {}, {}, (), one_way={}, lenient=True)
    for one in section(root, "variants").entries.values():
        when = one.entries["when"]
        for name in when.entries:
            if name not in MODEM_NAMES:
                problems.add(
                    when.key(name), f"a variant depends on model and firmware, not on {name}",
                    "a condition on the step or the capability",
                )  # fmt: skip
        condition = plain.condition(when, Names({}, set()), tuple(when.entries))
        made = None
        if set(root.lost).isdisjoint(one.entries["set"].entries):  # else what it changes is wrong already
            # What it makes of the profile must be right as well.
            changed = merge(base, one.entries["set"], problems)
            changed.file, changed.line, changed.column = raw.file, raw.line, raw.column
            changed.entries.pop("variants", None)
            taken = PROFILE.part(changed, problems)
            made = None if taken is None else _Whole(taken, problems).compile((), changed)
        variants.append((condition, one.entries["set"], made))
    return _Whole(root, problems).compile(tuple(variants), raw)

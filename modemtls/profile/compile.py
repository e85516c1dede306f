"""Compiles a merged, well-shaped profile and checks what only the whole can show."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from modemtls.at.grammar import Grammar, UrcRule
from modemtls.at.recovery import Recovery, probe
from modemtls.profile import model as m
from modemtls.profile.names import MODEM_NAMES, Names, Var, saved_names
from modemtls.profile.operations import CAPABILITIES, OPERATIONS
from modemtls.profile.parts import Parts, evidence
from modemtls.profile.problems import did_you_mean, nearest
from modemtls.profile.profile import Profile
from modemtls.profile.programs import Compiler
from modemtls.profile.reach import unsent
from modemtls.profile.results import check_results
from modemtls.profile.schema import LIMIT_LISTS, MEANINGS
from modemtls.profile.shadows import shadowed
from modemtls.profile.shapes import seconds
from modemtls.profile.source import Node
from modemtls.profile.standard import STANDARD_ERRORS
from modemtls.profile.template import TemplateError, unescape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.profile.problems import Problems

__all__ = ["compile_profile"]

_SPECIAL: Final = frozenset({"tls_versions", "suites"})
_BEHAVIOUR: Final[dict[str, Any]] = {
    "socket_ids": "host",
    "shared_ids": False,
    "failed_open": "held",
    "remote_close": "held",
    "drained": "empty",
    "notice": "once",
    "poll": None,
    "announced_only": False,
    "sent_means": "queued",
    "credentials_radio_off": False,
    "settings_survive": "none",
}


def _entry(root: Node, name: str) -> Node:
    return root.entries.get(name) or Node("map", root.file, root.line, root.column)


def _texts(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return tuple(str(one.scalar) for one in node.items) if node.kind == "list" else (str(node.scalar),)


def _ints(node: Node) -> tuple[int, ...]:
    if node.kind == "list":
        return tuple(int(str(one.scalar)) for one in node.items)
    low, high = (int(str(node.entries[key].scalar)) for key in ("from", "to"))
    return tuple(range(low, high + 1))


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

    def removed(self, section: str, name: str) -> Node | None:
        """Return where a child took something away, None if none did."""
        node = self.root.entries.get(section)
        return self.root.removed.get(section) if node is None else node.removed.get(name)

    # -- sections ---------------------------------------------------------------------------------------------

    def read_tables_section(self) -> None:
        for name in _entry(self.root, "tables").names():
            if name not in _SPECIAL:
                self.tables[name] = {}
                self.read_tables[name] = {}
        for name, node in _entry(self.root, "tables").entries.items():
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
        node = _entry(self.root, "line").entries
        recovery = _entry(self.root, "recovery").entries
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
        for name, node in _entry(self.root, "limits").entries.items():
            if name in LIMIT_LISTS:
                out[name] = _ints(node)
                if not out[name]:
                    self.problems.add(node, "an empty range")
                if len(set(out[name])) != len(out[name]):
                    self.problems.add(node, "a number occurs twice")
            elif name == "credential_names":
                out[name] = _texts(node)
            else:
                out[name] = node.scalar
        return out

    def behaviour(self) -> dict[str, Any]:
        out = dict(_BEHAVIOUR)
        for name, node in _entry(self.root, "behaviour").entries.items():
            out[name] = seconds(node) if name == "poll" else node.scalar
        return out

    def errors(self) -> dict[str, Mapping[str, m.ErrorCode]]:
        out: dict[str, dict[str, m.ErrorCode]] = {name: dict(codes) for name, codes in STANDARD_ERRORS.items()}
        for name, node in _entry(self.root, "errors").entries.items():
            codes = out.setdefault(name, {})
            for code, one in _entry(node, "codes").entries.items():
                codes[code] = m.ErrorCode(str(one.entries["kind"].scalar), str(one.entries["text"].scalar))
        return {name: MappingProxyType(codes) for name, codes in out.items()}

    def versions(self) -> tuple[m.VersionChoice, ...]:
        node = _entry(self.root, "tables").entries.get("tls_versions")
        return tuple(
            m.VersionChoice(item.entries["token"].scalar, _texts(item.entries["versions"]))  # type: ignore[arg-type]
            for item in (node.items if node is not None else ())
        )

    def suites(self) -> m.SuiteTable | None:
        node = _entry(self.root, "tables").entries.get("suites")
        if node is None:
            return None
        every = node.entries.get("all")
        codes = {int(code, 16): one.scalar for code, one in node.entries["codes"].entries.items()}
        return m.SuiteTable(
            str(node.entries["mode"].scalar),
            every.scalar if every is not None else None,
            MappingProxyType(codes),  # type: ignore[arg-type]
        )

    def question(self, node: Node, parts: Parts) -> m.Question | None:
        line = parts.template(node.entries["send"], Names({}, set()))
        pattern = parts.pattern(node.entries["match"], Names({}, set()), bound=False)
        if "see" not in node.entries:
            self.problems.add(node, "a command without evidence", "add see: {manual: …}")
        if pattern is None:
            return None
        return m.Question("".join(one for one in line.parts if isinstance(one, str)).encode("ascii"), pattern)

    def identify(self, parts: Parts) -> m.Identify | None:
        node = self.root.entries.get("identify")
        if node is None:
            return None
        if not node.entries:
            self.problems.add(node, "identify is empty: any modem would match")
        ask = node.entries.get("ask")
        questions = [self.question(item, parts) for item in (ask.items if ask is not None else ())]
        return m.Identify(
            _texts(node.entries.get("manufacturer")),
            _texts(node.entries.get("model")),
            _texts(node.entries.get("revision")),
            tuple(one for one in questions if one is not None),
        )

    def recovery(self, parts: Parts) -> Recovery | None:
        node = self.root.entries.get("recovery")
        if node is None or "probes" not in node.entries:
            return None
        entries = node.entries
        probes = []
        heads: dict[bytes, Node] = {}
        for item in entries["probes"].items:
            question = self.question(item, parts)
            if question is None:
                continue
            if question.pattern.head in heads:
                self.problems.add(
                    item, f"its answer cannot be told from that of line {heads[question.pattern.head].line}"
                )
                continue
            heads[question.pattern.head] = item
            probes.append(probe(question.line.decode("ascii"), question.pattern.source))
        if len(probes) < 2:
            return None
        escape = entries["escape"].entries if "escape" in entries else {}
        text = b""
        if "text" in escape:
            try:
                text = unescape(str(escape["text"].scalar)).encode("latin-1")
            except TemplateError as error:
                self.problems.add(escape["text"], error.message)
        return Recovery(
            tuple(probes),
            input_timeout=seconds(entries["input_timeout"]) if "input_timeout" in entries else None,
            escape=text,
            escape_guard=seconds(escape["quiet"]) if "quiet" in escape else 0.0,
        )

    def urcs(self, parts: Parts) -> tuple[m.UrcSpec, ...]:
        node = _entry(self.root, "urcs")
        rules = node.entries.items() if node.kind == "map" else ((str(i), n) for i, n in enumerate(node.items, 1))
        out: list[m.UrcSpec] = []
        places: list[Node] = []
        for name, one in rules:
            entries = one.entries
            hidden = frozenset(_texts(entries.get("secret")))
            pattern = parts.pattern(entries["match"], Names({}, set()), hidden, bound=False)
            if pattern is None or pattern.bound:
                self.urcs_lost = True
                continue
            fields = parts.captured(pattern, given=True)
            for each in hidden:
                if each not in fields:
                    self.problems.add(entries["secret"], f"the pattern captures no {each}", did_you_mean(each, fields))
            means = str(entries["means"].scalar)
            for field in MEANINGS[means].split():
                if field.endswith("!") and field[:-1] not in fields:
                    self.problems.add(entries["match"], f"a URC that means {means} captures {field[:-1]}")
            if means == "session" and "context" not in fields and "save" in entries:
                self.problems.add(entries["match"], "session data need the context: capture {context:int}")
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
            rule = UrcRule(pattern, means, str(family.scalar) if family is not None else None)
            out.append(
                m.UrcSpec(
                    name=name,
                    rule=rule,
                    maps=parts.read_maps(entries.get("map"), fields),
                    save=tuple(saves),
                    clears=_texts(entries.get("clears")),
                    data=pattern.payload.name if pattern.payload is not None else None,
                    secret=hidden,
                    see=evidence(entries.get("see")),
                )
            )
            places.append(entries["match"])
        return tuple(out)

    def capabilities(self, parts: Parts, flags: Mapping[str, Var]) -> dict[str, m.CapabilityRule]:
        out = {}
        for name, node in _entry(self.root, "capabilities").entries.items():
            value, condition = node, None
            if node.kind == "map":
                value = node.entries["value"]
                condition = parts.condition(node.entries["when"], Names(dict(flags), set()), MODEM_NAMES)
            plain: object = _texts(value) if value.kind == "list" else value.scalar
            out[name] = m.CapabilityRule(name, plain, condition)
        return out

    # -- what capabilities need -------------------------------------------------------------------------------

    def needs(
        self,
        capabilities: Mapping[str, m.CapabilityRule],
        programs: Mapping[str, m.Program],
        urcs: tuple[m.UrcSpec, ...],
        behaviour: Mapping[str, Any],
    ) -> None:
        section = _entry(self.root, "capabilities")
        known_limits = _entry(self.root, "limits").names()

        def complain(name: str, message: str, kind: str = "", what: str = "") -> None:
            place = self.removed(kind, what) if kind else None
            if place is not None:
                self.problems.add(
                    place, f"{what} is removed here, and capability {name} needs it", f"capabilities: {{{name}: null}}"
                )
                return
            place = section.key(name)
            own = _entry(self.root, kind).keys.get(what, place) if kind else place
            if own.file == self.root.file != place.file:  # what it is about is the child's, the capability inherited
                place = own
            self.problems.add(place, f"capability {name} needs {message}")

        def lacks(kind: str, name: str) -> bool:
            known = _entry(self.root, kind).names()
            return kind not in self.lost_sections and name not in known

        def has(name: str) -> bool:
            return name in capabilities and capabilities[name].value is not False

        def uses(op: str, *names: str) -> bool:
            # A program that could not be compiled is complained about elsewhere.
            return op in programs and all(name in programs[op].names or self.problems.excused(name) for name in names)

        for name in capabilities:
            if not has(name):
                continue
            what = CAPABILITIES[name]
            for op in what.operations:
                if lacks("programs", op):
                    complain(name, f"program {op}", "programs", op)
            for op, names in what.uses:
                if lacks("programs", op):
                    complain(name, f"program {op}", "programs", op)
                for one in names:
                    if op in programs and not uses(op, one):
                        complain(name, f"{{{one}}} in program {op}", "programs", op)
            for table in what.tables:
                if lacks("tables", table):
                    complain(name, f"table {table}", "tables", table)
            for limit in what.limits:
                if lacks("limits", limit) and not (limit == "credential_name" and "credential_names" in known_limits):
                    complain(name, f"limit {limit}", "limits", limit)

        def urc(means: str, family: str, *, payload: bool = False) -> bool:
            return self.urcs_lost or any(
                one.rule.means == means and one.rule.family in {None, family} and (one.data is not None or not payload)
                for one in urcs
            )

        if has("tls"):
            if not (has("pull") or has("push")):
                complain("tls", "pull or push")
            if not urc("closed", "tls") and behaviour["poll"] is None:
                complain("tls", "a URC that means closed, or behaviour.poll")
            if has("pull"):
                if lacks("programs", "tls_receive"):
                    complain("pull", "program tls_receive", "programs", "tls_receive")
                if not urc("data", "tls") and behaviour["poll"] is None:
                    complain("pull", "a URC that means data, or behaviour.poll")
            if has("push") and not urc("data", "tls", payload=True):
                complain("push", "a URC that means data and carries a payload")
        if has("tcp") and has("pull") and lacks("programs", "tcp_receive"):
            complain("tcp", "program tcp_receive", "programs", "tcp_receive")
        if (
            has("sni")
            and "tls_configure" in programs
            and not (uses("tls_configure", "sni") or uses("tls_configure", "sni_name"))
        ):
            complain("sni", "{sni} or {sni_name} in program tls_configure")
        if has("psk") and lacks("programs", "psk_write") and not uses("tls_configure", "psk_identity", "psk_key"):
            complain("psk", "program psk_write, or {psk_identity} and {psk_key} in program tls_configure")
        for op, family in (("tls_open", "tls"), ("tcp_open", "tcp")):
            if not has(family) or op not in programs:
                continue
            for use in programs[op].uses:
                for word in ("pull", "push"):
                    if use.name == "receive" and use.table and has(word) and word not in use.table:
                        where = _entry(self.root, "tables").key(str(use.table_name))
                        self.problems.add(where, f"capability {word} needs {word} in table {use.table_name}")
        suites = self.suites()
        if has("suites") and suites is not None and capabilities["suites"].value != suites.mode:
            complain("suites", f"the table suites to have mode: {capabilities['suites'].value}")
        if has("tls"):
            declared = capabilities["tls"].value
            versions = _entry(self.root, "tables").entries.get("tls_versions")
            settable = {one for choice in self.versions() for one in choice.versions}
            for version in declared if isinstance(declared, tuple) else ():
                if settable and version not in settable and versions is not None and not versions.lost:
                    complain("tls", f"a token for {version} in table tls_versions")

    def right_operations(self) -> None:
        """Tell of programs whose names are misspelt operations, and go on with what was meant."""
        section = _entry(self.root, "programs")
        used = {str(one.entries["use"].scalar) for one in section.walk() if "use" in one.entries}
        for name in () if self.abstract else list(section.entries):
            meant = None if name in OPERATIONS or name in used else nearest(name, OPERATIONS)
            if meant is not None and meant not in section.names():
                hint = did_you_mean(name, OPERATIONS)
                self.problems.add(section.key(name), f"{name} is no operation and nothing uses it", hint)
                section.entries[meant] = section.entries.pop(name)
                section.keys[meant] = section.key(name)

    # -- everything -------------------------------------------------------------------------------------------

    def compile(self, variants: tuple[tuple[m.Condition, Node], ...], source: Node) -> Profile:
        root = self.root
        self.read_tables_section()
        namespaces = set(STANDARD_ERRORS) | set(_entry(self.root, "errors").names())
        parts = Parts(
            self.problems,
            self.tables,
            self.read_tables,
            namespaces,
            one_way=self.one_way,
            lenient=self.abstract,
            unknown_sections=self.lost_sections,
            removed=self.removed,
        )
        line = self.line()
        limits = self.limits()
        behaviour = self.behaviour()
        urcs = self.urcs(parts)
        urc_node = root.entries.get("urcs")
        self.urcs_lost |= urc_node is not None and bool(urc_node.lost)
        self.right_operations()
        program_nodes = _entry(root, "programs").entries
        saved = saved_names(root.entries.get("programs"), urc_node)
        compiler = Compiler(parts, program_nodes, saved, line, limits)
        programs = {name: compiler.operation(name) for name in program_nodes if name in OPERATIONS}
        for each in programs.values():
            modem_ids = behaviour["socket_ids"] == "modem"
            check_results(each, _entry(root, "programs"), self.problems, modem_ids=modem_ids)
        capabilities = self.capabilities(parts, saved)
        identify = self.identify(parts)
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
                    key = _entry(root, "programs").key(name)
                    self.problems.add(
                        key, f"{name} is no operation and nothing uses it", did_you_mean(name, OPERATIONS)
                    )
            self.needs(capabilities, programs, urcs, behaviour)
        profile = Profile(
            name=str(root.entries["name"].scalar) if "name" in root.entries else "",
            abstract=self.abstract,
            title=str(root.entries["title"].scalar) if "title" in root.entries else "",
            vendor=str(root.entries["vendor"].scalar) if "vendor" in root.entries else "",
            models=_texts(root.entries.get("models")),
            identify=identify or m.Identify(),
            line=line,
            capabilities=MappingProxyType(capabilities),
            limits=MappingProxyType(limits),
            behaviour=MappingProxyType(behaviour),
            tables=MappingProxyType(self.tables),
            read_tables=MappingProxyType(self.read_tables),
            tls_versions=self.versions(),
            suites=self.suites(),
            errors=MappingProxyType(self.errors()),
            urcs=urcs,
            grammar=Grammar(
                tuple(one.rule for one in urcs),
                max_line=line.max_line,
                max_payload=line.max_payload,
                guard_after_urc=line.after_urc,
            ),
            recovery=recovery,
            programs=MappingProxyType(programs),
            variants=variants,
            source=source,
        )
        if not (self.abstract or len(self.problems)):
            self.protection(profile)
        return profile

    def protection(self, profile: Profile) -> None:
        """Complain about what is declared to protect and decides nothing that is sent."""
        for capability, name in unsent(profile):
            section = _entry(self.root, "capabilities" if capability else "programs")
            self.problems.add(
                section.key(capability or "tls_configure"),
                f"{f'capability {capability}: ' if capability else ''}nothing that tls_configure and tls_open send, "
                f"and the modem may not refuse, depends on {{{name}}}",
                f"if only some firmware has it: {capability}: {{value: true, when: {{FLAG: true}}}}"
                if capability
                else "",
            )


def compile_profile(raw: Node, root: Node, problems: Problems) -> Profile:
    """Compile a merged profile. ``raw`` is the merged tree, ``root`` what of it has the right shape."""
    from modemtls.profile.merge import copy, merge
    from modemtls.profile.schema import PROFILE

    variants: list[tuple[m.Condition, Node]] = []
    base = copy(raw)
    for name in raw.entries:  # a misspelt section is told; what changes it finds it all the same
        meant = nearest(name, PROFILE.fields)
        if name not in PROFILE.fields and meant is not None:
            base.entries.setdefault(meant, raw.entries[name])
    plain = Parts(problems, {}, {}, (), one_way={}, lenient=True)
    for one in _entry(root, "variants").entries.values():
        when = one.entries["when"]
        for name in when.entries:
            if name not in MODEM_NAMES:
                problems.add(
                    when.key(name), f"a variant depends on model and firmware, not on {name}",
                    "a condition on the step or the capability",
                )  # fmt: skip
        variants.append((plain.condition(when, Names({}, set()), tuple(when.entries)), one.entries["set"]))
        if not set(root.lost).isdisjoint(one.entries["set"].entries):
            continue  # what it changes is wrong already
        # What it makes of the profile must be right as well.
        changed = merge(base, one.entries["set"], problems)
        changed.file, changed.line, changed.column = raw.file, raw.line, raw.column
        taken = PROFILE.part(changed, problems)
        if taken is not None:
            _Whole(taken, problems).compile((), changed)
    return _Whole(root, problems).compile(tuple(variants), raw)

"""Compiles exchanges: the command, its prompt and payload, what is expected, and what it means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from modemtls.at.grammar import STANDARD_FINALS, FinalRule, Outcome, PromptRule
from modemtls.at.pattern import PatternError, compile_pattern
from modemtls.profile import model as m
from modemtls.profile.codecs import CODECS
from modemtls.profile.names import Names, Var, constant_type
from modemtls.profile.parts import Parts, evidence
from modemtls.profile.problems import did_you_mean
from modemtls.profile.shadows import shadowed
from modemtls.profile.shapes import seconds
from modemtls.profile.template import TemplateError, unescape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.at.pattern import LinePattern
    from modemtls.profile.source import Node

__all__ = ["ExchangeCompiler"]


def _mark(text: str) -> bytes:
    return unescape(text).encode("latin-1")


class ExchangeCompiler(ABC):
    """The part of the compiler that makes exchanges, and what other steps share with them."""

    def __init__(self, parts: Parts, line: m.LineSettings) -> None:
        self.parts = parts
        self.problems = parts.problems
        self.line = line
        self._see: list[tuple[m.Evidence, ...]] = [()]

    @abstractmethod
    def use(self, node: Node, names: Names, values: Node | None = None) -> m.UseStep:
        """Compile a program for the place where it is used."""

    def _sources(self, node: Node) -> tuple[m.Evidence, ...]:
        return evidence(node.entries.get("see")) or self._see[-1]

    def _secrets(self, node: Node, names: Names) -> set[str]:
        out = {name for name, var in names.known.items() if var.secret}
        if "secret" in node.entries:
            out.update(str(one.scalar) for one in node.entries["secret"].items)
        return out

    def _hidden(self, node: Node, names: Names) -> None:
        for one in node.entries["secret"].items if "secret" in node.entries else ():
            if str(one.scalar) not in names.known:
                self.parts.unknown(one, str(one.scalar), names)

    def _save(self, node: Node, names: Names) -> tuple[tuple[str, str], ...]:
        out = []
        for scope, one in self.parts.saves(node.entries.get("save")):
            name = str(one.scalar)
            var = names.known.get(name)
            if (var is None or var.origin == "saved") and name not in self.problems.lost:
                live = [known for known, each in names.known.items() if each.origin != "saved"]
                self.problems.add(one, f"nothing gives {name} a value", did_you_mean(name, live))
                self.parts.mean(name, live)
            if scope in {"socket", "context"} and scope not in names.known:
                self.problems.add(one, f"no {scope} here to save {name} for")
            out.append((scope, name))
        return tuple(out)

    def _cause(self, node: Node, names: Names) -> m.Cause | None:
        one = node.entries.get("cause")
        if one is None:
            return None
        source = str(one.entries["from"].scalar) if "from" in one.entries else "code"
        namespace = self.parts.namespace(one.entries["code"])
        inner = names.copy()
        inner.known.pop(source, None)
        step = self.use(one.entries["use"], inner)
        if step.steps and source not in inner.known and self.parts.lacks("programs", source):
            self.problems.add(
                one.entries.get("from", one), f"{step.program} gives no {source}", did_you_mean(source, inner.known)
            )
        ignored = one.entries["except"].items if "except" in one.entries else []
        return m.Cause(step, namespace, source, tuple(item.scalar for item in ignored))

    def _checks(self, node: Node | None, names: Names) -> tuple[tuple[str, m.ValueSpec], ...]:
        for name in node.entries if node is not None else ():
            assert node is not None
            if names.get(name) is None:
                self.parts.unknown(node.key(name), name, names)
        return self.parts.values(node, names)

    # -- an exchange ------------------------------------------------------------------------------------------

    def _send(self, node: Node, names: Names) -> m.SendStep:
        entries = node.entries
        if not self._sources(node):
            self.problems.add(
                entries["send"], "a command without evidence", "add see: {manual: 'title, version, section'}"
            )
        inner = names
        if "payload" in entries:
            inner = names.copy()
            inner.known["payload_size"] = Var("int", origin="set")
        line = self.parts.template(entries["send"], inner)
        if not line.source.upper().startswith(("AT", "{")) or not line.source:
            self.problems.add(entries["send"], "a command line starts with AT")
        secrets = self._secrets(node, names)
        prompt = self._prompt(entries.get("prompt"))
        payload = self._payload(entries.get("payload"), names)
        if payload is not None and "prompt" not in node.names():
            self.problems.add(node.key("payload"), "a payload needs the prompt that invites it")
        finals = self._finals(entries.get("finals"), names, paid=payload is not None)
        lines, captured = self._lines(entries.get("lines"), names, secrets)
        for name, var in captured.items():
            names.add(name, var)
        outcome = self.parts.outcomes(entries.get("outcome"), names)
        cause = self._cause(node, names)
        namespaces = ("cme",) if "cme" not in entries else (self.parts.namespace(entries["cme"]), "cme")
        step = m.SendStep(
            line=line,
            lines=lines,
            finals=finals,
            prompt=prompt,
            payload=payload,
            timeout=self.parts.timeout(entries.get("timeout"), self.line.timeout, names),
            blocking=bool(entries["blocking"].scalar) if "blocking" in entries else False,
            input_timeout=seconds(entries["input_timeout"]) if "input_timeout" in entries else None,
            terminator=self.line.terminator,
            outcome=outcome,
            fail=self.parts.fail_rule(entries.get("fail"), names),
            cause=cause,
            namespaces=namespaces,
            check=self._checks(entries.get("check"), names),
            save=self._save(node, names),
        )
        depends = {one.name for one in line.placeholders()}
        depends.update(name for rule in lines for name in rule.pattern.bound)
        if step.timeout.plus is not None:
            depends.add(step.timeout.plus)
        self._hidden(node, names)
        return replace(step, names=tuple(sorted(depends)))

    def _lines(
        self, node: Node | None, names: Names, secrets: set[str]
    ) -> tuple[tuple[m.LineRule, ...], dict[str, Var]]:
        out: list[m.LineRule] = []
        places: list[tuple[Node, LinePattern, bool]] = []
        captured: dict[str, Var] = {}
        for item in node.items if node is not None else ():
            entries = item.entries
            match = entries["match"] if item.kind == "map" else item
            repeat = str(entries["repeat"].scalar) if "repeat" in entries else "one"
            hidden = secrets | ({str(one.scalar) for one in entries["secret"].items} if "secret" in entries else set())
            pattern = self.parts.pattern(match, names, hidden)
            if pattern is None:
                continue
            fields = self.parts.captured(pattern, given=repeat == "one", secrets=hidden)
            self._known_fields(entries.get("secret"), fields)
            keep = None
            if "keep" in entries:
                if repeat != "many":
                    self.problems.add(item.key("keep"), "keep is for lines with repeat: many")
                inner = names.copy()
                words = entries["map"].entries if "map" in entries else {}
                inner.known.update(
                    {name: replace(var, type="any" if name in words else var.type) for name, var in fields.items()}
                )
                keep = self.parts.condition(entries["keep"], inner)
            sets = self.parts.constants(entries.get("sets"))
            rule = m.LineRule(
                pattern=pattern,
                repeat=repeat,
                maps=self.parts.read_maps(entries.get("map"), fields),
                keep=keep,
                sets=sets,
                data=pattern.payload.name if pattern.payload is not None else None,
            )
            mapped = {name for name, _ in rule.maps}
            for name, var in fields.items():
                captured[name] = replace(var, type="any" if name in mapped else var.type)
            for name, value in sets.items():
                captured.setdefault(name, Var(constant_type(value), given=repeat == "one", origin="set"))
            out.append(rule)
            places.append((match, pattern, repeat == "many"))
        self._shadows(places)
        return tuple(out), captured

    def _known_fields(self, node: Node | None, fields: Mapping[str, Var]) -> None:
        for one in node.items if node is not None else ():
            if str(one.scalar) not in fields:
                self.problems.add(one, f"the pattern captures no {one.scalar}", did_you_mean(str(one.scalar), fields))

    def _shadows(self, places: list[tuple[Node, LinePattern, bool]]) -> None:
        for index, (node, pattern, _) in enumerate(places):
            for earlier, other, many in places[:index]:
                same = other.source == pattern.source
                if same or (many and len(other.prefix) >= len(pattern.prefix) and shadowed(other, pattern)):
                    self.problems.add(node, f"never matches: line {earlier.line} matches everything that it matches")
                    break

    def _finals(self, node: Node | None, names: Names, *, paid: bool) -> tuple[FinalRule, ...]:
        """Return what ends an exchange; ``paid``: it has a payload, whose own word of success stands for OK."""
        if node is None:
            return STANDARD_FINALS
        own = []
        for source, outcome in node.entries.items():
            pattern = self.parts.pattern(node.key(source), names, bound=False)
            if pattern is None or pattern.bound:
                continue
            if pattern.payload is not None:
                self.problems.add(node.key(source), "a final result carries no payload")
                continue
            numbers = [one.name for one in pattern.fields if one.type in {"int", "hexint"}]
            texts = [one.name for one in pattern.fields if one.type in {"text", "quoted", "any", "word"}]
            own.append(
                FinalRule(
                    pattern,
                    Outcome(str(outcome.scalar)),
                    numbers[0] if numbers else None,
                    texts[0] if texts else None,
                )
            )
        if paid and any(one.outcome is Outcome.OK for one in own):
            return (*own, *[one for one in STANDARD_FINALS if one.outcome is not Outcome.OK])
        return (*own, *STANDARD_FINALS)

    def _prompt(self, node: Node | None) -> PromptRule | None:
        if node is None:
            return None
        try:
            if node.kind == "text":
                return PromptRule(_mark(str(node.scalar)))
            entries = node.entries
            settle = seconds(entries["settle"]) if "settle" in entries else 0.0
            if ("text" in entries) == ("line" in entries):
                self.problems.add(node, "prompt has either `text` or `line`")
                return None
            if "line" in entries:
                return PromptRule(b"", compile_pattern(str(entries["line"].scalar)), settle=settle)
            swallow = _mark(str(entries["swallow"].scalar)) if "swallow" in entries else b" "
            return PromptRule(_mark(str(entries["text"].scalar)), swallow=swallow, settle=settle)
        except (TemplateError, PatternError) as error:
            self.problems.add(node, error.message)
        return None

    def _payload(self, node: Node | None, names: Names) -> m.Payload | None:
        if node is None:
            return None
        entries = node.entries
        data = node if node.kind == "text" else entries["data"]
        source = str(data.scalar)
        name: str | None = None
        template = None
        secret = False
        if "{" in source:
            template = self.parts.template(data, names, payload=True)
            secret = any(one.secret for one in template.placeholders())
        else:
            name = source
            var = names.get(name)
            if var is None:
                self.parts.unknown(data, name, names)
            else:
                secret = var.secret
                if var.type not in {"bytes", "any"}:
                    self.problems.add(data, f"{name} is {var.type}, not bytes", f"a template: '{{{name}:line}}'")
        marks = {}
        for key in ("end", "forbid"):
            try:
                marks[key] = _mark(str(entries[key].scalar)) if key in entries else b""
            except TemplateError as error:
                self.problems.add(entries[key], error.message)
                marks[key] = b""
        if "pause" in entries:
            if "chunk" not in entries:
                self.problems.add(node.key("pause"), "a pause between chunks needs `chunk`")
            if "see" not in entries:
                self.problems.add(node.key("pause"), "a pause needs its source", "add see: {manual: …}")
        quiet, split = 0.0, False
        end = marks["end"]
        if "escape" in entries:
            escape = entries["escape"].entries
            if end:
                self.problems.add(node.key("escape"), "a payload has either `end` or `escape`")
            try:
                end = _mark(str(escape["text"].scalar))
            except TemplateError as error:
                self.problems.add(escape["text"], error.message)
            quiet = seconds(escape["quiet"]) if "quiet" in escape else 0.0
            split = "split" in escape and bool(escape["split"].scalar)
            if split and not quiet:
                self.problems.add(escape["split"], "where the data is split there is silence: how long is not said",
                                  "quiet: 1s")  # fmt: skip
            if split and len(end) == 1:
                self.problems.add(escape["text"], "one character cannot be split")
            if quiet and "chunk" in entries:
                self.problems.add(node.key("chunk"), "data with silence before its escape goes in one piece")
        codec = CODECS[str(entries["codec"].scalar)] if "codec" in entries else None
        return m.Payload(
            name=name,
            template=template,
            codec=codec,
            hexadecimal="as" in entries and entries["as"].scalar == "hex",
            end=end,
            forbid=marks["forbid"],
            chunk=int(str(entries["chunk"].scalar)) if "chunk" in entries else 0,
            pause=seconds(entries["pause"]) if "pause" in entries else 0.0,
            quiet=quiet,
            split=split,
            secret=secret,
        )

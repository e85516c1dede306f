"""A profile as a vocabulary: its programs read backwards, from what was sent to what was meant.

Also: which profile a dialogue belongs to, and what in it has to be kept out of recordings.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from modemtls.at.grammar import Grammar
from modemtls.dialogue.parameters import Rule
from modemtls.dialogue.redact import PayloadRule, Redactor
from modemtls.dialogue.vocabulary import STANDARD, STANDARD_FORMS, Awaited, CodeIn, Form, Vocabulary
from modemtls.profile import model as m
from modemtls.transcript import Direction, Redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modemtls.at.grammar import FinalRule, LinePattern, UrcRule
    from modemtls.profile import Profile
    from modemtls.profile.template import Placeholder, Template
    from modemtls.transcript import Transcript

__all__ = ["choose", "common", "default_redactor", "redaction", "vocabulary"]

# What a value of each quoting kind may look like on the line; the group is the value inside its quotes.
_KINDS: Final = {
    "number": r"(?P<{0}>-?\d+)",
    "quoted": r'"(?P<{0}>[^"]*)"',
    "host": r'"(?P<{0}>[^"]*)"',
    "pem": r'"(?P<{0}>[^"]*)"',
    "bare": r"(?P<{0}>[A-Za-z0-9._:+/-]*)",
    "line": r"(?P<{0}>[ -~]*?)",
    "hex": r"(?P<{0}>[0-9A-Fa-f]*)",
    "hexlower": r"(?P<{0}>[0-9A-Fa-f]*)",
    "token": r'(?P<{0}>"[^"]*"|[^,"]*)',
}


_NAMED: Final = 3  # characters with which a line begins that has a name


def vocabulary(profile: Profile) -> Vocabulary:
    """Return everything that a profile knows, for :func:`modemtls.dialogue.explain.explain`."""
    forms: dict[str, Form] = {}
    # The simplest program names a command that occurs in several.
    for program in sorted(profile.programs.values(), key=lambda one: (one.single is None, len(one.names))):
        for form in _forms([program.body], program.name):
            known = forms.get(form.line.pattern.decode())
            if known is None:
                forms[form.line.pattern.decode()] = form
            else:  # the same command in another program: what may follow it there
                lines = tuple(dict.fromkeys((*known.lines, *form.lines)))
                awaited = tuple(dict.fromkeys((*known.awaited, *form.awaited)))
                forms[form.line.pattern.decode()] = replace(known, lines=lines, awaited=awaited)
    errors = {(space, str(code)): one.text for space, codes in profile.errors.items() for code, one in codes.items()}
    return Vocabulary(
        name=profile.name,
        forms=(*sorted(forms.values(), key=lambda form: -_literal(form.line.pattern)), *STANDARD_FORMS),
        grammar=profile.grammar,
        errors=errors,
        meanings={spec.rule.pattern.source: spec.rule.means.replace("_", " ") for spec in profile.urcs},
    )


def common(profiles: Sequence[Profile]) -> Vocabulary:
    """Return what is known of a modem for which there is no profile: what any of them says by itself, as a line.

    Where profiles differ about what it means, it only counts as known.
    """
    if not profiles:
        return STANDARD
    rules: dict[str, UrcRule] = {}
    meanings: dict[str, set[str]] = {}
    for spec in (spec for profile in profiles for spec in profile.urcs if spec.rule.pattern.payload is None):
        rules.setdefault(spec.rule.pattern.source, spec.rule)
        meanings.setdefault(spec.rule.pattern.source, set()).add(spec.rule.means.replace("_", " "))
    return replace(
        STANDARD,
        grammar=Grammar(tuple(rules.values())),
        meanings={source: words.pop() if len(words) == 1 else "" for source, words in meanings.items()},
    )


def _literal(pattern: bytes) -> int:
    """How much of an expression is plain text: the more, the more exactly it knows its command."""
    return len(re.sub(rb"\(\?P<.*?\)|\\", b"", pattern))


def _forms(steps: Iterable[m.Step], name: str, codes: tuple[CodeIn, ...] = ()) -> Iterator[Form]:
    """Yield the commands of a program; a line that is awaited belongs to the command before it."""
    last: Form | None = None
    for step in steps:
        if isinstance(step, m.SendStep):
            if last is not None:
                yield last
            last = _form(step, name, codes)
            if step.cause is not None:
                yield from _cause(step.cause, name)
        elif isinstance(step, m.AwaitStep):
            waited = tuple(Awaited(rule.pattern, _code(rule.fail)) for rule in step.rules)
            if step.collect is not None:
                waited = (*waited, Awaited(step.collect))
            if last is not None:
                last = replace(last, awaited=(*last.awaited, *waited))
            if step.cause is not None:
                yield from _cause(step.cause, name)
        else:
            inner = list(_forms(m.inside(step), name, codes))
            if inner:
                if last is not None:
                    yield last
                last = inner.pop()
                yield from inner
    if last is not None:
        yield last


def _cause(cause: m.Cause, name: str) -> Iterator[Form]:
    return _forms([cause.use], f"{name}, the cause", (CodeIn(cause.source or "code", cause.namespace),))


def _code(fail: m.FailRule | None) -> CodeIn | None:
    return CodeIn(fail.source, fail.namespace) if fail is not None and fail.namespace and fail.source else None


def _form(step: m.SendStep, name: str, codes: tuple[CodeIn, ...]) -> Form:
    expression, secrets = _expression(step.line)
    own = _code(step.fail)
    payload = step.payload
    return Form(
        name=name,
        line=re.compile(expression.encode(), re.DOTALL),
        lines=tuple(rule.pattern for rule in step.lines),
        finals=_finals(step.finals),
        prompt=step.prompt,
        size=_size(step, payload) if payload is not None else "",
        end=payload.end if payload is not None else b"",
        payload_secret=payload is not None and payload.secret,
        secrets=frozenset(secrets),
        namespaces=step.namespaces,
        codes=(*codes, *((own,) if own else ())),
    )


def _finals(finals: Sequence[FinalRule]) -> tuple[FinalRule, ...]:
    from modemtls.at.grammar import STANDARD_FINALS

    return (*finals, *(rule for rule in STANDARD_FINALS if rule not in finals))


def _size(step: m.SendStep, payload: m.Payload) -> str:
    """Return the placeholder that says how long the payload is."""
    for place in step.line.placeholders():
        if place.name == "size" or (place.name == payload.name and any(codec.name == "size" for codec in place.codecs)):
            return place.name
    return ""


def _expression(template: Template) -> tuple[str, set[str]]:
    """Return an expression for what a template renders to, and the groups that are secret."""
    out: list[str] = []
    seen: set[str] = set()
    secrets: set[str] = set()
    for part in template.parts:
        if isinstance(part, str):
            out.append(re.escape(part))
            continue
        text = _value(part)
        if part.name in seen:
            text = re.sub(r"\(\?P<\w+>", "(?:", text)
        seen.add(part.name)
        if part.secret:
            secrets.add(part.name)
        if part.optional and part.kind is not None and not part.kind.empty:
            text = f"(?:{text})?"
        out.append(text)
    return "(?i:" + "".join(out) + ")", secrets


def _value(place: Placeholder) -> str:
    kind = place.kind.name if place.kind is not None else "token"
    if place.separator is not None:
        return f"(?P<{place.name}>.*?)"
    if place.table is not None and kind == "token":
        words = sorted({str(word) for word in place.table.values()}, key=len, reverse=True)
        return f"(?P<{place.name}>{'|'.join(re.escape(word) for word in words)})"
    return _KINDS[kind].format(place.name)


# --- which profile


def choose(transcript: Transcript, profiles: Sequence[Profile], name: str | None = None) -> Vocabulary:
    """Return the vocabulary to read a transcript with.

    ``name``: the caller's choice. Else the profile that the transcript names (the nearest name will do), else the one
    whose modem identifies itself in the dialogue, else the one that knows most of its commands, else what is common.

    Raises KeyError for a ``name`` that no profile has.
    """
    by_name = {profile.name: profile for profile in profiles}
    if name is not None:
        return vocabulary(by_name[name])
    wanted = transcript.profile
    if wanted is not None:
        near = difflib.get_close_matches(wanted, by_name, 1, 0.5)
        if near:
            return vocabulary(by_name[near[0]])
    said = _said(transcript, Direction.IN)
    scores = [(_identified(profile, said), profile.name) for profile in profiles]
    best = max(scores, default=(0, ""))
    if best[0]:
        return vocabulary(by_name[best[1]])
    commands = [line for line in re.split(rb"[\r\n]+", _said(transcript, Direction.OUT)) if line[:2].upper() == b"AT"]
    commands = [line for line in commands if STANDARD.find(line) is None]
    words = [(sum(v.find(line) is not None for line in commands), v) for v in map(vocabulary, profiles)]
    return max(words, key=lambda one: one[0])[1] if any(count for count, _ in words) else common(profiles)


def _said(transcript: Transcript, direction: Direction) -> bytes:
    turns = [turn for turn in transcript.turns() if turn.direction is direction]
    return b"\r".join(b"".join(b"" if isinstance(c, Redacted) else c for c in turn.chunks) for turn in turns)


def _identified(profile: Profile, said: bytes) -> int:
    """How well a profile's own description fits anything that the modem said about itself."""
    lines = {line.decode("ascii", "replace") for line in re.split(rb"[\r\n]+", said) if line}
    lines |= {line.partition(":")[2].strip() for line in lines if line.startswith("Revision:")}
    identify = profile.identify
    asked = max((1 for question in identify.ask for line in lines if question.pattern.match(line.encode())), default=0)
    makers = [line for line in lines if identify.score(manufacturer=line)] if identify.manufacturer else [""]
    models = [line for line in lines if _fits(identify.model, line)] if identify.model else [""]
    revisions = [line for line in lines if _fits(identify.revision, line)] if identify.revision else [""]
    found = (
        identify.score(maker, model, revision)
        for maker in makers or ["", *lines]
        for model in models
        for revision in revisions
    )
    return max((*found, asked))


def _fits(patterns: Sequence[str], text: str) -> bool:
    return bool(m.Identify(model=tuple(patterns)).score(model=text))


# --- what has to be kept out of recordings


def redaction(
    profiles: Iterable[Profile],
) -> tuple[list[re.Pattern[bytes]], list[PayloadRule], list[Rule], list[re.Pattern[bytes]]]:
    """Return what these profiles mark as secret in command lines, answers and notices, and secret payloads.

    The rules are about commands and answers by name; the patterns about lines that have none. Last, what lines of
    these modems look like that lost no byte.
    """
    patterns: dict[bytes, re.Pattern[bytes]] = {}
    payloads: dict[bytes, PayloadRule] = {}
    rules: dict[Rule, None] = {}
    shapes: dict[bytes, re.Pattern[bytes]] = {}

    def add(pattern: LinePattern) -> None:
        shape = _shape(pattern)
        if shape:
            shapes.setdefault(shape, re.compile(shape))
        rule = _rule(_pattern_parts(pattern))
        if rule is not None:
            rules[rule] = None
        elif pattern.secret:
            expression = _answer(pattern.source, {f.name for f in pattern.fields if f.secret})
            patterns.setdefault(expression, re.compile(expression, re.DOTALL))

    for profile in profiles:
        for program in profile.programs.values():
            for step in m.walk([program.body]):
                for one in _alone(_template_parts(step.line)) if isinstance(step, m.SendStep) else ():
                    rule = _rule(one)
                    if rule is not None:
                        rules[rule] = None
        for form in vocabulary(profile).forms:
            if form.payload_secret:
                payloads[form.line.pattern] = PayloadRule(_longer(form), form.size, form.end or b"\x1a")
            for pattern in (*form.lines, *(one.pattern for one in form.awaited)):
                add(pattern)
        for spec in profile.urcs:
            add(spec.rule.pattern)
        for pattern in profile.secrets:
            rule = _rule(_pattern_parts(pattern))
            if rule is not None and rule.sign == b"=":
                rules[rule] = None
            else:
                add(pattern)
    return list(patterns.values()), list(payloads.values()), list(rules), list(shapes.values())


class _Value:
    """Stands for a placeholder. ``open``: it may hold commas, so that no position behind it is certain."""

    def __init__(self, *, secret: bool, open_: bool = False) -> None:
        self.secret = secret
        self.open = open_


def _template_parts(template: Template) -> list[str | _Value]:
    return [
        one
        for part in template.parts
        for one in (
            part
            if isinstance(part, str)
            else [
                _Value(
                    secret=part.secret,
                    open_=part.separator is not None or (part.kind is not None and part.kind.name == "line"),
                )
            ]
        )
    ]


def _pattern_parts(pattern: LinePattern) -> list[str | _Value]:
    fields = iter(pattern.fields)
    out: list[str | _Value] = []
    for piece in re.split(r"(\{[^{}]+\})", pattern.source.partition("\r\n")[0]):
        if piece.startswith("{"):
            field = next(fields)
            out.append(_Value(secret=field.secret, open_=field.type in {"text", "more", "raw"}))
        else:
            out += piece
    return out


def _alone(parts: list[str | _Value]) -> list[list[str | _Value]]:
    """Take the commands of one line apart (V.250 5.3.2)."""
    out: list[list[str | _Value]] = [[]]
    quoted = False
    for part in parts:
        quoted ^= part == '"'
        if part == ";" and not quoted:
            out.append([])
        else:
            out[-1].append(part)
    return out


def _rule(parts: list[str | _Value]) -> Rule | None:
    """Return what a command or an answer says about itself; None for one without a name and a value."""
    text = "".join(part if isinstance(part, str) else "\0" for part in parts)
    head = re.match(r"(?:AT)?([^A-Za-z0-9\s\0][^=:\0]*?) ?([=:])", text, re.IGNORECASE)
    if head is None:
        return None
    behind = parts[head.end() :]
    hides = any(isinstance(part, _Value) and part.secret for part in behind)
    key: list[tuple[int, bytes]] = []
    secret: set[int] = set()
    selecting = True
    rest: int | None = None
    values = _parameters(behind)
    for at, value in enumerate(values):
        places = [part for part in value if isinstance(part, _Value)]
        if any(place.secret for place in places):
            secret.add(at)
        # What stands behind the secret selects nothing: it may be left out.
        selecting = selecting and not secret and (hides or not places)
        if selecting and not places:
            text = "".join(part for part in value if isinstance(part, str)).strip().strip('"')
            key.append((at, text.upper().encode()))
        if any(place.open for place in places):
            certain = [part for later in values[at + 1 :] for part in later] + [one for one in places if one.open]
            rest = at if any(isinstance(part, _Value) and part.secret for part in certain) else None
            break
    return Rule(head[1].upper().encode(), head[2].encode(), tuple(key), frozenset(secret), rest)


def _parameters(parts: list[str | _Value]) -> list[list[str | _Value]]:
    out: list[list[str | _Value]] = [[]]
    quoted = False
    for part in parts:
        quoted ^= part == '"'
        if part == "," and not quoted:
            out.append([])
        else:
            out[-1].append(part)
    return out


@cache
def _bundled() -> tuple[
    tuple[re.Pattern[bytes], ...], tuple[PayloadRule, ...], tuple[Rule, ...], tuple[re.Pattern[bytes], ...]
]:
    from modemtls.profile import bundled, load

    patterns, payloads, rules, shapes = redaction(load(name) for name in bundled())
    return tuple(patterns), tuple(payloads), tuple(rules), tuple(shapes)


def default_redactor() -> Redactor:
    """Return a redactor that knows what the standards and all bundled profiles mark as secret."""
    return Redactor(*_bundled())


def _longer(form: Form) -> re.Pattern[bytes]:
    """Return an expression for the command with whatever others put behind the size: a time-out, a mode."""
    group = f"(?P<{form.size}>".encode()
    at = form.line.pattern.find(group)
    end = form.line.pattern.find(b")", at) + 1
    return re.compile(form.line.pattern[:end] + b"[^\\r\\n]*)", re.DOTALL) if form.size and at >= 0 else form.line


def _shape(pattern: LinePattern) -> bytes:
    """Return an expression for an answer's or a notice's line in which each quotation mark and comma has its place.

    Empty for one that has no name: anything might be it.
    """
    if len(pattern.head) < _NAMED:
        return b""
    text = r'(?:[^"=\d]|(?<!\d)\d{1,3}(?!\d))*'  # words, not a command's echo, nor a PIN
    kinds = {"quoted": r'"[^"]*"', "int": r"-?\d+", "text": text, "more": f"(?:,{text})?"}
    out = []
    for piece in re.split(r"(\{[^{}]+\})", pattern.source.partition("\\r\\n")[0]):
        if piece.startswith("{"):
            out.append(kinds.get(piece[1:-1].partition(":")[2], r'(?:"[^"]*"|[^,"=]*)'))
        else:
            out.append(re.sub(r"(\\?[:,])(?:\\ )?", r"\1 ?", re.escape(piece)))
    return "".join(out).encode()


def _answer(source: str, secrets: set[str]) -> bytes:
    """Return an expression for an answer's pattern in which the secret fields are groups."""
    kinds = {"quoted": '"({}[^"]*)"', "int": r"({}-?\d+)", "text": "({}.*)", "more": "({}(?:,.*)?)"}
    out = []
    for piece in re.split(r"(\{[^{}]+\})", source.partition("\\r\\n")[0]):
        if piece.startswith("{"):
            name, _, kind = piece[1:-1].partition(":")
            out.append(kinds.get(kind, r'({}"[^"]*"|[^,]*)').format("" if name in secrets else "?:"))
        else:
            out.append(re.sub(r"(\\?[:,])(?:\\ )?", r"\1 ?", re.escape(piece)))
    return "".join(out).encode()

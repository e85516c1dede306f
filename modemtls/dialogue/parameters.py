"""Commands and answers taken apart as V.250 does, to find the parameters that are secrets.

Not by matching whole lines: a command may stand behind others, be written with blanks, with fewer parameters or
without quotes, and is the same command. What counts is its name, what its leading parameters select, and the position.
A modem refuses a command that lost a byte on its way, but the secret is there all the same: :meth:`Rules.near`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "STANDARD_RULES",
    "Command",
    "Parameter",
    "Rule",
    "Rules",
    "carries",
    "commands",
    "last_command",
    "secret_spans",
    "split",
    "unfinished",
]

QUOTE, BACKSPACE, DELETE, SEMICOLON, COMMA = 0x22, 0x08, 0x7F, 0x3B, 0x2C
MAX_NAME: Final = 64  # characters of a command's name
MAX_PARAMETERS: Final = 64  # the last one takes the rest of the line
MAX_REMEMBERED: Final = 1 << 14  # bytes of an unfinished command

# What the name of an extended command begins with: V.250 5.4.1 has "+", manufacturers have others. Of these, "!" and
# "%" may also stand inside a name.
_FIRST: Final = frozenset(b"+#^$*&@")
_FIRST_OR_INSIDE: Final = frozenset(b"!%")
_INSIDE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!%-./_")

# Names of commands, and words as their parameters (a file's name is none), behind which secrets stand. A form that a
# profile knows is not judged by them.
_NAMES: Final = re.compile(rb"PASS|PWD|PSK|KEY|CONN|LOGIN|ACCOUNT|AUTH|USER|SECRET|TOKEN|CRED|PIN(?!G)|PUK|CLCK|WJAP")
_WORDS: Final = re.compile(
    rb"[A-Z0-9_/ -]*(?:PASS(?!IVE)|PWD|PSK|KEY|LOGIN|ACCOUNT|AUTH|USER|SECRET|TOKEN|CRED)[A-Z0-9_/ -]*"
)
_ENDS: Final = re.compile(rb",")
_ENDS_COMMAND: Final = re.compile(rb"[,;]")
_PLAIN: Final = re.compile(rb"-?\d{0,3}|\?")
# Codes that are dialled, or sent as USSD: 3GPP TS 22.030, 6.6.2 to 6.6.5 (**04*, **042*, **05*, **052*: PINs), 6.5.4
# (**03*: passwords) and annex B (33 and others: call barring, by its password).
_MMI: Final = re.compile(rb"[*#] *(?:0 *(?:3|[45] *2?)|3 *3 *[0123]?|3 *5 *[13]?) *\* *([^#\";]*)")
# The same in hexadecimal, of seven-bit characters or UCS-2: any USSD in hexadecimal may be one.
_USSD: Final = re.compile(rb"\+CUSD *= *\d+ *, *\"?((?:[0-9A-F]{2}){4,})(?![^\",])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known about one form of a command (``sign`` is ``=``) or of its answer (``:``).

    ``name`` in capitals, with its first character. ``key``: positions and texts, in capitals and without quotes, that
    select this form. ``secret``: positions, counted from 0; from ``rest`` on everything is.
    """

    name: bytes
    sign: bytes = b"="
    key: tuple[tuple[int, bytes], ...] = ()
    secret: frozenset[int] = frozenset()
    rest: int | None = None

    def fits(self, parameters: list[Parameter]) -> bool:
        """Whether these parameters select this form."""
        return all(at < len(parameters) and parameters[at].text.upper() == text for at, text in self.key)

    def almost(self, parameters: list[Parameter]) -> int | None:
        """Return where a number that selects this form would stand, if what stands there is none.

        A number, or a comma beside it, was lost on the line. Another number is another form.
        """
        if any(at >= len(parameters) for at, _ in self.key):
            return None
        wrong = [(at, text) for at, text in self.key if parameters[at].text.upper() != text]
        if any(not text.isdigit() or parameters[at].text.isdigit() for at, text in wrong):
            return None
        return min((at for at, _ in wrong), default=None)

    @property
    def secretive(self) -> bool:
        """Whether there is a secret in this form."""
        return bool(self.secret) or self.rest is not None

    def hides(self, at: int) -> bool:
        """Whether the parameter at this position is a secret."""
        return at in self.secret or (self.rest is not None and at >= self.rest)


# 3GPP TS 27.007: 8.3 +CPIN, 7.4 +CLCK, 7.5 +CPWD; 10.1.31 +CGAUTH (user and password, which some modems have the other
# way round); 8.17 +CSIM and 8.43 +CGLA (a command to the card may be the one that verifies a PIN).
STANDARD_RULES: Final = (
    Rule(b"+CPIN", rest=0),
    Rule(b"+CLCK", secret=frozenset({2})),
    Rule(b"+CPWD", rest=1),
    Rule(b"+CGAUTH", rest=2),
    Rule(b"+CGAUTH", b":", rest=2),
    Rule(b"+CSIM", rest=1),
    Rule(b"+CGLA", rest=2),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``start`` and ``end`` are what is between its quotes, if it has them; ``text`` is that.

    ``odd``: there is more than one quoted text, and where it ends is anybody's guess.
    """

    start: int
    end: int
    text: bytes
    odd: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command with a value, or an answer to one. ``start`` is where its name begins."""

    name: bytes
    sign: bytes
    start: int
    parameters: list[Parameter]


class Rules:
    """Rules, found by the name of a command or answer, and by what becomes of a name on a bad line."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._named: dict[tuple[bytes, bytes], list[Rule]] = {}
        for rule in dict.fromkeys(rules):
            self._named.setdefault((rule.name, rule.sign), []).append(rule)
        # A name without one of its bytes, and which one that is: what all near misses of one byte have in common.
        self._shorter: dict[tuple[bytes, bytes, int], set[bytes]] = {}
        self._lengths: set[int] = set()
        self._first: set[int] = set()
        signless = []
        for (name, sign), those in self._named.items():
            if not any(rule.secretive for rule in those):
                continue
            self._lengths.add(len(name))
            self._first.add(name[0])
            for at in range(len(name)):
                self._shorter.setdefault((name[:at] + name[at + 1 :], sign, at), set()).add(name)
            if sign == b"=":
                signless.append(re.escape(name))
        names = b"|".join(signless)
        self._signless = re.compile(rb"(?i)(" + names + rb")(?:==|(?=[\d\"])|[^A-Z=:?;\s])") if signless else None

    def of(self, name: bytes, sign: bytes) -> Sequence[Rule]:
        """Return the rules of a command (``=``) or an answer (``:``)."""
        return self._named.get((name, sign), ())

    def near(self, text: bytes) -> Iterator[tuple[Sequence[Rule], list[Parameter]]]:
        """Yield what a command or answer may have been before a byte of its name, or behind it, was lost or changed.

        Or one more came. Each with its parameters. What has a name that is known is what it says.
        """
        for mark in re.finditer(rb"[=:]", text):
            found = _name(text, mark.start())
            if found is not None and (found[1], mark[0]) in self._named:
                continue
            before = text[max(mark.start() - 2 * MAX_NAME, 0) : mark.start()].replace(b" ", b"").upper()
            names = self._meant(before, mark[0])
            if names:
                parameters = list(split(text, mark.end(), commands=mark[0] == b"="))
                yield [rule for name in sorted(names) for rule in self._secretive(name, mark[0])], parameters
        for mark in self._signless.finditer(text) if self._signless is not None else ():
            for start in range(mark.end(), mark.end() + (2 if text[mark.end() : mark.end() + 1].isdigit() else 1)):
                yield self._secretive(mark[1].upper(), b"="), list(split(text, start))

    def _secretive(self, name: bytes, sign: bytes) -> list[Rule]:
        return [rule for rule in self._named[name, sign] if rule.secretive]

    def _meant(self, before: bytes, sign: bytes) -> set[bytes]:
        out: set[bytes] = set()
        for length in self._lengths:
            for size in range(length - 1, length + 2):
                tail = before[-size:]
                if len(tail) < size:
                    continue
                begins = before[:-size].endswith((b"AT", b";")) or size == len(before)
                if not begins and tail[0] not in self._first:
                    continue
                for at in range(length):
                    if at == 0 and size <= length and not begins:
                        continue  # the first byte says where a name begins
                    if size == length - 1:
                        out |= self._shorter.get((tail, sign, at), set())
                    elif size == length:
                        out |= self._shorter.get((tail[:at] + tail[at + 1 :], sign, at), set())
                    else:  # one behind the end would make it the name of something else
                        once = tail[:at] + tail[at + 1 :]
                        out |= {name for name in self._shorter.get((once[1:], sign, 0), set()) if name == once}
        return out


def secret_spans(line: bytes, rules: Rules) -> list[tuple[int, int]]:
    """Return which bytes of a line are secrets. The line is a command line, its echo, or an answer."""
    spans = _spans(line, rules, BACKSPACE)
    if DELETE in line:  # which some modems take for a backspace
        spans += _spans(line, rules, DELETE)
    return spans


def _spans(line: bytes, rules: Rules, eraser: int) -> list[tuple[int, int]]:
    text, where = _edited(line, eraser)
    found = [match.span(1) for code in (_MMI, _USSD) for match in code.finditer(text)]
    spans = [(where[low], where[high]) for low, high in found if low < high]
    for command in commands(text):
        for low, high in _secrets(command, rules.of(command.name, command.sign), len(text)):
            # What was typed and taken back behind a character goes with it.
            spans.append((where[low], where[high]))
    for meant, parameters in rules.near(text):
        hidden = _hidden(parameters, [rule for rule in meant if rule.fits(parameters)])
        for low, high in _places(parameters, {at for at in hidden if _telling(parameters[at])}, len(text)):
            spans.append((where[low], where[high]))
    return spans


def carries(line: bytes, rules: Rules) -> bool:
    """Whether a command line says a secret, or one may be in its answer."""
    if secret_spans(line, rules):
        return True
    text = _edited(line)[0]
    for mark in re.finditer(rb"=|\?|;|$", text):
        found = _name(text, mark.start())
        if found is None or text[mark.end() :].lstrip().startswith(b"?"):
            continue
        name = found[1]
        parameters = list(split(text, mark.end())) if mark[0] == b"=" else []
        said = {one.text.upper() for one in parameters}
        told, sent = rules.of(name, b":"), rules.of(name, b"=")
        if any(rule.secretive and all(word in said for _, word in rule.key) for rule in told):
            return True
        if parameters and any(rule.secretive and rule.fits(parameters) for rule in sent):
            return True
        if not (told or sent) and (_NAMES.search(name) or any(map(_WORDS.fullmatch, said))):
            return True
    return False


def _secrets(command: Command, rules: Iterable[Rule], end: int) -> Iterator[tuple[int, int]]:
    parameters = command.parameters
    fitting = [rule for rule in rules if rule.fits(parameters)]
    hidden = _hidden(parameters, fitting)
    if not hidden and not any(rule.key for rule in fitting):
        first = 0 if not fitting and _NAMES.search(command.name) else len(parameters)
        told = [at + 1 for at, one in enumerate(parameters) if _WORDS.fullmatch(one.text.upper())]
        lost = [at for rule in rules if rule.secretive for at in (rule.almost(parameters),) if at is not None]
        first = min((first, *told[:1], *lost))
        hidden = {at for at in range(first, len(parameters)) if _telling(parameters[at])}
    return _places(parameters, hidden, end)


def _hidden(parameters: list[Parameter], rules: list[Rule]) -> set[int]:
    return {at for at in range(len(parameters)) if any(rule.hides(at) for rule in rules)}


def _telling(parameter: Parameter) -> bool:
    """Whether it may be a secret, where nobody knows."""
    return _PLAIN.fullmatch(parameter.text) is None


def _places(parameters: list[Parameter], hidden: set[int], end: int) -> Iterator[tuple[int, int]]:
    places = sorted(at for at in hidden if parameters[at].text != b"?")
    if places and any(one.odd for one in parameters[places[0] :]):
        yield parameters[places[0]].start, end
        return
    for at in places:
        if parameters[at].end > parameters[at].start:
            yield parameters[at].start, parameters[at].end


def _edited(line: bytes, eraser: int = BACKSPACE) -> tuple[bytes, list[int]]:
    """Return the line as the modem takes it, and where each of its bytes, and its end, stands in the original.

    ``eraser`` takes a character back (V.250 6.2.3), other control characters count for nothing outside quotes (5.2.1).
    """
    out = bytearray()
    where: list[int] = []
    quoted = False
    for at, byte in enumerate(line):
        if byte == eraser:
            if out:
                quoted ^= out.pop() == QUOTE
                where.pop()
        elif byte >= 0x20 or quoted:
            quoted ^= byte == QUOTE
            out.append(byte)
            where.append(at)
    where.append(len(line))
    return bytes(out), where


def commands(text: bytes) -> Iterator[Command]:
    """Yield the extended commands with a value, and the answers, wherever they stand in a line."""
    for sign in re.finditer(rb"[=:]", text):
        found = _name(text, sign.start())
        if found is not None:
            start, name = found
            yield Command(name, sign[0], start, list(split(text, sign.end(), commands=sign[0] == b"=")))


def last_command(line: bytes) -> bytes:
    """Return the last of the commands of a line, in the form in which it would stand alone."""
    out = bytearray()
    quoted = False
    for byte in _edited(line)[0]:
        quoted ^= byte == QUOTE
        if byte == SEMICOLON and not quoted:
            out.clear()
        elif byte != 0x20 or quoted:
            out.append(byte)
    starts = [at for at, byte in enumerate(out) if byte in _FIRST or byte in _FIRST_OR_INSIDE]
    return b"AT" + bytes(out[starts[0] :]) if starts else b""


def unfinished(line: bytes) -> bytes:
    """Return what of a line has to be known to understand how it goes on: its last command."""
    text, where = _edited(line)
    last = None
    for last in commands(text):  # noqa: B007 - the last one is wanted
        pass
    if last is None:
        return line[-4 * MAX_NAME :]  # perhaps the beginning of a name
    kept = line[where[last.start] :]
    return kept if len(kept) <= MAX_REMEMBERED else b""


def _name(text: bytes, end: int) -> tuple[int, bytes] | None:
    """Return the name that ends here, and where it begins. Blanks in it count for nothing."""
    name = bytearray()
    inside = -1
    at = end
    while at > 0 and len(name) <= MAX_NAME and end - at <= 4 * MAX_NAME:
        at -= 1
        byte = text[at]
        if byte == 0x20:
            continue
        if byte in _FIRST:
            return at, (bytes([byte]) + bytes(reversed(name))).upper()
        if byte not in _INSIDE:
            break
        name.append(byte)
        if byte in _FIRST_OR_INSIDE:
            inside = at
    return (inside, text[inside:end].replace(b" ", b"").upper()) if inside >= 0 else None


def split(text: bytes, at: int, *, commands: bool = True) -> Iterator[Parameter]:
    """Yield the parameters of a value. With ``commands`` it ends where the next command begins (V.250 5.4)."""
    end = len(text)
    count = 0
    while True:
        while at < end and text[at] == 0x20:
            at += 1
        count += 1
        start, stop, closed = at, -1, False
        quoted = at < end and text[at] == QUOTE
        if quoted:
            stop = text.find(b'"', at + 1)
            closed = stop >= 0
            start, stop = at + 1, stop if closed else end
            at = stop + 1 if closed else end
        ends = (_ENDS_COMMAND if commands else _ENDS).search(text, at) if count < MAX_PARAMETERS else None
        after, at = at, end if ends is None else ends.start()
        odd = quoted and bool(text[after:at].strip(b" "))
        if not quoted:
            stop = at
            while stop > start and text[stop - 1] == 0x20:
                stop -= 1
        if odd:
            start, stop = start - 1, at
        yield Parameter(start, stop, text[start:stop], odd)
        if at >= end or text[at] != COMMA:
            return
        at += 1

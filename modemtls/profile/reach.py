"""Tells whether a setting decides anything that is sent, by running the programs without a modem.

A profile that takes ``verify`` and sends the same bytes whether it is true or false verifies nobody, whatever it
declares. So the programs that configure and open are run twice on paper, with the setting and without it, and what
they send is compared. Every command is taken to succeed and to tell nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from modemtls.errors import ConfigurationError
from modemtls.profile import model as m
from modemtls.profile.operations import CAPABILITIES, SECURE, serves
from modemtls.profile.template import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modemtls.at.pattern import LinePattern
    from modemtls.profile.profile import Profile

__all__ = ["PROTECTING", "unsent", "without_effect"]

#: Inputs on which it depends who may be at the other end, and the capability that each needs, if any.
PROTECTING: Final[dict[str, str]] = {
    "verify": "",
    "ca": "",
    "check_dates": "date_check",
    "check_hostname": "hostname_check",
    "sni": "sni",
    "peer": "pinning",
    "psk": "psk",
    "psk_key": "psk",
}


class _Returned(Exception):  # noqa: N818 - control flow between steps
    """`return: ok`, which ends only the program that was used."""


class _Ended(Exception):  # noqa: N818 - likewise
    """Any other end: ``word`` is the outcome."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class OnPaper:
    """One run of the programs. ``choice``: which alternative of each ``first`` works."""

    def __init__(self, bindings: Mapping[str, Any], flags: Callable[[str], object], choice: int) -> None:
        self.bindings = bindings
        self.flags = flags
        self.choice = choice
        self.values: dict[str, Any] = {}
        self.saved: dict[str, Any] = {}
        self.sent: list[str] = []

    def lookup(self, name: str) -> object:
        for known in (self.values, self.bindings, self.saved):
            found = known.get(name)
            if found is not None:
                return found
        return self.flags(name)

    def run(self, program: m.Program) -> bool:
        """Run one program; False if it fails before the end."""
        self.values = {}
        try:
            self.step(program.body)
        except _Ended as ended:
            return ended.word != "fail"
        except ConfigurationError:
            return False
        return True

    def steps(self, steps: Iterable[m.Step]) -> None:
        for step in steps:
            if step.when is None or step.when.holds(self.lookup):
                self.step(step)

    def step(self, step: m.Step) -> None:
        match step:
            case m.SendStep():
                text = "".join(
                    part if isinstance(part, str) else part.write(self.lookup(part.name)) for part in step.line.parts
                )
                if not self.tolerated(step.tolerate):
                    self.sent.append(text)
                self.captured(rule.pattern for rule in step.lines)
                self.keep(step.save)
            case m.AwaitStep():
                self.captured(rule.pattern for rule in step.rules)
                self.keep(step.save)
            case m.SetStep():
                self.values.update([(name, value_of(spec, self.lookup)) for name, spec in step.values])
                if step.scope != "command":
                    self.keep((step.scope, name) for name, _ in step.values)
            case m.UseStep():
                self.values.update([(name, value_of(spec, self.lookup)) for name, spec in step.values])
                with contextlib.suppress(_Returned):
                    self.group(step)
            case m.GroupStep():
                self.group(step)
            case m.EachStep():
                found = self.lookup(step.elements) if isinstance(step.elements, str) else step.elements
                for index, one in enumerate(found if isinstance(found, (list, tuple)) else (), step.first_index):
                    self.values[step.name] = one
                    if step.index is not None:
                        self.values[step.index] = index
                    self.steps(step.steps)
            case m.FirstStep():
                self.steps(step.alternatives[min(self.choice, len(step.alternatives) - 1)])
            case m.ReturnStep():
                raise _Returned if step.outcome == "ok" else _Ended(step.outcome)
            case m.FailStep():
                raise _Ended("fail")
            case _:
                pass

    def group(self, step: m.GroupStep | m.UseStep) -> None:
        try:
            self.steps(step.steps)
        finally:
            self.steps(step.finally_)

    def tolerated(self, tolerate: m.Condition | bool) -> bool:
        """Whether it would go on if the modem refused the command: then it protects nobody."""
        if isinstance(tolerate, bool):
            return tolerate
        refused = {"outcome": "fail", "kind": "unknown", "final": "ERROR"}
        return tolerate.holds(lambda name: refused.get(name, self.lookup(name)))

    def captured(self, patterns: Iterable[LinePattern]) -> None:
        for pattern in patterns:
            for field in pattern.fields:
                if field.type != "bound":
                    self.values.pop(field.name, None)

    def keep(self, names: Iterable[tuple[str, str]]) -> None:
        for _, name in names:
            found = self.lookup(name)
            if found is not None:
                self.saved[name] = found


def _outcome(
    programs: Iterable[m.Program], bindings: Mapping[str, Any], flags: Callable[[str], object], choice: int
) -> tuple[bool, list[str]]:
    paper = OnPaper(bindings, flags, choice)
    for program in programs:
        if not paper.run(program):
            return False, paper.sent
    return True, paper.sent


def _off(name: str, bindings: Mapping[str, Any], *, together: bool) -> dict[str, object]:
    """Return what to bind for a connection that is the same but for one protection."""
    value = bindings[name]
    match name:
        case "sni":
            return {"sni": False, "sni_name": None}
        case "check_hostname":
            sent = {"sni": False, "sni_name": None} if together else {}
            return {"check_hostname": False, "expected_name": None, **sent}
        case "psk_key":
            return {"psk_key": bytes([*value[:-1], value[-1] ^ 1]) if value else b"\0"}
        case "ca" | "peer" | "psk" if bindings.get("bundle"):  # what is in the bundle, its name tells
            return {name: f"{value}0", "bundle": f"{bindings['bundle']}0"}
    return {name: f"{value}-" if isinstance(value, str) else False}


def concerned(programs: Mapping[str, m.Program], opening: str) -> list[m.Program]:
    """Return the programs that a connection's settings go through: a context's, and what opens the socket."""
    return [programs[name] for name in ("tls_configure", opening) if name in programs]


def _widest(steps: Iterable[m.Step]) -> int:
    return max([len(step.alternatives) for step in m.walk(steps) if isinstance(step, m.FirstStep)], default=1)


def without_effect(
    profile: Profile, opening: str, bindings: Mapping[str, Any], flags: Callable[[str], object]
) -> Iterator[str]:
    """Yield the protecting inputs that are on in ``bindings`` and decide nothing that is sent.

    ``opening``: the operation that opens the socket, ``tls_open``.
    """
    programs = concerned(profile.programs, opening)
    usual = {"pdp": 1, "socket": 0, "host": "name.example", "port": 443, "receive": "pull", "local_port": 4433}
    bindings = {**usual, **bindings}
    together = profile.behaviour["server_name"] == "together"
    for choice in range(_widest(program.body for program in programs)):
        with_it = _outcome(programs, bindings, flags, choice)
        if not with_it[0]:
            continue  # it fails rather than open anything
        for name in PROTECTING:
            value = bindings.get(name)
            if name == "ca" and not bindings.get("verify"):
                continue  # it protects nobody then
            if name == "sni" and together and bindings.get("check_hostname"):
                continue  # the name that is checked is the one that is sent
            if not value:
                continue
            without = {**bindings, **_off(name, bindings, together=together)}
            if with_it == _outcome(programs, without, flags, choice):
                yield name


def _fulfilling(condition: m.Condition | None) -> dict[str, object]:
    """Return values for names under which a capability's condition holds, as far as that is easily found."""
    out: dict[str, object] = {}
    for test in condition.tests if condition is not None else ():
        match test.how:
            case "is":
                out[test.name] = test.values[0]
            case "given" if test.values[0]:
                out[test.name] = True
            case "glob":
                out[test.name] = str(test.values[0]).replace("*", "").replace("?", "0")
            case "firmware":
                out[test.name] = test.values[0] or ""
            case "range":
                out[test.name] = test.low if test.low is not None else test.high
            case _:
                pass
    return out


def unsent(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Yield what a profile claims to protect with and does not: capability ("" for none), input, and programs."""
    for family in SECURE:
        rule = profile.capabilities.get(family)
        opening = f"{family}_open"
        needed = [opening] if profile.behaviour["tls_contexts"] == "none" else ["tls_configure", opening]
        if rule is not None and rule.value is not False and all(one in profile.programs for one in needed):
            said = " and ".join(needed)
            yield from ((capability, name, said) for capability, name in _unsent(profile, family, rule))


def _unsent(profile: Profile, family: str, rule: m.CapabilityRule) -> Iterator[tuple[str, str]]:
    rules = profile.capabilities
    suites = profile.suites
    versions = profile.tls_versions if family == "tls" else profile.dtls_versions
    usual: dict[str, Any] = {
        "context": min(profile.limits.get("contexts", ()), default=0),
        "version": versions[0].token if versions else 0,
        "suites": () if suites is None else (suites.all or next(iter(suites.codes.values()), 0),),
        "ca": "ca.pem",
        "verify": True,
        "client_auth": False,
        "handshake_timeout": profile.limits.get("handshake_timeout_max", 60),
        "dtls": family == "dtls",
        "resume": False,
        "cid": False,
        "purge": False,
    }
    if profile.behaviour["credential_store"] == "tagged":
        usual |= {"ca": "1", "bundle": "1"}
    able = {name: rules[name] for name in PROTECTING.values() if name in rules and _has(name, rules[name], family)}
    for name, capability in PROTECTING.items():
        if capability and capability not in able:
            continue
        flags = _fulfilling(rule.condition)
        if capability:
            flags |= _fulfilling(able[capability].condition)
        if name == "ca" and "credential_names" in profile.limits:
            continue  # a store with places of its own: where the certificate lies decides
        if name in {"psk", "psk_key"} and (name == "psk") == (able["psk"].value == "inline"):
            continue
        # What other capabilities have conditions for may be absent.
        on = {
            other: capability in able and (able[capability].condition is None or name == other)
            for other, capability in PROTECTING.items()
            if other in {"check_dates", "check_hostname", "sni"}
        }
        bindings = {
            **usual,
            **on,
            "sni_name": "name.example" if on["sni"] else None,
            "expected_name": "name.example" if on["check_hostname"] else None,
        }
        if name == "peer":
            bindings["peer"] = usual["ca"]
        if name in {"psk", "psk_key"}:
            bindings |= _psk(name, usual)
        if name in set(without_effect(profile, f"{family}_open", bindings, flags.get)):
            yield capability, name


def _has(name: str, rule: m.CapabilityRule, family: str) -> bool:
    return serves(rule.value, family) if CAPABILITIES[name].families else rule.value is not False


def _psk(name: str, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is bound for a connection with a pre-shared key, instead of certificates."""
    key = {"psk": usual["ca"]} if name == "psk" else {"psk_identity": b"identity", "psk_key": b"key"}
    return {"ca": None, "verify": False, "check_hostname": False, "expected_name": None, "check_dates": False, **key}

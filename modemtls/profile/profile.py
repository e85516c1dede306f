"""The compiled profile as the layers above see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modemtls.errors import NotSupportedError
from modemtls.profile.operations import BEYOND, CAPABILITIES, CHOICES, serves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.grammar import Grammar, LinePattern, UrcRule
    from modemtls.at.recovery import Recovery
    from modemtls.profile.model import (
        CapabilityRule,
        Condition,
        ErrorCode,
        Identify,
        LineSettings,
        Program,
        SuiteTable,
        UrcSpec,
        VersionChoice,
    )
    from modemtls.profile.source import Node

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One modem's profile, compiled and checked. Immutable.

    ``capabilities`` and ``limits`` are as declared; :meth:`able` evaluates a capability for one modem's flags.
    ``behaviour`` has a value for every key of the language. ``read_tables`` are the tables from right to left.
    ``secrets``: commands and answers that no program has, with secret fields: what is not to be recorded of others.
    ``variants``: when each applies, what it changes, and what it makes of the profile by itself.
    """

    name: str
    abstract: bool
    title: str
    vendor: str
    models: tuple[str, ...]
    identify: Identify
    line: LineSettings
    capabilities: Mapping[str, CapabilityRule]
    limits: Mapping[str, Any]
    behaviour: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, int | str]]
    read_tables: Mapping[str, Mapping[str, str | bool]]
    tls_versions: tuple[VersionChoice, ...]
    dtls_versions: tuple[VersionChoice, ...]
    suites: SuiteTable | None
    errors: Mapping[str, Mapping[str, ErrorCode]]
    urcs: tuple[UrcSpec, ...]
    secrets: tuple[LinePattern, ...]
    grammar: Grammar
    recovery: Recovery | None
    programs: Mapping[str, Program]
    variants: tuple[tuple[Condition, Node, Profile | None], ...] = field(repr=False)
    source: Node = field(repr=False)

    def __repr__(self) -> str:
        return f"Profile({self.name!r})"

    def able(self, capability: str, lookup: Callable[[str], object] | None = None, *, family: str | None = None) -> Any:
        """Return the value of a capability, False if the modem lacks it, or has it for other sockets than ``family``.

        ``lookup`` gives flags, ``model`` and ``firmware``; without it a conditional capability counts as lacking.
        """
        rule = self.capabilities.get(capability)
        if rule is None:
            return False
        if rule.condition is not None and (lookup is None or not rule.condition.holds(lookup)):
            return False
        if family is not None and CAPABILITIES[capability].families:
            return serves(rule.value, family)
        return rule.value

    def able_all(self, lookup: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Return every capability of the language with its value for this modem, False for what it lacks."""
        return {name: self.able(name, lookup) for name in CAPABILITIES}

    def require(
        self, capability: str, lookup: Callable[[str], object] | None = None, *, family: str | None = None
    ) -> Any:
        """Return the value of a capability. Raises NotSupportedError if :meth:`able` says that there is none."""
        value = self.able(capability, lookup, family=family)
        if value is False:
            about = CAPABILITIES[capability].about if capability in CAPABILITIES else "unknown to this version"
            where = f" for {family.upper()} sockets" if family is not None and self.able(capability, lookup) else ""
            raise NotSupportedError(
                f"{self.name}: this modem lacks the capability {capability} ({about}){where}",
                capability=capability,
                choices=CHOICES.get(capability, ()),
            )
        return value

    def beyond(self) -> dict[str, str]:
        """Return the keys that this version does not act upon, each with why that matters.

        A profile with such a key must not drive a modem.
        """
        return {f"{section}.{key}": why for (section, key), why in BEYOND.items() if getattr(self, section).get(key)}

    def error(self, namespace: str, code: object) -> ErrorCode | None:
        """Return what a code of a namespace means: by number, or by the text that a verbose modem prints."""
        codes = self.errors.get(namespace)
        if codes is None or code is None:
            return None
        found = codes.get(str(code))
        if found is not None or isinstance(code, int):
            return found
        wanted = str(code).strip().casefold()
        return next((one for one in codes.values() if one.text.casefold() == wanted), None)

    def code_of(self, namespace: str, text: str) -> int | str | None:
        """Return the number whose text this is, if the namespace has it."""
        wanted = text.strip().casefold()
        for code, one in self.errors.get(namespace, {}).items():
            if one.text.casefold() == wanted:
                return int(code) if code.lstrip("-").isdigit() else code
        return None

    def size(self, family: str, what: str) -> int | None:
        """Return how many bytes one ``send`` or ``receive`` of a family of sockets takes; None if it is not said.

        What is not said of DTLS is as for TLS, of UDP as for TCP, and of TCP as for TLS.
        """
        names = {"tls": ("",), "dtls": ("dtls_", ""), "tcp": ("tcp_", ""), "udp": ("udp_", "tcp_", "")}[family]
        return next((self.limits[name + what] for name in names if name + what in self.limits), None)

    def numbers(self, family: str) -> tuple[int, ...]:
        """Return the socket numbers of a family; what is not said of DTLS is as for TLS, of UDP as for TCP."""
        own = self.limits.get(f"{family}_sockets")
        if own is None:
            other = {"dtls": "tls", "udp": "tcp"}.get(family)
            own = () if other is None or not self._serves(family) else self.limits.get(f"{other}_sockets", ())
        return tuple(own)

    def _serves(self, family: str) -> bool:
        return f"{family}_open" in self.programs or f"{family}_bind" in self.programs

    def urc(self, rule: UrcRule) -> UrcSpec | None:
        """Return what the profile says about an unsolicited result of its grammar."""
        return next((one for one in self.urcs if one.rule is rule), None)

    def tokens(self) -> frozenset[str]:
        """Return every token that the tables of versions and suites contain, as text."""
        out = {str(one.token) for one in (*self.tls_versions, *self.dtls_versions)}
        if self.suites is not None:
            out.update(str(one) for one in self.suites.codes.values())
            if self.suites.all is not None:
                out.add(str(self.suites.all))
        return frozenset(out)

    def fitted(self, *, model: str = "", firmware: str = "") -> Profile:
        """Return the profile for one model and firmware: the variants that apply are laid over it, in order."""
        from modemtls.profile.loading import compiled
        from modemtls.profile.merge import merge
        from modemtls.profile.problems import Problems

        known = {"model": model or None, "firmware": firmware or None}
        applying = [(changes, alone) for condition, changes, alone in self.variants if condition.holds(known.get)]
        if not applying:
            return self
        if len(applying) == 1 and applying[0][1] is not None:
            return applying[0][1]
        root = self.source
        problems = Problems()
        for changes, _ in applying:
            root = merge(root, changes, problems)
        root.entries.pop("variants", None)
        profile = compiled(root, problems)
        problems.raise_if_any()
        assert profile is not None
        return profile

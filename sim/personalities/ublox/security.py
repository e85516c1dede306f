"""+USECPRF: five security profiles (UBX-13002752; UBX-20032566 R05, 3.2 to 3.4; ubxlib)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.ublox.area import Area
from modemtls.sim.personalities.ublox.store import CA, CLIENT_CERTIFICATE, CLIENT_KEY, SERVER_CERTIFICATE
from modemtls.sim.personalities.ublox.suites import AUTOMATIC, LIST, ONE, SuiteChoice, code

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.sim.command import Args
    from modemtls.sim.job import Job

__all__ = ["PLAIN", "PROFILES", "Profile", "Resumption", "Security"]

PROFILES = 5
LONGEST_NAME, LONGEST_HOST, LONGEST_PASSWORD, LONGEST_SNI = 200, 256, 128, 128
LONGEST_PSK, LONGEST_IDENTITY = 64, 128  # bytes; twice as many digits
LONGEST_ID, LONGEST_SECRET = 48, 64  # characters of base64
ASCII, HEX = 0, 1
SESSION_ID, ENCRYPTED = 0, 10  # types of op code 13


@dataclass(frozen=True, slots=True)
class Resumption:
    """Op code 13. ``data``: what the host has given back, for type 0 session id and master secret, else one string."""

    on: bool = False
    kind: int = SESSION_ID
    data: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One profile; the op codes 0, 1, 3 to 14 in their order, and 2."""

    level: int = 0
    version: int = 0
    ca: str = ""
    host: str = ""
    certificate: str = ""
    key: str = ""
    password: str = field(default="", repr=False)
    psk: bytes = field(default=b"", repr=False)
    identity: bytes = b""
    server_name: str = ""
    root_of_trust: int = 0
    pinned: str = ""
    pin_level: int = 0
    resumption: Resumption = Resumption()
    zero_touch: int = 0
    suites: SuiteChoice = AUTOMATIC


PLAIN = Profile()
"""What +USOSEC without a profile uses: no validation, any version, automatic suites."""

_NAMES = {3: "ca", 4: "host", 5: "certificate", 6: "key", 7: "password", 10: "server_name"}
_LIMITS = {
    3: LONGEST_NAME, 4: LONGEST_HOST, 5: LONGEST_NAME, 6: LONGEST_NAME, 7: LONGEST_PASSWORD, 10: LONGEST_SNI,
}  # fmt: skip
_STORED = {3: CA, 5: CLIENT_CERTIFICATE, 6: CLIENT_KEY, 12: SERVER_CERTIFICATE}
_NUMBERS = {0: "level", 1: "version", 11: "root_of_trust", 14: "zero_touch"}


def _changed(profile: Profile, name: str, value: Any) -> Profile:
    return replace(profile, **{name: value})


class Security(Area):
    """The profiles."""

    profiles: list[Profile]

    def reset(self) -> None:
        """All as the factory has them, unless they survive."""
        if not self.variants.on("settings-survive") or not hasattr(self, "profiles"):
            self.profiles = [self.fresh] * PROFILES

    @property
    def fresh(self) -> Profile:
        """A profile after its reset."""
        return Profile(level=self.module.facts.level, version=self.module.facts.version)

    def need_tls(self) -> None:
        """Refuse on a module without secure sockets, where these commands do not exist."""
        if not self.module.facts.tls:
            self.trace.note("this module has no secure sockets")
            raise Refusal

    @at("+USECPRF")
    def _configure(self, job: Job) -> None:
        self.need_tls()
        if job.form is Form.TEST:
            job.info(f"+USECPRF: (0-{PROFILES - 1}),(0-14)")
            return
        if job.form is not Form.SET:
            raise self.bad()
        args = self.args(job, 1, 6)
        number = args.number(0, 0, PROFILES - 1)
        if len(args) == 1:
            self.profiles[number] = self.fresh
            return
        operation = args.number(1, 0, 14)
        if not self._has(operation):
            raise self.bad(f"op code {operation} does not exist on this module")
        if len(args) == 2:
            job.info(f"+USECPRF: {number},{operation},{self._shown(self.profiles[number], operation)}")
        else:
            self.profiles[number] = self._set(self.profiles[number], operation, args)

    def _has(self, operation: int) -> bool:
        facts = self.module.facts
        optional = {
            10: facts.sni,
            11: facts.root_of_trust,
            12: facts.pinning,
            13: facts.resumption,
            14: facts.zero_touch,
        }
        return optional.get(operation, True)

    # --- queries --------------------------------------------------------------------------------------------------

    @staticmethod
    def _shown(profile: Profile, operation: int) -> str:
        """Return the value as a query shows it; secrets are not."""
        if operation in _NUMBERS:
            return str(getattr(profile, _NUMBERS[operation]))
        match operation:
            case 2:
                return str(profile.suites)
            case 7 | 8:
                return '""'
            case 9:
                return f'"{profile.identity.decode("latin-1")}"'
            case 12:
                return f'"{profile.pinned}",{profile.pin_level}'
            case 13:
                return f"0,{int(profile.resumption.on)}"
        return f'"{getattr(profile, _NAMES[operation])}"'

    # --- settings -------------------------------------------------------------------------------------------------

    def _set(self, profile: Profile, operation: int, args: Args) -> Profile:
        if operation in _NUMBERS:
            return self._set_number(profile, operation, args)
        if operation in _NAMES:
            args.count(3, 3)
            text = args.text(2, longest=_LIMITS[operation])
            self._check_stored(operation, text)
            return _changed(profile, _NAMES[operation], text)
        special: dict[int, Callable[[Profile, Args], Profile]] = {
            2: self._set_suites,
            8: lambda profile, args: replace(profile, psk=self._secret(args, LONGEST_PSK)),
            9: lambda profile, args: replace(profile, identity=self._secret(args, LONGEST_IDENTITY)),
            12: self._set_pin,
            13: self._set_resumption,
        }
        return special[operation](profile, args)

    def _set_number(self, profile: Profile, operation: int, args: Args) -> Profile:
        args.count(3, 3)
        most = {0: 3, 1: self.module.newest, 11: 1, 14: 2}[operation]
        value = args.number(2, 0, most)
        if operation == 0 and value >= 2 and not profile.host and self.variants["nameless-level"] == "refuse":
            raise self.bad(f"level {value} without a host name")
        return _changed(profile, _NUMBERS[operation], value)

    def _check_stored(self, operation: int, name: str) -> None:
        if self.variants["absent-name"] == "usoco" or operation not in _STORED or not name:
            return
        if self.module.store.find(_STORED[operation], name) is None:
            raise self.chosen_refusal("missing-name")

    def _set_suites(self, profile: Profile, args: Args) -> Profile:
        first = args.number(2, 0, LIST)
        if first not in {ONE, LIST}:
            args.count(3, 3)
            if first > self.variants.number("legacy-suites"):
                raise self.bad(f"suite {first}")
            return replace(profile, suites=SuiteChoice(0, first))
        if first not in self.module.facts.styles:
            raise self.bad(f"this module has no form {first}")
        args.count(5, 6 if first == LIST else 5)
        chosen = code(args.text(3), args.text(4))
        if chosen is None:
            raise self.bad("not a suite")
        if first == ONE:
            if profile.suites.style == ONE and self.variants["second-suite"] == "fail":
                raise self.bad("a suite is chosen already")
            return replace(profile, suites=profile.suites.with_code(ONE, chosen))
        if args.number(5, 0, 1, 0) == 0:
            return replace(profile, suites=profile.suites.with_code(LIST, chosen))
        left = profile.suites.without(chosen)
        if left is None:
            raise self.bad("not on the list")
        return replace(profile, suites=left)

    def _secret(self, args: Args, longest: int) -> bytes:
        args.count(3, 4 if self.module.facts.typed_psk else 3)
        kind = args.number(3, ASCII, HEX, ASCII)
        text = args.text(2, longest=longest * (2 if kind == HEX else 1))
        if kind == ASCII:
            return text.encode("utf-8", "surrogateescape")
        if not re.fullmatch(r"([0-9A-Fa-f]{2})*", text):
            raise self.bad("not hexadecimal")
        return bytes.fromhex(text)

    def _set_pin(self, profile: Profile, args: Args) -> Profile:
        args.count(4, 4)
        name = args.text(2, longest=LONGEST_NAME)
        self._check_stored(12, name)
        return replace(profile, pinned=name, pin_level=args.number(3, 0, 2))

    def _set_resumption(self, profile: Profile, args: Args) -> Profile:
        args.count(4, 5)
        tag = args.number(2, 0, 12)
        now = profile.resumption
        match tag:
            case 0:
                args.count(4, 4)
                now = replace(now, on=args.number(3, 0, 1) == 1)
            case 1:
                args.count(4, 4)
                kind = args.number(3, SESSION_ID, ENCRYPTED)
                if kind not in {SESSION_ID, ENCRYPTED}:
                    raise self.bad(f"resumption type {kind}")
                now = replace(now, kind=kind, data=() if kind != now.kind else now.data)
            case 2:
                args.count(5, 5)
                now = replace(now, data=(self._base64(args, 3, LONGEST_ID), self._base64(args, 4, LONGEST_SECRET)))
            case 12:
                args.count(5, 5)
                data = args.text(3, longest=4096)
                if args.number(4, 0, 4096) != len(data):
                    raise self.bad("the size is not that of the data")
                now = replace(now, data=(data,))
            case _:
                raise self.bad(f"resumption tag {tag}")
        return replace(profile, resumption=now)

    def _base64(self, args: Args, index: int, longest: int) -> str:
        text = args.text(index, longest=longest)
        if len(text) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text):
            raise self.bad("not base64")
        return text

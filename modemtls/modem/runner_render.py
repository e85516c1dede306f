"""What a program is going to send, made and checked before its first byte goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modemtls.at.exchange import Exchange, Expected
from modemtls.errors import ConfigurationError, ModemError
from modemtls.profile.model import Payload
from modemtls.profile.operations import FAMILIES, INPUT_NEEDS, OPEN_NEEDS, family_of
from modemtls.profile.quoting import check_input
from modemtls.profile.template import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.at.exchange import Topic
    from modemtls.profile.model import Program, SendStep
    from modemtls.profile.profile import Profile

__all__ = ["check_bindings", "payload_bytes", "render"]

# Operations of a family of sockets that move bytes, and which of the profile's limits goes for them.
_MOVING = {"send": "send", "sendto": "send", "receive": "receive", "receivefrom": "receive"}
# Limits of the profile on inputs: (operation or "" for any, input, limit).
_LENGTHS = (("", "host", "host"), ("pdp_configure", "apn", "apn"))
_SIZES = {f"{family}_{op}": what for family in FAMILIES for op, what in _MOVING.items()}
# These are told which family the context is for.
_OF_CONTEXTS = frozenset({"tls_configure", "tls_verify"})


def payload_bytes(payload: Payload, lookup: Callable[[str], object]) -> bytes:
    """Return what follows the prompt, without its end mark. Raises ConfigurationError if it cannot be sent."""
    if payload.template is not None:
        data = payload.template.render(lookup)[0]
    else:
        assert payload.name is not None
        value = lookup(payload.name)
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise ConfigurationError(f"{payload.name}: bytes expected, not {type(value).__name__}")
        data = bytes(value)
    if payload.codec is not None:
        data = payload.codec.convert(data)  # type: ignore[assignment]
    if payload.hexadecimal:
        return data.hex().upper().encode("ascii")
    for mark in payload.refused:
        if mark in data:
            raise ConfigurationError(
                f"{payload.name or 'data'}: contains {mark!r}, which this modem does not take as data"
            )
    return data


def render(step: SendStep, lookup: Callable[[str], object], op: str = "") -> Exchange:
    """Return the exchange of a step of program ``op``. Raises ConfigurationError for a value that cannot be sent."""
    data = b""
    payload = step.payload
    chunk, pause, quiet, end = 0, 0.0, 0.0, b""
    if payload is not None:
        data = payload_bytes(payload, lookup)
        chunk, pause, quiet, end = payload.chunk, payload.pause, payload.quiet, payload.end
        size = len(data)
        line, shown = step.line.render(lambda name: size if name == "payload_size" else lookup(name))
    else:
        line, shown = step.line.render(lookup)
    return Exchange(
        line=line,
        shown=shown if MASK in shown else "",
        terminator=step.terminator,
        lines=tuple([
            Expected(rule.pattern, {name: _plain(lookup(name)) for name in rule.pattern.bound}, rule.repeat)  # type: ignore[arg-type]
            for rule in step.lines
        ]),
        finals=step.finals,
        prompt=step.prompt,
        payload=data,
        payload_end=end,
        payload_secret=payload is not None and payload.secret,
        payload_chunk=chunk,
        payload_pause=pause,
        payload_quiet=quiet,
        timeout=step.timeout.seconds(lookup),
        blocking=step.blocking,
        input_timeout=step.input_timeout,
        topic=_topic(op, lookup),
        most=_most(step, lookup),
    )  # fmt: skip


def _topic(op: str, lookup: Callable[[str], object]) -> Topic | None:
    """Return whose data an operation of a socket moves."""
    family, _, rest = op.partition("_")
    socket = lookup("socket") if family in FAMILIES and rest else None
    return (family, socket) if isinstance(socket, int) else None


def _most(step: SendStep, lookup: Callable[[str], object]) -> int:
    """Return how many bytes of payload the answer brings at most: 0 if nobody knows, -1 if it brings none."""
    if all(rule.pattern.payload is None for rule in step.lines):
        return -1
    size = lookup("size")
    return size if isinstance(size, int) else 0


def _plain(value: object) -> str:
    if value is None:
        raise ModemError("a value that the answer is compared with is missing")
    return str(value)


def check_bindings(
    profile: Profile, program: Program, bindings: Mapping[str, Any], flags: Callable[[str], object]
) -> None:
    """Check everything that can be checked before the first byte.

    Raises ConfigurationError for a value that can never work, NotSupportedError for one that this modem cannot do.
    """
    op = program.name
    for name in bindings:
        if name not in program.inputs:
            raise ConfigurationError(f"{op}: no input {name}")
    for one in program.inputs.values():
        value = bindings.get(one.name)
        if value is None:
            if not one.optional:
                raise ConfigurationError(f"{op}: {one.name} is needed")
            continue
        check_input(one.name, one.type, value, one.words)
    needs = {**INPUT_NEEDS, **OPEN_NEEDS} if op.endswith(("_open", "_bind")) else INPUT_NEEDS
    family = "dtls" if op in _OF_CONTEXTS and bindings.get("dtls") else family_of(op)
    for name, capability in needs.items():
        if name in program.inputs and bindings.get(name) not in {None, False}:
            profile.require(capability, flags, family=family)
    if "suites" in program.inputs:
        _check_tls(profile, bindings, flags)
    if "receive" in program.inputs:
        profile.require(str(bindings["receive"]), flags)
    _check_limits(profile, op, bindings)
    for use in program.uses:
        if not use.needed(bindings.get):
            continue
        what = use.what
        if isinstance(what, Payload):
            payload_bytes(what, bindings.get)
        elif (given := bindings.get(what.name)) is not None:
            what.write(given) if what.kind is not None else what.value(given)


def _check_tls(profile: Profile, bindings: Mapping[str, Any], flags: Callable[[str], object]) -> None:
    tokens = profile.tokens()
    suites = bindings["suites"]
    if profile.suites is None:
        if suites:
            profile.require("suites", flags)
    elif any(str(one) != str(profile.suites.all) for one in suites):
        profile.require("suites", flags)
        if profile.suites.mode == "one" and len(suites) > 1:
            raise ConfigurationError("suites: this modem takes one cipher suite or all, not a list")
    for name, one in (("version", bindings["version"]), *[("suites", one) for one in suites]):
        if tokens and str(one) not in tokens:
            raise ConfigurationError(f"{name}: {one!r} is not in the tables of profile {profile.name}")


def _check_limits(profile: Profile, op: str, bindings: Mapping[str, Any]) -> None:
    limits = profile.limits
    for where, name, limit in _LENGTHS:
        value = bindings.get(name)
        if where in {"", op} and isinstance(value, str) and limit in limits and len(value) > limits[limit]:
            raise ConfigurationError(f"{name}: {len(value)} characters, this modem takes {limits[limit]}")
    if op.startswith("credential_"):
        stored = bindings.get("name")
        if isinstance(stored, str):
            if "credential_name" in limits and len(stored) > limits["credential_name"]:
                most = limits["credential_name"]
                raise ConfigurationError(f"name: {len(stored)} characters, this modem takes {most}")
            if "credential_names" in limits and stored not in limits["credential_names"]:
                raise ConfigurationError(f"name: this modem has only {', '.join(limits['credential_names'])}")
    size, most = bindings.get("size"), None
    if op == "credential_write":
        most = limits.get("credential_size")
    elif op in _SIZES:
        most = profile.size(family_of(op), _SIZES[op])
    if isinstance(size, int) and most is not None and size > most:
        raise ConfigurationError(f"size: {size} bytes, this modem takes {most}")
    for name in ("psk_identity", "psk_key"):
        value, most = bindings.get(name), limits.get(name)
        if isinstance(value, bytes) and most is not None and len(value) > most:
            raise ConfigurationError(f"{name}: {len(value)} bytes, this modem takes {most}")

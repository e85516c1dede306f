"""What a program is going to send, made and checked before its first byte goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modemtls.at.exchange import Exchange, Expected
from modemtls.errors import ConfigurationError, ModemError
from modemtls.profile.operations import INPUT_NEEDS
from modemtls.profile.quoting import check_input
from modemtls.profile.template import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modemtls.profile.model import Payload, Program, SendStep
    from modemtls.profile.profile import Profile

__all__ = ["check_bindings", "payload_bytes", "render"]

# Limits of the profile on inputs: (operation or "" for any, input, limit).
_LENGTHS = (("", "host", "host"), ("pdp_configure", "apn", "apn"))
_SIZES = (
    ("credential_write", "size", "credential_size"),
    ("tls_send", "size", "send"),
    ("tls_receive", "size", "receive"),
    ("tcp_send", "size", "tcp_send"),
    ("tcp_receive", "size", "tcp_receive"),
)


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
    for mark in (payload.end, *[bytes([one]) for one in payload.forbid]):
        if mark and mark in data:
            raise ConfigurationError(
                f"{payload.name or 'data'}: contains {mark!r}, which this modem does not take as data"
            )
    return data


def render(step: SendStep, lookup: Callable[[str], object]) -> Exchange:
    """Return the exchange of a step. Raises ConfigurationError for a value that cannot be sent."""
    data = b""
    payload = step.payload
    chunk, pause, guard, end = 0, 0.0, step.guard, b""
    if payload is not None:
        data = payload_bytes(payload, lookup)
        chunk, pause, end = payload.chunk, payload.pause, payload.end
        if payload.quiet:  # silence before the escape, and behind it before the next command
            chunk, pause, guard = len(data), payload.quiet, max(guard, payload.quiet)
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
        timeout=step.timeout.seconds(lookup),
        blocking=step.blocking,
        input_timeout=step.input_timeout,
        guard=guard,
    )  # fmt: skip


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
    if op in {"tls_configure", "tls_verify"}:
        _check_tls(profile, bindings, flags)
    elif op in {"tls_open", "tcp_open"}:
        profile.require(str(bindings["receive"]), flags)
    _check_limits(profile, op, bindings)
    for use in program.uses:
        given = bindings.get(use.name)
        if given is None:
            continue
        if use.kind is not None:
            use.write(given)
        else:
            use.value(given)
    for payload in program.payloads:
        payload_bytes(payload, bindings.get)


def _check_tls(profile: Profile, bindings: Mapping[str, Any], flags: Callable[[str], object]) -> None:
    for name, capability in INPUT_NEEDS.items():
        if bindings.get(name) not in {None, False}:
            profile.require(capability, flags)
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
    for where, name, limit in _SIZES:
        size = bindings.get(name)
        if where == op and isinstance(size, int) and limit in limits and size > limits[limit]:
            raise ConfigurationError(f"{name}: {size} bytes, this modem takes {limits[limit]}")

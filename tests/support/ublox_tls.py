"""A simulated u-blox module under security profile 1, and the certificates that tests show it."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator

import pytest

from tests.support.pki import Leaf, Pki
from tests.support.ublox import R5, Module

NAME = "server.example"
NOW = datetime.datetime.now(datetime.UTC)
STRICT = ('3,"ca"', f'4,"{NAME}"', f'10,"{NAME}"', "1,3", "0,3")


@pytest.fixture(name="leaves", scope="module")
def leaves_fixture(pki: Pki) -> dict[str, Leaf]:
    other = Pki.__new__(Pki)
    Pki.__init__(other, pki.folder / "..")
    return {
        "good": pki.leaf(NAME),
        "ecdsa": pki.leaf(NAME, ecdsa=True),
        "wrong": pki.leaf("other.example"),
        "expired": pki.leaf(NAME, days=(-30, -1)),
        "future": pki.leaf(NAME, days=(1, 30)),
        "unknown": other.leaf(NAME),
        "self": pki.self_signed(NAME),
        "san-only": pki.intermediate(NAME),
        "cn-only": pki.common_name_only(NAME),
    }


@contextlib.contextmanager
def module(pki: Pki, port: int, *settings: str, model: str = R5, variants=(), clock=NOW) -> Iterator[Module]:
    """A module with the CA stored and these settings of profile 1."""
    with Module(model, *variants, maps=[f"{NAME}=127.0.0.1:{port}"], clock=clock) as made:
        assert b"OK" in made.store(0, "ca", pki.ca.read_bytes())
        made.ok("AT+USECPRF=1", *(f"AT+USECPRF=1,{setting}" for setting in settings))
        yield made


def outcome(made: Module) -> bool:
    """Connect under profile 1; whether that worked."""
    answer = made.open(NAME, 443, profile=1)
    if answer == b"\r\nOK\r\n":
        return True
    assert answer.startswith(b"\r\nERROR\r\n"), answer
    return False


def reasons(made: Module) -> str:
    return "\n".join(made.machine.trace.notes)

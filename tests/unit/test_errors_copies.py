"""An error can be raised again in another thread, or sent to another process, and is then what it was."""

from __future__ import annotations

import copy
import pickle

import pytest

from modemtls import errors
from modemtls.at.job import text_of

SAMPLES = [
    errors.ModemError("plain"),
    errors.ModemError("numbered", number=5),
    errors.SocketClosedError("closed"),
    errors.NotSupportedError("no", capability="sni", choices=("a", "b")),
    errors.CommandError(
        "refused", command="AT", namespace="open", modem_code=566, kind="connect_or_handshake", text="t"
    ),
    errors.NameResolutionError("unknown"),
    errors.CertificateError("expired"),
    errors.ConnectOrHandshakeError("either"),
    errors.ModemTimeoutError("late"),
    errors.ConfigurationError("bad"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("how", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies(error, how):
    again = how(error)
    assert type(again) is type(error)
    assert again is not error
    assert str(again) == str(error)
    assert again.errno == error.errno
    assert again.args == error.args
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    "nasty", ["\x1b[31m", "\x07", "\x9b5m", "\u202e", "\u2066", "\u200b", "\u2028", "\r", "\x7f", "\udc9b", "\0"]
)
def test_no_error_carries_what_a_terminal_would_act_upon(nasty):
    error = errors.CommandError(f"refused: {nasty}x", modem_code=f"{nasty}y", text=f"{nasty}z")
    for text in (str(error), error.message, error.args[-1], error.modem_code, error.text):
        assert text.isprintable()
        assert text[-1] in "xyz"
    assert str(errors.ModemError(f"several\nlines{nasty}")).count("\n") == 1
    assert str(errors.ModemError(str(error))) == str(error), "escaped once"


def test_messages_are_bounded():
    assert len(str(errors.ModemError("9" * 100_000))) < 2100
    for value in ("9" * 100_000, b"9" * 100_000, 10**100_000, ["9" * 100_000]):
        assert len(errors.quoted(value)) < 250
    assert errors.quoted("a\x9b") == r"'a\x9b'"
    assert errors.quoted(65536) == "65536"


def test_a_line_of_the_modem_is_text_that_can_be_shown():
    assert text_of(b"+X: \x1b[31m\xc2\x9b\xff\xe2\x80\xae\0") == r"+X: \x1b[31m\x9b\xff\u202e\x00"
    assert text_of("Zürich".encode()) == "Zürich"

"""An error can be raised again in another thread, or sent to another process, and is then what it was."""

from __future__ import annotations

import copy
import pickle

import pytest

from modemtls import errors

SAMPLES = [
    errors.ModemError("plain"),
    errors.ModemError("numbered", number=5),
    errors.SocketClosedError("closed"),
    errors.NotSupportedError("no", capability="sni", choices=("a", "b")),
    errors.CommandError("refused", command="AT", namespace="open", code=566, kind="connect_or_handshake", text="t"),
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

"""Errors as the contract's portable pairs."""

from __future__ import annotations

import errno

import pytest

from modemtls import errors
from modemtls.net import Category, Errno, error_pair


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NameResolutionError("x"), Errno.EADDRNOTAVAIL),
        (errors.ConnectOrHandshakeError("x"), Errno.ECONNREFUSED),
        (errors.CertificateError("x"), Errno.EPROTO),
        (errors.HandshakeError("x"), Errno.EPROTO),
        (errors.ModemTimeoutError("x"), Errno.ETIMEDOUT),
        (errors.NotSupportedError("x", capability="y"), Errno.ENOTSUP),
        (errors.ConfigurationError("x"), Errno.EINVAL),
        (errors.PortLostError("x"), Errno.ECONNRESET),
        (errors.ModemError("x"), Errno.UNKNOWN),
        (errors.ModemError("x", number=errno.EBUSY), Errno.UNKNOWN),
        (TimeoutError("timed out"), Errno.ETIMEDOUT),
        (ValueError("x"), Errno.UNKNOWN),
    ],
)
def test_pairs(error, code):
    assert error_pair(error) == (Category.ERRNO, code)


def test_the_numbers_are_the_contracts_own_and_not_the_platforms():
    assert (Category.ERRNO, Category.TLS_ALERT, Category.TLS_LIBRARY) == (37766, 8572, 8573)
    assert (Errno.ECONNRESET, Errno.EMSGSIZE, Errno.UNKNOWN) == (14, 31, 65535)
    assert Errno.ECONNRESET != errno.ECONNRESET


@pytest.mark.parametrize(
    ("error", "pair"),
    [
        (errors.HandshakeError("x", alert=(2, 40)), (Category.TLS_ALERT, 0x0228)),
        (errors.TlsError("x", alert=(2, 20), library_code=0x7780), (Category.TLS_ALERT, 0x0214)),
        (errors.CertificateError("x", library_code=0x2700), (Category.TLS_LIBRARY, 9984)),
        (errors.TlsError("x"), (Category.ERRNO, Errno.EPROTO)),
        (errors.TruncatedError("x", data=b"part"), (Category.ERRNO, Errno.EMSGSIZE)),
        (errors.CredentialError("x"), (Category.ERRNO, Errno.EPROTO)),
        (errors.CommandError("x", modem_code=566), (Category.ERRNO, Errno.EIO)),
    ],
)
def test_every_error_carries_its_pair(error, pair):
    assert (error.category, error.code) == error.pair == error_pair(error) == pair


def test_an_error_of_another_kind_has_a_pair_as_well():
    assert error_pair(FileNotFoundError(errno.ENOENT, "x")) == (Category.ERRNO, Errno.ENOENT)

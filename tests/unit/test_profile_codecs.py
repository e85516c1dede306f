"""Neutral codecs, against vectors from manuals and against the standard library."""

from __future__ import annotations

import base64
import hashlib

import pytest

from modemtls.errors import ConfigurationError
from modemtls.profile.codecs import CODECS, der, is_pem, pem_lf, xor16

DER = bytes([0x30, 0x82, 0x01, 0x00]) + bytes(range(256))
BODY = base64.encodebytes(DER).decode()
PEM = f"-----BEGIN CERTIFICATE-----\n{BODY}-----END CERTIFICATE-----\n".encode()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0x0),
        (b"A", 0x4100),
        (b"abc", 0x262),
        (b"test", 0x711),
        (b"hello", 0x6B09),
        (b"1234567890", 0x3938),
        (b"Test data from SSL", 0x7D21),
    ],
)
def test_xor16(data, value):
    # BG96 FILE AT Commands Manual V1.1: rule in 2.4 note 2, the digits' value in example 3.1.1.1.
    assert xor16(data) == value


def test_digests_over_the_der_form():
    assert der(PEM) == DER
    assert der(DER) == DER
    assert CODECS["md5der"].convert(PEM) == CODECS["md5der"].convert(DER) == hashlib.md5(DER).hexdigest()
    assert CODECS["sha256der"].convert(PEM) == hashlib.sha256(DER).hexdigest()
    assert CODECS["sha256"].convert(PEM) == hashlib.sha256(PEM).hexdigest()
    with pytest.raises(ConfigurationError, match="neither PEM nor DER"):
        der(b"something else")


def test_pem_with_lf_only():
    assert pem_lf(PEM.replace(b"\n", b"\r\n")) == PEM
    assert CODECS["size"].convert(pem_lf(PEM.replace(b"\n", b"\r\n"))) == len(PEM)
    with pytest.raises(ConfigurationError, match="not PEM"):
        pem_lf(b"no certificate")


@pytest.mark.parametrize(
    "data",
    [
        PEM + b'"\rAT+CFUN=0\r',
        b"x" + PEM,
        PEM.replace(b"CERTIFICATE-----\n", b'CERTIFICATE-----\n"\n', 1),
        PEM.replace(b"-----END CERTIFICATE", b"-----END KEY"),
        b"",
        PEM[:-20],
    ],
)
def test_what_is_no_pem(data):
    assert not is_pem(data)


def test_chains_are_pem():
    assert is_pem(PEM + PEM)
    assert is_pem(PEM + b"\n" + PEM.rstrip())

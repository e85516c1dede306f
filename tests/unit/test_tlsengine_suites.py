"""The table of cipher suites, against what the stacks themselves say."""

from __future__ import annotations

import subprocess

import pytest

from modemtls.tlsengine.openssl_library import SSL
from modemtls.tlsengine.suites import SUITES, Authentication, listed, openssl_suite, select, unlisted
from tests.support.servers import need

# Not in the table: no encryption, nobody authenticated, SRP, DSA; SEED and IDEA, which a default build has not.
LEFT_OUT = ("NULL", "ADH-", "AECDH-", "SRP-", "DSS", "SEED", "IDEA")


def test_nothing_that_openssl_has_is_missing():
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.set_tls13_ciphersuites(b":".join(suite.openssl.encode() for suite in SUITES.values() if suite.tls13))
    theirs = SSL.Connection(context, None).get_cipher_list()
    assert {name for name in theirs if not any(part in name for part in LEFT_OUT)} == {
        suite.openssl for suite in SUITES.values() if suite.openssl
    }


@pytest.mark.server
def test_numbers_and_names_are_the_openssl_programs():
    done = subprocess.run(
        [need("openssl"), "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = 0
    for line in done.stdout.splitlines():
        number, _, name, _, openssl = line.split()[:5]
        suite = SUITES.get(int(number.replace("0x", "").replace(",", ""), 16))
        if suite is None:
            assert any(part in openssl for part in LEFT_OUT), openssl
            continue
        seen += 1
        assert (suite.name, suite.openssl) == (name, openssl)
        kind = line.split()[7].partition("=")[2]
        assert suite.authentication.value == {
            "any": "any", "PSK": "psk", "RSA": "psk and certificate" if "RSA_PSK" in name else "certificate",
        }.get(kind, "certificate"), name  # fmt: skip
    assert seen > 90


@pytest.mark.parametrize(
    ("number", "payload"),
    [(0xC0A8, 1443), (0xC0AE, 1443), (0xC0A4, 1435), (0xC02B, 1435), (0xCCAB, 1443), (0xC027, 1407), (0xC013, 1407)],
)
def test_what_a_link_of_1500_bytes_carries(number, payload):
    assert SUITES[number].payload(1500 - 28) == payload


def test_a_connection_id_costs_its_length_and_a_byte():
    suite = SUITES[0xC0A8]
    assert suite.payload(500) - suite.payload(500, b"12345678") == 9
    assert suite.payload(500, b"") == suite.payload(500, None)
    assert suite.overhead() == 29
    assert suite.payload(20) < 0


def test_lists():
    assert [suite.number for suite in listed((0xC0A8, 0x0005, 0x1301, 0xC0A8))] == [0xC0A8, 0x1301]
    assert unlisted((0xC0A8, 0x0005, 0xFAFA, 0x0005)) == (0x0005, 0xFAFA)
    assert openssl_suite("PSK-AES128-CCM8") is SUITES[0xC0A8]
    assert openssl_suite("RC4-SHA") is None


@pytest.mark.parametrize("datagram", [False, True])
def test_what_fits_the_way_of_authentication(datagram):
    keys = select(None, certificate=False, psk=True, datagram=datagram)
    certificates = select(None, certificate=True, psk=False, datagram=datagram)
    assert {suite.authentication for suite in keys if not suite.tls13} == {Authentication.PSK}
    assert {suite.authentication for suite in certificates if not suite.tls13} == {Authentication.CERTIFICATE}
    for chosen in (keys, certificates):
        assert any(suite.tls13 for suite in chosen) is not datagram
        assert any(suite.short_tag for suite in chosen) is datagram
        secret = [suite.forward_secret for suite in chosen]
        assert secret == sorted(secret, reverse=True)
    both = select((0xC0A8, 0x1301, 0xC02B), certificate=True, psk=True, datagram=False, tls13=False)
    assert [suite.number for suite in both] == [0xC0A8, 0xC02B]
    assert select((0xC0A8, 0x1301), certificate=True, psk=True, datagram=False, tls12=False) == (SUITES[0x1301],)

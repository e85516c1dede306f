"""The security profiles of the simulated u-blox modules mean what the documents say, to real TLS servers."""

from __future__ import annotations

import datetime
import ssl

import pytest

from tests.support.pki import Leaf
from tests.support.servers import openssl_server
from tests.support.ublox import R4, R5, line, tls
from tests.support.ublox_tls import (
    NAME,
    NOW,
    STRICT,
    leaves_fixture,  # noqa: F401
    module,
    outcome,
    reasons,
)


@pytest.mark.parametrize(
    ("leaf", "accepted", "reason"),
    [
        ("good", True, "TLSv1.2"),
        ("ecdsa", True, "ECDSA"),
        ("san-only", True, "TLSv1.2"),
        ("wrong", False, "hostname mismatch"),
        ("expired", False, "expired"),
        ("future", False, "not yet valid"),
        ("unknown", False, "unable to get local issuer"),
        ("self", False, "self-signed"),
    ],
)
def test_level_3_accepts_only_what_is_right(pki, leaves, leaf, accepted, reason):
    with tls(leaves[leaf]) as (port, _), module(pki, port, *STRICT) as made:
        assert outcome(made) is accepted
        assert reason in reasons(made)


@pytest.mark.parametrize(
    ("level", "accepted"),
    [
        (0, {"good", "wrong", "expired", "future", "unknown", "self"}),
        (1, {"good", "wrong", "expired", "future"}),
        (2, {"good", "expired", "future"}),
        (3, {"good"}),
    ],
)
def test_each_level_checks_as_much_as_it_says(pki, leaves, level, accepted):
    seen = set()
    for leaf in ("good", "wrong", "expired", "future", "unknown", "self"):
        with tls(leaves[leaf]) as (port, _), module(pki, port, *STRICT[:-1], f"0,{level}") as made:
            if outcome(made):
                seen.add(leaf)
    assert seen == accepted


@pytest.mark.parametrize(("model", "accepted"), [(R4, True), (R5, False)])
def test_what_a_reset_profile_lets_in(pki, leaves, model, accepted):
    """SARA-R41 begins with no validation, SARA-R5 with the chain checked."""
    with tls(leaves["unknown"]) as (port, _), module(pki, port, model=model) as made:
        assert outcome(made) is accepted


def test_usosec_without_a_profile_checks_nothing(pki, leaves):
    with tls(leaves["unknown"]) as (port, _), module(pki, port) as made:
        assert made.command("AT+USOCR=6") == line("+USOCR: 0")
        made.ok("AT+USOSEC=0,1")
        assert made.command("AT+USOSEC=0") == line("+USOSEC: 0,1")
        assert made.ask(f'AT+USOCO=0,"{NAME}",443', b"\r\n") + made.read() == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    ("leaf", "settings", "variants", "accepted"),
    [
        ("good", ('3,""', "0,1"), (), True),  # any root
        ("good", ('3,"other"', "0,1"), (), False),
        ("good", ('4,""', "0,2"), (), False),
        ("good", ('4,""', "0,2"), ("empty-name=pass",), True),
        ("good", ('4,"OTHER.example"', "0,2"), (), False),
        ("good", (f'4,"{NAME.upper()}"', "0,2"), (), True),
        ("good", (f'4,"{NAME}"', "0,2"), ("host-names=cn",), True),
        ("wrong", (f'4,"{NAME}"', "0,2"), ("host-names=cn",), False),
        ("san-only", (f'4,"{NAME}"', "0,2"), ("host-names=cn",), False),
        ("san-only", (f'4,"{NAME}"', "0,2"), ("host-names=either",), True),
        ("wrong", (f'4,"{NAME}"', "0,2"), ("host-names=either",), False),
    ],
)
def test_names_and_roots(pki, leaves, leaf, settings, variants, accepted):
    with tls(leaves[leaf]) as (port, _), module(pki, port, *settings, variants=variants) as made:
        assert outcome(made) is accepted


def test_without_any_root_levels_above_0_fail(pki, leaves):
    with tls(leaves["good"]) as (port, _), module(pki, port, "0,1") as made:
        made.ok('AT+USECMNG=2,0,"ca"')
        assert outcome(made) is False
        assert "no root in the store" in reasons(made)


def test_level_3_asks_the_modules_own_clock(pki, leaves):
    with tls(leaves["good"]) as (port, _), module(pki, port, *STRICT, clock=None) as made:
        assert outcome(made) is False  # 1980
        assert "not yet valid" in reasons(made)
        made.ok(f'AT+CCLK="{NOW:%y/%m/%d,%H:%M:%S}+00"')
        assert outcome(made) is True


def test_sni_is_what_op_code_10_says_and_nothing_else(pki, leaves):
    with tls(leaves["good"]) as (port, seen):
        for name in (NAME, "sni.example", ""):
            with module(pki, port, "0,0", f'10,"{name}"') as made:
                assert outcome(made)
        assert seen.names == [NAME, "sni.example", None]


@pytest.mark.parametrize(
    ("variants", "least", "server", "agreed"),
    [
        ((), 3, (None, None), "TLSv1.2"),  # 00B has no TLS 1.3
        (("firmware=03.15,A00.01",), 3, (None, None), "TLSv1.3"),
        (("firmware=03.15,A00.01",), 4, (None, None), "TLSv1.3"),
        (("firmware=03.15,A00.01",), 4, (None, ssl.TLSVersion.TLSv1_2), None),
        (("firmware=03.15,A00.01", "version=exact"), 3, (None, None), "TLSv1.2"),
        ((), 3, (ssl.TLSVersion.TLSv1_3, None), None),
        ((), 0, (None, ssl.TLSVersion.TLSv1_2), "TLSv1.2"),
    ],
)
def test_versions(pki, leaves, variants, least, server, agreed):
    with (
        tls(leaves["good"], least=server[0], most=server[1]) as (port, seen),
        module(pki, port, *STRICT, f"1,{least}", variants=variants) as made,
    ):
        assert outcome(made) is (agreed is not None)
        if agreed:
            with seen.changed:
                seen.changed.wait_for(lambda: seen.versions, 5)
            assert seen.versions == [agreed]


@pytest.mark.parametrize(
    ("model", "variants", "setting", "cipher"),
    [
        (R5, (), "2,32", "ECDHE-RSA-AES128-GCM-SHA256"),
        (R5, (), '2,99,"c0","30"', "ECDHE-RSA-AES256-GCM-SHA384"),
        (R5, (), '2,100,"C0","28",0', "ECDHE-RSA-AES256-SHA384"),
        (R4, (), "2,2", "AES128-SHA256"),
        (R4, ("module=R422S",), '2,99,"00","9C"', "AES128-GCM-SHA256"),
        (R5, (), "2,5", None),  # 3DES: gone from the stack underneath
        (R5, (), "2,30", None),  # an ECDSA suite, an RSA certificate
        (R5, (), '2,99,"12","34"', None),  # nobody has that
    ],
)
def test_suites(pki, leaves, model, variants, setting, cipher):
    with (
        tls(leaves["good"], ciphers="ALL:@SECLEVEL=0", most=ssl.TLSVersion.TLSv1_2) as (port, seen),
        module(pki, port, "0,0", setting, model=model, variants=variants) as made,
    ):
        assert outcome(made) is (cipher is not None)
        if cipher:
            with seen.changed:
                seen.changed.wait_for(lambda: seen.ciphers, 5)
            assert seen.ciphers == [cipher]


@pytest.mark.parametrize(
    ("own", "accepted"),
    [(("cert", "key"), True), (("cert",), False), (("key",), False), ((), False)],
)
def test_client_certificates(pki, leaves, own, accepted):
    client = pki.client()
    with (
        tls(leaves["good"], client_ca=pki, most=ssl.TLSVersion.TLSv1_2) as (port, seen),
        module(pki, port, *STRICT) as made,
    ):
        made.store(1, "mine", client.cert_pem)
        made.store(2, "mine", client.key_pem)
        for name, operation in (("cert", 5), ("key", 6)):
            if name in own:
                made.ok(f'AT+USECPRF=1,{operation},"mine"')
        assert outcome(made) is accepted
        if accepted:
            with seen.changed:
                seen.changed.wait_for(lambda: seen.clients, 5)
            assert seen.clients[0]


def test_an_encrypted_key_needs_its_password(pki, leaves):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from tests.support.pki import private_pem

    client = pki.client()
    secret = private_pem(load_pem_private_key(client.key_pem, None), b"pass word")  # type: ignore[arg-type]
    with (
        tls(leaves["good"], client_ca=pki, most=ssl.TLSVersion.TLSv1_2) as (port, _),
        module(pki, port, *STRICT) as made,
    ):
        made.store(1, "mine", client.cert_pem)
        assert made.store(2, "mine", secret) == b"\r\n+CME ERROR: 1913\r\n"
        assert made.command(f'AT+USECMNG=0,2,"mine",{len(secret)},"pass word"', limit=0) == b"\r\n>"
        made.write(secret)
        assert b'+USECMNG: 0,2,"mine"' in made.read()
        made.ok('AT+USECPRF=1,5,"mine"', 'AT+USECPRF=1,6,"mine"', 'AT+USECPRF=1,7,"pass word"')
        assert outcome(made)
        assert "pass word" not in "\n".join(made.machine.trace.lines)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_pinning(pki, leaves, level):
    same_key = leaves["good"]
    for pinned, accepted in (("good", True), ("wrong", False)):
        with tls(same_key) as (port, _), module(pki, port, *STRICT) as made:
            made.store(3, "pin", leaves[pinned].cert_pem)
            made.ok(f'AT+USECPRF=1,12,"pin",{level}')
            assert made.command("AT+USECPRF=1,12") == line(f'+USECPRF: 1,12,"pin",{level}')
            assert outcome(made) is accepted
            if not accepted:
                assert "pinning" in reasons(made)


@pytest.mark.parametrize(("level", "accepted"), [(0, True), (1, True), (2, False)])
def test_pinning_of_the_key_and_of_the_certificate(pki, leaves, level, accepted):
    """Another certificate of the same key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    key = load_pem_private_key(leaves["good"].key_pem, None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "renewed")])
    renewed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    with tls(leaves["good"]) as (port, _), module(pki, port, *STRICT) as made:
        made.store(3, "pin", renewed.public_bytes(Encoding.DER))
        made.ok(f'AT+USECPRF=1,12,"pin",{level}')
        assert outcome(made) is accepted


def test_pinning_of_what_is_not_there(pki, leaves):
    with tls(leaves["good"]) as (port, _), module(pki, port, '12,"pin",2') as made:
        assert outcome(made) is False


@pytest.mark.parametrize(("variant", "accepted"), [("yes", False), ("no", True)])
def test_keys_have_to_be_large_enough(pki, tmp_path, variant, accepted):
    small = weak_leaf(tmp_path)
    with (
        openssl_server(tmp_path, small, "-cipher", "ALL:@SECLEVEL=0") as port,
        module(pki, port, "0,0", variants=[f"key-size-floor={variant}"]) as made,
    ):
        assert outcome(made) is accepted
        assert ("1024 bits" in reasons(made)) is not accepted


def weak_leaf(folder) -> Leaf:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    from tests.support.pki import private_pem

    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    made = Leaf(folder / "weak.pem", folder / "weak.key")
    made.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.write_bytes(private_pem(private))
    return made


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        (('8,"00112233445566778899AABBCCDDEEFF",1', '9,"device-17"'), True),
        (('8,"00112233445566778899AABBCCDDEEFF"', '9,"device-17"'), False),  # as text it is another key
        (('8,"00112233445566778899AABBCCDDEEFE",1', '9,"device-17"'), False),
        (('8,"00112233445566778899AABBCCDDEEFF",1', '9,"6465766963652d3137",1'), True),
        (("11,1",), False),  # the root of trust has another
    ],
)
@pytest.mark.parametrize("suite", ["2,0", '2,99,"00","A8"', "2,16"])
def test_pre_shared_keys(pki, leaves, tmp_path, settings, accepted, suite):
    secret = "00112233445566778899aabbccddeeff"
    options = ("-psk", secret, "-psk_identity", "device-17", "-nocert", "-tls1_2", "-cipher", "PSK:@SECLEVEL=0")
    with openssl_server(tmp_path, leaves["good"], *options) as port, module(pki, port, suite, *settings) as made:
        assert outcome(made) is accepted


def test_the_root_of_trusts_own_key(pki, leaves, tmp_path):
    options = ("-psk", "0102030405060708090a0b0c0d0e0f10", "-nocert", "-tls1_2", "-cipher", "PSK")
    rot = "root-of-trust=me:0102030405060708090a0b0c0d0e0f10"
    with openssl_server(tmp_path, leaves["good"], *options) as port, module(pki, port, "11,1", variants=[rot]) as made:
        assert outcome(made)


def test_a_device_certificate_was_never_provisioned(pki, leaves):
    with tls(leaves["good"]) as (port, _), module(pki, port, "0,0", "14,1") as made:
        assert outcome(made) is False
        assert "provisioned" in reasons(made)


def test_four_secure_sockets_at_once(pki, leaves):
    with tls(leaves["good"]) as (port, _), module(pki, port, *STRICT) as made:
        for number in range(4):
            assert made.open(NAME, 443, profile=1, number=number) == b"\r\nOK\r\n"
        assert made.open(NAME, 443, profile=1, number=4).startswith(b"\r\nERROR\r\n")
        made.read()
        made.ok("AT+USOCL=2")
        assert made.open(NAME, 443, profile=1, number=2) == b"\r\nOK\r\n"


def test_a_profile_counts_when_the_connect_is_made(pki, leaves):
    with tls(leaves["unknown"]) as (port, _), module(pki, port, *STRICT) as made:
        made.command("AT+USOCR=6")
        made.ok("AT+USOSEC=0,1,1", "AT+USECPRF=1,0,0")
        assert made.ask(f'AT+USOCO=0,"{NAME}",443', b"\r\n") + made.read() == b"\r\nOK\r\n"

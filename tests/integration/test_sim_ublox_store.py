"""+USECMNG and +USECPRF of the simulated u-blox modules: what is taken, refused, kept and shown."""

from __future__ import annotations

import ssl
from hashlib import md5

import pytest

from tests.support.ublox import (
    ERROR,
    OK,
    R4,
    R5,
    cme,
    line,
    start_fixture,  # noqa: F401
)


@pytest.fixture(name="der")
def der_fixture(pki) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pki.ca.read_text())


def digest(der: bytes) -> str:
    return md5(der).hexdigest()


# --- the store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "der", "pem without line ends", "pem with text in front"])
def test_the_digest_is_of_the_der_whatever_was_sent(start, pki, der, form):
    pem = pki.ca.read_bytes()
    data = {
        "pem": pem,
        "der": der,
        "pem without line ends": pem.replace(b"\n", b""),
        "pem with text in front": b"subject=x\r\n" + pem,
    }[form]
    made = start()
    assert made.store(0, "ca", data) == line(f'+USECMNG: 0,0,"ca","{digest(der)}"')
    assert made.command('AT+USECMNG=4,0,"ca"') == line(f'+USECMNG: 4,0,"ca","{digest(der)}"')
    assert made.command('AT+USECMNG=4,1,"ca"') == cme(1916)  # a name is of a type


def test_r41_writes_digests_in_capitals(start, der):
    assert start(R4).store(0, "ca", der) == line(f'+USECMNG: 0,0,"ca","{digest(der).upper()}"')


@pytest.mark.parametrize(
    ("variant", "form", "answer"),
    [
        ("pem=refuse", "pem", cme(1913)),
        ("pem=refuse", "der", OK),
        ("pem-lines=needed", "one line", cme(1913)),
        ("pem-lines=needed", "pem", OK),
        ("import-answer-op=1", "pem", OK),
    ],
)
def test_what_the_documents_disagree_about(start, pki, der, variant, form, answer):
    pem = pki.ca.read_bytes()
    data = {"pem": pem, "der": der, "one line": pem.replace(b"\n", b"")}[form]
    made = start(R4, variant)
    said = made.store(0, "ca", data)
    assert said.endswith(answer)
    if variant.endswith("op=1"):
        assert said.startswith(b"\r\n+USECMNG: 1,0,")


def test_keys(start, pki):
    client = pki.client()
    made = start()
    assert b'+USECMNG: 0,2,"key","' in made.store(2, "key", client.key_pem)
    assert made.store(2, "key", client.cert_pem) == cme(1913)
    assert made.store(1, "crt", client.key_pem) == cme(1913)
    assert "PRIVATE KEY" not in "\n".join(made.machine.trace.lines)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ('AT+USECMNG=0,0,"x",8193', cme(1911)),
        ('AT+USECMNG=0,0,"x",0', cme(3)),
        ('AT+USECMNG=0,0,"",10', cme(3)),
        (f'AT+USECMNG=0,0,"{"n" * 201}",10', cme(3)),
        ('AT+USECMNG=0,6,"x",10', cme(3)),
        ("AT+USECMNG=0,0,x,10", cme(3)),
        ('AT+USECMNG=0,0,"x"', cme(3)),
        ('AT+USECMNG=0,0,"x",10,"password"', cme(3)),
        (f'AT+USECMNG=0,2,"x",10,"{"p" * 129}"', cme(3)),
        ('AT+USECMNG=5,0,"x"', cme(3)),
        ('AT+USECMNG=1,0,"x","nofile"', cme(1612)),
        ('AT+USECMNG=2,0,"x"', cme(1916)),
        ("AT+USECMNG", cme(3)),
        ('AT+CSQ;+USECMNG=0,0,"x",10', b"\r\n+CSQ: 20,99\r\n" + ERROR),
    ],
)
def test_refusals_before_the_prompt(start, command, answer):
    made = start()
    assert made.command(command) == answer
    made.ok("AT")


def test_type_3_is_for_those_that_pin(start):
    assert start(R4).command('AT+USECMNG=0,3,"x",10') == cme(3)
    assert start(R5).command('AT+USECMNG=0,3,"x",10', limit=0) == b"\r\n>"


def test_there_is_no_way_out_of_the_prompt(start):
    made = start()
    assert made.command('AT+USECMNG=0,0,"x",12', limit=0) == b"\r\n>"
    made.write(b"\x1b\x1a+++AT\r\n")
    assert made.read() == b""
    made.write(b"\x03ATx")
    assert made.read() == cme(1913)  # twelve bytes, and the x is the next line's
    made.write(b"\r")
    made.ok("AT")


@pytest.mark.parametrize(("model", "echoed"), [(R4, True), (R5, False)])
def test_who_echoes_an_import(start, der, model, echoed):
    made = start(model)
    made.command("ATE1")
    made.write(f'AT+USECMNG=0,0,"ca",{len(der)}\r'.encode())
    made.read()
    made.write(der)
    assert made.read().startswith(der) is echoed
    made.command("ATE0")
    assert not made.store(0, "ca", der).startswith(der)


def test_sixteen_entries_and_no_more(start, der):
    made = start()
    for n in range(16):
        assert b"OK" in made.store(0, f"ca{n}", der)
    assert made.command(f'AT+USECMNG=0,0,"one more",{len(der)}') == cme(1914)
    assert b"OK" in made.store(0, "ca3", der)  # replaces
    made.ok('AT+USECMNG=2,0,"ca3"')
    assert b"OK" in made.store(0, "one more", der)
    full = start(R4, "store-full=error", "store-size=1", "replace=1917")
    full.store(0, "ca", der)
    assert full.command(f'AT+USECMNG=0,0,"more",{len(der)}') == ERROR
    assert full.command(f'AT+USECMNG=0,0,"ca",{len(der)}') == cme(1917)


def test_kept_over_restart_and_power_loss(start, der):
    made = start()
    made.store(0, "ca", der)
    made.ok("AT+CFUN=16")
    made.advance(5)
    made.ok("ATE0") if made.read() else made.command("ATE0")
    made.command("AT+CMEE=1")
    assert b"OK" in made.command('AT+USECMNG=4,0,"ca"')
    made.command("AT+CPWROFF")
    made.advance(1)
    made.machine.power_on()
    made.advance(1)
    made.command("ATE0")
    assert b'+USECMNG: 4,0,"ca"' in made.command('AT+USECMNG=4,0,"ca"')


@pytest.mark.parametrize(
    ("model", "variants", "expected"),
    [
        (R5, (), 'CA,"a","{cn}","{date}"\r\nPK,"k"'),
        (R5, ("expiry=date-time",), 'CA,"a","{cn}","{date} {time}"\r\nPK,"k"'),
        (R5, ("list-style=blank-lines",), 'CA,"a","{cn}","{date}"\r\n\r\nPK,"k"'),
        (R5, ("list-style=spaced",), 'CA, "a","{cn}","{date}"\r\nPK, "k"'),
        (R5, ("list-style=quoted-tag",), '"CA","a","{cn}","{date}"\r\n"PK","k"'),
        (R4, (), ' CA,"a","{cn}","{date}"\r\nPK,"k"'),
        (R4, ("list-style=short",), ' CA,"a"\r\nPK,"k"'),
    ],
)
def test_the_list(start, pki, model, variants, expected):
    from cryptography import x509

    leaf = pki.leaf("list.example")
    until = x509.load_pem_x509_certificate(leaf.cert_pem).not_valid_after_utc
    made = start(model, *variants)
    assert made.command("AT+USECMNG=3") == OK
    made.store(2, "k", leaf.key_pem)
    made.store(0, "a", leaf.cert_pem)
    shown = expected.format(cn="list.example", date=f"{until:%Y/%m/%d}", time=f"{until:%H:%M:%S}")
    assert made.command("AT+USECMNG=3") == line(shown)
    assert made.command("AT+USECMNG=3,2").strip().startswith((b"PK", b'"PK"'))
    assert made.command("AT+USECMNG=3,4") == OK


def test_r422_fresh_from_the_box(start, der):
    made = start(R4, "module=R422S", "fresh-store=yes")
    assert made.command(f'AT+USECMNG=0,0,"ca",{len(der)}') == cme(1912)
    assert made.command("AT+ULSTFILE").endswith(OK)
    assert b"OK" in made.store(0, "ca", der)


def test_import_from_a_file(start, pki, der):
    made = start(files={"root.pem": pki.ca.read_bytes()})
    assert made.command('AT+USECMNG=1,0,"ca","root.pem"') == line(f'+USECMNG: 1,0,"ca","{digest(der)}"')
    assert made.command('AT+UDWNFILE="mine",5', limit=0) == b"\r\n>"
    made.write(b"12345")
    assert made.read() == OK
    assert made.command("AT+ULSTFILE") == line('+ULSTFILE: "mine","root.pem"')
    assert made.machine.personality.snapshot()["mine"] == b"12345"
    assert made.command('AT+USECMNG=1,0,"no","mine"') == cme(1913)
    made.ok('AT+UDELFILE="mine"')
    assert made.command('AT+UDELFILE="mine"') == cme(1612)


def test_sara_r4_refuses_unusual_subjects(start):
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "x"), x509.NameAttribute(x509.NameOID.TITLE, "Dr")]
    )
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    )  # fmt: skip
    assert start(R4).store(0, "ca", made) == cme(1913)
    assert b"OK" in start(R5).store(0, "ca", made)


# --- the profiles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variants", "level", "version"),
    [(R5, (), 1, 3), (R4, (), 0, 0), (R4, ("module=R422S",), 1, 3)],
)
def test_what_a_reset_leaves(start, model, variants, level, version):
    made = start(model, *variants)
    made.ok("AT+USECPRF=4,0,3", 'AT+USECPRF=4,3,"x"', "AT+USECPRF=4")
    assert made.command("AT+USECPRF=4,0") == line(f"+USECPRF: 4,0,{level}")
    assert made.command("AT+USECPRF=4,1") == line(f"+USECPRF: 4,1,{version}")
    assert made.command("AT+USECPRF=4,2") == line("+USECPRF: 4,2,0")
    assert made.command("AT+USECPRF=4,3") == line('+USECPRF: 4,3,""')


@pytest.mark.parametrize(
    ("setting", "query", "shown"),
    [
        ("0,2", "0", "0,2"),
        ("1,3", "1", "1,3"),
        ("2,33", "2", "2,33"),
        ('2,99,"c0","2c"', "2", '2,99,"C02C"'),
        ('2,100,"C0","2A",0', "2", '2,100,"C02A"'),
        ('3,"ca"', "3", '3,"ca"'),
        ('4,"host.example"', "4", '4,"host.example"'),
        ('5,"crt"', "5", '5,"crt"'),
        ('6,"key"', "6", '6,"key"'),
        ('7,"secret"', "7", '7,""'),
        ('8,"secret"', "8", '8,""'),
        ('9,"identity"', "9", '9,"identity"'),
        ('10,"sni.example"', "10", '10,"sni.example"'),
        ("11,1", "11", "11,1"),
        ('12,"sc",2', "12", '12,"sc",2'),
        ("13,0,1", "13", "13,0,1"),
        ("14,2", "14", "14,2"),
    ],
)
def test_settings_and_queries_of_sara_r5(start, setting, query, shown):
    made = start()
    made.ok(f"AT+USECPRF=0,{setting}")
    assert made.command(f"AT+USECPRF=0,{query}") == line(f"+USECPRF: 0,{shown}")
    assert "secret" not in "\n".join(made.machine.trace.lines)
    assert "secret" not in repr(made.machine.personality.security.profiles)


@pytest.mark.parametrize(
    "setting",
    [
        "0,4", "0,-1", '0,"1"', "0,1,1", "1,4", "1,5", "2,34", "2,98", '2,99,"C0"', '2,99,"C0","3"', '2,99,"C0","GG"',
        "2,99,C0,30", '2,100,"C0","2A",2', '2,100,"C0","2A",1', f'3,"{"n" * 201}"', "3,ca", f'4,"{"h" * 257}"',
        f'7,"{"p" * 129}"', f'8,"{"k" * 65}"', '8,"0011223",1', '8,"xy",1', '8,"00",2', f'9,"{"i" * 129}"',
        f'10,"{"s" * 129}"', "11,2", '12,"sc"', '12,"sc",3', "13,0,2", "13,1,1", '13,2,"AAAA"', '13,2,"AAA","AAAA"',
        '13,2,"!!!!","AAAA"', '13,12,"AAAA",5', "13,3,1", "14,3", "15,1", "15",
    ],
)  # fmt: skip
def test_wrong_settings(start, setting):
    made = start()
    before = made.machine.personality.security.profiles[0]
    assert made.command(f"AT+USECPRF=0,{setting}") == cme(3)
    assert made.machine.personality.security.profiles[0] == before


@pytest.mark.parametrize(("variant", "answer"), [("4", cme(4)), ("50", cme(50)), ("error", ERROR)])
def test_which_error_that_is_nobody_knows(start, variant, answer):
    made = start(R5, f"bad-parameter={variant}")
    assert made.command("AT+USECPRF=5") == answer
    assert made.command("AT+USECPRF=0,0,4") == answer


@pytest.mark.parametrize(
    ("variants", "setting", "fine"),
    [
        ((), '10,"sni"', False),
        (("module=R410M-03B",), '10,"sni"', True),
        ((), "11,1", False),
        ((), '12,"sc",1', False),
        ((), "13,0,1", False),
        (("module=R422S",), "13,0,1", True),
        ((), "14,1", False),
        ((), '2,99,"C0","30"', False),
        (("module=R422S",), '2,99,"C0","30"', True),
        (("module=R422S",), '2,100,"C0","30",0', False),
        ((), '8,"00",1', False),
        (("module=R422S",), '8,"00",1', True),
        ((), '8,"key"', True),
        ((), "1,4", False),
        (("legacy-suites=19",), "2,20", False),
        (("legacy-suites=19",), "2,19", True),
    ],
)
def test_what_each_sara_r4_has(start, variants, setting, fine):
    assert start(R4, *variants).command(f"AT+USECPRF=0,{setting}") == (OK if fine else cme(3))


def test_tls_1_3_came_with_firmware_01b(start):
    assert start(R5).command("AT+USECPRF=0,1,4") == cme(3)
    start(R5, "firmware=03.15,A00.01").ok("AT+USECPRF=0,1,4")


def test_a_list_of_suites_grows_and_shrinks(start):
    made = start()
    made.ok('AT+USECPRF=0,2,100,"C0","2A",0', 'AT+USECPRF=0,2,100,"C0","2C",0', 'AT+USECPRF=0,2,100,"C0","2C",0')
    assert made.command("AT+USECPRF=0,2") == line('+USECPRF: 0,2,100,"C02A;C02C"')
    made.ok('AT+USECPRF=0,2,100,"C0","2A",1')
    assert made.command("AT+USECPRF=0,2") == line('+USECPRF: 0,2,100,"C02C"')
    made.ok('AT+USECPRF=0,2,99,"C0","30"')
    assert made.command("AT+USECPRF=0,2") == line('+USECPRF: 0,2,99,"C030"')
    made.ok("AT+USECPRF=0,2,0")
    assert made.command("AT+USECPRF=0,2") == line("+USECPRF: 0,2,0")
    picky = start(R4, "module=R422S", "second-suite=fail")
    picky.ok('AT+USECPRF=0,2,99,"C0","30"')
    assert picky.command('AT+USECPRF=0,2,99,"C0","2C"') == cme(3)


def test_a_name_that_is_not_there(start, der):
    start().ok('AT+USECPRF=0,3,"nope"')
    made = start(R5, "absent-name=usecprf")
    assert made.command('AT+USECPRF=0,3,"nope"') == cme(1916)
    made.store(0, "ca", der)
    made.ok('AT+USECPRF=0,3,"ca"', 'AT+USECPRF=0,3,""')


def test_a_level_before_the_name(start):
    made = start(R5, "nameless-level=refuse")
    assert made.command("AT+USECPRF=0,0,2") == cme(3)
    made.ok('AT+USECPRF=0,4,"x"', "AT+USECPRF=0,0,2")


@pytest.mark.parametrize(("variant", "shown"), [("no", "1"), ("yes", "2")])
def test_profiles_and_restarts(start, variant, shown):
    made = start(R5, f"settings-survive={variant}")
    made.ok("AT+USECPRF=0,0,2", "AT+CFUN=16")
    made.advance(5)
    made.command("ATE0")
    assert made.command("AT+USECPRF=0,0").startswith(f"\r\n+USECPRF: 0,0,{shown}".encode())


def test_plain_r422_has_none_of_it(start):
    made = start(R4, "module=R422")
    for command in ("AT+USECMNG=3", "AT+USECPRF=0", "AT+USOSEC=0,1", "AT+USECMNG=?"):
        assert made.command(command) == ERROR

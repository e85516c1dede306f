"""What is written down holds no secret, whoever spoke it and however it was cut; everything else is there, in order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemtls.dialogue.known import default_redactor
from modemtls.dialogue.redact import PayloadRule, Redactor
from modemtls.transcript import Direction, Redacted, join, quote, size

OUT, IN = Direction.OUT, Direction.IN
PEM = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"


def redact(pieces: list[tuple[Direction, bytes]], redactor: Redactor | None = None) -> list[tuple[Direction, str]]:
    """What is written, neighbours of one direction joined."""
    redactor = redactor or Redactor()
    out = []
    for number, (direction, data) in enumerate(pieces):
        out += redactor.feed(float(number), direction, data)
    out += redactor.flush()
    merged: list[list] = []
    for piece in out:
        if merged and merged[-1][0] is piece.direction:
            merged[-1][1] += piece.chunks
        else:
            merged.append([piece.direction, piece.chunks])
    return [(direction, quote(join(chunks))) for direction, chunks in merged]


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (b'AT+CPIN="1234"\r', r'AT+CPIN="{4 bytes redacted}"\r'),
        (b"at+cpin=1234\r", r"at+cpin={4 bytes redacted}\r"),
        (b'AT+CPIN="26601934","1234"\r', r'AT+CPIN="{8 bytes redacted}","{4 bytes redacted}"\r'),
        (b"AT+CPIN?\r", r"AT+CPIN?\r"),
        (b"AT+CPIN=?\r", r"AT+CPIN=?\r"),
        (b'AT+CLCK="SC",2\r', r'AT+CLCK="SC",2\r'),
        (b'AT+CLCK="SC",1,"1234"\r', r'AT+CLCK="SC",1,"{4 bytes redacted}"\r'),
        (b'AT+CPWD="SC","1234","5678"\r', r'AT+CPWD="SC","{4 bytes redacted}","{4 bytes redacted}"\r'),
        (b'AT+CGAUTH=1,2,"me","hush"\r', r'AT+CGAUTH=1,2,"{2 bytes redacted}","{4 bytes redacted}"\r'),
        (b"+CGAUTH: 1,2,me,hu;sh\r", r"+CGAUTH: 1,2,{2 bytes redacted},{5 bytes redacted}\r"),
        (b'AT+CSIM=26,"0020000108313233"\r', r'AT+CSIM=26,"{16 bytes redacted}"\r'),
        (b'AT+XCFG="psk",1,"id","313233"\r', r'AT+XCFG="psk",1,"{2 bytes redacted}","{6 bytes redacted}"\r'),
        (b"AT+XCFG=psk,1,id,31323334\r", r"AT+XCFG=psk,1,{2 bytes redacted},{8 bytes redacted}\r"),
        (b'AT+XLOGIN=0,"me","hush"\r', r'AT+XLOGIN=0,"{2 bytes redacted}","{4 bytes redacted}"\r'),
        (b'AT+XUP="UFS:key.pem",1704\r', r'AT+XUP="UFS:key.pem",1704\r'),
        (b'AT+XMODE="passive","on"\r', r'AT+XMODE="passive","on"\r'),
        (b'AT+XCFG="sni",1,1\r', r'AT+XCFG="sni",1,1\r'),
    ],
)
def test_command_lines(line: bytes, written: str) -> None:
    assert redact([(OUT, line)]) == [(OUT, written)]
    assert redact([(IN, line + b"\r\nOK\r\n")]) == [(IN, written + r"\r\nOK\r\n")], "the echo as well"
    one_by_one = [(OUT, bytes([byte])) for byte in line]
    assert redact(one_by_one) == [(OUT, written)], "typed by hand as well"


WITH_SECRETS = [
    line.encode()
    for line in (
        'AT+CMEE=1;+QICSGP=1,1,"iot","u","zzzzzz",1',
        'AT+QICSGP=1,1,"iot","u","zzzzzz",1',
        'at+qicsgp=1,1,"iot","u","zzzzzz",1',
        'AT+QICSGP= 1,1,"iot","u","zzzzzz",1',
        'AT +QICSGP=1,1,"iot","u","zzzzzz",1',
        'A T + Q I CSGP = 1 , 1 , "iot" , "u" , "zzzzzz" , 1',
        'ATE1+QICSGP=1,1,"iot","u","zzzzzz",1',
        'ATE1V1 +QICSGP=1,1,"iot","u","zzzzzz",1',
        'AT+CPIN ="zzzzzz"',
        'AT+CMEE=1;+CPIN="zzzzzz"',
        'AT+CMEE=1; +CPIN = "zzzzzz"',
        "AT+CPIN=zzzzzz;+CMEE=1",
        'AT+QICSGP=1,1,"i,ot","u","zzzzzz",1',
        'AT+QICSGP=1,1,"i;+CSQ","u","zzzzzz",1',
        "AT+QICSGP=1,1,iot,u,zzzzzz,1",
        'AT+QICSGP=1,1,"iot","u","zzzzzz"',
        'AT+QICSGP=1,1,"iot","u","zzzzzz',
        'AT+QICSGP=1,1,"iot","u","zzz"zzz,zzzzzz',
        'AT+QICSGP=1,1,"iot","u","\\"zzzzzz","zzzzzz"',
        'AT+QICSGP=1,3,"iot","u","zzzzzz",1',
        'AT+CGAUTH=1,1,"u","zzzzzz"',
        'AT+CGAUTH=1,1,"zzzzzz","u"',
        'AT+QMTCONN=0,"c","user","zzzzzz"',
        'AT+QFTPCFG="account","u","zzzzzz"',
        'AT+QSMTPCFG="account","u","zzzzzz"',
        'AT+QSSLCFG="psk",1,"zzzzzz"',
        'AT#XLOGIN="zzzzzz"',
        'AT%XPASSWORD="zzzzzz"',
        'AT!XPWD="zzzzzz"',
        'AT+CPIN="1\x08zzzzzz"',
        'AT+CX\x08PIN="zzzzzz"',
        'AT+CP\0IN="zzzzzz"',
        'xxAT+CPIN="zzzzzz"',
        'x"AT+CPIN="zzzzzz"',
        '+QICSGP: 1,"iot","u","zzzzzz",1',
        '+QICSGP: 1,"iot","u","zzzzzz"',
        '+QICSGP:1,"iot","u","zzzzzz",1',
        '+CGAUTH: 1,1,"u","zzzzzz"',
        '+QMTCFG: "aliauth","p","d","zzzzzz"',
        '{"user": "me", "password": "zzzzzz"}',
        "POST /login?user=me&password=zzzzzz HTTP/1.1",
        "access_token=zzzzzz&x=1",
        'AT+CWJAP="ssid","zzzzzz"',
        "Authorization: Basic z+zz==",
        "authorization: Bearer zzzzzz",
        "Set-Cookie: id=zzz; Path=/",
        'AT+QHTTPCFG="url","https://me:zzzzzz@host/"',
        "https://me:zzzzzz@host/?a=1",
        "AT" + " " * 9000 + '+CPIN="zzzzzz"',
        'AT+CPIN="' + "x" * 9000 + 'zzzzzz"',
        'AT+QICSGP=1,1,"' + "x" * 9000 + '","u","zzzzzz",1',
    )
]


@pytest.mark.parametrize("line", WITH_SECRETS, ids=lambda line: line[:50].decode())
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("width", [1, 3, 10_000])
def test_a_secret_is_found_by_the_name_of_its_command_and_its_place(line, direction, width) -> None:
    width = max(width, len(line) // 100)  # the long ones are typed by nobody
    pieces = [(direction, line[at : at + width]) for at in range(0, len(line), width)]
    ((_, written),) = redact([*pieces, (direction, b"\r")], default_redactor())
    assert "redacted" in written
    assert "z" not in written.replace("horization", "")


@pytest.mark.parametrize(
    "line",
    [
        b'AT+QSSLCFG="clientkey",0,"mtls-0123456789"', b'AT+QFUPL="UFS:key.pem",1704,60', b'+QFLST: "UFS:key.pem",1704',
        b'+QSSLCFG: "clientkey",0,"mtls-0123456789"', b"AT+QICSGP=1", b"AT+CPIN?", b"+CPIN: SIM PIN", b"AT+CGAUTH=?",
        b'AT+QSSLOPEN=1,0,4,"keys.example",8443,0', b'+COPS: 0,0,"Pass",8', b"http://user.example/key=1", b"ATS0=1",
        b"+CME ERROR: incorrect password", b'AT+QICSGP=1,1,"iot","","",0',
    ],
)  # fmt: skip
def test_what_is_no_secret_is_written(line) -> None:
    assert "redacted" not in redact([(OUT, line + b"\r"), (IN, line + b"\r\n")], default_redactor())[0][1]


def test_an_upload_that_a_profile_calls_secret_may_stand_behind_other_commands() -> None:
    rule = PayloadRule(re.compile(rb'(?i:AT\+XUPL="[^"]*",(?P<size>\d+))'), "size")
    for line in (b'AT+CMEE=1;+XUPL="a;b",6\r', b'AT +XUPL = "k", 6\r', b'ATE0+XUPL="k",6\r'):
        written = redact([(OUT, line), (OUT, b"SECRETAT\r")], Redactor([], [rule]))
        assert written[0][1].endswith(r"\r{6 bytes redacted}AT\r")


def test_typed_by_hand_with_echo_in_between() -> None:
    line = b'AT+CPIN="1234"\r'
    typed = [(direction, bytes([byte])) for byte in line for direction in (OUT, IN)]
    written = redact([*typed, (IN, b"\r\nOK\r\n")])
    assert "1234" not in "".join(text for _, text in written)
    assert not re.search(r"[1234]", "".join(text.replace("1 bytes", "") for _, text in written))
    sides = {d: "".join(t for direction, t in written if direction is d) for d in Direction}
    assert sides[OUT].startswith('AT+CPIN="{1 bytes redacted}'), "digit by digit, in the order they came"
    assert sides[IN].endswith(r"\r\r\nOK\r\n")


def test_order_is_kept_across_an_unfinished_line() -> None:
    written = redact([(OUT, b"AT+XSEND=1\r"), (IN, b"\r\n> "), (OUT, b"hello\x1a"), (IN, b"\r\nSEND OK\r\n")])
    assert written == [
        (OUT, r"AT+XSEND=1\r"),
        (IN, r"\r\n>\x20"),
        (OUT, r"hello\x1a"),
        (IN, r"\r\nSEND OK\r\n"),
    ]


def test_private_keys_are_blacked_out_and_certificates_are_not() -> None:
    certificate = PEM.replace(b"PRIVATE KEY", b"CERTIFICATE")
    written = redact([(OUT, b'AT+XUPL="k",99\r'), (IN, b"\r\nCONNECT\r\n"), (OUT, PEM + certificate)])
    text = written[-1][1]
    assert "MIIEvQ" in text, "the certificate's base64 is there"
    assert text.count("MIIEvQ") == 1
    assert "PRIVATE" not in text
    assert "BEGIN CERTIFICATE" in text


def test_a_key_without_an_end_does_not_swallow_the_rest_of_the_session() -> None:
    lines = [b"-----BEGIN RSA PRIVATE KEY-----\n"] + [b"A" * 63 + b"\n"] * 400
    written = redact([(OUT, b"".join(lines)), (OUT, b"AT+CSQ\r")])
    assert written[-1][1].endswith(r"AT+CSQ\r")


@pytest.mark.parametrize(
    "head",
    [
        b"\x30\x82\x01\x00\x02\x01\x00\x02\x81",  # PKCS 1
        b"\x30\x82\x01\x00\x02\x01\x00\x30\x0d",  # PKCS 8
        b"\x30\x77\x02\x01\x01\x04\x20",  # SEC 1
    ],
)
def test_a_key_in_der_is_blacked_out(head: bytes) -> None:
    length = 4 + 0x100 if head[1] == 0x82 else 2 + 0x77
    key = head + bytes(length - len(head))
    assert redact([(OUT, key + b"AT\r")]) == [(OUT, f"{{{length} bytes redacted}}AT\\r")]
    certificate = b"\x30\x82\x01\x00\x30\x82\x00\xf0" + bytes(0x100 - 4)
    assert "redacted" not in redact([(OUT, certificate)])[0][1]


def test_a_profile_says_what_else_is_a_secret() -> None:
    rule = re.compile(rb'AT\+XAPN=\d+,"[^"]*","([^"]*)"')
    redactor = Redactor([rule], [PayloadRule(re.compile(rb'AT\+XUPL="[^"]*",(?P<size>\d+)'), "size")])
    written = redact(
        [
            (OUT, b'AT+XAPN=1,"me","hush"\r'),
            (OUT, b'AT+XUPL="k",6\r'),
            (IN, b"\r\nCONNECT\r\n"),
            (OUT, b"\r\nA\r\n\x00AT+CSQ\r"),
            (OUT, b"AT+CPIN=1234\r"),
        ],
        redactor,
    )
    assert written[0][1] == r'AT+XAPN=1,"me","{4 bytes redacted}"\rAT+XUPL="k",6\r'
    assert written[2][1] == r"{6 bytes redacted}AT+CSQ\rAT+CPIN={4 bytes redacted}\r"


def test_a_secret_that_lasts_until_a_mark() -> None:
    redactor = Redactor([], [PayloadRule(re.compile(rb"AT\+XKEY"))])
    assert redact([(OUT, b"AT+XKEY\r"), (OUT, b"a\rb"), (OUT, b"c\x1aAT\r")], redactor) == [
        (OUT, r"AT+XKEY\r{4 bytes redacted}\x1aAT\r")
    ]


lines = st.sampled_from(
    [b'AT+CPIN="7391"\r', b"AT+CSQ\r", b"\r\nOK\r\n", PEM, b"\r\n> ", b"\x00\xff\r", b'AT+CLCK="SC",1,"7391"\r', b"x"]
)


@given(st.lists(st.tuples(st.sampled_from(Direction), lines), max_size=8), st.integers(1, 7))
def test_no_byte_is_lost_or_moved_however_it_is_cut(said: list[tuple[Direction, bytes]], width: int) -> None:
    whole: dict[Direction, bytes] = {d: b"".join(data for direction, data in said if direction is d) for d in Direction}
    results = []
    for cut in (10_000, width):
        redactor = Redactor()
        pieces = []
        for direction, data in said:
            for at in range(0, len(data), cut):
                pieces += redactor.feed(0.0, direction, data[at : at + cut])
        pieces += redactor.flush()
        side = {d: join(c for p in pieces if p.direction is d for c in p.chunks) for d in Direction}
        for direction in Direction:
            assert size(side[direction]) == len(whole[direction])
            at = 0
            for chunk in side[direction]:
                if isinstance(chunk, Redacted):
                    at += chunk.length
                else:
                    assert whole[direction][at : at + len(chunk)] == chunk
                    assert b"7391" not in chunk
                    at += len(chunk)
        results.append(side)
    assert results[0] == results[1], "the same whatever the cut"

"""What other programs tell modems of the known families: secrets are hidden, though a byte of the command is lost."""

from __future__ import annotations

import pytest

from modemtls.dialogue.known import default_redactor
from modemtls.dialogue.parameters import Rule
from modemtls.dialogue.redact import Redactor
from modemtls.transcript import Direction
from tests.unit.test_record_redact import IN, OUT, redact

SECRET = "zzq71zzq"
LINES = [
    line.replace("SECRET", SECRET)
    for line in (
        'AT+USECPRF=0,7,"SECRET"',
        "at+usecprf=0,7,SECRET",
        'AT+USECPRF=0,8,"SECRET",1',
        'AT+CMEE=1;+USECPRF=0,8,"SECRET"',
        'AT+USECMNG=0,2,"k",152,"SECRET"',
        'AT+USECMNG=1,2,"k","key.pem","SECRET"',
        'AT+UPSD=0,3,"SECRET"',
        'AT+UHTTP=0,3,"SECRET"',
        'AT+UFTP=3,"SECRET"',
        'AT+UMQTT=4,"somebody","SECRET"',
        'AT+UGSRV="one.example","two.example","SECRET",14,4',
        'AT#XCMNG=0,77,3,"SECRET"',
        'AT#XCMNG=0,77,2,"SECRET"',
        'AT#XCMNG=0,77,0,"x","SECRET"',
        'AT%CMNG=0,77,3,"SECRET"',
        'AT%CMNG=0,77,0,"x","SECRET"',
        'AT#XMQTTCON=1,"somebody","SECRET","mqtt.example",8883,77',
        'AT#XFTP="open","somebody","SECRET","ftp.example",21',
        'AT+QSSLCFG="clientkey",1,"UFS:key.pem","SECRET"',
        'AT+QSSLCFG="psk",1,"device","SECRET"',
        'AT+QICSGP=1,1,"iot","somebody","SECRET",1',
        'AT+CLCK="SC",1,"SECRET"',
        'AT+CGLA=1,4,"SECRET"',
    )
]
HARMLESS = [
    "AT+UPSDA=0,3", 'AT+UPSD=0,1,"iot.example"', 'AT+UPSD=0,2,"somebody"', "AT+UPSD=0,100,1", "AT+UPSND=0,8",
    'AT+UHTTP=0,1,"www.example"', 'AT+UHTTPC=0,3,"/a/path","answer"', 'AT+UFTP=1,"ftp.example"',
    'AT+UFTPC=3,"old","new"',
    'AT+USECPRF=0,4,"www.example"', 'AT+USECPRF=0,3,"mtls-0123"', 'AT+USECMNG=0,0,"ca",1516', "AT+USECMNG=3,1",
    '+USECMNG: 0,0,"ca","8ccadc0b22cef5be72ac411a11a8d812"', 'AT+USOCO=0,"www.example",443',
    'AT+UMQTT=2,"mqtt.example",8883',
    'AT#XCMNG=0,10,0,"-----BEGIN CERTIFICATE-----"', '%CMNG: 77,3,"0011223344556677"', 'AT#XFTP="cd","folder"',
    'AT#XSENDTO="udp.example",7,"hello"', 'AT#XCONNECT="www.example",443', 'AT+QSSLCFG="cacert",1,"UFS:ca.pem"',
    'AT+QSSLCFG="alpn",1,"h2-and-more"', 'AT+CCLK="26/01/01,00:00:00+00"', '+CLCC: 1,0,2,0,0,"+491234567890",145',
    'AT+CPMS="SM","SM","SM"', 'AT+CSCS="GSM-of-some-kind"', 'AT+CMGS="+491234567890"',
    'AT+CGDCONT=1,"IP","iot.example"',
    'AT+COPS=1,2,"26201-of-some"', "+CPIN: READY", "AT+CSIM?", '+UUPSDA: 0,"10.20.30.40"', 'UPSD:0,3,"10.20.30.40"',
]  # fmt: skip


def written(*pieces: tuple[Direction, bytes], redactor: Redactor | None = None) -> str:
    return "\n".join(text for _, text in redact(list(pieces), redactor or default_redactor()))


def hidden(line: str) -> bool:
    """Whether the secret is: in the command, and in an echo of which nobody knows that it is one."""
    data = line.encode("latin-1") + b"\r"
    return not any(SECRET in written((direction, data)) for direction in Direction)


@pytest.mark.parametrize("line", LINES)
def test_a_command_that_the_driver_never_sends(line: str) -> None:
    data = line.encode()
    text = written((OUT, data + b"\r"), (IN, data + b"\r\r\nOK\r\n"))
    assert SECRET not in text
    start = line[: line.index("=") + 1]
    assert text.count(start) == 2
    assert text.count(f"{{{len(SECRET)} bytes redacted}}") == 2


@pytest.mark.parametrize("line", LINES)
def test_one_byte_of_its_name_may_be_lost_changed_or_doubled(line: str) -> None:
    start = max(line.index(";") + 1 if ";" in line else 2, 2)
    name = line[start : line.index("=")]
    before, behind = line[:start], line[line.index("=") :]
    for at, byte in enumerate(name):
        for instead in ("", byte * 2, "X" + byte, *"X7(\x01\xfe\x7f ,"):
            torn = before + name[:at] + instead + name[at + 1 :] + behind
            assert hidden(torn), torn


@pytest.mark.parametrize("line", LINES)
def test_and_so_may_what_stands_before_its_value(line: str) -> None:
    for instead in ("", "==", "-", "\xfe", "7"):
        torn = line.replace("=", instead, 1) if ";" not in line else instead.join(line.rsplit("=", 1))
        assert hidden(torn), torn


@pytest.mark.parametrize(
    "torn", [f'AT+USECPRF=0,"{SECRET}",1', f'AT+USECPRF=0,,"{SECRET}"', f'AT+USECPRF=08,"{SECRET}",1',
             f'AT+USECPRF=0,8"{SECRET}",1', f'AT+UPSD=0,"{SECRET}"', f'AT+UFTP="{SECRET}"']
)  # fmt: skip
def test_the_number_that_selects_its_form_may_be_lost(torn: str) -> None:
    assert hidden(torn)


@pytest.mark.parametrize("line", HARMLESS)
def test_what_looks_alike_and_holds_no_secret_is_written(line: str) -> None:
    for direction in Direction:
        assert "redacted" not in written((direction, line.encode() + b"\r"))


@pytest.mark.parametrize("answer", [b"", b"\r\nERROR\r\n"])
def test_the_rest_of_a_text_behind_a_line_end_that_was_none(answer: bytes) -> None:
    first, rest = b'AT+USECPRF=0,8,"5EC2E7\r\n', b'AABBCCDD",1\r\n'
    text = written((OUT, first), (IN, first + answer), (OUT, rest), (IN, rest + answer), (OUT, b"AT+CSQ\r"))
    assert "AABB" not in text
    assert "CSQ" in text


def test_what_has_a_name_that_is_known_is_no_torn_command() -> None:
    rules = [Rule(b"+XSET", secret=frozenset({0})), Rule(b"+XGET")]
    for name, shown in (("XGET", True), ("XLET", False), ("XSET", False)):
        line = f'AT+{name}="{SECRET}"\r'.encode()
        assert (SECRET in written((OUT, line), redactor=Redactor(rules=rules))) is shown


def test_a_torn_command_begins_the_time_in_which_a_torn_answer_is_hidden() -> None:
    said = f'AT+SECPRF=0,8,"{SECRET}",1'.encode()
    text = written((OUT, said + b"\r"), (IN, said[:12] + said[16:] + b"\r\r\nERROR\r\n"))
    assert SECRET[3:] not in text
    assert "ERROR" in text

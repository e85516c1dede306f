"""The simulated file storage: vectors and errors of the BG96 FILE manual."""

from __future__ import annotations

import pytest

from modemtls.sim.harness import Harness
from modemtls.sim.personalities.quectel.files import checksum


@pytest.fixture
def modem():
    with Harness() as made:
        made.command("ATE0")
        yield made


def upload(modem, name: str, data: bytes, options: str = "") -> bytes:
    answer = modem.command(f'AT+QFUPL="{name}",{len(data)}{options}', limit=0)
    if answer != b"\r\nCONNECT\r\n":
        return answer
    modem.write(data)
    return modem.read()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", "0"),
        (b"A", "4100"),
        (b"abc", "262"),
        (b"test", "711"),
        (b"hello", "6b09"),
        (b"1234567890", "3938"),
        (b"Test data from SSL", "7d21"),
    ],
)
def test_checksum_vectors(data, value):
    assert f"{checksum(data):x}" == value


def test_upload_prints_size_and_unpadded_checksum(modem):
    assert upload(modem, "a", b"abc") == b"\r\n+QFUPL: 3,262\r\n\r\nOK\r\n"
    assert modem.command("AT+QFLST") == b'\r\n+QFLST: "a",3\r\n\r\nOK\r\n'


def test_upload_takes_every_byte_value_and_what_follows_is_a_command(modem):
    data = bytes(range(256)) * 9 + b"\r\nOK\r\n+++"
    modem.write(f'AT+QFUPL="b",{len(data)}\r'.encode())
    modem.read()
    modem.write(data + b"AT\r")
    assert modem.read().endswith(b"\r\nOK\r\n\r\nOK\r\n")
    assert modem.machine.personality.snapshot()["b"] == data


def test_existing_name_is_refused(modem):
    upload(modem, "a", b"abc")
    assert upload(modem, "a", b"abc") == b"\r\n+CME ERROR: 407\r\n"
    assert upload(modem, "UFS:a", b"abc") == b"\r\n+CME ERROR: 407\r\n"


def test_error_form_follows_cmee(modem):
    modem.command("AT+CMEE=0")
    assert modem.command('AT+QFDEL="x"') == b"\r\nERROR\r\n"


def test_ack_mode_acknowledges_every_1024_bytes(modem):
    modem.write(b'AT+QFUPL="a",2100,5,1\r')
    assert modem.read() == b"\r\nCONNECT\r\n"
    modem.write(bytes(1000))
    assert modem.read() == b""
    modem.write(bytes(24))
    assert modem.read() == b"A"
    modem.write(bytes(1024))
    assert modem.read() == b"A"
    modem.write(bytes(52))
    assert modem.read() == b"\r\n+QFUPL: 2100,0\r\n\r\nOK\r\n"


def test_silence_keeps_the_part_that_came(modem):
    modem.write(b'AT+QFUPL="a",10,3\r')
    modem.write(b"abc")
    modem.advance(2.9)
    assert modem.read() == b"\r\nCONNECT\r\n"
    modem.advance(0.2)
    assert modem.read() == b"\r\n+QFUPL: 3,262\r\n\r\n+CME ERROR: 421\r\n"
    assert modem.machine.personality.snapshot() == {"a": b"abc"}


def test_urcs_wait_while_the_line_carries_a_file(modem):
    modem.command("AT+QIACT=1")
    modem.write(b'AT+QFUPL="a",10\r')
    modem.read()
    modem.machine.personality.fault("pdpdeact", 1)
    assert modem.read() == b""
    modem.write(b"1234567890")
    assert modem.read() == b'\r\n+QFUPL: 10,3938\r\n\r\nOK\r\n\r\n+QIURC: "pdpdeact",1\r\n'


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('AT+QFDEL="none"', 405),
        ('AT+QFLST="none"', 405),
        ('AT+QFDWL="none"', 405),
        ("AT+QFUPL=name,10", 425),
        ('AT+QFUPL="a",0', 425),
        ('AT+QFUPL="a",99999999', 420),
        (f'AT+QFUPL="{"n" * 81}",10', 406),
        ('AT+QFUPL="",10', 406),
        ('AT+QFUPL="a",10,0', 425),
        ('AT+QFUPL="a",10,5,2', 425),
        ("AT+QFREAD=7,1", 416),
        ('AT+QFOPEN="none",2', 405),
    ],
)
def test_wrong_uses(modem, line, code):
    assert modem.command(line) == f"\r\n+CME ERROR: {code}\r\n".encode()


def test_download_gives_the_bytes_back(modem):
    upload(modem, "a", b"1234567890")
    assert modem.command('AT+QFDWL="a"') == b"\r\nCONNECT\r\n1234567890\r\n+QFDWL: 10,3938\r\n\r\nOK\r\n"


def test_delete_one_and_all(modem):
    for name in "abc":
        upload(modem, name, b"x")
    assert modem.command('AT+QFDEL="b"') == b"\r\nOK\r\n"
    assert modem.command('AT+QFLST="*"') == b'\r\n+QFLST: "a",1\r\n+QFLST: "c",1\r\n\r\nOK\r\n'
    modem.command('AT+QFDEL="*"')
    assert modem.command("AT+QFLST") == b"\r\nOK\r\n"


def test_space_shrinks(modem):
    upload(modem, "a", bytes(483456))
    assert modem.command('AT+QFLDS="UFS"') == b"\r\n+QFLDS: 14000000,14483456\r\n\r\nOK\r\n"


def test_files_survive_a_restart_and_handles_do_not(modem):
    upload(modem, "a", b"x")
    assert modem.command('AT+QFOPEN="a"') == b"\r\n+QFOPEN: 1\r\n\r\nOK\r\n"
    modem.command("AT+CFUN=1,1")
    modem.advance(3)
    modem.command("ATE0")
    modem.read()
    assert modem.command("AT+QFLST") == b'\r\n+QFLST: "a",1\r\n\r\nOK\r\n'
    assert modem.command("AT+QFCLOSE=1") == b"\r\n+CME ERROR: 416\r\n"


def test_open_files(modem):
    modem.command('AT+QFOPEN="a"')
    modem.write(b"AT+QFWRITE=1,5\r")
    assert modem.read() == b"\r\nCONNECT\r\n"
    modem.write(b"hello")
    assert modem.read() == b"\r\n+QFWRITE: 5,5\r\n\r\nOK\r\n"
    assert modem.command("AT+QFREAD=1") == b"\r\n+CME ERROR: 402\r\n"
    modem.command("AT+QFSEEK=1,1,0")
    assert modem.command("AT+QFREAD=1,3") == b"\r\nCONNECT 3\r\nell\r\nOK\r\n"
    assert modem.command("AT+QFPOSITION=1") == b"\r\n+QFPOSITION: 4\r\n\r\nOK\r\n"
    assert modem.command("AT+QFSEEK=1,9,0") == b"\r\n+CME ERROR: 401\r\n"
    assert modem.command('AT+QFDEL="a"') == b"\r\n+CME ERROR: 426\r\n"
    assert modem.command('AT+QFDEL="*"') == b"\r\n+CME ERROR: 426\r\n"
    assert modem.command("AT+QFCLOSE=1") == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("checksum-case=upper", b"\r\n+QFUPL: 5,6B09\r\n\r\nOK\r\n"),
        ("lose-qfupl=line", b"\r\nOK\r\n"),
        ("lose-qfupl=both", b""),
    ],
)
def test_upload_variants(variant, expected):
    with Harness(variants=[variant]) as modem:
        modem.command("ATE0")
        assert upload(modem, "a", b"hello") == expected
        assert b'"a",5' in modem.command("AT+QFLST")


def test_missing_file_variants():
    with Harness(variants=["qfdel-missing=418", "qflst-missing=417", "file-prefix=yes"], files={"f": b"x"}) as modem:
        modem.command("ATE0")
        assert modem.command('AT+QFDEL="x"') == b"\r\n+CME ERROR: 418\r\n"
        assert modem.command('AT+QFLST="x"') == b"\r\n+CME ERROR: 417\r\n"
        assert modem.command("AT+QFLST") == b'\r\n+QFLST: "UFS:f",1\r\n\r\nOK\r\n'


def test_key_material_is_not_in_the_trace(modem):
    key = b"-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n"
    upload(modem, "k", key)
    assert b"MIIsecret" in modem.command('AT+QFDWL="k"')
    trace = "\n".join(modem.machine.trace.lines)
    assert "MIIsecret" not in trace
    assert f"{{{len(key)} bytes redacted}}" in trace

"""No bytes of a host can crash the simulated modem, and it answers afterwards."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modemtls.sim.harness import Harness

NAMES = [
    "",
    *[
        "E0",
        "E1",
        "V0",
        "V1",
        "Q1",
        "Q0",
        "X4",
        "I",
        "O",
        "S3=13",
        "S3=3",
        "S4=10",
        "S5=8",
        "&F",
        "&W",
        "Z",
        "&D2",
        "+CMEE=2",
        "D*99#",
        "+CPIN?",
        "+CPIN=1234",
        "+CFUN=0",
        "+CFUN=1",
        "+CFUN=4",
        "+CFUN=1,1",
        "+COPS=2",
        "+COPS=0",
        "+CGATT=0",
        "+CGATT=1",
        "+CEREG=2",
        "+CREG?",
        "+QIACT=1",
        "+QIACT?",
        "+QIDEACT=1",
        '+QICSGP=1,1,"a","b","c",1',
        "+QIGETERROR",
        "+CCLK?",
        '+CCLK="26/03/01,10:15:30+04"',
        "+QLTS=2",
        '+QNTP=1,"ntp.invalid"',
        '+QIDNSGIP=1,"a.invalid"',
        "+QPOWD",
        "+IPR=9600",
        '+QFUPL="a",5',
        '+QFUPL="a",3,1,1',
        '+QFDWL="a"',
        '+QFDEL="*"',
        "+QFLST",
        '+QFOPEN="a"',
        "+QFREAD=1,2",
        "+QFWRITE=1,3",
        "+QFSEEK=1,0",
        "+QFCLOSE=1",
        '+QSSLCFG="seclevel",1,2',
        '+QSSLCFG="cacert",1,"a"',
        "+QSSLCFG=?",
        '+QSSLOPEN=1,1,0,"a.invalid",443,0',
        '+QSSLOPEN=1,1,1,"127.0.0.1",1,2',
        '+QSSLOPEN=1,1,2,"127.0.0.1",1,1',
        "+QSSLSEND=0,4",
        "+QSSLSEND=0",
        "+QSSLRECV=0,100",
        "+QSSLCLOSE=0",
        "+QSSLSTATE",
        '+QIOPEN=1,0,"TCP","127.0.0.1",1',
        '+QIOPEN=1,1,"UDP","127.0.0.1",9',
        '+QIOPEN=1,2,"UDP',
        'SERVICE","127.0.0.1",0,0',
        '+QIOPEN=1,3,"TCP',
        'LISTENER","127.0.0.1",0,0',
        "+QISEND=1,3",
        '+QISENDEX=1,"31"',
        "+QIRD=1",
        "+QICLOSE=1",
        "+QISTATE?",
        '+QICFG="viewmode",1',
        "+QISWTMD=1,2",
        "+QISWTMD=0,1",
        "+QISDE=0",
        '+QPING=1,"a"',
        '+QURCCFG="urcport","usbat"',
    ],
]
lines = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(
    lambda parts: b"AT" + ";".join(parts).encode() + b"\r"
)
mangled = st.tuples(lines, st.integers(0, 60), st.binary(max_size=3)).map(
    lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :]
)
pieces = st.one_of(
    lines, mangled, st.binary(max_size=40), st.sampled_from([b"+++", b"\x1a", b"\x1b", b"A/", b"\r", b"\r\n", b'"'])
)
pauses = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.1, 6.0])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(pieces, pauses), max_size=12), st.sampled_from(["quectel-bg95", "quectel-bg96"]))
def test_any_dialogue(steps, model):
    with Harness(model) as modem:
        for data, pause in steps:
            modem.write(data)
            if pause:
                modem.advance(pause)
        # Whatever state that left: wait out prompts, leave data mode, and a reset brings it back.
        modem.machine.restart(0.2, "the test")
        modem.advance(3)
        modem.read()
        modem.write(b"\r\x03ATE1V1Q0S3=13\r\x03")  # either may be what ends a line, even saved so
        modem.read()
        assert modem.command("AT").endswith(b"\r\nOK\r\n")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.integers(1, 7))
def test_cutting_the_input_changes_nothing(data, size):
    def answers(cut: int) -> bytes:
        with Harness(variants=["send-timeout=0"]) as modem:
            for at in range(0, len(data), cut):
                modem.write(data[at : at + cut])
            return modem.read()

    assert answers(size) == answers(len(data) or 1)


@pytest.mark.parametrize(
    "data",
    [b"\0" * 100000, b"\xff" * 100000, b"AT" * 50000, b'AT+X="' + b"a" * 100000 + b'"\r', b"A/" * 3000, b";" * 9999],
)
def test_floods(data):
    with Harness() as modem:
        modem.write(data + b"\r")
        modem.read()
        assert modem.command("AT").endswith(b"\r\nOK\r\n")
        assert modem.machine.interpreter.backlog == 0

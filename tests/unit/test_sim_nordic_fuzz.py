"""No bytes of a host can crash the simulated Nordic modems, and they answer afterwards."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modemtls.sim.harness import Harness

BOTH = [
    "", "E1", "E0", "I", "+CMEE=1", "+CFUN=0", "+CFUN=1", "+CFUN=4", "+CEREG=5", "+CEREG?", "+CPIN?", '+CPIN="1234"',
    '+CGDCONT=0,"IP","x"', "+CGDCONT=0", "+CGDCONT=3", "+CGACT=1,3", "+CGACT=0,0", "+CGPADDR=0", "+CGCONTRDP",
    '+CCLK="26/03/01,10:15:30+04"', "+COPS=2", "+COPS=0", "+CGATT=0", "+CGATT=1", "+IPR=921600", "#XRESET", "#XSLEEP=2",
    "#XSHUTDOWN", "#XMODEMRESET", '%CMNG=0,1,3,"00"', '%CMNG=0,1,4,"a"', "%CMNG=1", "%CMNG=2,1,0", "%CMNG=3,1,3",
    '#XGETADDRINFO="a.invalid"', "#XDATACTRL=1000", "#XDATACTRL?", "#XSOCKET=1,1,0", "#XSOCKET=1,2,0", "#XSOCKET=1,1,1",
    "#XSSOCKET=1,1,0,1", "#XSSOCKET=1,2,0,1", "#XSOCKET?", "#XSSOCKET?", "#XAPOLL=,1,5",
]  # fmt: skip
LEGACY = [
    "#XSOCKET=0", "#XSOCKETSELECT=1", "#XSOCKETSELECT?", "#XBIND=0", "#XLISTEN", "#XACCEPT=1",
    '#XCONNECT="127.0.0.1",9',
    '#XSEND="a"', "#XSEND", '#XSENDTO="127.0.0.1",9,"a"', '#XSENDTO="127.0.0.1",9', "#XRECV=1", "#XRECVFROM=1",
    "#XRECV=0,64", "#XPOLL=10", '#XTCPCLI=1,"127.0.0.1",9', "#XTCPCLI=0", "#XTCPSEND", '#XUDPCLI=1,"127.0.0.1",9',
    '#XUDPCLI=1,"127.0.0.1",9,1', "#XUDPSEND", '#XUDPSEND="x"', "#XUDPCLI=0", "#XSOCKETOPT=1,34,1",
    "#XSSOCKETOPT=1,14,1",
]  # fmt: skip
MODERN = [
    "#XCLOSE", "#XCLOSE=0", "#XBIND=0,0", "#XLISTEN=0", "#XACCEPT=0", '#XCONNECT=0,"127.0.0.1",9', '#XSEND=0,0,0,"a"',
    '#XSEND=0,1,512,"00"', "#XSEND=0,2,0", "#XSEND=0,2,0,3", '#XSENDTO=0,0,0,"127.0.0.1",9,"a"',
    '#XSENDTO=0,2,0,"127.0.0.1",9,4', "#XRECV=0,0,0,1", "#XRECVFROM=0,1,64,0", "#XRECVCFG=,3", "#XSOCKETOPT=0,1,34,1",
    "#XSSOCKETOPT=0,1,14,2", "#XSSOCKETOPT=0,1,19,1", "#XSSOCKETOPT=0,0,4",
]  # fmt: skip
pauses = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.1, 6.0])


def pieces(names: list[str], end: bytes) -> st.SearchStrategy[bytes]:
    lines = st.sampled_from(names).map(lambda name: b"AT" + name.encode() + end)
    mangled = st.tuples(lines, st.integers(0, 40), st.binary(max_size=3)).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :]
    )
    rest = st.sampled_from([b"+++", b"+", b"\x08", b"\r", b"\r\n", b'"'])
    return st.one_of(lines, lines, mangled, st.binary(max_size=40), rest)


def survives(model: str, steps: list[tuple[bytes, float]]) -> None:
    with Harness(model, variants=["radio-at-start=on"]) as modem:
        for data, pause in steps:
            modem.write(data)
            if pause:
                modem.advance(pause)
        modem.machine.restart(0.2, "the test")
        modem.advance(3)
        assert modem.read().endswith(b"Ready\r\n")
        assert modem.command("AT") == b"\r\nOK\r\n"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(pieces(BOTH + LEGACY, b"\r\n"), pauses), max_size=14))
def test_any_dialogue_with_the_legacy_application(steps):
    survives("nordic-slm", steps)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(pieces(BOTH + MODERN, b"\r"), pauses), max_size=14))
def test_any_dialogue_with_the_serial_modem(steps):
    survives("nordic-sm", steps)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(pieces(BOTH, b"\r"), max_size=8), st.integers(1, 7))
def test_cutting_the_input_changes_nothing(parts, size):
    data = b"".join(parts)

    def answers(cut: int) -> bytes:
        with Harness("nordic-sm") as modem:
            for at in range(0, len(data), cut):
                modem.write(data[at : at + cut])
            return modem.read()

    assert answers(size) == answers(len(data) or 1)

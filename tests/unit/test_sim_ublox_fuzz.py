"""No bytes of a host can crash a simulated u-blox module, and it answers afterwards."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modemtls.sim.harness import Harness

NAMES = [
    "E0", "E1", "V0", "V1", "Q0", "&F", "&W", "Z", "I9", "S3=13", "S2=35", "S12=5", "+CMEE=2", "+CMEE=1", "+CFUN=0",
    "+CFUN=1", "+CFUN=4", "+CFUN=15", "+CFUN=16", "+COPS=2", "+COPS=0", "+CGATT=0", "+CGACT=1,1", "+CGACT=0,1",
    '+CGDCONT=1,"IP","apn"', '+CGDCONT=1,"IPV6"', "+UPSD=0,0,0", "+UPSD=0,100,1", "+UPSDA=0,3", "+UPSDA=0,4",
    "+UPSND=0,8",
    '+UDNSRN=0,"a.invalid"', "+UPSV=4,40", "+CPWROFF", "+CCLK?", "+UMNOPROF=1", '+CSGT=1,"hello"', "+USECMNG=3",
    '+USECMNG=0,0,"a",5', '+USECMNG=4,0,"a"', '+USECMNG=2,0,"a"', '+USECMNG=1,0,"a","f"', '+UDWNFILE="f",3',
    "+ULSTFILE",
    "+USECPRF=0", "+USECPRF=0,0,2", '+USECPRF=0,3,"a"', '+USECPRF=0,8,"00",1', '+USECPRF=0,9,"i"', "+USECPRF=0,13,0,1",
    '+USECPRF=0,13,2,"AAAA","AAAA"', '+USECPRF=0,13,12,"AAAA",4', '+USECPRF=0,2,100,"C0","A8",0', "+USECPRF=0,2",
    "+USOCR=6", "+USOCR=17", "+USOCR=6,5000", "+USOSEC=0,1,0", "+USOSEC=0,1", "+USOSEC=0", '+USOCO=0,"127.0.0.1",1',
    '+USOCO=0,"127.0.0.1",1,1', '+USOCO=1,"127.0.0.1",9', '+USOCO=0,"a.invalid",1', "+USOWR=0,3", '+USOWR=1,3,"abc"',
    "+USOWR=1,3", "+USORD=0,10", "+USORD=1,0", '+USOST=1,"127.0.0.1",9,3', '+USOST=0,"127.0.0.1",9,1,"x"',
    "+USORF=1,10",
    "+USOCL=0", "+USOCL=1,1", "+USOLI=0,0", "+USODL=0", "+USODL=1", "+USOCTL=0,10", "+USOCTL=1,4", "+USOER",
    "+UDCONF=1,1", "+UDCONF=1,0", "+UDCONF=6,1,3", "+USOSO=0,65535,128,1,5", "+USOGO=0,6,2",
]  # fmt: skip
lines = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(
    lambda parts: b"AT" + ";".join(parts).encode() + b"\r"
)
mangled = st.tuples(lines, st.integers(0, 60), st.binary(max_size=3)).map(
    lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :]
)
pieces = st.one_of(
    lines, lines, mangled, st.binary(max_size=40), st.sampled_from([b"+++", b"###", b"\x1a", b"\r", b"\r\n", b'"'])
)
pauses = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.1, 21.0])
models = st.sampled_from([("ublox-sara-r5", "R510M8S"), ("ublox-sara-r4", "R410M-02B"), ("ublox-sara-r4", "R422S")])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(pieces, pauses), max_size=12), models, st.sampled_from(["any", "strict"]),
)  # fmt: skip
@example(steps=[(b'AT+CSGT=1,"\x80"\r', 0.0)], model=("ublox-sara-r5", "R510M8S"), pauses_matter="any")
def test_any_dialogue(steps, model, pauses_matter):
    name, module = model
    variants = [f"module={module}", f"gap={pauses_matter}", f"prompt-gap={pauses_matter}"]
    with Harness(name, variants=variants) as modem:
        for data, pause in steps:
            modem.write(data)
            if pause:
                modem.advance(pause)
        modem.machine.restart(0.2, "the test")
        modem.advance(3)
        modem.machine.power_on()
        modem.advance(3)
        modem.read()
        for ending in (b"\x03", b"\r", b"\r"):  # either may be what ends a line, even saved so
            modem.write(b"ATE1V1Q0S3=13" + ending)
            modem.advance(1)
        modem.read()
        assert modem.command("AT").endswith(b"\r\nOK\r\n")

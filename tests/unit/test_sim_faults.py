"""Faults on demand."""

from __future__ import annotations

import pytest

from modemtls.sim.harness import Harness

OK = b"\r\nOK\r\n"


@pytest.fixture
def start():
    running: list[Harness] = []

    def make(*faults: str, variants=("start=running",), **options) -> Harness:
        modem = Harness(faults=faults, variants=variants, **options)
        running.append(modem)
        modem.command("ATE0")  # command 1: 5 + 6 bytes with the echo
        return modem

    yield make
    for modem in running:
        modem.close()


def test_inserted_urc_splits_an_answer_at_the_byte(start):
    modem = start("urc@byte 15:+CEREG: 2")  # the fourth byte of the second answer
    assert modem.command("AT") == b"\r\nO" + b"\r\n+CEREG: 2\r\n" + b"K\r\n"
    assert any("urc@byte 15" in note for note in modem.machine.trace.notes)


def test_inserted_urc_before_the_answer_and_between_two_answers(start):
    modem = start("urc@command 2:+X: 1", "urc@command 3")
    assert modem.command("AT") == b"\r\n+X: 1\r\n\r\nOK\r\n"
    assert modem.command("AT") == b"\r\n+CEREG: 2\r\n\r\nOK\r\n"
    assert modem.command("AT") == OK


def test_late_answer(start):
    modem = start("late@command 2:3")
    modem.write(b"AT+GMI\r")
    modem.advance(2.9)
    assert modem.read() == b""
    modem.write(b"AT+GMM\r")
    modem.advance(0.2)
    assert modem.read() == b"\r\nQuectel\r\n\r\nOK\r\n\r\nBG95-M3\r\n\r\nOK\r\n"  # in order, both


def test_loss_of_bytes_and_of_a_whole_answer(start):
    modem = start("loss@command 2:3", "loss@command 3:all", "loss@byte 26:2")
    assert modem.command("AT") == b"K\r\n"
    assert modem.command("AT") == b""
    assert modem.command("AT") == b"\r\n\r\n"
    assert modem.command("AT") == OK


def test_garbage_is_repeatable_by_its_seed(start):
    first = start("garbage@command 2:16", seed=5).command("AT")
    again = start("garbage@command 2:16", seed=5).command("AT")
    other = start("garbage@command 2:16", seed=6).command("AT")
    assert first == again != other
    assert len(first) == 16 + len(OK)
    assert first.endswith(OK)


def test_error_instead_of_running(start):
    modem = start("error@command 2", "error@command 3:+CME ERROR: 14")
    assert modem.command("AT+CMEE=2") == b"\r\nERROR\r\n"
    assert modem.command("AT+CMEE?") == b"\r\n+CME ERROR: 14\r\n"
    assert modem.command("AT+CMEE?") == b"\r\n+CMEE: 1\r\n\r\nOK\r\n"


def test_dribble(start):
    modem = start("dribble@command 2:0.01")
    modem.write(b"AT\r")
    modem.advance(0.025)
    assert modem.read() == b"\r\nO"
    modem.advance(1)
    assert modem.read() == b"K\r\n"
    assert modem.command("AT") == OK


def test_hang_for_a_while_and_for_ever(start):
    modem = start("hang@command 2:5")
    modem.write(b"AT\r")
    modem.advance(4)
    modem.write(b"AT+GMM\r")
    assert modem.read() == b""
    modem.advance(1.1)
    assert modem.read() == b"\r\nBG95-M3\r\n\r\nOK\r\n"
    modem = start("hang@command 2")
    modem.write(b"AT\rAT\r")
    modem.advance(3600)
    assert modem.read() == b""


def test_hang_in_the_middle_of_an_answer(start):
    modem = start("hang@byte 20:5", "hang@byte 40")
    modem.write(b"AT+GMM\r")
    modem.advance(4.9)
    assert modem.read() == b"\r\nBG95-M"
    modem.advance(0.2)
    assert modem.read() == b"3\r\n\r\nOK\r\n"
    modem.write(b"AT+GMM\r")
    modem.advance(3600)
    assert modem.read() == b"\r\nBG95-M3\r\n"[:11]
    modem.machine.personality.fault("pdpdeact", 1)
    assert modem.read() == b""


def test_urc_does_not_end_a_dribbling_answer(start):
    modem = start("dribble@command 4:1", variants=["start=running", "pdp-time=1"])
    modem.command("AT+QIACT=1")
    modem.command("AT+CEREG=1")
    modem.write(b"AT+QIACT=2\r")
    modem.machine.personality.fault("pdpdeact", 1)
    modem.advance(26.5)
    assert modem.read() == b'\r\n+QIURC: "pdpdeact",1\r\n' + OK[:3]  # a byte a second, the answer as well
    modem.advance(10)
    assert modem.read() == OK[3:]


def test_reboot_cuts_the_answer_short_and_comes_back(start):
    modem = start("reboot@byte 20:2")
    modem.write(b"AT+GMM\r")
    modem.advance(1.9)
    assert modem.read() == b"\r\nBG95-M"
    modem.advance(3)
    assert modem.read().startswith(b"\r\nRDY\r\n")
    assert modem.command("AT") == b"AT\r\r\nOK\r\n"


def test_urc_triggers(start):
    modem = start("late@urc 1:4", "loss@urc 2:all")
    modem.command("AT+QIACT=1")
    modem.machine.personality.fault("pdpdeact", 1)
    modem.advance(3.9)
    assert modem.read() == b""
    modem.advance(0.2)
    assert modem.read() == b'\r\n+QIURC: "pdpdeact",1\r\n'
    modem.command("AT+QIACT=1")
    modem.machine.personality.fault("pdpdeact", 1)
    assert modem.read() == b""
    assert modem.command("AT") == OK


def test_pdpdeact(start):
    modem = start("pdpdeact@command 3")
    modem.command("AT+QIACT=1")
    assert modem.command("AT") == b'\r\n+QIURC: "pdpdeact",1\r\n\r\nOK\r\n'
    assert modem.command("AT+QIACT?") == OK


def test_unplug_and_plug(start):
    modem = start("unplug@command 2:1")
    modem.write(b"AT+GMM\r")
    assert modem.read() == b""
    modem.write(b"AT\r")
    assert modem.read() == b""
    modem.advance(1.1)
    modem.machine.opened()
    modem.advance(3)
    assert modem.read().startswith(b"\r\nRDY\r\n")


def test_several_faults_in_one_write(start):
    modem = start("urc@byte 13:+A", "urc@byte 14:+B", "loss@byte 17")
    assert modem.command("AT") == b"\r" + b"\r\n+A\r\n" + b"\n" + b"\r\n+B\r\n" + b"OK\r"


def test_a_restart_of_which_nothing_is_heard(start):
    modem = start("mutereboot@command 3:0.5", variants=["start=running", "registration-time=0.2"])
    assert modem.command("AT+CEREG=1") == OK
    modem.write(b"AT+GMM\r")
    modem.advance(5)
    assert modem.read() == b""
    assert modem.command("AT+CEREG?") == b"AT+CEREG?\r\r\n+CEREG: 0,1\r\n" + OK  # the setting is gone, the network back


def test_every_third_send_fails(start):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        modem = start(variants=["start=running", "send-fail-every=3"], maps=[f"peer.example=127.0.0.1:{port}"])
        modem.command("AT+QIACT=1")
        modem.write(b'AT+QIOPEN=1,0,"TCP","peer.example",7\r')
        modem.expect(b"+QIOPEN: 0,0")
        said = []
        for _ in range(7):
            modem.command("AT+QISEND=0,1", limit=0)
            modem.write(b"x")
            modem.advance(0.1)
            said.append(b"FAIL" in modem.read())
    assert said == [False, False, True] * 2 + [False]


@pytest.mark.parametrize("way", ["ignored", "refused"])
def test_settings_that_do_not_take(start, way):
    modem = start(variants=["start=running", f"ate={way}", f"cmee={way}", "cmee-at-start=2"])
    modem.read()
    answer = OK if way == "ignored" else b"\r\nERROR\r\n"
    assert modem.command("ATE0") == b"ATE0\r" + answer
    assert modem.command("AT+CMEE=1") == b"AT+CMEE=1\r" + answer
    assert modem.command("AT+CFUN=1;+CGACT=1,1") == b"AT+CFUN=1;+CGACT=1,1\r\r\n+CME ERROR: operation not allowed\r\n"


def test_a_command_to_a_modem_that_has_restarted_in_the_pause_before(start):
    modem = start("amnesia@command 4")
    assert modem.command("AT+CEREG=1") == OK
    assert modem.command("AT+QIACT=1") == OK
    assert modem.command("AT+CEREG?;+QIACT?") == b"\r\n+CEREG: 0,2\r\n" + OK
    assert modem.command("AT+CEREG?") == b"AT+CEREG?\r\r\n+CEREG: 0,1\r\n" + OK

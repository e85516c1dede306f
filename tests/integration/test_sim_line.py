"""The simulated modem on a real pty: embedded, opened and closed by a host, paced, unplugged."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
import tty
from pathlib import Path

import pytest
import serial

from modemtls.sim import embedded
from modemtls.sim.clock import RealClock
from modemtls.sim.faults import UsageError
from modemtls.sim.line import LineEvents, PtyLine
from modemtls.sim.loop import Loop


@contextlib.contextmanager
def host(path: str):
    """A host without a library: the raw descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def read(fd: int, until: bytes, limit: float = 5.0) -> bytes:
    got = b""
    end = time.monotonic() + limit
    while until not in got:
        left = end - time.monotonic()
        assert left > 0, got
        if select.select([fd], [], [], left)[0]:
            got += os.read(fd, 4096)
    return got


@pytest.fixture
def modem():
    with embedded.open("quectel-bg95", {"start": "running"}) as made:
        yield made


def test_fresh_pty_does_not_echo_by_itself(modem):
    with host(modem.path) as fd:
        os.write(fd, b"AT\r")
        assert read(fd, b"OK\r\n") == b"AT\r\r\nOK\r\n"
        os.write(fd, b"ATE0\r")
        read(fd, b"OK\r\n")
        os.write(fd, b"AT\r")
        assert read(fd, b"OK\r\n") == b"\r\nOK\r\n"


def test_pyserial_is_a_host(modem):
    with serial.Serial(modem.path, 115200, timeout=5) as port:
        port.write(b"AT\r")
        assert port.read(9) == b"AT\r\r\nOK\r\n"


def test_state_outlives_the_hosts_closing(modem):
    with host(modem.path) as fd:
        os.write(fd, b"ATE0;+QIACT=1\r")
        read(fd, b"OK\r\n")
    with host(modem.path) as fd:
        os.write(fd, b"AT+QIACT?\r")
        assert read(fd, b"OK\r\n").startswith(b"\r\n+QIACT: 1,1,1,")


def test_what_nobody_reads_is_lost_as_on_a_uart(modem):
    with host(modem.path) as fd:
        os.write(fd, b"ATE0\r")
        read(fd, b"OK\r\n")
        os.write(fd, b"AT+GMI\r")  # and goes away before the answer is read
    # The kernel hands over what was written before a close some time after it, and the answer takes its time, too.
    modem.until(
        lambda machine: (
            "the host has closed the port" in machine.trace.notes
            and any("Quectel" in line for line in machine.trace.lines)
        )
    )
    modem.fault_now("urc", "+LOST: 1")
    with host(modem.path) as fd:
        os.write(fd, b"AT\r")
        assert read(fd, b"OK\r\n") == b"\r\nOK\r\n"


def test_boot_urcs_wait_for_the_host():
    with embedded.open("quectel-bg96") as modem:
        assert modem.call(lambda machine: machine.loop.next_timer()) is None  # nothing will happen by itself
        assert not [line for line in modem.trace if line.startswith("< ")]
        with host(modem.path) as fd:
            assert read(fd, b"+CFUN: 1\r\n") == b"\r\nRDY\r\n\r\nAPP RDY\r\n\r\n+CFUN: 1\r\n"


def test_idle_modem_does_not_spin(modem):
    with host(modem.path) as fd:
        os.write(fd, b"AT\r")
        read(fd, b"OK\r\n")
    time.sleep(0.02)
    before = time.process_time()
    time.sleep(0.05)
    assert time.process_time() - before < 0.02


def test_unplug_is_seen_by_the_host_and_the_link_follows(tmp_path: Path):
    link = tmp_path / "modem"
    with embedded.open("quectel-bg95", {"link": str(link), "start": "running"}) as modem:
        old = modem.path
        with host(str(link)) as fd:
            os.write(fd, b"AT\r")
            read(fd, b"OK\r\n")
            keep = os.openpty()  # so that the name cannot be given again
            modem.fault_now("unplug", "0.01")
            with pytest.raises(OSError):  # noqa: PT012
                while True:
                    select.select([fd], [], [], 5)
                    assert os.read(fd, 100) or os.write(fd, b"x")
            modem.until(lambda machine: machine.line.path != old)
        assert link.resolve() == Path(modem.path)
        with host(str(link)) as fd:
            read(fd, b"RDY\r\n")
        for fd in keep:
            os.close(fd)
    assert not link.is_symlink()


def test_closing_the_modem_makes_the_port_vanish(modem):
    path = modem.path
    with host(path) as fd:
        modem.close()
        with pytest.raises(OSError):
            os.write(fd, b"AT\r")
    with pytest.raises(RuntimeError, match="closed"):
        modem.call(lambda _: None)
    modem.close()  # twice is fine


def test_restart_by_the_test(modem):
    with host(modem.path) as fd:
        os.write(fd, b"ATE0\r")
        read(fd, b"OK\r\n")
        modem.restart()
        assert read(fd, b"+CFUN: 1\r\n").startswith(b"\r\nRDY\r\n")


def test_wrong_options_leave_nothing_behind(recwarn):
    for options in ({"variant": "nope=1"}, {"map": "x"}, {"rtc": "then"}):
        with pytest.raises(UsageError):
            embedded.open("quectel-bg95", options)
    with pytest.raises(ValueError, match="no simulated modem"):
        embedded.open("nokia-3310")


class Recorder(LineEvents):
    def __init__(self) -> None:
        self.data = bytearray()

    def received(self, data: bytes) -> None:
        self.data += data


def pace(loop: Loop, until, limit: float = 5.0) -> float:
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < limit
        due = loop.next_timer()
        loop.poll(0.01 if due is None else max(0.0, min(0.01, due - loop.now())))
    return time.monotonic() - began


def test_paced_line_takes_its_time_in_both_directions():
    loop = Loop(RealClock())
    events = Recorder()
    line = PtyLine(loop, events, baud=115200)
    with host(line.path) as fd:
        tty.setraw(fd)
        pace(loop, lambda: line.users)
        line.write(bytes(1152))  # a tenth of a second
        assert 0.09 < pace(loop, lambda: not line.backlog) < 0.5
        os.write(fd, bytes(1152))
        assert 0.09 < pace(loop, lambda: len(events.data) == 1152) < 0.5
    line.close()
    loop.close()


def test_host_baud_is_visible_and_a_mismatch_is_noise():
    with (
        embedded.open("quectel-bg95", {"start": "running", "baud-check": "yes"}) as modem,
        serial.Serial(modem.path, 9600, timeout=0.03) as port,
    ):
        port.write(b"AT\r")
        assert port.read(9) == b""
        port.baudrate = 115200
        port.timeout = 5
        port.write(b"AT\r")
        assert port.read(9) == b"AT\r\r\nOK\r\n"


def test_dtr_drop_leaves_data_mode():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        options = {"start": "running", "dtr": "follow", "registration-time": "0"}
        with embedded.open("quectel-bg96", options) as modem:
            with host(modem.path) as fd:
                os.write(fd, b"ATE0;+QIACT=1\r")
                read(fd, b"OK\r\n")
                os.write(fd, f'AT+QIOPEN=1,0,"TCP","h.example",{server.getsockname()[1]},0,2\r'.encode())
                read(fd, b"CONNECT\r\n")
            with host(modem.path) as fd:
                os.write(fd, b"AT+QISTATE=1,0\r")
                assert b',2,1,0,0,"usbmodem"' in read(fd, b"OK\r\n")


def test_host_may_set_cooked_mode_without_breaking_the_modem(modem):
    with host(modem.path) as fd:
        attributes = termios.tcgetattr(fd)
        attributes[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
        tty.setraw(fd)
        os.write(fd, b"AT\r")
        assert read(fd, b"OK\r\n") == b"AT\r\r\nOK\r\n"


def test_waiting_for_the_modem_ends_with_the_condition_its_error_or_the_time(modem):
    with host(modem.path) as fd:
        os.write(fd, b"AT+GMI\r")
        modem.until(lambda machine: "AT+GMI" in machine.trace.commands)
        with pytest.raises(TimeoutError):
            modem.until(lambda machine: "AT+GMM" in machine.trace.commands, 0.02)
        with pytest.raises(ZeroDivisionError):
            modem.until(lambda machine: 1 / 0)
        read(fd, b"OK\r\n")
        os.write(fd, b"AT\r")
        read(fd, b"OK\r\n")  # it goes on as before

"""Ports: opening, locking, who holds them, unplugging, and the kinds without a device."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import termios
import time
import tty
from types import ModuleType, SimpleNamespace

import pytest

from modemtls.at.channel import Channel, Exchange
from modemtls.at.port import _open_relayed, open_port
from modemtls.errors import ConfigurationError, PortBusyError, PortError, PortLostError

TIOCGEXCL = 0x80045440  # linux/tty ioctls; not in the termios module


@pytest.fixture
def pty():
    master, slave = os.openpty()
    tty.setraw(slave)
    one = SimpleNamespace(master=master, slave=slave, path=os.ttyname(slave), open=True)
    yield one
    os.close(slave)
    if one.open:
        os.close(master)


def test_bytes_pass_unharmed_both_ways(pty):
    port = open_port(pty.path, 921600)
    try:
        everything = bytes(range(256))
        os.write(port.fileno(), everything)
        assert os.read(pty.master, 1000) == everything
        os.write(pty.master, everything)
        assert os.read(port.fileno(), 1000) == everything
        with pytest.raises(BlockingIOError):
            os.read(port.fileno(), 1)
        assert port.byte_time == pytest.approx(10 / 921600)
    finally:
        port.close()
    port.close()
    assert port.fileno() == -1


@pytest.mark.parametrize(("counts", "unsent"), [([0], 0), ([1300, 0], 0), ([1300, 1200], 1200)])
def test_what_has_not_left_yet_is_what_the_kernel_has_for_longer_than_a_moment(pty, monkeypatch, counts, unsent):
    monkeypatch.setattr(os, "major", lambda number: 4)  # as a UART
    port = open_port(pty.path)
    try:
        assert port.unsent() == 0
        seen = iter(counts)
        monkeypatch.setattr(fcntl, "ioctl", lambda fd, what, arg: next(seen).to_bytes(4, sys.byteorder))
        assert port.unsent() == unsent
    finally:
        monkeypatch.undo()
        port.close()


def test_where_nobody_knows_what_has_not_left_nobody_is_asked(pty):
    port = open_port(pty.path)
    assert port.unsent is None
    port.close()


def test_a_port_is_free_again_after_closing(pty):
    for number in range(3):
        port = open_port(pty.path)
        os.write(port.fileno(), b"AT%d" % number)
        assert os.read(pty.master, 10) == b"AT%d" % number
        port.close()


def test_others_are_kept_out_while_it_is_open_and_not_longer(pty):
    def exclusive():
        return struct.unpack("i", fcntl.ioctl(pty.slave, TIOCGEXCL, bytes(4)))[0]

    port = open_port(pty.path)
    assert exclusive()
    port.close()
    assert not exclusive()


@pytest.mark.parametrize("rtscts", [True, False])
def test_hardware_flow_control_is_on_if_it_is_asked_for(pty, rtscts):
    port = open_port(pty.path, rtscts=rtscts)
    try:
        assert bool(termios.tcgetattr(pty.master)[2] & termios.CRTSCTS) is rtscts
    finally:
        port.close()


HOLD = """
import sys, time
from modemtls.at.port import open_port
port = open_port(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_busy_says_who_holds_it(pty):
    other = subprocess.Popen([sys.executable, "-c", HOLD, pty.path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(PortBusyError, match=rf"{pty.path} is in use by .*\(pid {other.pid}\)"):
            open_port(pty.path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    open_port(pty.path).close()


def test_busy_in_the_same_process(pty):
    port = open_port(pty.path)
    try:
        with pytest.raises(PortBusyError):
            open_port(pty.path)
    finally:
        port.close()


@pytest.mark.parametrize("name", ["", "a\0b", "sim:", "socket://", "socket://host", "socket://host:x", "nonsense://x"])
def test_names_that_can_never_work(name):
    with pytest.raises(ConfigurationError):
        open_port(name)


@pytest.mark.parametrize("rate", [0, -1, 2**31, 2**40, pytest.param(10**5000, id="huge")])
@pytest.mark.parametrize("name", [None, "rfc2217://127.0.0.1:9", "socket://127.0.0.1:9", "sim:x"])
def test_baud_rates_that_can_never_work(pty, name, rate):
    with pytest.raises(ConfigurationError, match=r"baudrate: .* from 1 to 2147483647"):
        open_port(name or pty.path, rate)


def test_a_port_that_does_not_exist():
    with pytest.raises(PortError, match="/dev/ttyNOTHERE: no such port"):
        open_port("/dev/ttyNOTHERE")


def test_what_is_no_serial_port(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"precious")
    for name in (str(file), "/dev/null"):
        with pytest.raises(PortError, match="not a serial port"):
            open_port(name)
    with pytest.raises(PortError):
        open_port(str(tmp_path))
    assert file.read_bytes() == b"precious"


def test_unplugging_a_pty_is_noticed_idle_and_in_an_exchange(pty):
    channel = Channel(open_port(pty.path))
    os.close(pty.master)
    pty.open = False
    end = time.monotonic() + 5
    while channel.closed_reason is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    with pytest.raises(PortLostError, match="went away"):
        channel.exchange(Exchange(line=b"AT"))
    channel.close()


def test_unplugging_a_pty_during_an_exchange(pty):
    channel = Channel(open_port(pty.path))
    channel._line.doubt = None
    began = time.monotonic()

    def unplug():
        assert os.read(pty.master, 10) == b"AT\r"
        os.close(pty.master)
        pty.open = False

    channel.defer(unplug)
    with pytest.raises(PortLostError):
        channel.exchange(Exchange(line=b"AT", timeout=60))
    assert time.monotonic() - began < 2
    channel.close()


def test_a_pty_whose_name_is_a_link(pty, tmp_path):
    link = tmp_path / "modem"
    link.symlink_to(pty.path)
    port = open_port(str(link))
    try:
        os.write(port.fileno(), b"AT")
        assert os.read(pty.master, 10) == b"AT"
        assert port.name == str(link)  # as its user calls it
        with pytest.raises(PortBusyError):  # by whatever name
            open_port(pty.path)
    finally:
        port.close()


def test_sockets():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
        with connection:
            channel = Channel(port)
            channel._line.doubt = None

            def answer():
                assert connection.recv(10) == b"AT\r"
                connection.sendall(b"\r\nOK\r\n")

            channel.defer(answer)
            assert channel.exchange(Exchange(line=b"AT")).ok
        end = time.monotonic() + 5
        while channel.closed_reason is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        channel.close()


def test_a_socket_that_nobody_listens_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(PortError, match="refused"):
        open_port(f"socket://127.0.0.1:{number}")


def test_ports_without_a_descriptor_are_relayed():
    port = _open_relayed("loop://", 115200, rtscts=False)
    fd = port.fileno()
    os.set_blocking(fd, True)
    everything = bytes(range(256))
    os.write(fd, everything)
    got = b""
    while len(got) < 256:
        got += os.read(fd, 256)
    assert got == everything
    port.close()


def test_a_simulated_modem_is_started_and_ended_with_its_port(pty, monkeypatch):
    asked = []

    def start(model, options):
        asked.append((model, options))
        return SimpleNamespace(path=pty.path, close=lambda: asked.append("closed"))

    embedded = ModuleType("modemtls.sim.embedded")
    embedded.open = start
    monkeypatch.setitem(sys.modules, "modemtls.sim.embedded", embedded)
    monkeypatch.setattr("modemtls.sim.embedded", embedded, raising=False)
    port = open_port("sim:some-model?variant=a&map=x=y&map=z=1")
    assert asked == [("some-model", {"variant": ["a"], "map": ["x=y", "z=1"]})]
    port.close()
    assert asked[1:] == ["closed"]


def test_a_simulated_modem_that_is_unknown(monkeypatch):
    def start(model, options):
        raise ValueError("no such model; known: a, b")

    embedded = ModuleType("modemtls.sim.embedded")
    embedded.open = start
    monkeypatch.setitem(sys.modules, "modemtls.sim.embedded", embedded)
    monkeypatch.setattr("modemtls.sim.embedded", embedded, raising=False)
    with pytest.raises(ConfigurationError, match="known: a, b"):
        open_port("sim:nothing")

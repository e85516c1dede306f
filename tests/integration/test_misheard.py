"""A command that the modem heard otherwise than it was said, and a restart that nothing at all tells of.

What the modem then does looks as if it had been told to. No such connection is handed out. A server with the right
name and a certificate of another CA stands for whoever wants to be taken for the right one.
"""

from __future__ import annotations

import re
import ssl

import pytest

import modemtls
from modemtls.sim import embedded
from tests.support.between import between, once
from tests.support.hasty import hasty
from tests.support.pki import Pki
from tests.support.servers import echo, tls_service

QUICK = ["boot-time=0.05", "registration-time=0", "pdp-time=0", "start=running"]


def service(pki):
    leaf = pki.leaf("good.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    return tls_service(context, echo)


@pytest.fixture(scope="module")
def servers(pki, tmp_path_factory):
    """The right server's port and the false one's."""
    with service(pki) as right, service(Pki(tmp_path_factory.mktemp("other"))) as false:
        yield right, false


class Line:
    def __init__(self, sim, middle, servers, pki):
        self.sim = sim
        self.middle = middle
        self.right, self.false = servers
        self.modem = modemtls.open(middle.path, apn="iot.example", timeout=20)
        self.tls = modemtls.TLSConfig(ca=pki.ca)
        self.anybody = modemtls.TLSConfig(verify=False)

    def works(self, host="good.example", tls=None):
        with self.modem.connect((host, self.right), tls=tls or self.tls, timeout=20) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"

    def is_not_fooled(self):
        with pytest.raises(ssl.SSLError):
            self.modem.connect(("good.example", self.false), tls=self.tls, timeout=20)

    def since(self, before):
        return [command.partition("=")[0] for command in self.sim.commands[before:]]


@pytest.fixture(name="line")
def line_fixture(servers, pki):
    with embedded.open("quectel-bg95", {"variant": QUICK}) as sim, between(sim.path) as middle:
        line = Line(sim, middle, servers, pki)
        with line.modem:
            yield line


def test_what_an_open_did_is_compared_with_what_it_was_told_and_costs_two_commands(line):
    line.works()
    for tls, key in ((line.tls, '"seclevel",5'), (line.anybody, '"sslversion",4')):
        line.works(tls=tls)
        before = len(line.sim.commands)
        line.modem.connect(("good.example", line.right), tls=tls, timeout=20).close()
        opened, state, setting, closed = line.sim.commands[before:]
        assert opened.startswith("AT+QSSLOPEN=")
        assert state.startswith("AT+QSSLSTATE=")
        assert setting == f"AT+QSSLCFG={key}"
        assert closed.startswith("AT+QSSLCLOSE=")


def test_a_context_that_was_misheard_fools_nobody(line):
    """The one that was meant verifies, the one that the modem takes instead does not."""
    line.works()
    line.works(tls=line.anybody)
    line.middle.to_modem = once(b"AT+QSSLOPEN=1,5,", b"AT+QSSLOPEN=1,4,")
    before = len(line.sim.commands)
    line.is_not_fooled()
    opened = [one for one in line.sim.commands[before:] if one.startswith("AT+QSSLOPEN=")]
    assert [one[:16] for one in opened] == ["AT+QSSLOPEN=1,4,", "AT+QSSLOPEN=1,5,"]
    assert not [one for one in line.sim.commands[before:] if one.startswith("AT+QSSLCFG") and one.count(",") > 1]
    line.works()


@pytest.mark.parametrize("what", ["port", "mode", "address"])
def test_another_connection_than_was_meant_is_closed_and_made_once_more(line, what):
    line.works()
    host, right = "good.example", b",%d,0\r" % line.right
    old, new = {
        "port": (right, b",%d,0\r" % line.false),
        "mode": (right, right.replace(b",0\r", b",1\r")),
        "address": (b"127.0.0.10", b"127.0.0.1"),
    }[what]
    if what == "address":
        line.sim.map(f"127.0.0.10=127.0.0.1:{line.right}")
        line.sim.map(f"127.0.0.1=127.0.0.1:{line.right}")
        host = "127.0.0.10"
    line.middle.to_modem = once(old, new)
    before = len(line.sim.commands)
    line.works(host, line.anybody)
    assert line.since(before).count("AT+QSSLOPEN") == 2
    line.works(host, line.anybody)  # all that is believed has become doubtful, and is looked at again
    before = len(line.sim.commands)
    line.works(host, line.anybody)
    assert line.since(before)[:3] == ["AT+QSSLOPEN", "AT+QSSLSTATE", "AT+QSSLCFG"]


def test_a_line_that_goes_on_misleading_the_modem_is_an_error_and_leaves_no_socket(line):
    line.works()
    line.middle.to_modem = lambda data: data.replace(b",%d,0\r" % line.right, b",%d,0\r" % line.false)
    with pytest.raises(modemtls.CommandError, match=r"another connection than the modem was told to make.*on the line"):
        line.modem.connect(("good.example", line.right), tls=line.anybody, timeout=20)
    line.middle.to_modem = lambda data: data
    assert line.sim.call(lambda machine: [one.state for one in machine.personality.ssl.table.values()]) in ([], [0])
    line.works()


@pytest.mark.parametrize("old", [b"+QSSLSTATE", b'"seclevel",5,1'])
def test_an_answer_that_was_garbled_is_asked_for_again(line, old):
    line.works()
    line.middle.to_host = once(old, old[:-1])
    before = len(line.sim.commands)
    line.works()
    assert line.since(before).count("AT+QSSLOPEN") == 1
    assert line.since(before).count("AT+QSSLSTATE") == 2


@pytest.mark.parametrize("tls", ["tls", "anybody"])
def test_a_restart_that_nothing_tells_of_is_noticed_before_the_connection_is_handed_out(line, tls):
    """Neither URC nor echo, and somebody else has the PDP context active again before the open."""

    def restart(data):
        if data.startswith(b"AT+QSSLOPEN="):
            line.middle.to_modem = lambda data: data
            line.middle.ask("AT+CFUN=1,1")
            line.middle.hush(0.5)
            for said in ("ATE0", "AT+CMEE=1", "AT+QIACT=1"):
                assert line.middle.ask(said).endswith(b"\r\nOK\r\n"), said
            line.middle.hush(0.05)
        return data

    line.works()
    line.works(tls=line.anybody)
    line.middle.to_modem = restart
    before = len(line.sim.commands)
    if tls == "tls":
        line.is_not_fooled()
    else:
        line.works(tls=line.anybody)
    written = [one for one in line.sim.commands[before:] if one.startswith('AT+QSSLCFG="sslversion",')]
    assert any(one.count(",") > 1 for one in written)
    line.works()


@pytest.mark.parametrize("model", ["ublox-sara-r4", "ublox-sara-r5"])
@pytest.mark.parametrize("question", [rb"\+USOSEC=(\d)\r", None])
def test_a_socket_that_was_left_in_the_clear_is_not_taken_for_secured(servers, pki, tmp_path, model, question):
    """Whoever is there says nothing that is encrypted; ``question``: nor is it heard what the driver asks then."""
    options = {"boot-time": "0.02", "registration-time": "0", "pdp-time": "0"}
    with tls_service(None, echo) as port, embedded.open(model, options) as sim, between(sim.path) as middle:

        def change(data):
            data = re.sub(rb"\+USOSEC=(\d),1,\d", rb"+USOSEC=\1,0", data)
            return re.sub(question, rb"+USOSXX=\1\r", data) if question else data

        middle.to_modem = change
        with modemtls.open(middle.path, timeout=20, profile=hasty(model, tmp_path)) as modem:
            with pytest.raises(modemtls.ModemError):
                modem.connect(("good.example", port), tls=modemtls.TLSConfig(ca=pki.ca), timeout=20)
            assert not [command for command in sim.commands if command.startswith("AT+USOWR")]
            middle.to_modem = lambda data: data
            modem.connect(("good.example", servers[0]), tls=modemtls.TLSConfig(ca=pki.ca), timeout=20).close()

"""A restart that nothing announces for certain: no connection is ever made with the settings that it has wiped.

A server with the right name and a certificate of another CA stands for whoever wants to be taken for the right one.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import time

import pytest
import serial

import modemtls
from modemtls import net
from modemtls.modem.settings import TlsSettings
from modemtls.profile import show
from modemtls.sim import embedded
from modemtls.tlsengine import Settings as EngineSettings
from modemtls.tlsengine import Verify
from tests.stress import restarts
from tests.support.dtls import DtlsEcho
from tests.support.hasty import hasty as hasty_profile
from tests.support.pki import Pki
from tests.support.servers import echo, tls_service

QUICK = ["boot-time=0.05", "registration-time=0.02", "pdp-time=0", "start=running"]


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


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """The profile of a modem whose reports are missed, and answers given up, after 1 s instead of 15 and 5."""
    text = show("quectel-bg95", flat=True)
    assert "timeout: 15\n            optional: true" in text
    path = tmp_path_factory.mktemp("profiles") / "hasty.yaml"
    path.write_text(re.sub(r"timeout: (5|15)$", "timeout: 1", text, flags=re.MULTILINE))
    return str(path)


class Rig:
    def __init__(self, sim, servers, pki, profile=None):
        self.sim = sim
        self.right, self.false = servers
        self.modem = modemtls.open(sim.path, apn="iot.example", timeout=20, profile=profile)
        self.ca = pki.ca
        self.tls = modemtls.TLSConfig(ca=pki.ca)

    def connect(self, port=None):
        self.modem.connect(("good.example", port or self.right), tls=self.tls, timeout=20).close()

    def is_not_fooled(self):
        with pytest.raises(ssl.SSLError):
            self.connect(self.false)

    def settings(self):
        return sum(
            command.startswith('AT+QSSLCFG="seclevel"') and command.count(",") == 2 for command in self.sim.commands
        )

    def configure(self):
        """Have the context configured and read back before anything is opened with it."""
        attached = self.modem.attached
        attached.ensure_up()
        with attached.credentials.hold() as holding:
            ca = holding.ensure("ca", self.ca.read_bytes())
            settings = TlsSettings(version=3, suites=("0XFFFF",), ca=ca, handshake_timeout=60)
            attached.contexts.lease(settings).release()

    def doubt(self):
        """Wait until the start has left its traces."""
        channel = self.modem.attached.channel
        before = channel.doubts
        end = time.monotonic() + 5
        return lambda: channel.wait(lambda: channel.doubts > before, channel.clock() + end - time.monotonic())


def store(sim, command):
    """Do as somebody who has stored that there is no echo: a restart does not show by it."""
    with serial.Serial(sim.path, 115200, timeout=0.05) as port:
        port.write(command.encode() + b"\r")
        port.read(100)


@contextlib.contextmanager
def rig(servers, pki, *variants, stored="ATE0&W", profile=None):
    with embedded.open("quectel-bg95", {"variant": [*QUICK, *variants]}) as sim:
        store(sim, stored)
        one = Rig(sim, servers, pki, profile)
        try:
            yield one
        finally:
            one.modem.close()


@pytest.mark.parametrize("kind", ["loss", "garbage"])
@pytest.mark.parametrize("place", [3, 4, 5])
def test_when_a_byte_of_the_boot_notice_is_lost_or_garbled(servers, pki, kind, place):
    with rig(servers, pki) as one:
        one.connect()
        one.sim.fault(f"{kind}@byte {one.sim.call(lambda machine: machine.outlet.count) + place}:1")
        doubt = one.doubt()
        one.sim.restart()
        assert doubt()
        one.is_not_fooled()
        assert one.settings() == 2
        one.connect()


def test_when_reports_go_to_another_port_and_nothing_at_all_is_heard_of_it(servers, pki, hasty):
    """But the PDP context is down."""
    with rig(servers, pki, "urc-port=usbat", profile=hasty) as one:
        one.configure()
        one.sim.restart()
        one.sim.until(lambda machine: machine.running and machine.personality.registration.registered)
        one.is_not_fooled()
        assert one.settings() == 2
        one.connect()


@pytest.mark.parametrize(("after", "stored"), [(0, "ATE0&W"), (0, "ATE1"), (2, "ATE0&W")])
def test_when_it_restarts_about_the_open_and_reports_go_to_another_port(servers, pki, hasty, stored, after):
    with rig(servers, pki, "urc-port=usbat", stored=stored, profile=hasty) as one:
        one.configure()
        assert one.settings() == 1
        one.sim.fault(f"reboot@command {len(one.sim.commands) + 1 + after}:0.05")
        with pytest.raises((ssl.SSLError, modemtls.ModemTimeoutError)):
            one.modem.connect(("good.example", one.false), tls=one.tls, timeout=1.5)
        one.is_not_fooled()
        one.connect()


def test_an_undisturbed_connection_is_three_commands_and_one_after_a_doubt_changes_nothing(servers, pki):
    with rig(servers, pki) as one:
        one.connect()
        before = len(one.sim.commands)
        one.connect()
        three = ["AT+QSSLOPEN", "AT+QSSLSTATE", "AT+QSSLCFG"]
        assert [line.partition("=")[0] for line in one.sim.commands[before:]] == [*three, "AT+QSSLCLOSE"]
        one.modem.attached.channel.raise_doubt("a test")
        before = len(one.sim.commands)
        one.connect()
        asked = one.sim.commands[before:]
        assert [line.partition("=")[0] for line in asked[-4:-1]] == three
        assert not [line for line in asked if line.startswith("AT+QSSLCFG") and line.count(",") > 1]
        assert len(asked) < 40
        before = len(one.sim.commands)
        one.connect()
        assert len(one.sim.commands) == before + 4


@pytest.mark.parametrize("offset", [0, 9])
def test_a_byte_lost_from_the_list_of_keys_hides_none_that_weakens(servers, pki, offset):
    def weakened(sim):
        with serial.Serial(sim.path, 115200, timeout=0.05) as port:
            for context in range(6):
                port.write(b'AT+QSSLCFG="ignorecertchain",%d,1\r' % context)
                port.read(100)

    with embedded.open("quectel-bg96", {"variant": QUICK}) as sim:
        heard = []
        with modemtls.open(sim.path, apn="iot.example", timeout=20, trace=heard.append) as modem:
            start = len(heard)
            modem.attached.ensure_ready()
            read = b"".join(record.data for record in heard[start:] if record.direction == "in")
    with embedded.open("quectel-bg96", {"variant": QUICK}) as sim:
        weakened(sim)
        one = Rig(sim, servers, pki)
        with one.modem:
            count = sim.call(lambda machine: machine.outlet.count)
            sim.fault(f"loss@byte {count + read.index(b'ignorecertchain') + 1 + offset}:1")
            one.is_not_fooled()
            assert 'AT+QSSLCFG="ignorecertchain",5,0' in sim.commands


PSK = net.Psk(identity=b"dev-01", key=bytes(range(65, 81)))
MODULES = [("R410M-02B", "tls"), ("R410M-03B", "tls"), ("R412M-02B", "tls")]
MODULES += [(module, kind) for module in ("R422S", "R510S") for kind in ("tls", "dtls")]


@pytest.fixture(scope="module")
def datagram_port(tmp_path_factory):
    """A server of datagrams with a certificate of another CA, and no pre-shared key."""
    leaf = Pki(tmp_path_factory.mktemp("datagrams")).leaf("whoever.example")
    settings = EngineSettings(server=True, datagram=True, verify=Verify.NONE, chain=leaf.cert_pem, key=leaf.key_pem)
    with DtlsEcho(settings) as server:
        yield server.port


@pytest.mark.parametrize("way", ["key", "ca"])
@pytest.mark.parametrize(("module", "kind"), MODULES)
def test_a_module_that_has_forgotten_all_and_says_nothing(
    servers, datagram_port, pki, tmp_path, module, kind, way
):
    """It has its defaults then, which verify nobody: nothing shows it but what is read back."""
    model = f"ublox-sara-{module[:2].lower()}"
    variants = {"module": module, "boot-time": "0.02", "registration-time": "0.02", "pdp-time": "0.01"}
    chain = net.Certificates(trusted=pki.ca.read_bytes(), check_hostname=False, check_dates=False)
    wanted = net.SslConfiguration(security=PSK if way == "key" else chain)
    create, port = {
        "tls": (net.create_ssl_socket, servers[1]),
        "dtls": (net.create_dtls_socket, datagram_port),
    }[kind]
    with embedded.open(model, variants) as sim, contextlib.ExitStack() as stack:
        store(sim, "ATE0&W")
        modem = stack.enter_context(modemtls.open(sim.path, profile=hasty_profile(model, tmp_path)))

        def attempt():
            before = len(sim.commands)
            sock = create(modem, wanted)
            with pytest.raises(ssl.SSLError):
                sock.connect("good.example", str(port), timeout=10)
            sock.cleanup()
            return [one.partition(",")[0] for one in sim.commands[before:]]

        attempt()
        sim.restart()
        sim.until(lambda machine: machine.running and machine.personality.registration.registered)
        if module.startswith("R41"):  # there the bearer comes up by itself
            sim.until(lambda machine: machine.personality.bearer.cid is not None)
        asked = attempt()
        assert "AT+USOCO=0" in asked
        assert len([one for one in asked if one.startswith("AT+USECPRF=")]) > 3  # it was noticed, and written anew


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with restarts.world(tmp_path_factory.mktemp("restarts")) as one:
        yield one


@pytest.mark.parametrize(
    ("setting", "every", "first"),
    [
        (restarts.Setting("amnesia", urc_port="usbat"), 34, 102 % 34),
        (restarts.Setting("mutereboot", "push", stored="ATE1"), 23, 4),
        (restarts.Setting("reboot", server="false"), 17, 9),
    ],
    ids=str,
)
def test_a_restart_at_some_of_all_commands(world, setting, every, first):
    """The whole of it is `python -m tests.stress.restarts`."""
    stories = restarts.sweep(world, setting, range(first, restarts.length(world, setting), every))
    assert not [report for story in stories if (report := story.report())]
    assert len(stories) > 2

"""The modem layer against the simulated modem on a real pseudo-terminal, and real TLS behind it."""

from __future__ import annotations

import contextlib
import errno
import random
import signal
import ssl
import time
from dataclasses import replace

import pytest

from modemtls.errors import (
    CommandError,
    ConfigurationError,
    CredentialError,
    ModemError,
    ModemRestartedError,
    PdpError,
    PinError,
    PortBusyError,
    PortError,
    PortLostError,
    RegistrationError,
    SimError,
)
from modemtls.modem import bringup
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings, TlsSettings
from modemtls.modem.sockets import Opening
from modemtls.sim import embedded
from tests.support.servers import echo, tls_service

TLS = TlsSettings(version=3, suites=("0XFFFF",))
QUICK = {"boot-time": "0.02", "registration-time": "0.02", "pdp-time": "0.01"}


@pytest.fixture(scope="module")
def server(pki):
    leaf = pki.leaf("good.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    with tls_service(context, echo) as port:
        yield port


@contextlib.contextmanager
def simulated(server=None, model="quectel-bg95", fault=(), **variants):
    options = {**QUICK, **{name.replace("_", "-"): value for name, value in variants.items()}}
    options["fault"] = [fault] if isinstance(fault, str) else list(fault)
    if server is not None:
        options["map"] = [f"good.example=127.0.0.1:{server}"]
    with embedded.open(model, options) as sim:
        yield sim


class User:
    """What the layer above does for a connection."""

    def __init__(self, sim, pki, **settings):
        self.sim = sim
        self.ca = pki.ca.read_bytes()
        self.modem = attach(sim.path, Settings(timeout=30, **settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.modem.close()

    def connect(self, settings=TLS, made=None):
        """Give a connection; ``made`` has it, too, and before an interrupt can strike."""
        made = [] if made is None else made
        for left in (2, 1, 0):
            try:
                self.modem.ensure_up()
                with self.modem.credentials.hold() as holding:
                    settings = replace(settings, ca=holding.ensure("ca", self.ca))
                    with self.modem.contexts.lease(settings) as lease:
                        wanted = Opening(family="tls", host="good.example", port=443, lease=lease)
                        made.extend(map(self.modem.open, (wanted,)))
                        return made[0]
            except ModemRestartedError:
                if not left:
                    raise
        raise AssertionError

    def talk(self, slot, text=b"hello"):
        self.modem.sockets.run(slot, "send", {"data": text, "size": len(text)})
        assert self.modem.channel.wait(lambda: slot.readable, self.modem.now() + 5)
        return self.modem.sockets.run(slot, "receive", {"size": 1500}).payload

    def works(self):
        made = []
        try:
            assert self.talk(self.connect(made=made)) == b"hello"
        finally:
            for slot in made:
                self.close(slot)

    def close(self, slot):
        """Close what is one's own, interrupted or not: nobody else would."""
        try:
            self.modem.sockets.close(slot)
        except KeyboardInterrupt:
            self.modem.sockets.close(slot)
            raise


@pytest.mark.parametrize(
    ("model", "firmware", "able"),
    [("quectel-bg95", {}, True), ("quectel-bg96", {}, True), ("quectel-bg96", {"firmware": "V1.0"}, False)],
)
def test_capabilities_are_true_before_anything_else_was_done(model, firmware, able, pki):
    with simulated(model=model, sim="absent", **firmware) as sim, User(sim, pki) as user:
        assert user.modem.capabilities["hostname_check"] is able
        assert not [line for line in sim.commands if line.startswith(("AT+CPIN", "AT+QIACT", "AT+CFUN="))]


def sent(sim, start):
    return [line for line in sim.commands if line.startswith(start)]


def test_from_nothing_to_tls_and_again_with_an_open_and_two_questions(server, pki):
    with simulated(server) as sim, User(sim, pki, apn="iot.example") as user:
        user.works()
        before = len(sim.commands)
        user.connect()
        assert [line.partition("=")[0] for line in sim.commands[before:]] == [
            "AT+QSSLOPEN",
            "AT+QSSLSTATE",
            "AT+QSSLCFG",
        ]
        assert sim.files.keys() == {stored.name for stored in user.modem.credentials.list()}
        assert [stored.in_use for stored in user.modem.credentials.list()] == [True]
        status = user.modem.status()
        assert (status.sim, status.registration, status.pdp) == ("ready", "home", 1)
        assert user.modem.info()["imei"].isdigit()


def test_the_other_model(server, pki):
    with simulated(server, "quectel-bg96") as sim, User(sim, pki) as user:
        assert user.modem.profile.name == "quectel-bg96"
        user.works()


@pytest.mark.parametrize(
    "variants",
    [
        {"lose_qfupl": "line"},
        {"qfdel_missing": "418", "qflst_missing": "417"},
        {"file_prefix": "yes", "checksum_case": "upper"},
        {"id_taken": "error", "pdp_down": "urc"},
        {"start": "running", "network_time": "no", "ntp": "yes"},
    ],
    ids=lambda v: next(iter(v)),
)
def test_whatever_the_manuals_leave_open(server, pki, variants):
    with simulated(server, **variants) as sim:
        for _ in range(2):
            with User(sim, pki, ntp="time.example") as user:
                user.works()
                user.works()
        assert len(sent(sim, "AT+QFUPL")) == 1


# --- SIM, network


def test_a_pin_is_sent_once_and_a_refused_one_never_again(pki):
    with simulated(sim="pin", pin="4321") as sim, User(sim, pki, pin="4321") as user:
        user.modem.ensure_up()
        assert len(sent(sim, "AT+CPIN=")) == 1
    with simulated(sim="pin", pin="4321") as sim:
        with User(sim, pki, pin="1111") as user:
            for _ in range(2):
                with pytest.raises(PinError):
                    user.modem.ensure_up()
        with User(sim, pki, pin="1111") as user, pytest.raises(PinError, match="not sent again"):
            user.modem.ensure_up()
        assert len(sent(sim, "AT+CPIN=")) == 1
        with User(sim, pki) as user, pytest.raises(PinError, match="pin="):
            user.modem.ensure_up()
        with User(sim, pki, pin="4321") as user:
            user.modem.ensure_up()


@pytest.mark.parametrize(
    ("variants", "settings", "error", "says"),
    [
        ({"sim": "absent"}, {}, SimError, "^SIM: none is inserted"),
        ({"sim": "puk"}, {}, SimError, "^SIM: .*PUK"),
        ({"registration": "denied"}, {}, RegistrationError, "^registration: denied by the network"),
        ({"registration": "roaming"}, {"roaming": False}, RegistrationError, "^registration: .*roaming=False"),
        (
            {"registration": "searching"},
            {"registration_timeout": 0.2},
            RegistrationError,
            "^registration: no network after 0 s .*searching",
        ),
        (
            {"apn": "right.example"},
            {"apn": "wrong.example"},
            PdpError,
            "^PDP context 1: not activated: .*wrong.example",
        ),
        ({"pdp_auth": "me:secret"}, {"apn": "a", "user": "me", "password": "nope"}, PdpError, "^PDP context 1: "),
    ],
)
def test_each_step_says_what_is_wrong(pki, monkeypatch, variants, settings, error, says):
    monkeypatch.setattr(bringup, "_DENIED", 0.1)
    monkeypatch.setattr(bringup, "_ASK_ANYWAY", 0.1)
    with simulated(**variants) as sim, User(sim, pki, **settings) as user:
        with pytest.raises(error, match=says) as caught:
            user.modem.ensure_up()
        assert "nope" not in str(caught.value)
        assert user.modem.status().operator is not None or "sim" in variants or "registration" in variants


def test_user_and_password_reach_the_network_and_nothing_else(pki, caplog):
    caplog.set_level("DEBUG")
    shown = []
    with simulated(pdp_auth="me:geheim", apn="iot.example") as sim:
        settings = Settings(apn="iot.example", user="me", password="geheim")
        with attach(sim.path, settings, trace=lambda record: shown.append(record.shown + repr(record.data))) as modem:
            modem.ensure_up()
    assert "geheim" not in caplog.text + "".join(shown)


def test_an_active_context_of_others_is_shared_and_survives(pki):
    with simulated(start="running") as sim:
        with User(sim, pki, apn="iot.example") as user:
            user.modem.ensure_up()
        with User(sim, pki) as user:
            user.modem.ensure_up()
        with User(sim, pki, apn="IOT.example") as user:
            user.modem.ensure_up()
        assert len(sent(sim, "AT+QIACT=")) == 1
        assert len(sent(sim, "AT+QICSGP=1,")) == 1
        assert sent(sim, "AT+QIDEACT") == []


# --- politeness


def test_sockets_of_a_predecessor_are_left_alone_or_taken_over_on_request(server, pki):
    with simulated(server, start="running") as sim:
        first = User(sim, pki)
        first.connect()
        first.modem.channel.close()  # as a killed process would leave it
        with User(sim, pki) as user:
            slot = user.connect()
            assert slot.number == 1
            assert user.modem.slots.foreign("tls") == {0}
            user.modem.sockets.close(slot)
        assert not sent(sim, "AT+QSSLCLOSE=0")
        with User(sim, pki, take_over=True) as user:
            user.works()
        assert len(sent(sim, "AT+QSSLCLOSE=0")) == 2


def test_as_many_sockets_as_the_modem_has_and_no_more(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        slots = [user.connect() for _ in range(12)]
        with pytest.raises(ModemError, match="all 12 tls sockets") as caught:
            user.connect()
        assert caught.value.errno == errno.EMFILE
        assert [user.talk(slot, b"%d" % n) for n, slot in enumerate(slots)] == [b"%d" % n for n in range(12)]
        user.modem.sockets.close(slots[5])
        assert user.connect().number == slots[5].number


def test_one_configuration_more_than_contexts(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        slots = [user.connect(replace(TLS, handshake_timeout=20 + n)) for n in range(6)]
        with pytest.raises(ModemError, match="all 6 TLS contexts"):
            user.connect(replace(TLS, handshake_timeout=99))
        user.modem.sockets.close(slots[2])
        user.connect(replace(TLS, handshake_timeout=99))


# --- credentials


def test_space_is_made_by_evicting_the_drivers_own(server, pki):
    certs = [pki.client(f"c{n}").cert_pem for n in range(4)]
    size = max(map(len, certs))
    with simulated(server, ufs_size=str(3 * size)) as sim, User(sim, pki) as user:
        names = [user.modem.credentials.ensure("cert", cert) for cert in certs]
        assert names[3] in sim.files
        assert names[0] not in sim.files
        assert user.modem.credentials.ensure("cert", certs[0]) == names[0]
        with pytest.raises(CredentialError):
            user.modem.credentials.ensure("cert", b"".join(certs))


def test_a_file_larger_than_the_storage_is_an_error_that_leaves_it_usable(server, pki):
    with simulated(server, ufs_size="1000") as sim, User(sim, pki) as user:
        with pytest.raises(CredentialError, match=r"no space|too large|full") as caught:
            user.modem.credentials.ensure("ca", user.ca)
        assert caught.value.errno == errno.ENOSPC
        assert sim.files == {}
        assert user.modem.credentials.list() == []


# --- ports


def test_ports_that_are_busy_missing_or_no_modem(pki, tmp_path):
    with simulated() as sim, User(sim, pki), pytest.raises(PortBusyError, match="in use"):
        User(sim, pki)
    with pytest.raises(PortError, match="no such port"):
        attach(str(tmp_path / "nothing"), Settings())
    with pytest.raises(PortError):
        attach("/dev/null", Settings())
    with simulated() as sim, pytest.raises(ConfigurationError):
        attach(sim.path, Settings(profile="no-such-profile"))


def test_an_unplugged_port_fails_at_once(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        slot = user.connect()
        sim.fault_now("unplug")
        begun = time.monotonic()
        with pytest.raises(PortLostError):
            user.talk(slot)
        with pytest.raises(PortLostError):
            user.connect()
        user.modem.close()
        assert time.monotonic() - begun < 2


# --- restarts and interrupts at any moment


@pytest.mark.parametrize("command", [5, 8, 12, 14, 17, 24, 26, 28, 31, 34, 45, 54])
def test_a_restart_at_any_command_only_delays(server, pki, command):
    with simulated(server, fault=f"reboot@command {command}") as sim, User(sim, pki) as user:
        user.connect()
        user.works()
        assert len(sent(sim, "AT+QSSLOPEN")) >= 2


def test_a_restart_wipes_what_was_believed(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        slot = user.connect()
        lease = user.modem.contexts.lease(
            TLS.__class__(version=3, suites=("0XFFFF",), verify=False, check_hostname=False)
        )
        sim.restart()
        assert user.modem.channel.wait(lambda: slot.lost is not None, user.modem.now() + 5)
        with pytest.raises(ModemRestartedError):
            user.modem.sockets.run(slot, "send", {"data": b"x", "size": 1})
        opens = len(sent(sim, "AT+QSSLOPEN"))
        with pytest.raises(ModemRestartedError):
            user.modem.open(Opening(family="tls", host="good.example", port=443, lease=lease))
        assert len(sent(sim, "AT+QSSLOPEN")) == opens
        uploads = len(sent(sim, "AT+QFUPL"))
        user.works()
        assert len(sent(sim, "AT+QFUPL")) == uploads  # files survive


def test_a_lost_bearer_is_told_and_brought_back(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        slot = user.connect()
        sim.fault_now("pdpdeact", "1")
        assert user.modem.channel.wait(lambda: slot.lost is not None, user.modem.now() + 5)
        with pytest.raises(PdpError):
            user.modem.sockets.run(slot, "send", {"data": b"x", "size": 1})
        user.works()


def test_a_refused_open_leaves_it_usable(server, pki):
    with simulated(server) as sim, User(sim, pki) as user:
        sim.map(f"wrong.example=127.0.0.1:{server}")
        slot = user.connect()
        with user.modem.contexts.lease(slot.lease.settings) as lease:
            for name, kind in (("wrong.example", "connect_or_handshake"), ("gone.invalid", "name_not_resolved")):
                with pytest.raises(CommandError) as caught:
                    user.modem.open(Opening(family="tls", host=name, port=443, lease=lease))
                assert caught.value.kind == kind
        assert user.modem.slots.slots() == [slot]
        assert user.talk(slot) == b"hello"


def interrupted(user, after):
    try:
        signal.setitimer(signal.ITIMER_REAL, after, 0.5)  # once more, should the first strike in a finalizer
        user.works()
        signal.pause()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# Python reports and drops an interrupt that strikes in a finalizer; that is not what is tested here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(3))
def test_ctrl_c_at_any_moment_leaves_it_usable_and_leaks_nothing(server, pki, seed):
    moments = random.Random(seed)
    with simulated(server, latency="0.0003") as sim, User(sim, pki) as user:
        user.works()
        before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        try:
            for _ in range(12):
                if moments.random() < 0.5:
                    epoch = user.modem.epoch
                    sim.restart()
                    assert user.modem.channel.wait(lambda epoch=epoch: user.modem.epoch != epoch, user.modem.now() + 5)
                user.modem.credentials.purge()
                with pytest.raises(KeyboardInterrupt):
                    interrupted(user, moments.uniform(0.0005, 0.08))
                user.works()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert user.modem.channel.wait(lambda: not user.modem.slots.slots(), user.modem.now() + 5)
        assert user.modem.contexts.names_in_use() == frozenset()
        assert len({user.connect().number for _ in range(12)}) == 12

from __future__ import annotations

import errno
from collections import deque
from datetime import UTC, timedelta
from types import SimpleNamespace

import pytest

from modemtls.at.exchange import Reply, Urc
from modemtls.at.grammar import Outcome, UrcRule, compile_pattern
from modemtls.errors import (
    CommandError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    PdpError,
    RegistrationError,
)
from modemtls.modem.attached import AttachedModem
from modemtls.modem.clock import BUILD_DATE, HostTime, format_clock
from modemtls.modem.identify import Identity
from modemtls.modem.settings import Settings, TlsSettings
from modemtls.modem.sockets import Opening
from tests.support.modem_fakes import Answer, FakeHost, refusal

NOW = BUILD_DATE + timedelta(days=30)
TLS = TlsSettings(version=3, suites=("0XFFFF",), ca="mtls-ca")

USUAL = {
    "setup": Answer(),
    "probe": Answer(),
    "sim_state": Answer(values={"state": "ready"}),
    "radio_state": Answer(values={"level": 1}),
    "radio_on": Answer(),
    "registration": Answer(rows=[{"stat": "home", "technology": "lte-m"}]),
    "registration_notify": Answer(),
    "pdp_list": Answer(rows=[{"pdp": 1, "address": "10.0.0.1"}]),
    "pdp_read": Answer(values={"apn": "a"}),
    "pdp_configure": Answer(),
    "pdp_activate": Answer(),
    "pdp_deactivate": Answer(),
    "clock_read": Answer(values={"clock": format_clock(NOW)}),
    "clock_set": Answer(),
    "tls_list": Answer(),
    "tcp_list": Answer(),
    "tls_configure": Answer(),
    "tls_verify": Answer(),
    "tls_open": Answer(),
    "tls_close": Answer(),
    "tcp_open": Answer(),
    "tcp_close": Answer(),
    "tls_send": Answer(),
}


class FakeChannel:
    def __init__(self, host):
        self._host = host
        self.clock = host.now
        self.wait = host.wait
        self.recovery = None
        self.terminator = None
        self.echo = None
        self.error_form = None
        self.closed_reason = None
        self.exchanges = []
        self.background = []
        self.on_urc = self.on_epoch = None
        self.dead = False

    @property
    def epoch(self):
        return self._host.epoch

    @property
    def doubts(self):
        return self._host.doubts

    @property
    def doubted(self):
        return self._host.doubted

    def check(self):
        if self.closed_reason is not None:
            raise self.closed_reason

    def raise_doubt(self, reason):
        self._host.raise_doubt(reason)

    def exchange(self, ex, *, deadline=None, on_orphan=None):
        self.exchanges.append(ex.line)
        if self.dead:
            self._host.time += 1
            raise ModemTimeoutError("no answer")
        return Reply(Outcome.OK, "OK")

    def defer(self, work):
        self.background.append(work)

    def notify(self):
        pass

    def close(self, reason=None):
        self.closed_reason = self.closed_reason or ModemError("closed")

    def end_epoch(self, reason):
        self._host.epoch += 1
        self.echo = self.error_form = None
        self.on_epoch(reason)

    def urc(self, means, family=None, payload=None, **values):
        rule = UrcRule(compile_pattern("URC"), means, family)
        if means == "boot":
            self.end_epoch("it announced itself")
        self.on_urc(Urc(rule, "URC", values, payload))


class Bench:
    def __init__(self, settings=None, synchronised=True, **on):
        self.host = FakeHost(**{**USUAL, **on})
        self.channel = FakeChannel(self.host)
        limits = {"tls_sockets": (0, 1, 2), "tcp_sockets": (0, 1), "contexts": (0, 1), "pdp_contexts": (1, 2)}
        profile = SimpleNamespace(
            name="test",
            limits=limits,
            behaviour={},
            programs={},
            numbers=lambda family: limits.get(f"{family}_sockets", ()),
            line=SimpleNamespace(cmee=1, boot_time=20.0),
        )
        runner = SimpleNamespace(
            run=self.host.run, has=self.host.has, profile=profile, capabilities={}, observe=lambda urc: urc
        )
        self.told = []
        self.modem = AttachedModem(
            "/dev/ttyX",
            self.channel,
            runner,
            settings or Settings(),
            Identity("Maker", "M1", "R2"),
            progress=lambda step, detail: self.told.append(step),
            time=HostTime(now=lambda: NOW, synchronised=lambda: synchronised),
        )

    def probing(self):
        """Have a firmware with one more capability than is known before it is probed."""
        found = {}

        def probe(bindings):
            found[self.host.epoch] = True
            return Answer()

        self.host.on["probe"] = probe

        class Runner(SimpleNamespace):
            @property
            def capabilities(runner):
                return {"hostname_check": found.get(self.host.epoch, False)}

        self.modem.runner = Runner(**{k: v for k, v in vars(self.modem.runner).items() if k != "capabilities"})

    def connect(self, settings=TLS):
        self.modem.ensure_up()
        with self.modem.contexts.lease(settings) as lease:
            return self.modem.open(Opening(family="tls", host="h.example", port=443, lease=lease))

    def later(self):
        while self.channel.background:
            self.channel.background.pop(0)()

    def new(self):
        """Operations and standard commands since the last call."""
        calls = [*self.channel.exchanges, *self.host.ops()]
        self.channel.exchanges.clear()
        self.host.calls.clear()
        return calls


def test_bring_up_in_order_and_once():
    bench = Bench()
    bench.modem.ensure_up()
    assert bench.channel.exchanges == [b"ATE0Q0V1", b"AT+CMEE=1"]
    assert (bench.channel.echo, bench.channel.error_form) == (False, 1)
    assert bench.host.ops() == [
        "setup",
        "probe",
        "radio_state",
        "sim_state",
        "registration_notify",
        "registration",
        "pdp_list",
        "tls_list",
        "tcp_list",
        "clock_read",
    ]
    bench.new()
    bench.modem.ensure_up()
    bench.modem.ensure_ready()
    assert bench.new() == []
    assert bench.told[0] == "modem"


def test_connecting_again_with_everything_in_place_costs_one_command():
    bench = Bench()
    bench.modem.sockets.close(bench.connect())
    bench.new()
    bench.connect()
    assert bench.new() == ["tls_open"]


def test_ready_needs_no_sim_and_no_network():
    bench = Bench(sim_state=refusal("sim_absent", 10), registration=refusal("network"))
    bench.modem.ensure_ready()
    assert "sim_state" not in bench.new()


@pytest.mark.parametrize(
    ("op", "error", "says"),
    [
        ("setup", CommandError, "modem: "),
        ("sim_state", ModemError, "SIM: "),
        ("radio_state", ModemError, "radio: "),
        ("registration", RegistrationError, "registration: "),
        ("pdp_list", PdpError, "PDP context"),
        ("tls_list", CommandError, "sockets: "),
    ],
)
def test_each_steps_failure_says_which_step_and_why_and_can_be_tried_again(op, error, says):
    bench = Bench()
    bench.host.on[op] = refusal("not_allowed", 3, "operation not allowed")
    with pytest.raises(error, match=f"^{says}.*operation not allowed"):
        bench.modem.ensure_up()
    bench.host.on[op] = USUAL[op]
    bench.modem.ensure_up()


@pytest.mark.parametrize("op", ["setup", "sim_state", "registration", "pdp_list", "clock_read", "tls_list"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ModemTimeoutError("no answer")])
def test_an_interrupt_at_any_step_leaves_it_usable(op, interruption):
    bench = Bench(**{op: [interruption, USUAL[op]]})
    if op == "clock_read" and isinstance(interruption, ModemTimeoutError):
        bench.modem.ensure_up()  # a clock that does not answer is only an error where dates are checked
        return
    with pytest.raises(type(interruption)):
        bench.modem.ensure_up()
    bench.connect()


def test_a_restart_in_the_middle_begins_again_and_not_for_ever():
    bench = Bench()

    def restarts(given):
        bench.channel.end_epoch("RDY")
        raise ModemRestartedError("the modem restarted: RDY")

    bench.host.on["registration"] = [restarts, USUAL["registration"]]
    bench.modem.ensure_up()
    assert bench.host.count("setup") == 2
    assert bench.host.count("sim_state") == 2
    bench = Bench(registration=restarts)
    bench.host.on["registration"] = lambda given: (bench.channel.end_epoch("RDY"), Answer(rows=[{"stat": "home"}]))[1]
    with pytest.raises(ModemRestartedError, match=r"given up after 3 restarts.*the last: .*restarted"):
        bench.modem.ensure_up()


def test_a_restart_means_everything_anew():
    bench = Bench()
    slot = bench.connect()
    bench.channel.urc("boot")
    with pytest.raises(ModemRestartedError):
        bench.modem.sockets.run(slot, "send", {"data": b"x", "size": 1})
    bench.new()
    bench.connect()
    calls = bench.new()
    assert calls[:3] == [b"ATE0Q0V1", b"AT+CMEE=1", "setup"]
    assert calls[-3:] == ["tls_configure", "tls_verify", "tls_open"]


def test_a_lease_of_before_a_restart_opens_nothing():
    bench = Bench()
    bench.modem.ensure_up()
    lease = bench.modem.contexts.lease(TLS)
    bench.channel.urc("boot")
    with pytest.raises(ModemRestartedError):
        bench.modem.open(Opening(family="tls", host="h.example", port=443, lease=lease))
    assert bench.host.count("tls_open") == 0


def test_a_modem_that_does_not_come_back_is_told_in_bounded_time():
    bench = Bench()
    bench.modem.ensure_up()
    bench.channel.urc("boot")
    bench.channel.dead = True
    begun = bench.host.time
    with pytest.raises(ModemTimeoutError, match="does not answer since"):
        bench.modem.ensure_up()
    assert bench.host.time - begun < 30


def test_a_lost_bearer_is_brought_back_without_the_rest():
    bench = Bench()
    slot = bench.connect()
    bench.channel.urc("network_lost", pdp=2)
    bench.modem.sockets.run(slot, "send", {"data": b"x", "size": 1})
    bench.channel.urc("network_lost", pdp=1)
    with pytest.raises(PdpError, match="the network ended PDP context 1"):
        bench.modem.sockets.run(slot, "send", {"data": b"x", "size": 1})
    bench.new()
    bench.host.on["pdp_list"] = Answer()
    bench.modem.ensure_up()
    assert bench.new() == ["registration", "pdp_list", "pdp_activate"]


def test_an_open_refused_for_want_of_a_bearer_is_tried_once_more_after_a_look():
    bench = Bench(tls_open=[refusal("pdp_lost", 570), Answer()])
    bench.connect()
    assert bench.host.count("tls_open") == 2
    bench = Bench(tls_open=refusal("pdp_failed", 561))
    with pytest.raises(CommandError):
        bench.connect()
    assert bench.host.count("tls_open") == 2


def test_a_wrong_clock_is_an_error_only_where_dates_are_checked():
    early = Answer(values={"clock": "80/01/06,00:00:00+00"})
    bench = Bench(synchronised=False, clock_read=early)
    with pytest.raises(ModemError, match=r"clock: certificates' dates cannot be checked: .*1980-01-06"):
        bench.connect()
    assert bench.host.count("tls_open") == 0
    bench.connect(TlsSettings(version=3, suites=(), check_dates=False))
    bench.host.on["clock_read"] = Answer(values={"clock": format_clock(NOW.astimezone(UTC))})
    bench.connect()  # it is looked at again: the network may have told the time meanwhile


def test_foreign_sockets_are_left_alone():
    bench = Bench(tls_list=Answer(rows=[{"socket": 0, "context": 1}]))
    slot = bench.connect()
    assert slot.number == 1
    assert bench.host.count("tls_close") == 0
    assert bench.host.calls[-1][1]["context"] == 0  # 1 is in use by the foreign one


def test_take_over_closes_foreign_sockets():
    bench = Bench(Settings(take_over=True), tls_list=[Answer(rows=[{"socket": 0, "context": 1}]), Answer()])
    assert bench.connect().number == 0
    assert ("tls_close", {"socket": 0}) in bench.host.calls


def test_urcs_reach_the_sockets():
    bench = Bench()
    slot = bench.connect()
    told = []
    slot.listener = lambda: told.append(1)
    bench.channel.urc("data", "tls", socket=slot.number)
    assert slot.data_pending
    bench.channel.urc("data", "tls", b"pushed", socket=slot.number, length=6)
    pushed = deque()
    slot.pour(pushed)
    assert list(pushed) == [b"pushed"]
    bench.channel.urc("closed", "tls", socket=slot.number)
    assert slot.closed
    assert len(told) == 3
    bench.channel.urc("noise")
    bench.channel.on_urc(Urc(None, "a line that only a watch knows", {}))


def test_a_powered_down_modem_has_lost_its_sockets():
    bench = Bench()
    slot = bench.connect()
    bench.channel.urc("power_down")
    with pytest.raises(ModemRestartedError):
        slot.check()


def test_a_pulled_sim_is_looked_at_again():
    bench = Bench()
    bench.modem.ensure_up()
    bench.channel.urc("sim", state="absent")
    bench.host.on["sim_state"] = Answer(values={"state": "absent"})
    with pytest.raises(ModemError, match="SIM: none is inserted"):
        bench.modem.ensure_up()


def test_a_connection_nobody_waits_for_is_closed_in_the_background():
    bench = Bench(tls_open=[KeyboardInterrupt(), Answer()])
    with pytest.raises(KeyboardInterrupt):
        bench.connect()
    bench.later()
    bench.channel.urc("opened", "tls", socket=0, error=0)
    bench.later()
    assert bench.host.count("tls_close") == 2
    bench.connect()


def test_closing_the_modem_closes_its_sockets_and_the_port():
    bench = Bench()
    slot = bench.connect()
    bench.modem.close()
    assert bench.host.calls[-1] == ("tls_close", {"socket": slot.number})
    assert bench.channel.closed_reason is not None
    bench.modem.close()


def during(bench, op, act):
    """Have something happen while an operation runs."""
    usual = bench.host.on[op]

    def run(bindings):
        act()
        return usual

    bench.host.on[op] = [run, usual]


def test_a_doubt_has_everything_asked_again_and_nothing_changed():
    bench = Bench()
    bench.connect()
    bench.new()
    bench.channel.raise_doubt("APP RDY")
    bench.connect()
    asked = bench.new()
    assert asked == [
        b"AT+CMEE=1", "setup", "probe", "radio_state", "sim_state", "registration_notify", "registration", "pdp_list",
        "tls_verify", "clock_read", "tls_open",
    ]  # fmt: skip
    bench.connect()
    assert bench.new() == ["tls_open"]


def test_a_doubt_while_a_connection_is_opened_has_its_settings_read_back_before_it_is_handed_out():
    bench = Bench()
    during(bench, "tls_open", lambda: bench.channel.raise_doubt("a line that the profile does not know"))
    bench.connect()
    assert bench.new()[-2:] == ["tls_open", "tls_verify"]


def test_a_connection_made_with_wiped_settings_is_never_handed_out():
    bench = Bench(tls_verify=[Answer(), refusal("mismatch"), Answer()])
    during(bench, "tls_open", lambda: bench.channel.raise_doubt("a line that the profile does not know"))
    epoch = bench.modem.epoch
    with pytest.raises(ModemRestartedError, match="unnoticed"):
        bench.connect()
    assert bench.host.ops()[-2:] == ["tls_verify", "tls_close"]
    assert bench.modem.epoch == epoch + 1
    assert bench.modem.slots.slots() == []
    bench.new()
    bench.connect()
    assert "tls_configure" in bench.new()


def test_a_bearer_found_down_without_a_word_is_a_sign_of_a_restart():
    bench = Bench()
    old = bench.connect()
    bench.host.on["tls_open"] = [refusal("pdp_failed", 561), Answer()]
    bench.host.on["pdp_list"] = [Answer(), Answer(), USUAL["pdp_list"]]
    bench.host.on["tls_verify"] = [refusal("mismatch"), Answer()]
    bench.new()
    with pytest.raises(ModemRestartedError, match="unnoticed"):
        bench.connect()
    assert bench.new().count("tls_open") == 1  # not tried again with settings that are gone
    with pytest.raises(ModemError):
        old.check()
    bench.connect()


def test_a_bearer_that_was_refused_but_is_up_is_a_doubt_about_the_settings():
    """Whatever took it down may have been a restart, and something else have brought it up again."""
    bench = Bench()
    bench.connect()
    bench.host.on["tls_open"] = [refusal("pdp_failed", 561), Answer()]
    bench.new()
    bench.connect()
    asked = bench.new()
    assert asked[asked.index("pdp_list") :].count("tls_verify") == 1
    assert asked.index("tls_verify") < len(asked) - 1 - asked[::-1].index("tls_open")


@pytest.mark.parametrize(
    "gone",
    [
        {"pdp_list": [Answer(), Answer(), USUAL["pdp_list"]]},
        {"pdp_read": [Answer(values={"apn": "", "family": "ipv4"}), Answer(values={"apn": "", "family": "ipv4"})]},
    ],
    ids=["down", "set otherwise"],
)
def test_what_was_read_back_before_the_bearer_was_found_gone_is_read_back_again(gone):
    """The restart may have come between the two."""
    bench = Bench(Settings(apn="iot"), pdp_read=Answer(values={"apn": "iot", "family": "ipv4"}))
    bench.connect()
    bench.channel.raise_doubt("a line that the profile does not know")
    with bench.modem.contexts.lease(TLS) as lease:  # read back
        bench.new()
        bench.host.on.update(gone)
        bench.modem.open(Opening(family="tls", host="h.example", port=443, lease=lease))
        asked = bench.new()
        assert asked.index("pdp_list") < asked.index("tls_verify") < asked.index("tls_open")


def test_what_was_probed_while_something_made_no_sense_is_probed_again():
    bench = Bench()
    during(bench, "probe", lambda: bench.channel.raise_doubt("a line that the profile does not know"))
    bench.modem.ensure_ready()
    assert bench.host.ops() == ["setup", "probe"] * 2
    bench.modem.ensure_ready()
    assert len(bench.host.calls) == 4


def test_a_clock_that_was_read_long_ago_is_read_again_and_set_right():
    bench = Bench()
    bench.connect()
    bench.new()
    bench.host.time += 3700
    bench.host.on["clock_read"] = Answer(values={"clock": format_clock(NOW + timedelta(seconds=3700))})
    bench.connect()
    assert bench.new() == ["clock_read", "tls_open"]
    bench.host.time += 3700
    wrong = Answer(values={"clock": format_clock(NOW - timedelta(days=20))})
    bench.host.on["clock_read"] = [wrong, wrong, USUAL["clock_read"]]
    bench.connect()
    assert bench.new() == ["clock_read", "clock_read", "clock_set", "clock_read", "tls_open"]


def test_after_a_failed_open_the_clock_is_told_as_it_is_now():
    bench = Bench()
    bench.connect()
    bench.host.on["tls_open"] = refusal("connect_or_handshake", 566)
    with pytest.raises(CommandError):
        bench.connect()
    assert bench.modem.clock.detail.endswith(f"it shows {NOW:%Y-%m-%d %H:%M} UTC now")
    wrong = Answer(values={"clock": "80/01/06,00:00:00+00"})
    bench.host.on["clock_read"] = [wrong, wrong, USUAL["clock_read"]]
    with pytest.raises(CommandError):
        bench.connect()
    assert "it showed 1980-01-06" in bench.modem.clock.detail
    bench.host.on["tls_open"] = refusal("name_not_resolved", 565)
    bench.new()
    with pytest.raises(CommandError):
        bench.connect()
    assert bench.new() == ["tls_open", "tls_close"]
    bench.host.on["tls_open"] = refusal("connect_or_handshake", 566)
    with pytest.raises(CommandError):
        bench.connect(TlsSettings(version=3, suites=("0XFFFF",), ca="mtls-ca", check_dates=False))
    assert "clock_read" not in bench.new()


def test_info_and_status():
    bench = Bench(
        info=Answer(values={"imei": "86", "iccid": None}),
        signal=Answer(values={"rssi": 20}),
        operator=refusal("network"),
        registration=Answer(rows=[{"stat": "denied"}, {"stat": "roaming", "technology": "lte-m"}]),
    )
    assert bench.modem.info() == {"manufacturer": "Maker", "model": "M1", "revision": "R2", "imei": "86"}
    bench.new()
    bench.modem.info()
    assert bench.new() == []
    status = bench.modem.status()
    assert (status.sim, status.registration, status.technology) == ("ready", "roaming", "lte-m")
    assert (status.signal, status.operator, status.pdp, status.address) == (-73, None, 1, "10.0.0.1")


@pytest.mark.parametrize(
    ("level", "answer", "radio", "sim"),
    [
        (1, Answer(values={"state": "ready"}), "on", "ready"),
        (1, Answer(values={"state": "absent"}), "on", "absent"),
        (0, Answer(values={"state": "absent"}), "off", "unknown"),
        (4, Answer(values={"state": "ready"}), "off", "unknown"),
        (4, refusal("unknown", 13, "SIM failure"), "off", "unknown"),
        (4, Answer(values={"state": "pin"}), "off", "pin"),
        (None, Answer(values={"state": "ready"}), None, "ready"),
    ],
)
def test_of_a_sim_nothing_is_claimed_while_the_radio_is_off(level, answer, radio, sim):
    bench = Bench(radio_state=Answer(values={} if level is None else {"level": level}), sim_state=answer)
    status = bench.modem.status()
    assert (status.radio, status.sim) == (radio, sim)


def test_one_socket_too_many_is_a_clear_error():
    bench = Bench()
    for _ in range(3):
        bench.connect()
    with pytest.raises(ModemError, match="all 3 tls sockets") as caught:
        bench.connect()
    assert caught.value.errno == errno.EMFILE


# --- capabilities


def test_capabilities_are_true_from_the_beginning_and_after_a_restart():
    bench = Bench()
    bench.probing()
    assert bench.modem.capabilities["hostname_check"] is True
    assert bench.host.ops() == ["setup", "probe"]
    assert bench.modem.capabilities["hostname_check"] is True
    assert bench.host.ops() == ["setup", "probe"]
    bench.channel.urc("boot")
    assert bench.modem.capabilities["hostname_check"] is True
    assert bench.host.count("probe") == 2


def test_capabilities_of_a_modem_that_restarts_while_they_are_read():
    bench = Bench()
    bench.probing()
    real, restarts = bench.modem.ensure_ready, [True]

    def ready(**given):
        real(**given)
        if restarts:
            restarts.pop()
            bench.channel.urc("boot")

    bench.modem.ensure_ready = ready
    assert bench.modem.capabilities["hostname_check"] is True


def test_capabilities_of_a_modem_that_does_not_answer_are_an_error():
    bench = Bench()
    bench.probing()
    bench.channel.dead = True
    with pytest.raises(ModemTimeoutError):
        _ = bench.modem.capabilities

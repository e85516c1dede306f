from __future__ import annotations

import pytest

from modemtls.at.channel import LineBusyError
from modemtls.errors import (
    ConnectError,
    ModemRestartedError,
    ModemTimeoutError,
    PdpError,
    PinError,
    RegistrationError,
    SimError,
)
from modemtls.modem.bringup import Bringup
from modemtls.modem.settings import Settings
from tests.support.modem_fakes import Answer, FakeHost, refusal


def state(word):
    return Answer(values={"state": word})


def stats(*words):
    return Answer(rows=[{"stat": word} for word in words])


class Bench:
    def __init__(self, *, contexts=(1, 2, 3), settings=None, pdp_active=None, attach_context=None, unused=False, **on):
        self.host = FakeHost(**on)
        self.told = []
        self.steps = Bringup(
            self.host,
            settings or Settings(),
            wait=self.host.wait,
            pdp_contexts=contexts,
            pdp_active=pdp_active,
            attach_context=attach_context,
            unused=lambda deadline: unused,
            progress=lambda step, detail: self.told.append((step, detail)),
            port="/dev/modem",
        )


# --- SIM


def test_a_ready_sim_is_only_asked():
    bench = Bench(sim_state=state("ready"), sim_unlock=Answer())
    bench.steps.sim(None)
    assert bench.host.ops() == ["sim_state"]


def test_the_pin_is_sent_once_and_the_sim_given_time():
    bench = Bench(
        settings=Settings(pin="1234"),
        sim_state=[state("pin"), state("busy"), state("pin"), state("ready")],
        sim_unlock=Answer(),
        info=Answer(values={"iccid": "8949"}),
    )
    bench.steps.sim(None)
    assert bench.host.count("sim_unlock") == 1
    assert ("sim_unlock", {"pin": "1234"}) in bench.host.calls
    assert ("SIM", "unlocking") in bench.told
    assert "1234" not in str(bench.told)


@pytest.mark.parametrize("word", ["other", "busy"])
def test_a_sim_that_is_not_ready_in_time_is_told_as_what_the_modem_says_of_it(word):
    bench = Bench(sim_state=state(word))
    with pytest.raises(ModemTimeoutError, match=f"SIM: .*the modem says '{word}'"):
        bench.steps.sim(bench.host.now() + 2.0)


def test_a_pin_that_never_left_may_be_sent():
    bench = Bench(
        settings=Settings(pin="1111"),
        sim_state=[state("pin"), state("pin"), state("ready")],
        sim_unlock=[LineBusyError("busy"), Answer()],
    )
    with pytest.raises(ModemTimeoutError, match="SIM"):
        bench.steps.sim(None)
    bench.steps.sim(None)


def test_a_pin_that_was_taken_may_be_sent_after_a_restart():
    bench = Bench(
        settings=Settings(pin="1111"),
        sim_state=[state("pin"), state("ready"), state("pin"), state("ready")],
        sim_unlock=Answer(),
    )
    bench.steps.sim(None)
    bench.host.epoch += 1
    bench.steps.sim(None)
    assert bench.host.count("sim_unlock") == 2


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (state("absent"), SimError, "SIM: none is inserted"),
        (refusal("sim_absent", 10), SimError, "SIM: none is inserted"),
        (state("puk"), SimError, "PUK"),
        (state("pin"), PinError, "pin="),
        (state("busy"), SimError, "does not finish starting"),
        (refusal("unknown", 13, "SIM failure"), SimError, "SIM: .*SIM failure"),
    ],
)
def test_sim_trouble_says_what_it_is(answer, kind, says):
    bench = Bench(sim_state=answer, sim_unlock=Answer())
    with pytest.raises(kind, match=says):
        bench.steps.sim(None)
    assert bench.host.count("sim_unlock") == 0


# --- radio, registration


def test_the_radio_is_switched_on_only_if_it_is_off():
    bench = Bench(radio_state=[Answer(values={"level": 4}), Answer(values={"level": 1})], radio_on=Answer())
    bench.steps.radio(None)
    bench.steps.radio(None)
    assert bench.host.count("radio_on") == 1


def test_registration_waits_for_the_urc_not_for_the_clock():
    bench = Bench(registration=[stats("searching"), stats("searching"), stats("home")], registration_notify=Answer())
    begun = bench.host.time
    bench.host.on_wait = [bench.steps.note_change, bench.steps.note_change]
    bench.steps.registration(None)
    assert bench.host.time == begun
    assert ("registration", "searching for a network") in bench.told
    assert bench.told[-1] == ("registration", "registered, at home")
    bench.steps.registration(None)
    assert bench.host.count("registration_notify") == 1  # once per epoch


def test_any_domain_that_is_registered_is_enough():
    bench = Bench(registration=stats("denied", "roaming"))
    bench.steps.registration(None)
    assert bench.told[-1][1] == "registered, roaming"


def test_roaming_where_it_is_not_wanted():
    bench = Bench(settings=Settings(roaming=False), registration=stats("roaming"))
    with pytest.raises(RegistrationError, match="roaming=False"):
        bench.steps.registration(None)


def test_a_refusal_that_stands_is_denied_one_that_passes_is_not():
    bench = Bench(registration=stats("denied"))
    with pytest.raises(RegistrationError, match="registration: denied by the network") as caught:
        bench.steps.registration(None)
    assert not isinstance(caught.value, TimeoutError)
    bench = Bench(registration=[stats("denied"), stats("denied"), stats("searching"), stats("home")])
    bench.steps.registration(None)


def test_no_network_in_time_is_a_timeout_and_says_how_long():
    bench = Bench(settings=Settings(registration_timeout=60), registration=stats("searching"))
    with pytest.raises(RegistrationError, match=r"no network after 60 s.*searching") as caught:
        bench.steps.registration(None)
    assert isinstance(caught.value, TimeoutError)
    bench = Bench(registration=stats("idle"))
    with pytest.raises(TimeoutError, match="registration: no network after 20 s"):
        bench.steps.registration(bench.host.time + 20)


def test_a_restart_while_waiting_is_noticed():
    bench = Bench(registration=stats("searching"))

    def restart():
        bench.host.epoch += 1
        bench.steps.note_change()

    bench.host.on_wait = [restart]
    with pytest.raises(ModemRestartedError):
        bench.steps.registration(None)


# --- PDP


class Pdp(Bench):
    """Contexts with APN and whether active."""

    def __init__(self, table, settings=None, **on):
        self.table = {n: {"user": "", "password": "", **entry} for n, entry in table.items()}
        super().__init__(
            settings=settings,
            pdp_list=lambda given: Answer(
                rows=[{"pdp": n, "address": "10.0.0.1"} for n, e in self.table.items() if e.get("active")]
            ),
            pdp_read=lambda given: Answer(
                values={k: v for k, v in self.table[given["pdp"]].items() if k in {"apn", "user", "password"}}
            ),
            pdp_configure=self.configure,
            pdp_activate=self.activate,
            pdp_deactivate=self.deactivate,
            **on,
        )

    def configure(self, given):
        entry = self.table[given["pdp"]]
        assert not entry.get("active")
        entry.update(apn=given["apn"], user=given["user"] or "", password=given["password"] or "")
        return Answer()

    def activate(self, given):
        entry = self.table[given["pdp"]]
        if entry.get("active") or entry.get("bad"):
            return refusal("pdp_failed", 561, "opening the PDP context failed")
        entry["active"] = True
        return Answer()

    def deactivate(self, given):
        self.table[given["pdp"]]["active"] = False
        return Answer()

    def writes(self):
        return [op for op in self.host.ops() if op in {"pdp_configure", "pdp_activate", "pdp_deactivate"}]


def test_an_active_context_that_fits_is_shared_untouched():
    bench = Pdp({1: {"apn": "IoT.Example", "active": True}}, Settings(apn="iot.example"))
    assert bench.steps.bearer(None) == 1
    assert bench.writes() == []


def test_without_an_apn_any_active_context_is_shared():
    bench = Pdp({1: {"apn": "a"}, 3: {"apn": "b", "active": True}})
    assert bench.steps.bearer(None) == 3
    assert bench.writes() == []


def test_without_an_apn_nothing_is_configured():
    bench = Pdp({1: {"apn": "stored"}})
    assert bench.steps.bearer(None) == 1
    assert bench.writes() == ["pdp_activate"]


def test_configured_only_on_difference(caplog):
    caplog.set_level("INFO")
    bench = Pdp({1: {"apn": "iot.example"}}, Settings(apn="iot.example"))
    bench.steps.bearer(None)
    assert bench.writes() == ["pdp_activate"]
    assert "writing APN" not in caplog.text
    bench = Pdp({1: {"apn": "else"}}, Settings(apn="iot.example", user="u", password="geheim"))
    bench.steps.bearer(None)
    assert bench.writes() == ["pdp_configure", "pdp_activate"]
    assert "writing APN 'iot.example'" in caplog.text
    assert "geheim" not in caplog.text + str(bench.told)


def test_other_credentials_are_a_difference():
    bench = Pdp({1: {"apn": "a", "user": "u", "password": "old"}}, Settings(apn="a", user="u", password="new"))
    bench.steps.bearer(None)
    assert bench.writes() == ["pdp_configure", "pdp_activate"]


def test_what_cannot_be_read_is_written_once():
    bench = Pdp({1: {"apn": "a"}}, Settings(apn="a", user="u", password="p"))
    bench.host.on["pdp_read"] = Answer(values={"apn": "a"})
    bench.steps.bearer(None)
    bench.table[1]["active"] = False
    bench.steps.bearer(None)
    assert bench.writes() == ["pdp_configure", "pdp_activate", "pdp_activate"]


def test_one_context_more_than_the_modem_can_have_active_is_refused_before_anything_is_changed():
    theirs = {n: {"apn": "theirs", "active": True} for n in (1, 3)}
    bench = Pdp({**theirs, 2: {"apn": "old"}}, Settings(apn="ours"), pdp_active=2)
    with pytest.raises(PdpError, match=r"^PDP context 2: 2 are active already \(1, 3\), and this modem has no more"):
        bench.steps.bearer(None)
    assert bench.writes() == []
    bench = Pdp({**theirs, 2: {"apn": "old"}}, Settings(apn="ours"), pdp_active=3)
    assert bench.steps.bearer(None) == 2
    bench = Pdp({**theirs, 2: {"apn": "old"}}, pdp_active=2)
    assert bench.steps.bearer(None) == 1, "shared"
    bench = Pdp(theirs, Settings(apn="ours", pdp=1, take_over=True), pdp_active=2)
    assert bench.steps.bearer(None) == 1, "deactivated first"


def test_an_active_context_of_others_is_not_reconfigured():
    bench = Pdp({1: {"apn": "theirs", "active": True}, 2: {"apn": "old"}}, Settings(apn="ours"))
    bench.host.on["pdp_list"] = lambda given: Answer(
        rows=[{"pdp": n} for n, e in bench.table.items() if e.get("active")]
    )
    assert bench.steps.bearer(None) == 2
    assert bench.table[1] == {"apn": "theirs", "active": True, "user": "", "password": ""}
    assert bench.writes() == ["pdp_configure", "pdp_activate"]


def test_another_active_context_with_the_right_apn_is_found():
    bench = Pdp({1: {"apn": "theirs", "active": True}, 3: {"apn": "ours", "active": True}}, Settings(apn="ours"))
    assert bench.steps.bearer(None) == 3
    assert bench.writes() == []


def test_a_context_asked_for_by_number_is_that_or_an_error_with_ways_out():
    bench = Pdp({1: {"apn": "x"}, 2: {"apn": "theirs", "active": True}}, Settings(apn="ours", pdp=2))
    with pytest.raises(PdpError, match=r"PDP context 2: it is active with the APN 'theirs'.*take_over=True"):
        bench.steps.bearer(None)
    assert bench.writes() == []


def test_take_over_takes_over():
    bench = Pdp({1: {"apn": "theirs", "active": True}}, Settings(apn="ours", take_over=True))
    assert bench.steps.bearer(None) == 1
    assert bench.writes() == ["pdp_deactivate", "pdp_configure", "pdp_activate"]
    assert bench.table[1]["apn"] == "ours"


def test_a_context_that_the_network_ended_is_deactivated_first():
    bench = Pdp({1: {"apn": "a"}}, Settings(apn="a"))
    bench.steps.bearer(None)
    bench.steps.note_lost(1)
    assert bench.steps.bearer(None) == 1
    assert bench.writes() == ["pdp_activate", "pdp_deactivate", "pdp_activate"]
    assert bench.steps.bearer(None) == 1
    assert len(bench.writes()) == 3


@pytest.mark.parametrize(
    ("stored", "wanted", "fits"),
    [
        ("ipv4", "ipv4", True),
        ("ipv4v6", "ipv4", True),
        ("ipv4v6", "ipv6", True),
        ("ipv4", "ipv4v6", False),
        ("ipv6", "ipv4", False),
        (None, "ipv6", True),
    ],
)
def test_what_carries_too_little_is_a_difference_where_the_modem_tells(stored, wanted, fits):
    bench = Pdp({1: {"apn": "a"}}, Settings(apn="a", family=wanted))
    bench.host.on["pdp_read"] = Answer(values={"apn": "a"} | ({"family": stored} if stored else {}))
    bench.steps.bearer(None)
    assert bench.writes() == ([] if fits else ["pdp_configure"]) + ["pdp_activate"]


def test_an_active_context_that_carries_too_little_is_told_as_that():
    bench = Pdp({1: {"apn": "a", "active": True}}, Settings(apn="a", pdp=1, family="ipv6"))
    bench.host.on["pdp_read"] = Answer(values={"apn": "a", "family": "ipv4"})
    with pytest.raises(PdpError, match=r"active with the APN 'a' \(ipv4\), not 'a' \(ipv6\), and is not the driver's"):
        bench.steps.bearer(None)


@pytest.mark.parametrize(
    ("family", "host", "leads"),
    [
        ("ipv4", "::1", False),
        ("ipv4", "192.0.2.1", True),
        ("ipv4", "h.example", True),
        ("ipv4v6", "::1", True),
        (None, "::1", True),
    ],
)
def test_where_a_context_is_known_not_to_lead(family, host, leads):
    bench = Pdp({1: {"apn": "a"}})
    bench.host.on["pdp_read"] = Answer(values={"apn": "a"} | ({"family": family} if family else {}))
    bench.steps.bearer(None)
    if leads:
        bench.steps.reach(host, None)
    else:
        with pytest.raises(ConnectError, match="no way to ::1: PDP context 1 is for IPv4 alone; give apn= and family="):
            bench.steps.reach(host, None)


# --- what attaching brings up


class Attaching(Pdp):
    """Attaching brings context 0 up with the APN that it has then; to write it the radio must be off."""

    def __init__(self, apn, *, level, settings, registered=True, **on):
        self.level = level
        self.registered = registered
        super().__init__(
            {0: {"apn": apn}},
            settings,
            contexts=(0,),
            attach_context=0,
            radio_state=lambda given: Answer(values={"level": self.level}),
            radio_on=lambda given: self.switch(1),
            radio_off=lambda given: self.switch(4),
            registration=lambda given: stats("home" if self.registered else "searching"),
            **on,
        )
        self.switch(level)

    def switch(self, level):
        self.level = level
        self.table[0]["active"] = level == 1 and self.registered
        return Answer()

    def configure(self, given):
        if self.level == 1:
            return refusal("not_allowed")
        return super().configure(given)

    def up(self):
        self.steps.radio(None)
        self.steps.registration(None)
        return self.steps.bearer(None)

    def writes(self):
        changing = {"radio_on", "radio_off", "pdp_configure", "pdp_activate", "pdp_deactivate"}
        return [op for op in self.host.ops() if op in changing]


@pytest.mark.parametrize("level", [0, 4])
def test_what_attaching_brings_up_is_written_before_the_radio_goes_on(level):
    bench = Attaching("old", level=level, settings=Settings(apn="ours"))
    assert bench.up() == 0
    assert bench.writes() == ["pdp_configure", "radio_on"]
    assert bench.table[0]["apn"] == "ours"


@pytest.mark.parametrize("settings", [Settings(), Settings(apn="ours")])
def test_what_fits_or_was_not_asked_for_is_not_written(settings):
    bench = Attaching("ours", level=0, settings=settings)
    bench.up()
    assert bench.writes() == ["radio_on"]


def test_another_apn_that_the_modem_has_attached_with_stays_and_the_error_names_the_way_out():
    bench = Attaching("theirs", level=1, settings=Settings(apn="ours"))
    with pytest.raises(PdpError, match=r"active with the APN 'theirs'.*take_over=True, with which the radio goes off"):
        bench.up()
    assert bench.writes() == []


def test_with_consent_the_radio_goes_off_for_it_and_on_again():
    bench = Attaching("theirs", level=1, settings=Settings(apn="ours", take_over=True))
    assert bench.up() == 0
    assert bench.writes() == ["radio_off", "pdp_configure", "radio_on"]
    assert bench.table[0] == {"apn": "ours", "active": True, "user": "", "password": ""}


def test_where_nothing_is_active_nobody_has_to_consent():
    bench = Attaching("wrong", level=1, settings=Settings(apn="ours"), registered=False)
    bench.steps.radio(None)
    assert bench.writes() == ["radio_off", "pdp_configure", "radio_on"]


def test_an_empty_apn_that_nobody_uses_is_nobodys():
    bench = Attaching("", level=1, settings=Settings(apn="ours"), unused=True)
    assert bench.up() == 0
    assert bench.writes() == ["radio_off", "pdp_configure", "radio_on"]
    assert bench.table[0]["apn"] == "ours"
    bench.table[0]["apn"] = ""
    assert bench.steps.bearer(None) == 0, "seen only when the bearer was asked for"
    assert bench.table[0]["apn"] == "ours"


@pytest.mark.parametrize(
    ("apn", "unused", "others"), [("", False, {}), ("theirs", True, {}), ("", True, {1: {"apn": "x", "active": True}})]
)
def test_what_somebody_uses_or_has_chosen_stays(apn, unused, others):
    bench = Attaching(apn, level=1, settings=Settings(apn="ours"), unused=unused)
    bench.table.update(others)
    with pytest.raises(PdpError, match=r"take_over=True"):
        bench.up()
    assert bench.writes() == []


def test_an_empty_apn_with_a_user_was_chosen_by_somebody():
    bench = Attaching("", level=1, settings=Settings(apn="ours"), unused=True)
    bench.table[0]["user"] = "theirs"
    with pytest.raises(PdpError, match=r"take_over=True"):
        bench.up()


def test_the_radio_is_on_again_whatever_writing_it_comes_to():
    bench = Attaching("theirs", level=1, settings=Settings(apn="ours", take_over=True))
    bench.host.on["pdp_configure"] = refusal("not_supported", text="no user here")
    with pytest.raises(PdpError, match=r"^PDP context: .*no user here"):
        bench.up()
    assert bench.level == 1


def test_what_was_open_over_the_context_is_told_that_it_went():
    bench = Attaching("ours", level=1, settings=Settings(apn="ours", take_over=True))
    bench.up()
    assert not bench.steps.found_down
    bench.table[0]["apn"] = "changed by somebody"
    bench.up()
    assert bench.steps.found_down
    bench.up()
    assert not bench.steps.found_down


# --- what refuses


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        ({}, "is the APN stored in the modem right for this SIM?"),
        ({"apn": "a"}, "is the APN 'a' right for this SIM, and does it take no user and password?"),
        ({"apn": "a", "user": "u"}, "are the APN 'a', the user 'u' and no password right for this SIM?"),
        (
            {"apn": "a", "user": "u", "password": "geheim"},
            "are the APN 'a', the user 'u' and the password given right for this SIM?",
        ),
    ],
)
def test_a_refused_activation_names_step_and_reason_and_asks_about_what_was_given(settings, asks, caplog):
    caplog.set_level("DEBUG")
    bench = Pdp({1: {"apn": "a", "bad": True}}, Settings(**settings))
    with pytest.raises(PdpError, match=r"^PDP context 1: not activated: .*opening the PDP context failed") as caught:
        bench.steps.bearer(None)
    assert caught.value.message.endswith(f"({asks})")
    assert "geheim" not in f"{caught.value!r} {caught.value} {caplog.text} {bench.told}"


def test_activated_by_the_network_meanwhile_is_good():
    bench = Pdp({1: {"apn": "a"}}, Settings(apn="a"))

    def raced(given):
        bench.table[1]["active"] = True
        return refusal("not_allowed", 572)

    bench.host.on["pdp_activate"] = raced
    assert bench.steps.bearer(None) == 1


def test_a_modem_that_cannot_list_just_activates():
    bench = Bench(pdp_activate=Answer(), contexts=())
    assert bench.steps.bearer(None) == 1


# --- settings


@pytest.mark.parametrize(
    "bad",
    [
        {"pin": "123"},
        {"pin": "12345a"},
        {"pin": "١٢٣٤"},
        {"baudrate": 0},
        {"baudrate": "fast"},
        {"pdp": -1},
        {"password": "x"},
        {"user": "x"},  # without an APN
        {"user": "x", "password": "x"},
        {"auth": "pap"},
        {"family": "ipv6"},
        {"timeout": 0},
    ],
)
def test_settings_that_can_never_work_are_refused_at_once(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Settings(**bad)


def test_secrets_do_not_show():
    shown = repr(Settings(pin="1234", apn="a", user="u", password="geheim"))
    assert "1234" not in shown
    assert "geheim" not in shown

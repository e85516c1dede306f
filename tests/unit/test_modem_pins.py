"""A PIN that was not accepted is not sent again, by whatever process: what is kept on disk, and when."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat

import pytest

from modemtls.at.channel import LineBusyError
from modemtls.errors import ModemError, ModemTimeoutError, NotSupportedError, PinError
from modemtls.modem import pins
from modemtls.modem.bringup import Bringup
from modemtls.modem.pins import PinMemory, SimIdentity, state_folder
from modemtls.modem.settings import Settings
from tests.support.modem_fakes import Answer, FakeHost, refusal

ICCID, OTHER_ICCID = "8949012345678901237", "8949012345678901245"
IMEI, OTHER_IMEI = "864901234567893", "864901234567901"
SIM = SimIdentity(ICCID, IMEI, "/dev/modem", frozenset({"iccid", "imei"}))


class Run:
    """What one process does: nothing of it but the files is left for the next."""

    """``told``: what the modem says of itself, one time after the other."""

    def __init__(self, pin, unlock, *, iccid=ICCID, imei=IMEI, port="/dev/modem", states=("pin",), told=None):
        self.seen = None

        def send(bindings):
            self.seen = [json.loads(path.read_text()) for path in state_folder().glob("pin-*.json")]
            answer = unlock(bindings) if callable(unlock) else unlock
            if isinstance(answer, BaseException):
                raise answer
            return answer

        self.host = FakeHost(
            sim_state=[Answer(values={"state": word}) for word in states],
            sim_unlock=send,
            info=[
                Answer(values={name: value for name, value in one.items() if value})
                for one in told or [{"iccid": iccid, "imei": imei}]
            ],
        )
        self.steps = Bringup(self.host, Settings(pin=pin), wait=self.host.wait, pdp_contexts=[1], port=port)

    def fails(self, match=None, kind=PinError):
        with pytest.raises(kind, match=match) as caught:
            self.steps.sim(None)
        return str(caught.value)

    @property
    def sent(self):
        return self.host.count("sim_unlock")


WRONG = refusal("pin_wrong", 16, "incorrect password")


def files():
    return sorted(path for path in state_folder().iterdir())


def test_a_refused_pin_is_not_sent_by_the_next_run_and_another_one_is():
    first = Run("1111", WRONG)
    told = first.fails("the PIN was refused")
    assert "1111" not in told
    assert first.sent == 1
    for again in (first, Run("1111", WRONG), Run("1111", Answer())):
        before = again.sent
        again.fails("refused before.*not sent again")
        assert again.sent == before
    other = Run("2222", WRONG)
    other.fails("the PIN was refused")
    assert other.sent == 1
    for pin in ("1111", "2222"):
        Run(pin, Answer()).fails("not sent again")


def test_the_error_names_the_file_and_deleting_that_forgets():
    Run("1111", WRONG).fails("refused")
    (path,) = files()
    for run in (Run("1111", WRONG), Run("1111", WRONG)):
        assert run.fails("delete").endswith(f"delete {path}")
    path.unlink()
    run = Run("1111", Answer(), states=("pin", "ready"))
    run.steps.sim(None)
    assert run.sent == 1


def test_it_is_written_down_before_it_is_sent_and_struck_out_when_accepted():
    run = Run("1111", Answer(), states=("pin", "ready"))
    run.steps.sim(None)
    assert [entry["fate"] for entry in run.seen[0]["sent"]] == ["unknown"]
    assert files() == []
    again = Run("1111", Answer(), states=("pin", "ready"))
    again.steps.sim(None)
    assert again.sent == 1


def test_other_pins_that_were_refused_stay_refused_when_one_is_accepted():
    Run("1111", WRONG).fails("refused")
    accepted = Run("2222", Answer(), states=("pin", "ready"))
    accepted.steps.sim(None)
    assert accepted.sent == 1
    refused = Run("1111", Answer())
    refused.fails("refused before.*not sent again")
    assert refused.sent == 0


@pytest.mark.parametrize(
    "unlock", [ModemTimeoutError("no answer"), KeyboardInterrupt(), refusal("busy", 14, "SIM busy"), SystemExit(143)]
)
def test_a_pin_whose_fate_is_unknown_is_not_sent_again(unlock):
    Run("1111", unlock).fails(kind=BaseException)
    later = Run("1111", Answer())
    later.fails("its fate is unknown.*not sent again")
    assert later.sent == 0


@pytest.mark.parametrize("unlock", [LineBusyError("busy"), NotSupportedError("no", capability="x")])
def test_a_pin_that_never_left_may_be_sent(unlock):
    Run("1111", unlock).fails(kind=ModemError)
    run = Run("1111", Answer(), states=("pin", "ready"))
    run.steps.sim(None)
    assert run.sent == 1


class Late(FakeHost):
    """The sender stops waiting for the answer; ``later`` is what is to be told of it."""

    def run(self, op, bindings=None, *, deadline=None, on_orphan=None):
        if op == "sim_unlock":
            self.later = on_orphan
        return super().run(op, bindings, deadline=deadline)


def late(*states):
    host = Late(
        sim_state=[Answer(values={"state": word}) for word in ("pin", *states)], sim_unlock=ModemTimeoutError("late")
    )
    steps = Bringup(host, Settings(pin="1111"), wait=host.wait, pdp_contexts=[1], port="p")
    with pytest.raises(ModemTimeoutError):
        steps.sim(None)
    return host, steps


def reply(*, ok):
    return type("Reply", (), {"ok": ok})()


def test_an_answer_that_comes_late_counts_once_the_sim_is_seen_to_be_unlocked():
    host, steps = late("ready")
    host.later(reply(ok=True))
    assert len(files()) == 1
    steps.sim(None)
    assert files() == []
    assert host.count("sim_unlock") == 1


@pytest.mark.parametrize("what", ["nothing", "refused", "restart"])
def test_what_unlocked_the_sim_is_not_known_without_the_answer_to_the_pin(what):
    host, steps = late("ready")
    if what == "restart":
        host.later(reply(ok=True))
        host.epoch += 1
    elif what == "refused":
        host.later(reply(ok=False))
    else:
        host.later(ModemTimeoutError("still nothing"))
    steps.sim(None)
    assert len(files()) == 1


@pytest.mark.parametrize(("state", "says"), [("pin", "not unlocked by it"), ("puk", "now blocked.*PUK")])
def test_a_pin_that_was_answered_ok_and_did_not_unlock_counts_as_refused(state, says):
    run = Run("1111", Answer(), states=("pin", state))
    told = run.fails(says)
    assert str(files()[0]) in told
    assert "1111" not in told.replace(str(files()[0]), "")
    later = Run("1111", Answer(), states=("pin", "ready"))
    later.fails("was refused before.*not sent again")
    assert later.sent == 0


@pytest.mark.parametrize("state", ["busy", "other"])
def test_a_pin_after_which_the_sim_is_not_seen_to_be_unlocked_is_not_sent_again(state):
    Run("1111", Answer(), states=("pin", state)).fails(kind=ModemError)
    later = Run("1111", Answer(), states=("pin", "ready"))
    later.fails("its fate is unknown.*not sent again")
    assert later.sent == 0


def test_only_the_owner_may_read_and_no_pin_is_in_it(state_folder):
    os.umask(before := os.umask(0))
    try:
        os.umask(0)
        Run("73915", WRONG).fails("refused")
    finally:
        os.umask(before)
    (path,) = files()
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "73915" not in text
    Run("73915", WRONG, iccid=OTHER_ICCID).fails("refused")
    one, other = (json.loads(file.read_text())["sent"][0] for file in files())
    assert one["salt"] != other["salt"]
    assert one["scrypt"] != other["scrypt"]
    assert one["cost"][0] >= 1 << 14


def test_a_folder_that_was_open_to_others_is_closed(state_folder):
    state_folder.mkdir(parents=True)
    state_folder.chmod(0o755)
    Run("1111", WRONG).fails("refused")
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700


def test_another_sim_is_another_matter():
    Run("1111", WRONG).fails("refused")
    other = Run("1111", WRONG, iccid=OTHER_ICCID)
    other.fails("the PIN was refused")
    assert other.sent == 1


@pytest.mark.parametrize(
    "iccid",
    [
        ICCID[:6] + ICCID[7:],  # a digit lost
        ICCID[:5] + ICCID[7:],
        ICCID[:9] + "9" + ICCID[10:],  # a digit changed
        "89" + ICCID[4:],
        ICCID[:12],  # cut short: nothing that one could be told from another by
        "89490123 5678901237",
        "",
    ],
)
def test_a_number_that_was_garbled_on_the_line_is_no_other_sim(iccid):
    Run("1111", WRONG).fails("refused")
    for port in ("/dev/modem", "/dev/other"):
        later = Run("1111", WRONG, iccid=iccid, port=port)
        later.fails("not sent again")
        assert later.sent == 0
    Run("2222", WRONG, iccid=iccid).fails("the PIN was refused")
    later = Run("2222", WRONG)
    later.fails("not sent again")
    assert later.sent == 0


def test_a_number_that_lost_a_digit_and_has_a_right_check_digit_by_chance_is_no_other_sim():
    whole, short = "89828836075983867565", "8988836075983867565"
    assert all(SimIdentity.read([{"iccid": one}] * 2, "").sure for one in (whole, short))
    Run("1111", WRONG, iccid=whole).fails("refused")
    Run("1111", WRONG, iccid=short, imei=OTHER_IMEI, port="/dev/other").fails("not sent again")


@pytest.mark.parametrize(
    ("name", "value", "sure"),
    [
        ("iccid", ICCID, True),
        ("iccid", ICCID + "F", True),
        ("iccid", ICCID + "7", True),  # a check digit, and one more to fill the last byte
        ("iccid", ICCID[:-1] + "8", False),
        ("iccid", "88" + ICCID[2:], False),
        ("iccid", ICCID[1:], False),
        ("iccid", "x" * 1000, False),
        ("imei", IMEI, True),
        ("imei", IMEI[:-1] + "4", False),
        ("imei", IMEI + "01", False),
    ],
)
def test_what_makes_a_number_certain(name, value, sure):
    assert (name in SimIdentity.read([{name: value}] * 2, "").sure) is sure
    assert name not in SimIdentity.read([{name: value}, {}], "").sure


def test_a_number_is_only_believed_if_it_was_read_twice_alike():
    Run("1111", WRONG).fails("refused")
    unsteady = [{"iccid": OTHER_ICCID, "imei": IMEI}, {"iccid": ICCID[:-2], "imei": IMEI}, {"imei": IMEI}]
    later = Run("1111", WRONG, told=unsteady)
    later.fails("not sent again")
    assert (later.sent, later.host.count("info")) == (0, 3)
    steady = [{"iccid": ICCID, "imei": IMEI}, {"iccid": OTHER_ICCID, "imei": IMEI}]
    later = Run("1111", WRONG, told=steady)
    later.fails("the PIN was refused")
    assert later.sent == 1


def test_of_a_modem_whose_numbers_have_no_check_digit_any_sim_may_be_the_one():
    odd = "89860000000000000018"
    Run("1111", WRONG, iccid=odd).fails("refused")
    other = Run("1111", WRONG, iccid="89860000000099000018")
    other.fails("not sent again")
    elsewhere = Run("1111", WRONG, iccid="89860000000099000018", imei=OTHER_IMEI, port="/dev/other")
    elsewhere.fails("the PIN was refused")
    assert (other.sent, elsewhere.sent) == (0, 1)


def test_what_an_older_version_wrote_down_is_certain_of_nothing(state_folder):
    Run("1111", WRONG).fails("refused")
    (path,) = files()
    entry = json.loads(path.read_text())
    del entry["sent"][0]["sure"]
    path.write_text(json.dumps(entry))
    Run("1111", WRONG, iccid=OTHER_ICCID).fails("not sent again")


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ((ICCID, OTHER_IMEI, "/dev/other"), True),  # the SIM moved
        (("", IMEI, "/dev/other"), True),  # the modem does not tell the SIM this time
        (("", "", "/dev/modem"), True),  # it tells nothing
        ((ICCID + "F", OTHER_IMEI, "/dev/other"), True),
        ((OTHER_ICCID, IMEI, "/dev/modem"), False),
        (("", OTHER_IMEI, "/dev/modem"), False),
        (("", "other", "/dev/modem"), True),  # no IMEI
        (("", "", "/dev/other"), False),
    ],
)
def test_a_sim_is_known_again_by_the_best_that_is_known_of_it(now, same):
    Run("1111", WRONG).fails("refused")
    iccid, imei, port = now
    later = Run("1111", WRONG, iccid=iccid, imei=imei, port=port)
    later.fails("not sent again")
    assert later.sent == (0 if same else 1)


def test_what_was_sent_when_the_sim_was_not_known_counts_when_it_is():
    Run("1111", WRONG, iccid="", imei="").fails("refused")
    Run("2222", WRONG, iccid="").fails("refused")
    for pin in ("1111", "2222"):
        later = Run(pin, WRONG)
        later.fails("not sent again")
        assert later.sent == 0


@pytest.mark.parametrize("port", ["/dev/ttyUSB2", "rfc2217://host:1/", "/" + "x" * 400, ".."])
def test_any_port_gives_a_file_in_the_folder(port, state_folder):
    Run("1111", WRONG, iccid="", imei="", port=port).fails("refused")
    assert [path.parent for path in files()] == [state_folder]


# --- what cannot be kept is not risked


def unwritable(kind, state_folder, monkeypatch):
    if kind == "a file in the way":
        state_folder.parent.mkdir()
        state_folder.write_text("")
    elif kind == "no permission":
        monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "denied")))
    else:
        real = os.fsync

        def full(number):
            if not stat.S_ISDIR(os.fstat(number).st_mode):
                raise OSError(errno.ENOSPC, "No space left on device")
            real(number)

        monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize("kind", ["a file in the way", "no permission", "no space"])
def test_a_pin_that_cannot_be_written_down_is_not_sent(kind, state_folder, monkeypatch):
    unwritable(kind, state_folder, monkeypatch)
    run = Run("1111", Answer())
    told = run.fails("the PIN is not sent.*could not be noted")
    assert str(state_folder) in told
    assert "$XDG_STATE_HOME" in told
    assert run.sent == 0
    monkeypatch.undo()
    assert kind != "a file in the way" or stat.S_IMODE(state_folder.stat().st_mode) != 0o700
    if kind == "no space":
        assert files() == []
        Run("1111", Answer(), states=("pin", "ready")).steps.sim(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(state_folder):
    state_folder.parent.mkdir()
    state_folder.parent.chmod(0o500)
    run = Run("1111", Answer())
    run.fails("Permission denied")
    assert run.sent == 0


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", '{"sent": 5}', '{"sent": [5]}', '{"sent": [{"fate": "refused"}]}', "[" * 100000, "\xff",
     '{"sent": [{"fate": "refused", "salt": "", "scrypt": "", "cost": [1099511627776, 8, 1]}]}',
     '{"sent": [{"fate": "refused", "salt": "", "scrypt": "", "cost": [16384, 8, 1000000]}]}'],
    ids=range(10),
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_the_same_as_a_refusal(text, state_folder):
    state_folder.mkdir(parents=True)
    path = state_folder / SIM.file
    path.write_text(text, encoding="latin-1")
    run = Run("1111", Answer())
    assert str(path) in run.fails("the PIN is not sent.*delete it")
    assert run.sent == 0


def test_a_file_that_disappears_meanwhile_is_no_trouble(caplog):
    risk = PinMemory().risk(SIM, "1111")
    files()[0].unlink()
    risk.refused()
    risk.accepted()
    assert not caplog.records
    assert files() == []
    PinMemory().risk(SIM, "2222")


def test_a_half_written_file_of_a_run_that_was_killed_is_no_trouble(state_folder):
    state_folder.mkdir(parents=True)
    (state_folder / SIM.file).with_suffix(".new").write_text("half")
    Run("1111", WRONG).fails("refused")
    assert [path.name for path in files()] == [SIM.file]


def test_what_was_there_is_there_whenever_the_run_is_killed(monkeypatch):
    """Each system call may be the last one: the old file or the new one is there, whole."""
    Run("1111", WRONG).fails("refused")
    killed = 0
    for name in ("fsync", "fchmod", "replace"):
        with monkeypatch.context() as patch:
            owner = pins.Path if name == "replace" else os
            patch.setattr(owner, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            Run("2222", Answer()).fails(kind=KeyboardInterrupt)
            killed += 1
        (path,) = files()
        assert json.loads(path.read_text())["sent"]
        Run("1111", Answer()).fails("not sent again")
    assert killed == 3


def test_the_folder_is_synced_after_the_file_and_before_the_pin_goes_out(monkeypatch):
    order = []
    real = os.fsync

    def note(number):
        order.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        real(number)

    monkeypatch.setattr(os, "fsync", note)
    PinMemory().risk(SIM, "1111")
    assert order[-2:] == ["file", "folder"]
    assert order[:-2] == ["folder"] * 2  # for the state directory and for ours, which were not there


def _race(folder, gate, results):
    gate.wait()
    try:
        PinMemory(folder).risk(SIM, "1111")
    except PinError:
        results.put(False)
    else:
        results.put(True)


def test_of_two_processes_only_one_sends(state_folder):
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_race, args=(state_folder, gate, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert sorted(results.get(timeout=20) for _ in workers) == [False, False, False, True]
    for worker in workers:
        worker.join()


@pytest.mark.parametrize(("given", "expected"), [("/x", "/x/modemtls"), ("", None), ("relative", None), (None, None)])
def test_where_the_state_is_kept(given, expected, monkeypatch):
    """XDG Base Directory Specification: not set or empty is ~/.local/state, a relative path is ignored."""
    monkeypatch.setenv("HOME", "/home/somebody")
    if given is None:
        monkeypatch.delenv("XDG_STATE_HOME")
    else:
        monkeypatch.setenv("XDG_STATE_HOME", given)
    assert str(state_folder()) == (expected or "/home/somebody/.local/state/modemtls")
    monkeypatch.setenv("XDG_STATE_HOME", "/restored by the fixture")

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

SIM = SimIdentity("8949", "86490", "/dev/modem")


class Run:
    """What one process does: nothing of it but the files is left for the next."""

    def __init__(self, pin, unlock, *, iccid="8949", imei="86490", port="/dev/modem", states=("pin",)):
        known = {"iccid": iccid, "imei": imei}
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
            info=Answer(values={name: value for name, value in known.items() if value}),
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


def test_an_acceptance_that_comes_late_counts():
    class Late:
        ok = True

    risk = PinMemory().risk(SIM, "1111")
    risk.settle(ModemTimeoutError("still nothing"))
    Late.ok = False
    risk.settle(Late())
    assert len(files()) == 1
    Late.ok = True
    risk.settle(Late())
    assert files() == []


def test_the_orphaned_command_is_given_the_risk():
    given = []

    class Host(FakeHost):
        def run(self, op, bindings=None, *, deadline=None, on_orphan=None):
            if op == "sim_unlock":
                given.append(on_orphan)
            return super().run(op, bindings, deadline=deadline)

    host = Host(sim_state=Answer(values={"state": "pin"}), sim_unlock=ModemTimeoutError("late"))
    with pytest.raises(ModemTimeoutError):
        Bringup(host, Settings(pin="1111"), wait=host.wait, pdp_contexts=[1], port="p").sim(None)
    given[0](type("Reply", (), {"ok": True})())
    assert files() == []


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
    Run("73915", WRONG, iccid="other").fails("refused")
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
    other = Run("1111", WRONG, iccid="8950")
    other.fails("the PIN was refused")
    assert other.sent == 1


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (("8949", "other", "/dev/other"), True),  # the SIM moved
        (("", "86490", "/dev/other"), True),  # the modem does not tell the SIM this time
        (("", "", "/dev/modem"), True),  # it tells nothing
        (("8950", "86490", "/dev/modem"), False),
        (("", "other", "/dev/modem"), False),
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


@pytest.mark.parametrize(
    ("given", "expected"), [("/x", "/x/modemtls"), ("", None), ("relative", None), (None, None)]
)
def test_where_the_state_is_kept(given, expected, monkeypatch):
    """XDG Base Directory Specification: not set or empty is ~/.local/state, a relative path is ignored."""
    monkeypatch.setenv("HOME", "/home/somebody")
    if given is None:
        monkeypatch.delenv("XDG_STATE_HOME")
    else:
        monkeypatch.setenv("XDG_STATE_HOME", given)
    assert str(state_folder()) == (expected or "/home/somebody/.local/state/modemtls")
    monkeypatch.setenv("XDG_STATE_HOME", "/restored by the fixture")

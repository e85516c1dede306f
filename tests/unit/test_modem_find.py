from __future__ import annotations

import dataclasses
import itertools
import socket
import threading
import time
from types import SimpleNamespace

import pytest

import modemtls
from modemtls.at.exchange import Exchange
from modemtls.at.grammar import Grammar, PromptRule, compile_pattern
from modemtls.at.port import FdPort
from modemtls.errors import ConfigurationError, ModemRestartedError, ModemTimeoutError, NotAModemError, PortBusyError
from modemtls.modem import finding, identify
from modemtls.modem.attaching import _identity
from modemtls.modem.finding import careful, find, firmware, select
from modemtls.modem.identify import Identity, ask, errors_as
from modemtls.modem.settings import Settings
from modemtls.profile import bundled, load
from modemtls.profile.identity import candidate
from modemtls.profile.model import Identify, Question


class Far:
    """The far end of a port: `say(line) -> bytes` answers each line; `piece` answers each piece as it comes.

    `noise` is sent without end, as fast as it is taken.
    """

    def __init__(self, say=None, piece=None, noise=b""):
        self.say = say
        self.piece = piece
        self.noise = noise
        self.rates = []
        self.lines = []
        self.deaf_but_at = None
        self._threads = []
        self._sockets = []

    def open(self, name, rate, *, rtscts=False, deadline=None):
        self.rates.append(rate)
        ours, theirs = socket.socketpair()
        self._sockets.append(theirs)
        thread = threading.Thread(target=self._serve, args=(theirs, rate))
        thread.start()
        self._threads.append(thread)
        return FdPort(name, ours.detach())

    def _serve(self, wire, rate):
        buffer = b""
        while True:
            try:
                while self.noise:
                    wire.sendall(self.noise)
                data = wire.recv(4096)
            except OSError:
                return
            if not data:
                return
            if self.deaf_but_at not in {None, rate}:
                wire.sendall(b"\xff\x80" * len(data))
                continue
            if self.piece is not None:
                wire.sendall(self.piece(data))
                continue
            buffer += data
            while b"\r" in buffer and self.say is not None:
                line, _, buffer = buffer.partition(b"\r")
                self.lines.append(line)
                wire.sendall(self.say(line))

    def close(self):
        for wire in self._sockets:
            wire.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Everything at a twentieth of the time."""
    quick = dataclasses.replace(
        identify.QUICK_RECOVERY,
        probes=tuple(dataclasses.replace(one, timeout=0.05) for one in identify.QUICK_RECOVERY.probes),
        quiet=0.01,
    )
    monkeypatch.setattr(finding, "QUICK_RECOVERY", quick)
    monkeypatch.setattr(identify, "_GREETING_TIME", 0.1)
    monkeypatch.setattr(finding, "_LISTENING", 0.05)
    monkeypatch.setattr(identify, "_GREETING_PAUSE", 0.01)
    monkeypatch.setattr(finding, "careful", lambda wanted, manufacturer="": Grammar())


class Plain:
    """A modem's interpreter, as far as V.250 and 27.007 go."""

    def __init__(self, echo=True, verbose=True, quiet=False, **answers):
        self.echo, self.verbose, self.quiet = echo, verbose, quiet
        self.answers = {
            "+CGMI": ["Maker"],
            "+CGMM": ["M95-X"],
            "+CGMR": ["M95R01A02"],
            "+CMEE?": ["+CMEE: 0"],
            "+CFUN?": ["+CFUN: 1"],
            **answers,
        }
        self.before = b""  # unsolicited, put out in front of the next answer's information text

    def __call__(self, line):
        out = line + b"\r" if self.echo else b""
        text = line.decode("latin-1").upper()
        if not text.startswith("AT"):
            return out + self.result("ERROR")
        rest = text[2:]
        while rest[:1] in {"E", "Q", "V"}:
            value = rest[1:2] == "1"
            match rest[0]:
                case "E":
                    self.echo = value
                case "Q":
                    self.quiet = value
                case "V":
                    self.verbose = value
            rest = rest[2:]
        if not rest or rest.startswith("+CMEE="):
            return out + self.result("OK")
        lines = self.answers.get(rest)
        if lines is None:
            return out + self.result("ERROR")
        before, self.before = self.before, b""
        end = b"\r\n"
        info = b"".join((end if self.verbose else b"") + one.encode() + end for one in lines)
        return out + before + info + self.result("OK")

    def result(self, word):
        if self.quiet:
            return b""
        return f"\r\n{word}\r\n".encode() if self.verbose else {"OK": b"0\r", "ERROR": b"4\r"}[word]


@pytest.fixture
def attach():
    far = []
    channels = []

    def start(say=None, *, piece=None, noise=b"", name="/dev/pts/99", settings=None, only_at=None, deadline=None):
        one = Far(say, piece, noise)
        one.deaf_but_at = only_at
        far.append(one)
        start.far = one
        channel = find(name, settings or Settings(), opener=one.open, deadline=deadline)
        channels.append(channel)
        return channel

    yield start
    for channel in channels:
        channel.close()
    for one in far:
        one.close()


@pytest.mark.parametrize(
    "modem",
    [{}, {"echo": False}, {"verbose": False}, {"quiet": True}, {"verbose": False, "quiet": True, "echo": False}],
)
def test_a_modem_answers_whatever_a_predecessor_left_it_with(attach, modem):
    plain = Plain(**modem)
    channel = attach(plain)
    errors_as(channel, 1)
    assert ask(channel) == Identity("Maker", "M95-X", "M95R01A02", ("Maker", "M95-X", "M95R01A02"))
    assert (plain.echo, plain.verbose, plain.quiet) == (False, True, False)
    assert (channel.echo, channel.error_form) == (False, 1)


def test_a_modem_that_refuses_to_be_without_its_echo_keeps_it(attach):
    plain = Plain()
    channel = attach(lambda line: line + b"\r\r\nERROR\r\n" if line.startswith(b"ATE0") else plain(line))
    assert channel.echo is None
    assert ask(channel).model == "M95-X"
    assert channel.epoch == 0


def test_a_modem_that_echoes_whatever_it_is_told_can_be_used(attach):
    plain = Plain()

    def stuck(line):
        plain.echo = True
        answer = plain(line)
        plain.echo = True
        return answer

    channel = attach(stuck)
    with pytest.raises(ModemRestartedError):
        ask(channel)
    identify.greet(channel)
    assert ask(channel).model == "M95-X"
    assert ask(channel).model == "M95-X"
    assert (channel.epoch, channel.echo) == (1, None)


def test_no_greeting_takes_longer_than_its_callers_have_time(attach):
    """Not even where the line has to be brought into step first, which may take a minute."""
    channel = attach(Plain())
    attach.far.say = lambda line: b""
    with pytest.raises(ModemTimeoutError):  # whether the modem waits for payload now is open
        channel.exchange(Exchange(line=b"AT+SEND", prompt=PromptRule(), payload=b"x", timeout=0.05))
    for times in ({"deadline": 0.3}, {"until": 0.3}, {"until": 60, "deadline": 0.3}):
        begun = channel.clock()
        with pytest.raises(NotAModemError):
            identify.greet(channel, **{name: begun + time for name, time in times.items()})
        assert channel.clock() - begun < 0.3 + SLACK


def test_a_half_typed_line_of_a_predecessor_does_no_harm(attach):
    plain = Plain()
    first = [b"AT+HALF"]
    channel = attach(lambda line: plain((first.pop() if first else b"") + line))
    assert ask(channel).model == "M95-X"


@pytest.mark.parametrize(
    ("far", "says"),
    [
        ({}, "nothing answers"),
        ({"piece": lambda data: data}, "only sends back what it is sent"),
        ({"piece": lambda data: b"\xff\x00\x80" * len(data)}, "wrong baud rate"),
        ({"piece": lambda data: b"login: "}, "no answer to AT commands: 'login: "),
        ({"say": lambda line: b"\r\nERROR\r\n"}, "refuses|no answer"),
    ],
)
def test_what_is_no_modem_is_told_in_bounded_time_and_with_the_rate(attach, far, says):
    with pytest.raises(NotAModemError, match=says) as caught:
        attach(far.get("say"), piece=far.get("piece"))
    assert "(tried 115200 bit/s)" in str(caught.value)
    assert "/dev/pts/99: no modem there" in str(caught.value)


SLACK = 0.5  # s; what a port full of noise may cost beyond the caller's time-out


@pytest.mark.parametrize(
    ("noise", "says"),
    [(b"\xff\x80" * 100, "wrong baud rate"), (b"\r\n+NOISE: 1\r\n" * 10, "no answer to AT"), (b"", "nothing answers")],
)
@pytest.mark.parametrize("baudrate", [None, "auto"])
def test_the_callers_time_is_kept_whatever_comes_from_the_port(attach, noise, says, baudrate):
    begun = time.monotonic()
    with pytest.raises(NotAModemError, match=f"{says}.*until the time ran out") as caught:
        attach(noise=noise, settings=Settings(baudrate=baudrate), deadline=begun + 0.1)
    assert time.monotonic() - begun < 0.1 + SLACK
    assert "115200" in str(caught.value)
    assert len(attach.far.rates) < len(identify.BAUDRATES)


def test_opening_a_modem_takes_no_longer_than_it_may():
    far = Far(noise=b"\xff\x80" * 100)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as wire:
                far._serve(wire, 0)

        serving = threading.Thread(target=serve)
        serving.start()
        begun = time.monotonic()
        with pytest.raises(NotAModemError, match="until the time ran out"):
            modemtls.open(f"socket://127.0.0.1:{server.getsockname()[1]}", timeout=0.1)
        assert time.monotonic() - begun < 0.1 + SLACK
        serving.join(5)


def test_other_rates_are_tried_when_asked_and_on_a_real_serial_line(attach, monkeypatch):
    channel = attach(Plain(), settings=Settings(baudrate="auto"), only_at=9600)
    assert ask(channel).manufacturer == "Maker"
    assert attach.far.rates == [115200, 921600, 9600]
    monkeypatch.setattr(finding, "is_serial_line", lambda name: True)
    attach(Plain(), only_at=921600)
    assert attach.far.rates == [115200, 921600]
    with pytest.raises(NotAModemError, match="tried 57600 bit/s"):
        attach(None, settings=Settings(baudrate=57600))
    with pytest.raises(NotAModemError, match=r"115200, 921600, .*3000000 bit/s"):
        attach(None)
    with pytest.raises(NotAModemError, match="only sends back"):
        attach(piece=lambda data: data)
    assert attach.far.rates == [115200]  # an echo shows that the rate is right


def test_only_real_serial_devices_are_serial_lines():
    assert finding.is_serial_line("/dev/ttyUSB9")
    assert finding.is_serial_line("/dev/ttyS0")
    assert not finding.is_serial_line("/dev/pts/3")
    assert not finding.is_serial_line("sim:anything")
    assert not finding.is_serial_line("socket://ttyS0:1")


def test_a_busy_port_says_so(attach):
    def busy(name, rate, *, rtscts=False, deadline=None):
        raise PortBusyError("/dev/ttyX is in use by minicom")

    with pytest.raises(PortBusyError):
        find("/dev/ttyX", Settings(), opener=busy)


# --- identification


def test_unsolicited_lines_are_not_taken_for_an_answer(attach):
    plain = Plain()
    channel = attach(plain)
    plain.before = b"\r\nRDY\r\n\r\n+CPIN: READY\r\n"
    assert ask(channel).manufacturer == "Maker"


def test_older_commands_prefixes_and_quotes(attach):
    plain = Plain(**{"+GMI": ["Old Maker"], "+CGMM": ['+CGMM: "M1"'], "+GMR": ["Revision 7"]})
    del plain.answers["+CGMI"], plain.answers["+CGMR"]
    assert ask(attach(plain)) == Identity("Old Maker", "M1", "Revision 7", ("Old Maker", "M1", "Revision 7"))


def test_a_modem_that_only_knows_ati(attach):
    plain = Plain(I=["Maker", "M95-X", "Revision: 7"])
    for name in ("+CGMI", "+CGMM", "+CGMR"):
        del plain.answers[name]
    channel = attach(plain)
    plain.answers["I"].insert(1, "+CPIN: READY")
    identity = ask(channel)
    assert identity.model == ""
    assert identity.lines == ("Maker", "M95-X", "Revision: 7")
    assert "M95-X" in str(identity)


class Profiles:
    def __init__(self, monkeypatch, **identify):
        self.all = {
            name: SimpleNamespace(name=name, models=[name.upper()], identify=one, pause=0.0)
            for name, one in identify.items()
        }
        self.compiled = []
        monkeypatch.setattr(finding, "bundled", lambda: list(self.all))
        monkeypatch.setattr(finding, "candidate", lambda name: self.all[name])
        monkeypatch.setattr(finding, "load", lambda name: self.compiled.append(name) or self.all[name])


def test_the_profile_that_fits_best(monkeypatch):
    profiles = Profiles(
        monkeypatch,
        m95=Identify(manufacturer=("Maker",), model=("M95*",)),
        m95x=Identify(model=("M95-X",), manufacturer=("Maker",)),
        other=Identify(model=("N1",)),
    )
    assert select(None, Identity("Maker", "M95-X", "r"), None).name == "m95x"
    assert select(None, Identity("Maker", "M95-Y", "r"), None).name == "m95"
    assert select(None, Identity("Maker", "M95-X", "r"), profiles.all["other"]).name == "other"
    assert profiles.compiled == ["m95x", "m95"], "no other costs more than a look at whom it is for"


# -- silence between commands, before it is known how much the modem needs -------------------------------------------


def test_as_long_as_any_may_need_until_it_is_known_which_it_is(monkeypatch):
    profiles = Profiles(
        monkeypatch,
        slow=Identify(manufacturer=("Slow*",)),
        slower=Identify(manufacturer=("slow*",)),
        quick=Identify(manufacturer=("Quick",)),
        anybody=Identify(ask=(Question(b"AT#WHO", compile_pattern("#WHO")),)),
    )
    for name, pause in (("slow", 0.02), ("slower", 0.1), ("quick", 0.0), ("anybody", 0.01)):
        profiles.all[name].pause = pause
        profiles.all[name].line = SimpleNamespace(after_result=pause)
    pause = {maker: careful(None, maker).guard_after_result for maker in ("", "Slow Inc.", "Quick", "Others")}
    assert pause == {"": 0.1, "Slow Inc.": 0.1, "Quick": 0.01, "Others": 0.01}
    assert careful(profiles.all["slow"]).guard_after_result == 0.02, "it was said which it is"


@pytest.mark.parametrize("name", bundled())
def test_no_model_needs_more_than_what_is_kept_before_it_is_known(name):
    profile = load(name)
    firmware = ("", "03.15")
    needed = [
        profile.fitted(model=model, firmware=one).line.after_result for model in profile.models for one in firmware
    ]
    assert candidate(name).pause >= max(needed)


def test_the_longest_silence_is_kept_from_the_first_command_on_until_the_manufacturer_is_known(monkeypatch, attach):
    silences = {"": 0.2, "Maker": 0.0}
    monkeypatch.setattr(finding, "careful", lambda wanted, maker="": Grammar(guard_after_result=silences[maker]))
    plain, heard = Plain(), []

    def say(line):
        heard.append((time.monotonic(), line))
        return plain(line)

    channel = attach(say)
    _identity(channel, None, time.monotonic() + 5)
    asked = [line for _, line in heard]
    known = asked.index(b"AT+CGMI")
    assert known >= 2
    waited = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(heard)]
    assert min(waited[:known]) >= 0.19
    assert min(waited[known:]) < 0.15


@pytest.mark.parametrize(
    ("answers", "version"),
    [({"I9": ["03.15,A00.01"]}, "03.15"), ({"I9": ["something else"]}, "M95R01A02"), ({}, "M95R01A02")],
)
def test_a_profile_may_have_a_question_of_its_own_for_the_version(attach, answers, version):
    question = Question(b"ATI9", compile_pattern("{firmware:word},{application:text}"))
    channel = attach(Plain(**answers))
    identity = Identity("Maker", "M95-X", "M95R01A02")
    assert firmware(channel, SimpleNamespace(identify=Identify(firmware=question)), identity) == version
    assert firmware(channel, SimpleNamespace(identify=Identify()), identity) == "M95R01A02"


def test_a_question_for_the_version_that_a_restart_cut_is_asked_again(attach):
    plain, asked = Plain(I9=["03.15,A00.01"]), []

    def say(line):
        if line == b"ATI9" and not asked:
            asked.append(line)
            return b"ATI9\r\r\nOK\r\n"  # it echoes again
        return plain(line)

    question = Question(b"ATI9", compile_pattern("{firmware:word},{application:text}"))
    assert firmware(attach(say), SimpleNamespace(identify=Identify(firmware=question)), Identity()) == "03.15"


def test_the_lines_of_ati_identify_too(monkeypatch):
    Profiles(monkeypatch, m95=Identify(model=("M95*",)))
    assert select(None, Identity(lines=("Maker", "M95-X")), None).name == "m95"


def test_no_profile_names_the_nearest_and_the_way_out(monkeypatch, attach):
    Profiles(monkeypatch, m95=Identify(model=("M95",)), zz7=Identify(model=("ZZ7",)))
    with pytest.raises(
        ConfigurationError, match=r'Maker M96, r: no bundled profile.*nearest is m95: try profile="m95"'
    ):
        select(None, Identity("Maker", "M96", "r"), None)


def test_several_profiles_name_each_other(monkeypatch):
    Profiles(monkeypatch, a=Identify(model=("M9?",)), b=Identify(model=("M?5",)))
    with pytest.raises(ConfigurationError, match=r"a and b fit equally well; choose one with profile="):
        select(None, Identity("Maker", "M95", "r"), None)


def test_a_question_of_the_profile_decides_where_standard_ones_do_not(monkeypatch, attach):
    question = Question(b"AT#WHO", compile_pattern("#WHO: {name:text}"))
    Profiles(monkeypatch, a=Identify(ask=(question,)), b=Identify(model=("M?5",)))
    channel = attach(Plain(**{"#WHO": ["#WHO: me"]}))
    assert select(channel, Identity("Maker", "what", "r"), None).name == "a"
    assert channel.exchange(Exchange(line=b"AT")).ok


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_the_end_of_a_command_is_found_out_and_a_needless_line_feed_never_sent(attach, end):
    heard = bytearray()
    waiting = bytearray()

    def piece(data):
        """Answer as an application that has few commands, and takes a line for what begins with the first AT in it."""
        heard.extend(data)
        waiting.extend(data)
        said = b""
        while end in waiting:
            line, _, rest = bytes(waiting).partition(end)
            waiting[:] = rest
            answers = {b"AT": b"OK", b"AT+CMEE?": b"+CMEE: 0\r\n\r\nOK", b"AT+CMEE=1": b"OK"}
            said += b"\r\n" + answers.get(line[line.find(b"AT") :], b"ERROR") + b"\r\n"
        return said

    channel = attach(piece=piece)
    assert channel.terminator == end
    heard.clear()
    errors_as(channel, 1)
    assert bytes(heard) == b"AT+CMEE=1" + end
    assert channel.error_form == 1


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
@pytest.mark.parametrize("rate", [115200, 9600])
def test_a_modem_that_waits_for_a_quotation_mark_is_freed_when_nothing_else_answers(attach, end, rate):
    heard = bytearray(b'AT+X="text')
    modem = Plain(echo=False)

    def piece(data):
        """Answer as an interpreter to which a line end within quotes is text."""
        heard.extend(data)
        said = b""
        while (at := heard.find(end)) >= 0:
            while heard[:at].count(b'"') % 2 and (at := heard.find(end, at + 1)) >= 0:
                pass
            if at < 0:
                break
            line = bytes(heard[:at])
            del heard[: at + len(end)]
            said += modem(line[max(line.find(b"AT"), 0) :]) if line.strip() else b""
        return said

    channel = attach(piece=piece, settings=Settings(baudrate="auto"), only_at=rate)
    assert channel.terminator == end
    assert ask(channel).manufacturer == "Maker"


def test_a_quotation_mark_is_only_sent_behind_every_ordinary_greeting_and_once_at_each_rate(attach):
    heard = []
    with pytest.raises(NotAModemError, match="nothing answers"):
        attach(piece=lambda data: heard.append(data) or b"", settings=Settings(baudrate="auto"))
    rates = len(identify.BAUDRATES)
    assert attach.far.rates == [*identify.BAUDRATES] * 2
    pieces = b"".join(heard)
    assert pieces.count(b'"') == rates
    assert pieces[: pieces.index(b'"')].count(b"ATE0Q0V1+CFUN?") == rates + 1


def test_no_quotation_mark_is_sent_where_something_answers(attach):
    heard = []
    with pytest.raises(NotAModemError):
        attach(piece=lambda data: heard.append(data) or b"login: ")
    assert b'"' not in b"".join(heard)

"""What is looked at before the first byte is sent, how long values last, and what may have hidden a restart."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import threading

import pytest

from modemtls.at.pattern import compile_pattern
from modemtls.errors import CommandError, ConfigurationError, ModemRestartedError, ModemTimeoutError, NotSupportedError
from tests.support.programs import COMMAND, OPEN, SETTINGS, TARGET, program
from tests.support.scripted import ERROR, OK, scripted

# -- before the first byte ------------------------------------------------------------------------------------


EVERYTHING = """
capabilities: {pull: true, sni: {value: true, when: {sni_key: true}}, suites: one, client_certificates: true, date_check: true}
limits: {send: 100, receive: 100, host: 20, credential_name: 8, contexts: [0], tls_sockets: [0]}
tables:
  off_on: {false: 0, true: 1}
  tls_versions: [{token: 3, versions: ['1.2']}]
  suites: {mode: one, all: '0XFFFF', codes: {0xC02F: '0XC02F'}}
programs:
  probe:
    - send: 'AT+P'
      see: {manual: x}
      lines: [{match: '+P: sni', repeat: optional, sets: {sni_key: true}}]
      save: {boot: [sni_key]}
  tls_configure:
    see: {manual: x}
    steps:
      - send: 'AT+V={context},{version},{check_dates@off_on}'
      - {each: suite, in: suites, do: [{send: 'AT+S={suite}'}]}
      - {when: {sni_key: true}, send: 'AT+SNI={sni@off_on}'}
      - send: 'AT+CA={ca:quoted?},{cert:quoted?},{key:quoted?}'
  tls_open:
    - {send: 'AT+O={host:host},{port}', see: {manual: x}}
  tls_send:
    - {send: 'AT+S={socket},{size}', see: {manual: x}, prompt: '>', payload: {data: data, end: "\\x1a", forbid: "\\x1b"}}
  credential_delete:
    - {send: 'AT+D={name:quoted}', see: {manual: x}}
  pdp_configure:
    - {send: 'AT+A={apn:quoted},{password:quoted?}', see: {manual: x}}
"""


@pytest.mark.parametrize(
    ("op", "change", "error", "says"),
    [
        ("tls_open", {"host": 'a"b'}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a\r\nAT+CFUN=0"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a,b"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a\0b"}, ConfigurationError, "^host: "),
        ("tls_open", {"host": "a" * 21}, ConfigurationError, "^host: 21 characters, this modem takes 20"),
        ("tls_open", {"port": 0}, ConfigurationError, "^port: "),
        ("tls_open", {"port": 65536}, ConfigurationError, "^port: "),
        ("tls_open", {"port": "abc"}, ConfigurationError, "^port: "),
        ("tls_open", {"receive": "push"}, NotSupportedError, 'choices: receive="pull"'),
        ("tls_open", {"socket": None}, ConfigurationError, "socket is needed"),
        ("tls_open", {"nonsense": 1}, ConfigurationError, "no input nonsense"),
        ("tls_send", {"data": b"a\x1ab"}, ConfigurationError, "^data: contains"),
        ("tls_send", {"data": b"a\x1bb"}, ConfigurationError, "^data: contains"),
        ("tls_send", {"data": "text"}, ConfigurationError, "^data: bytes expected"),
        ("tls_send", {"size": 101}, ConfigurationError, "^size: 101 bytes, this modem takes 100"),
        ("credential_delete", {"name": "123456789"}, ConfigurationError, "^name: 9 characters, this modem takes 8"),
        ("credential_delete", {"name": 'a"'}, ConfigurationError, "^name: "),
        ("pdp_configure", {"password": 'pa"ss'}, ConfigurationError, "^password: must be printable"),
        ("tls_configure", {"ca": 'x";+CFUN=0'}, ConfigurationError, "^ca: "),
        ("tls_configure", {"version": "3\rAT"}, ConfigurationError, "^version: "),
        ("tls_configure", {"suites": ("0X0000",)}, ConfigurationError, "^suites: "),
        ("tls_configure", {"suites": ("0XC02F", "0XC02F")}, ConfigurationError, "one cipher suite or all"),
        ("tls_configure", {"sni": True}, NotSupportedError, "sni"),
        ("tls_configure", {"check_hostname": True}, NotSupportedError, "choices: check_hostname=False"),
        ("tls_configure", {"verify": 1}, ConfigurationError, "^verify: "),
    ],
)  # fmt: skip
def test_nothing_is_sent_that_cannot_work(op, change, error, says):
    bindings = {
        "tls_open": TARGET,
        "tls_send": {"socket": 0, "data": b"x", "size": 1},
        "credential_delete": {"name": "x"},
        "pdp_configure": {"pdp": 1, "apn": "a", "family": "ipv4"},
        "tls_configure": SETTINGS,
    }[op]
    with scripted(EVERYTHING, {}) as (runner, modem):
        with pytest.raises(error, match=says):
            runner.run(op, {**bindings, **change})
        assert modem.sent == []


def test_what_a_flag_allows_once_it_is_probed():
    with scripted(EVERYTHING, {b"AT+P": b"\r\n+P: sni\r\n" + OK}) as (runner, modem):
        assert runner.capabilities["sni"] is False
        runner.run("probe")
        assert runner.capabilities["sni"] is True
        modem.script.update(dict.fromkeys([b"AT+V=0,3,1", b"AT+S=0XFFFF", b"AT+SNI=1", b'AT+CA="ca.pem","",""'], OK))
        runner.run("tls_configure", {**SETTINGS, "verify": False, "sni": True})
        assert modem.sent[1:] == [b"AT+V=0,3,1", b"AT+S=0XFFFF", b"AT+SNI=1", b'AT+CA="ca.pem","",""']


def test_what_was_forgotten_with_a_restart_is_not_taken_for_missing():
    """Else a restart would look like a modem that cannot do it, and the way out be to go without."""
    wanted = {**SETTINGS, "verify": False, "sni": True}
    with scripted(EVERYTHING, {b"AT+P": [b"\r\n+P: sni\r\n" + OK, OK]}) as (runner, modem):
        runner.run("probe")
        modem.sent.clear()
        runner.channel.end_epoch("restarted")
        for _ in range(2):
            with pytest.raises(ModemRestartedError, match="asked again"):
                runner.run("tls_configure", wanted)
        assert modem.sent == []
        runner.run("probe")  # another firmware
        with pytest.raises(NotSupportedError, match="sni"):
            runner.run("tls_configure", wanted)


def test_an_operation_that_is_not_there():
    with scripted(EVERYTHING, {}) as (runner, modem):
        with pytest.raises(NotSupportedError, match="no operation tls_receive") as caught:
            runner.run("tls_receive", {"socket": 0, "size": 1})
        assert caught.value.capability == "tls_receive"
        assert not runner.has("tls_receive")
        assert modem.sent == []


def test_secrets_are_shown_nowhere():
    shown: list[str] = []
    with scripted(EVERYTHING, {b'AT+A="a","hunter2"': b"\r\n+CME ERROR: 50\r\n"}) as (runner, modem):
        with pytest.raises(CommandError) as caught:
            runner.run("pdp_configure", {"pdp": 1, "apn": "a", "family": "ipv4", "password": "hunter2"})
        shown += [str(caught.value), repr(caught.value), caught.value.command]
        assert modem.sent == [b'AT+A="a","hunter2"']
        assert not any("hunter2" in repr(one.kept) for one in runner._quick.values())
    assert caught.value.command == 'AT+A="a",***'
    assert "hunter2" not in "".join(shown)


# -- scopes and epochs ----------------------------------------------------------------------------------------


SCOPES = """
programs:
  tls_configure:
    see: {manual: x}
    steps:
      - {send: 'AT+H={context},{handshake_timeout}', save: {context: [handshake_timeout]}}
  tls_open:
    see: {manual: x}
    steps:
      - when: {session_id: {given: true}}
        send: 'AT+GIVE={session_id:quoted}'
      - send: 'AT+O={socket},{handshake_timeout:number?}'
        lines: ['+O: {handle:int}']
        save: {socket: [handle]}
  tls_send:
    - {send: 'AT+S={handle:number?}', see: {manual: x}}
  tls_close:
    - {send: 'AT+C={socket}', see: {manual: x}}
  probe:
    - {set: {flag: true}, scope: boot}
urcs:
  session: {match: '+SESS: {context:int},{session_id:any}', means: session, save: {context: [session_id]}, secret: [session_id]}
  sim: {match: '+SIM: {state:int}', means: sim, map: {state: {table: sim, otherwise: other}}, clears: [flag]}
tables: {sim: {ready: 1}}
capabilities: {pull: true}
"""


def test_how_long_saved_values_last():
    opened = b"\r\n+O: 77\r\n" + OK
    script = {b"AT+H=2,60": OK, b"AT+O=3,60": opened, b"AT+O=3,": opened, b"AT+S=77": OK, b"AT+C=3": OK, b"AT+S=": OK}
    target = {**TARGET, "context": 2}
    sending = {"socket": 3, "data": b"", "size": 0}
    with scripted(SCOPES, script) as (runner, modem):
        unsafe = {"verify": False, "check_dates": False, "ca": None}  # what none of these commands would see to
        runner.run("tls_configure", {**SETTINGS, **unsafe, "context": 2, "suites": ()})
        runner.run("tls_open", {**target, "context": 1})  # another context
        runner.run("tls_open", target)
        runner.run("tls_send", sending)
        runner.run("tls_send", {**sending, "socket": 4})  # another socket
        runner.run("tls_close", {"socket": 3})
        runner.run("tls_send", sending)
        assert modem.sent == [
            b"AT+H=2,60", b"AT+O=3,", b"AT+O=3,60", b"AT+S=77", b"AT+S=", b"AT+C=3", b"AT+S=",
        ]  # fmt: skip
        runner.run("probe")
        assert runner.flags == {"flag": True}
        runner.channel.end_epoch("restarted")
        assert runner.flags == {}
        modem.sent.clear()
        runner.run("tls_open", target)
        assert modem.sent[-1] == b"AT+O=3,"


@pytest.mark.parametrize(("survive", "opens"), [("restart", b"AT+O=3,60"), ("none", b"AT+O=3,")])
def test_what_belongs_to_a_context_lasts_as_long_as_its_settings(survive, opens):
    script = {b"AT+H=2,60": OK, opens: b"\r\n+O: 77\r\n" + OK}
    with scripted(SCOPES + f"behaviour: {{settings_survive: {survive}}}\n", script) as (runner, modem):
        unsafe = {"verify": False, "check_dates": False, "ca": None}
        runner.run("tls_configure", {**SETTINGS, **unsafe, "context": 2, "suites": ()})
        runner.channel.end_epoch("restarted")
        runner.run("tls_open", {**TARGET, "context": 2})
        assert modem.sent == [b"AT+H=2,60", opens]


def test_what_unsolicited_results_save_map_and_clear():
    script = {b'AT+GIVE="abc"': OK, b"AT+O=3,": b"\r\n+O: 1\r\n" + OK}
    with scripted(SCOPES, script) as (runner, modem):
        heard = []
        arrived = threading.Event()

        def listen(urc) -> None:
            heard.append(runner.observe(urc))
            arrived.set()

        runner.channel.on_urc = listen
        modem.say(b'\r\n+SESS: 0,"abc"\r\n')
        assert arrived.wait(5)
        arrived.clear()
        runner.run("probe")
        modem.say(b"\r\n+SIM: 9\r\n")
        assert arrived.wait(5)
        assert heard[1].values["state"] == "other"
        assert runner.flags == {}
        runner.run("tls_open", TARGET)
        assert modem.sent == [b'AT+GIVE="abc"', b"AT+O=3,"]


REPORTED = """
urcs: {sent: {match: '+SENT: {socket:int},{sequence:int}', means: noise, save: {socket: [sequence]} FAMILY}}
programs:
  tls_send:
    - {send: 'AT+TLS={sequence:number?}', see: {manual: x}}
  tcp_send:
    - {send: 'AT+TCP={sequence:number?}', see: {manual: x}}
  udp_send:
    - {send: 'AT+UDP={sequence:number?}', see: {manual: x}}
  udp_close:
    - {send: 'AT+CLOSE', see: {manual: x}}
"""


@pytest.mark.parametrize(
    ("family", "shared", "known"),
    [
        ("", "false", "tls tcp udp"),  # it does not say what it is about
        ("", "true", "tls tcp udp"),
        (", family: udp", "false", "tcp udp"),  # these share their numbers
        (", family: tls", "false", "tls"),
        (", family: tls", "true", "tls tcp udp"),
    ],
)
def test_what_a_report_says_of_a_socket_counts_for_each_kind_that_it_can_be_about(family, shared, known):
    body = REPORTED.replace("FAMILY", family) + f"behaviour: {{shared_ids: {shared}}}\n"
    script = {f"AT+{one}={value}".encode(): OK for one in ("TLS", "TCP", "UDP") for value in ("", 7)}
    script[b"AT+CLOSE"] = b"\r\n+SENT: 3,8\r\n" + OK
    with scripted(body, script) as (runner, modem):
        watch = runner.channel.watch(compile_pattern("+SENT: 3,7"))
        modem.say(b"\r\n+SENT: 3,7\r\n")
        assert runner.channel.wait(watch.ready, runner.channel.clock() + 5)
        for one in ("tls", "tcp", "udp"):
            runner.run(f"{one}_send", {"socket": 3, "data": b"", "size": 0})
        assert [line[3:6].decode().lower() for line in modem.sent if line.endswith(b"7")] == known.split()
        modem.sent.clear()
        runner.run("udp_close", {"socket": 3})
        runner.run("tcp_send", {"socket": 3, "data": b"", "size": 0})
        assert modem.sent[-1] == b"AT+TCP=", "closed: the next use of the number knows nothing of it"


def test_no_command_of_a_run_goes_to_a_modem_that_restarted_meanwhile():
    body = program("setup", "- send: 'AT+A'\n- {pause: 50ms, see: {manual: x}}\n- send: 'AT+B'")
    body += "urcs: {boot: {match: RDY, means: boot}}\n"
    with scripted(body, {b"AT+A": OK + b"\r\nRDY\r\n", b"AT+B": OK}) as (runner, modem):
        with pytest.raises(ModemRestartedError):
            runner.run("setup")
        assert modem.sent == [b"AT+A"]


def test_a_restart_ends_waiting_at_once():
    body = OPEN + "urcs: {boot: {match: RDY, means: boot}}\n"
    with scripted(body, {COMMAND: OK + b"\r\nRDY\r\n"}) as (runner, modem):
        with pytest.raises(ModemRestartedError):
            runner.run("tls_open", TARGET)
        assert modem.sent == [COMMAND]


# -- what may have hidden a restart, and what is never forgiven -----------------------------------------------


def test_doubt_is_raised_and_the_program_goes_on():
    with scripted(program("setup", "- doubt: reports went elsewhere\n- send: 'AT+A'"), {b"AT+A": OK}) as (
        runner,
        modem,
    ):
        before = runner.channel.doubts
        runner.run("setup")
        assert modem.sent == [b"AT+A"]
        assert runner.channel.doubts == before + 1
        assert runner.channel.doubted == "reports went elsewhere"


def test_a_result_that_does_not_come_raises_doubt():
    with scripted(OPEN.replace("timeout: 5", "timeout: 10ms"), {COMMAND: OK, b"AT+C=3": OK}) as (runner, _):
        before = runner.channel.doubts
        with pytest.raises(ModemTimeoutError):
            runner.run("tls_open", TARGET)
        assert runner.channel.doubts > before


CHECKED = """
- send: 'AT+A?'
  lines: [{match: '+A: {kept:int}', repeat: optional}]
  check: {kept: 0}
  tolerate: TOLERATE
"""


@pytest.mark.parametrize("tolerate", ["true", "{outcome: fail}"])
def test_another_value_than_was_set_is_not_tolerated_along_with_errors(tolerate):
    """ERROR: the modem lacks the setting. Another value, or none: it does something else than it was told."""
    answers = [ERROR, b"\r\n+A: 0\r\n" + OK, b"\r\n+A: 1\r\n" + OK, OK]
    with scripted(program("setup", CHECKED.replace("TOLERATE", tolerate)), {b"AT+A?": answers}) as (runner, _):
        runner.run("setup")
        runner.run("setup")
        for _ in range(2):
            with pytest.raises(CommandError) as caught:
                runner.run("setup")
            assert caught.value.kind == "mismatch"


def test_another_value_is_tolerated_in_so_many_words():
    text = program("setup", CHECKED.replace("TOLERATE", "{kind: mismatch}"))
    with scripted(text, {b"AT+A?": [b"\r\n+A: 1\r\n" + OK, ERROR]}) as (runner, _):
        runner.run("setup")
        with pytest.raises(CommandError):
            runner.run("setup")

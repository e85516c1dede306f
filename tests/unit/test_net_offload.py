"""The contract over a modem: states, sending, receiving, options; against a scripted modem."""

from __future__ import annotations

import errno
import gc
import signal
import threading
import time
import weakref

import pytest

from modemtls.at.channel import LineBusyError
from modemtls.at.exchange import Line, NoAnswerError, Reply
from modemtls.at.grammar import Outcome
from modemtls.at.interrupts import shield
from modemtls.errors import (
    BearerLostError,
    CommandError,
    ConfigurationError,
    ConnectError,
    ConnectOrHandshakeError,
    CredentialError,
    ModemError,
    ModemRestartedError,
    ModemTimeoutError,
    NameResolutionError,
    NotSupportedError,
    PdpError,
    PortLostError,
    SocketClosedError,
    SyncError,
)
from modemtls.net import (
    AddressFamily,
    Category,
    Certificates,
    Errno,
    Option,
    SslConfiguration,
    State,
    Stored,
    TlsVersion,
    create_ssl_socket,
    create_tcp_socket,
    error_pair,
)
from tests.support.fakemodem import Answer, FakeModem

TLS = SslConfiguration(security=Certificates(trusted=Stored("ca.pem")))


class Public:
    """What an application has in its hands: it refers to the modem that the layers work with."""

    def __init__(self, attached):
        self.attached = attached


@pytest.fixture
def modem():
    return FakeModem()


@pytest.fixture(scope="session")
def pki_pem(pki):
    client = pki.client()
    return pki.ca.read_bytes(), client.cert_pem, client.key_pem


@pytest.fixture(scope="session")
def other_key(pki):
    return pki.client("other").key_pem


def connected(modem, configuration=TLS, **options):
    sock = create_ssl_socket(modem, configuration, **options) if configuration else create_tcp_socket(modem, **options)
    sock.connect("server.example", "443")
    modem.commands.clear()
    return sock


def raw(answer):
    """The answer as the channel gives it to whoever comes too late for it."""
    return Reply(Outcome.OK, "OK", lines=(Line(0, "", {}, answer.payload or None),))


def in_thread(work):
    """Run work in a thread; return a function that gives its result or raises its error."""
    box = []

    def run():
        try:
            box.append((work(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(5)
        assert box, "the thread is still at it"
        value, error = box[0]
        if error is not None:
            raise error
        return value

    return result


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.001)


class TestStates:
    def test_the_whole_life_twice_on_one_object(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.STATE) is State.CLOSED
        for _ in range(2):
            sock.connect("server.example", "443")
            assert sock.get_opt(Option.STATE) is State.CONNECTED
            sock.shutdown()
            assert sock.get_opt(Option.STATE) is State.SHUTDOWN
            sock.close()
            assert sock.get_opt(Option.STATE) is State.CLOSED
        assert [peer.closed_by_driver for peer in modem.peers] == [True, True]
        assert [lease.released for lease in modem.leases] == [1, 1]

    def test_creating_sends_nothing(self, modem):
        create_ssl_socket(modem, TLS)
        create_tcp_socket(modem)
        assert modem.commands == []

    def test_what_stands_for_a_modem_is_taken_too_and_kept_open_while_the_socket_lives(self, modem):
        for create in (lambda public: create_ssl_socket(public, TLS), create_tcp_socket):
            public = Public(modem)
            alive = weakref.ref(public)
            sock = create(public)
            del public
            sock.connect("server.example", "443")
            sock.send(b"x")
            assert modem.peer.received == b"x"
            assert alive() is not None
            sock.close()
            del sock
            gc.collect()
            assert alive() is None

    def test_connected_or_shut_down_cannot_connect(self, modem):
        sock = connected(modem)
        for _ in range(2):
            with pytest.raises(ModemError) as caught:
                sock.connect("server.example", "443")
            assert error_pair(caught.value) == (Category.ERRNO, Errno.EISCONN)
            if sock.get_opt(Option.STATE) is State.CONNECTED:
                sock.shutdown()

    @pytest.mark.parametrize("call", [lambda s: s.send(b"x"), lambda s: s.receive(1), lambda s: s.shutdown()])
    def test_closed_is_ebadf(self, modem, call):
        sock = create_ssl_socket(modem, TLS)
        with pytest.raises(ModemError) as caught:
            call(sock)
        assert caught.value.errno == errno.EBADF
        assert error_pair(caught.value).code == Errno.EBADF

    def test_a_failed_connect_leaves_it_closed_and_usable(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [CommandError("ERROR", kind="connect_or_handshake", code=566, text="connect failed")]
        with pytest.raises(ConnectOrHandshakeError):
            sock.connect("server.example", "443")
        assert sock.get_opt(Option.STATE) is State.CLOSED
        assert modem.leases[0].released
        sock.connect("server.example", "443")
        assert sock.get_opt(Option.STATE) is State.CONNECTED

    def test_close_is_closed_even_if_the_modem_objects(self, modem):
        sock = connected(modem)

        def refuse(slot, *, deadline=None):
            raise CommandError("no")

        modem.close_socket = refuse
        sock.close()
        assert sock.get_opt(Option.STATE) is State.CLOSED
        assert modem.leases[0].released

    def test_cleanup_ends_it_for_good(self, modem):
        sock = connected(modem)
        sock.cleanup()
        sock.cleanup()
        assert modem.peer.closed_by_driver
        with pytest.raises(ModemError) as caught:
            sock.connect("server.example", "443")
        assert caught.value.errno == errno.EBADF

    def test_names_are_as_given_until_close(self, modem):
        sock = create_ssl_socket(modem, TLS)
        sock.connect("Server.example", "0443")
        assert (sock.remote_hostname, sock.remote_port) == ("Server.example", "0443")
        sock.shutdown()
        assert sock.remote_hostname == "Server.example"
        sock.close()
        with pytest.raises(ModemError):
            _ = sock.remote_hostname

    def test_a_restart_while_connecting_begins_again_but_not_for_ever(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [ModemRestartedError("boot")] * 2
        sock.connect("server.example", "443")
        assert len(modem.leases) == 3
        assert [lease.released for lease in modem.leases] == [1, 1, 0]
        sock.close()
        modem.fail_open = [ModemRestartedError("boot")] * 3
        with pytest.raises(ModemRestartedError):
            sock.connect("server.example", "443")

    def test_an_interrupted_connect_gives_the_context_back(self, modem):
        sock = create_ssl_socket(modem, TLS)
        modem.fail_open = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            sock.connect("server.example", "443")
        assert modem.leases[0].released


class TestSettings:
    def test_what_the_modem_is_told(self, modem, pki_pem):
        ca, cert, key = pki_pem
        sock = create_ssl_socket(
            modem,
            SslConfiguration(
                security=Certificates(trusted=ca, client_cert=cert, client_key=key), ciphersuites=(0xC02F,)
            ),
        )
        sock.connect("server.example", "443")
        told = modem.leases[0].settings
        assert (told.version, told.suites, told.sni, told.check_hostname) == (3, ("0XC02F",), True, True)
        assert (told.ca, told.cert, told.key) == ("mtls-ca", "mtls-cert", "mtls-key")
        assert told.verify
        assert told.client_auth
        assert sock.version is TlsVersion.TLS1_2

    def test_a_stored_ca_is_not_uploaded(self, modem):
        connected(modem)
        assert modem.leases[0].settings.ca == "ca.pem"
        assert modem.stored == {}

    def test_without_verification_no_ca_is_uploaded_and_nothing_is_checked(self, modem, pki_pem):
        connected(modem, SslConfiguration(security=Certificates(trusted=pki_pem[0], verify=False)))
        told = modem.leases[0].settings
        assert (told.ca, told.verify, told.check_hostname, told.check_dates) == (None, False, False, False)
        assert modem.stored == {}

    def test_verification_without_a_ca_never_gets_as_far_as_the_modem(self, modem):
        security = Certificates(trusted=Stored("x"))
        object.__setattr__(security, "trusted", None)
        sock = create_ssl_socket(modem, SslConfiguration(security=security))
        with pytest.raises(ConfigurationError, match="no CA"):
            sock.connect("server.example", "443")
        assert modem.leases == []

    @pytest.mark.parametrize(
        "wrong", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    )
    def test_what_is_no_ca_fails_at_creation(self, modem, wrong):
        with pytest.raises(CredentialError):
            create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=wrong)))
        assert modem.commands == []

    def test_a_key_that_does_not_fit_fails_at_creation(self, modem, pki_pem, other_key):
        security = Certificates(trusted=pki_pem[0], client_cert=pki_pem[1], client_key=other_key)
        with pytest.raises(CredentialError, match="does not belong"):
            create_ssl_socket(modem, SslConfiguration(security=security))

    def test_files(self, modem, pki_pem, tmp_path):
        path = tmp_path / "ca.pem"
        path.write_bytes(pki_pem[0])
        connected(modem, SslConfiguration(security=Certificates(trusted=path)))
        assert b"BEGIN CERTIFICATE" in modem.stored["mtls-ca"]
        with pytest.raises(FileNotFoundError):
            create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=tmp_path / "none")))

    def test_what_the_modem_cannot_do_fails_at_creation(self):
        with pytest.raises(NotSupportedError, match="check_hostname=False"):
            create_ssl_socket(FakeModem(capabilities={"hostname_check": False}), TLS)
        with pytest.raises(NotSupportedError, match="no TLS"):
            create_ssl_socket(FakeModem(capabilities={"tls": None}), TLS)
        with pytest.raises(NotSupportedError, match="buffered"):
            create_tcp_socket(FakeModem(capabilities={"push": False}), receive="push")
        with pytest.raises(ConfigurationError, match="receive"):
            create_tcp_socket(FakeModem(), receive="pull")

    @pytest.mark.parametrize(("host", "port"), [('a"b', "1"), ("a\r\nb", "1"), ("a", "0"), ("a", "65536"), ("a", "x")])
    def test_bad_addresses_never_reach_the_modem(self, modem, host, port):
        sock = create_tcp_socket(modem)
        with pytest.raises(ConfigurationError):
            sock.connect(host, port)
        assert modem.commands == []

    @pytest.mark.parametrize(
        ("kind", "error", "code"),
        [
            ("connect_or_handshake", ConnectOrHandshakeError, Errno.ECONNREFUSED),
            ("connect_failed", ConnectError, Errno.ECONNREFUSED),
            ("name_not_resolved", NameResolutionError, Errno.EADDRNOTAVAIL),
            ("timeout", ModemTimeoutError, Errno.ETIMEDOUT),
            ("pdp_lost", PdpError, Errno.ENETDOWN),
            ("memory", CommandError, Errno.EIO),
        ],
    )
    def test_what_a_failed_open_is_called(self, modem, kind, error, code):
        modem.fail_open = [CommandError("refused", kind=kind, code=566, text="some text", namespace="open")]
        sock = create_ssl_socket(modem, TLS)
        with pytest.raises(error) as caught:
            sock.connect("server.example", "443")
        assert error_pair(caught.value) == (Category.ERRNO, code)
        if error is not CommandError:
            assert isinstance(caught.value.__cause__, CommandError)
            assert caught.value.__cause__.code == 566

    def test_the_one_code_for_everything_says_what_may_be_behind_it(self, modem, pki_pem):
        modem.fail_open = [CommandError("x", kind="connect_or_handshake", code=566, text="it failed (TCP or TLS)")] * 3
        ca, _, _ = pki_pem
        usual = create_ssl_socket(modem, SslConfiguration(security=Certificates(trusted=ca)))
        with pytest.raises(ConnectOrHandshakeError) as caught:
            usual.connect("server.example", "443")
        text = str(caught.value)
        for part in (
            "server.example port 443", " 566 ", "does not distinguish", "nobody listens", "given CA",
            "another name", "out of date", "modem's clock", "TLS 1.2", "cipher suite", "client certificate wanted",
        ):  # fmt: skip
            assert text.count(part) == 1
        assert "\n" not in text
        assert len(text) < 350
        stored = create_ssl_socket(modem, TLS)
        with pytest.raises(ConnectOrHandshakeError, match=r"no 'ca\.pem' in the modem"):
            stored.connect("server.example", "443")
        plain = create_tcp_socket(modem)
        with pytest.raises(ConnectError, match="566") as refused:
            plain.connect("server.example", "443")
        assert "TLS" not in str(refused.value)


class TestSend:
    def test_split_at_the_modems_limit(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 20
        sizes = []
        modem.script = lambda op, slot, b: sizes.append(b["size"])
        sock.send(data)
        assert modem.peer.received == data
        assert sizes == [1460, 1460, 1460, 740]
        assert sock.get_opt(Option.BYTES_SENT) == len(data)

    @pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
    def test_an_empty_send_sends_nothing(self, modem, data):
        connected(modem).send(data)
        assert modem.commands == []

    def test_any_buffer(self, modem):
        import array

        sock = connected(modem)
        sock.send(bytearray(b"ab"))
        sock.send(memoryview(b"xcdx")[1:3])
        sock.send(memoryview(array.array("H", [0x6665])))
        assert modem.peer.received == b"abcdef"

    def test_busy_is_tried_again(self, modem):
        sock = connected(modem)
        answers = [Answer(Outcome.BUSY), Answer(Outcome.BUSY)]
        modem.script = lambda op, slot, b: answers.pop() if answers else None
        sock.send(b"data")
        assert modem.peer.received == b"data"
        assert modem.commands == ["send"] * 3

    def test_busy_until_the_deadline_is_a_timeout_that_leaves_the_stream_whole(self, modem):
        sock = connected(modem)
        modem.script = lambda op, slot, b: Answer(Outcome.BUSY)
        with pytest.raises(ModemTimeoutError, match="no room") as caught:
            sock.send(b"data", timeout=0.02)
        assert caught.value.bytes_accepted == 0
        modem.script = lambda op, slot, b: None
        sock.send(b"data")
        assert modem.peer.received == b"data"

    def test_a_partial_answer_goes_on_where_it_stopped(self, modem):
        sock = connected(modem)
        taken = [3, 0]

        def script(op, slot, b):
            if not taken:
                return None
            count = taken.pop(0)
            modem.peer.received += b["data"][:count]
            return Answer(Outcome.PARTIAL, values={"sent": count})

        modem.script = script
        sock.send(b"abcdefgh")
        assert modem.peer.received == b"abcdefgh"
        assert sock.get_opt(Option.BYTES_SENT) == 8

    def test_a_failure_half_way_says_so_and_nothing_is_repeated(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            if len(modem.peer.received) >= 2920:
                raise CommandError("the modem answered ERROR")
            return

        modem.script = script
        with pytest.raises(CommandError, match="2920 of 5000 bytes had been accepted") as caught:
            sock.send(bytes(5000))
        assert caught.value.bytes_accepted == 2920
        count = len(modem.commands)
        with pytest.raises(SocketClosedError, match="earlier send did not complete"):
            sock.send(b"more")
        assert len(modem.commands) == count
        assert len(modem.peer.received) == 2920

    @pytest.mark.parametrize(
        ("doubt", "shown"),
        [
            (KeyboardInterrupt(), KeyboardInterrupt),
            (NoAnswerError("AT+S: no prompt within 60 s"), SocketClosedError),
            (SyncError("AT+S: nothing sensible"), SocketClosedError),
            (CommandError("no", kind="closed"), SocketClosedError),
            (CommandError("no", kind="no_such_socket"), SocketClosedError),
            (CommandError("no", kind="pdp_lost"), BearerLostError),
            (CommandError("no", kind="memory"), CommandError),
        ],
        ids=repr,
    )
    def test_after_doubt_nothing_follows(self, modem, doubt, shown):
        sock = connected(modem)

        def script(op, slot, b):
            raise doubt

        modem.script = script
        with pytest.raises(shown) as caught:
            sock.send(b"one", timeout=5)
        assert not isinstance(caught.value, TimeoutError)
        assert str(doubt) in str(caught.value)
        assert isinstance(caught.value, ConnectionError) == (shown in {SocketClosedError, BearerLostError})
        modem.script = lambda op, slot, b: None
        with pytest.raises(SocketClosedError):
            sock.send(b"two")
        assert modem.peer.received == b""

    def test_a_line_that_was_busy_is_no_doubt(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            raise LineBusyError("busy")

        modem.script = script
        with pytest.raises(ModemTimeoutError):
            sock.send(b"one")
        modem.script = lambda op, slot, b: None
        sock.send(b"one")
        assert modem.peer.received == b"one"

    def test_after_the_peer_closed(self, modem):
        sock = connected(modem)
        modem.peer.close()
        with pytest.raises(ConnectionResetError, match="closed"):
            sock.send(b"x")
        assert modem.commands == []

    def test_after_shutdown(self, modem):
        sock = connected(modem)
        sock.shutdown()
        with pytest.raises(ModemError) as caught:
            sock.send(b"x")
        assert error_pair(caught.value).code == Errno.EPIPE

    @pytest.mark.parametrize(
        "error", [ModemRestartedError("boot"), PortLostError("unplugged"), PdpError("bearer lost")]
    )
    def test_after_a_loss_the_reason_is_given_every_time(self, modem, error):
        sock = connected(modem)
        modem.peer.lose(error)
        for _ in range(2):
            with pytest.raises(type(error), match=str(error)):
                sock.send(b"x")
            with pytest.raises(type(error), match=str(error)):
                sock.receive(1)
        assert modem.commands == []


class TestReceive:
    def test_nothing_is_asked_until_the_modem_says_so(self, modem):
        sock = connected(modem)
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0.01)
        sock.send(b"x")
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0.01)
        assert modem.commands == ["send"]

    def test_waits_for_data(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peer.say(b"hello")
        assert result() == b"hello"

    def test_leftovers_are_given_without_asking(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abcdef")
        assert sock.receive(2) == b"ab"
        assert modem.commands == ["receive"]
        assert sock.receive(2, peek=True) == b"cd"
        assert sock.receive(10) == b"cdef"
        assert modem.commands == ["receive"]

    def test_goes_on_until_a_read_comes_back_empty(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 16
        modem.peer.say(data)
        got = b""
        while len(got) < len(data):
            got += sock.receive(4096)
        assert got == data
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0.01)
        assert modem.commands == ["receive"] * 4
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0.01)
        assert modem.commands == ["receive"] * 4
        assert sock.get_opt(Option.BYTES_RECEIVED) == len(data)

    def test_a_short_read_ends_it_where_the_profile_says_so(self):
        modem = FakeModem(drained="short")
        sock = connected(modem)
        modem.peer.say(b"x" * 1501)
        assert len(sock.receive(4096)) == 1500
        assert len(sock.receive(4096)) == 1
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0)
        assert modem.commands == ["receive"] * 2

    def test_a_notice_during_the_empty_read_is_not_lost(self, modem):
        sock = connected(modem)
        modem.peer.say(b"first")

        def script(op, slot, b):
            if op == "receive" and not modem.peer.waiting:
                modem.script = lambda op, slot, b: None
                modem.peer.told = False
                modem.peer.say(b"second")  # the notice comes before the answer "nothing"
                return Answer(Outcome.EMPTY)
            return None

        modem.script = script
        assert sock.receive(100) == b"first"
        assert sock.receive(100, timeout=5) == b"second"

    def test_zero_timeout_polls_exactly_once(self, modem):
        sock = connected(modem)
        sock.set_opt(Option.RECV_TIMEOUT, 0)
        with pytest.raises(ModemTimeoutError):
            sock.receive(10)
        assert modem.commands == []
        modem.peer.say(b"abc")
        assert sock.receive(10) == b"abc"
        with pytest.raises(ModemTimeoutError):
            sock.receive(10)
        assert modem.commands == ["receive", "receive"]
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=-1)
        assert modem.commands == ["receive", "receive"]

    def test_end_of_stream(self, modem):
        sock = connected(modem)
        modem.peer.say(b"x" * 2000)
        modem.peer.close()
        assert sock.end_authenticated is None
        got = b""
        while piece := sock.receive(4096):
            got += piece
        assert len(got) == 2000
        assert sock.receive(4096) == b""
        assert sock.end_authenticated is False

    def test_no_end_in_the_moment_between_the_close_and_its_notice(self, modem):
        """The reading thread sets one after the other; a receiver may look in between."""
        sock = connected(modem)
        modem.peer.waiting += b"last words"
        modem.peer.slot.closed = "the far side closed the connection"
        assert sock.receive(100) == b"last words"
        assert sock.receive(100) == b""

    def test_the_close_wakes_whoever_waits(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        modem.peer.close()
        assert result() == b""

    def test_data_that_comes_with_the_close_but_without_notice_is_read(self, modem):
        sock = connected(modem)
        modem.peer.waiting += b"last words"
        modem.peer.close()
        assert sock.receive(100) == b"last words"
        assert sock.receive(100) == b""

    def test_a_closed_socket_that_cannot_be_read_is_the_end_if_nothing_was_announced(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(10) == b"abc"
        with pytest.raises(ModemTimeoutError):
            sock.receive(10, timeout=0)

        def script(op, slot, b):
            raise CommandError("ERROR")

        modem.script = script
        modem.peer.close()
        assert sock.receive(10) == b""
        assert sock.receive(10) == b""

    def test_but_an_error_if_data_was_announced(self, modem):
        sock = connected(modem)

        def script(op, slot, b):
            raise CommandError("ERROR")

        modem.script = script
        modem.peer.say(b"abc")
        modem.peer.close()
        for _ in range(2):
            with pytest.raises(ModemError):
                sock.receive(10)

    def test_a_modem_that_forgets_the_socket_on_close_is_not_asked(self):
        modem = FakeModem(remote_close="freed")
        sock = connected(modem)
        modem.peer.close()
        assert sock.receive(10) == b""
        assert modem.commands == []

    def test_and_what_it_had_announced_is_told_to_be_lost(self):
        modem = FakeModem(remote_close="freed")
        sock = connected(modem)
        modem.peer.say(b"x" * 2000)
        assert len(sock.receive(5000)) == 1500
        modem.peer.close()
        for _ in range(2):
            with pytest.raises(SocketClosedError, match="lost"):
                sock.receive(10)
        assert modem.commands == ["receive"]

    def test_a_clean_end_where_the_modem_tells(self):
        modem = FakeModem(capabilities={"close_reason": True})
        sock = connected(modem)
        modem.peer.close()
        assert sock.receive(1) == b""
        assert sock.end_authenticated is True

    def test_data_before_an_error(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(1) == b"a"
        modem.peer.lose(PdpError("bearer lost"))
        assert sock.receive(10) == b"bc"
        with pytest.raises(PdpError):
            sock.receive(10)
        assert sock.end_authenticated is None

    def test_an_answer_that_comes_after_the_caller_has_gone_is_kept(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abcdef")
        late = []
        run = modem.run

        def slow(slot, op, bindings, *, deadline=None, on_orphan=None):
            answer = run(slot, op, bindings)
            late.append(lambda: on_orphan(raw(answer)))
            if deadline is None:
                raise KeyboardInterrupt
            while time.monotonic() < deadline:
                time.sleep(0.001)
            raise ModemTimeoutError("too late")

        modem.run = slow
        with pytest.raises(ModemTimeoutError):
            sock.receive(3, timeout=0.01)
        late.pop()()
        modem.run = run
        assert sock.receive(3) == b"abc"
        assert sock.receive(10) == b"def"
        modem.peer.say(b"again")
        modem.run = slow
        with pytest.raises(KeyboardInterrupt):
            sock.receive(3, timeout=None)
        late.pop()()
        modem.run = run
        assert sock.receive(10) == b"again"

    def test_and_comes_before_the_answer_to_the_next_question(self, modem):
        """The channel hands a late answer to a background thread: the next one may be here sooner."""
        sock = connected(modem)
        modem.peer.say(b"x" * 1500 + b"y" * 1500)
        run = modem.run
        gate = threading.Event()

        def abandoned(slot, op, bindings, *, deadline=None, on_orphan=None):
            answer = run(slot, op, bindings)

            def late():
                gate.wait(5)
                on_orphan(raw(answer))

            modem.channel.defer(late)
            modem.run = run
            raise KeyboardInterrupt

        modem.run = abandoned
        with pytest.raises(KeyboardInterrupt):
            sock.receive(3000, timeout=None)
        result = in_thread(lambda: sock.receive(1500, timeout=5))
        until(lambda: modem.commands.count("receive") == 2)
        gate.set()
        assert result() == b"x" * 1500
        assert sock.receive(1500) == b"y" * 1500

    def test_an_interrupt_behind_the_answer_loses_nothing(self, modem):
        """Ctrl-C in the moment between the channel's answer and the buffer."""
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            answer = Answer(payload=bytes(modem.peer.waiting))
            modem.peer.waiting.clear()
            signal.raise_signal(signal.SIGINT)
            return answer

        modem.script = script
        with pytest.raises(KeyboardInterrupt):
            sock.receive(10)
        modem.script = lambda op, slot, b: None
        assert sock.receive(10, timeout=1) == b"abc"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_an_interrupt_where_the_channel_lets_it_through_comes_at_once(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        reached = []

        def script(op, slot, b):
            shielded = shield()
            try:
                shielded.wait()
                signal.raise_signal(signal.SIGINT)
                reached.append("after")
            finally:
                shielded.restore()

        modem.script = script
        with pytest.raises(KeyboardInterrupt):
            sock.receive(10)
        assert reached == []
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_read_that_fails_breaks_the_stream_since_it_may_have_a_gap(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            raise NoAnswerError("AT+R: no answer within 5 s")

        modem.script = script
        for _ in range(2):  # never as a time-out: it was not the caller's
            with pytest.raises(SocketClosedError, match=r"data may be missing: AT\+R: no answer"):
                sock.receive(10, timeout=None)
            modem.script = lambda op, slot, b: None
        assert modem.commands == ["receive"]

    def test_a_command_that_is_not_answered_breaks_the_stream_whatever_time_the_caller_had(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")

        def script(op, slot, b):
            time.sleep(0.02)
            raise NoAnswerError("AT+R: no answer within 5 s")

        modem.script = script
        with pytest.raises(SocketClosedError, match="data may be missing"):
            sock.receive(10, timeout=0.01)

    def test_closing_releases_a_receiver_in_another_thread(self, modem):
        sock = connected(modem)
        result = in_thread(lambda: sock.receive(10, timeout=None))
        until(lambda: modem.channel.waiting)
        sock.close()
        with pytest.raises(ModemError) as caught:
            result()
        assert caught.value.errno == errno.EBADF

    def test_shutdown_keeps_what_had_arrived(self, modem):
        sock = connected(modem)
        modem.peer.say(b"abc")
        assert sock.receive(1) == b"a"
        sock.shutdown()
        assert modem.peer.closed_by_driver
        assert sock.receive(10) == b"bc"
        assert sock.receive(10) == b""

    def test_polled_modems_are_asked_only_while_somebody_waits(self):
        modem = FakeModem(poll=0.01)
        sock = connected(modem)
        modem.peer.waiting += b"abc"
        assert sock.receive(10, timeout=5) == b"abc"
        result = in_thread(lambda: sock.receive(10, timeout=5))
        until(lambda: modem.channel.waiting)
        with modem.lock:
            modem.peer.waiting += b"def"
        assert result() == b"def"
        count = len(modem.commands)
        time.sleep(0.03)
        assert len(modem.commands) == count

    def test_a_polled_modem_is_asked_on_while_it_gives_data(self):
        modem = FakeModem(poll=60)
        sock = connected(modem)
        modem.peer.waiting += b"x" * 2000
        assert len(sock.receive(2000, timeout=1)) == 1500
        assert len(sock.receive(2000, timeout=1)) == 500
        assert sock.end_authenticated is None

    def test_push(self, modem):
        sock = connected(modem, receive="push")
        modem.peer.say(b"abc")
        modem.peer.say(b"def")
        assert sock.receive(2) == b"ab"
        assert sock.receive(10) == b"cdef"
        modem.peer.say(b"last")
        modem.peer.close()
        assert sock.receive(10) == b"last"
        assert sock.receive(10) == b""
        assert modem.commands == []

    def test_push_without_end_breaks_the_stream_instead_of_cutting_it(self, modem):
        sock = connected(modem, receive="push")
        piece = bytes(1 << 18)
        for _ in range(5):
            modem.peer.say(piece)
        assert len(sock.receive(1 << 20)) == 4 << 18
        with pytest.raises(SocketClosedError, match="lost"):
            sock.receive(1)

    def test_sizes(self, modem):
        sock = connected(modem)
        assert sock.receive(0) == b""
        with pytest.raises(ConfigurationError):
            sock.receive(-1)

    def test_two_threads_one_sends_one_receives(self, modem):
        sock = connected(modem)
        data = bytes(range(256)) * 200

        def receive_all():
            got = b""
            while len(got) < len(data):
                got += sock.receive(1000, timeout=5)
            return got

        received = in_thread(receive_all)
        sent = in_thread(lambda: [sock.send(data[i : i + 5000]) for i in range(0, len(data), 5000)])
        for i in range(0, len(data), 3000):
            modem.peer.say(data[i : i + 3000])
        sent()
        assert received() == data
        assert modem.peer.received == data


class TestOptions:
    def test_counters_survive_close(self, modem):
        sock = connected(modem)
        sock.send(b"12345")
        modem.peer.say(b"abc")
        sock.receive(1)
        sock.close()
        sock.connect("server.example", "443")
        sock.send(b"67")
        assert sock.get_opt(Option.BYTES_SENT) == 7
        assert sock.get_opt(Option.BYTES_RECEIVED) == 3

    def test_buffered_data_is_never_falsely_false(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        sock.connect("server.example", "443")
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.peer.say(b"abc")
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # in the modem, as far as is known
        sock.receive(1)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True
        sock.receive(10)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # the modem has not said that nothing is left
        with pytest.raises(ModemTimeoutError):
            sock.receive(1, timeout=0)
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is False
        modem.peer.close()
        assert sock.get_opt(Option.HAS_BUFFERED_DATA) is True  # the end

    def test_receive_timeout(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.RECV_TIMEOUT) == 30.0
        for value in (None, 0, -1, 2.5):
            sock.set_opt(Option.RECV_TIMEOUT, value)
            assert sock.get_opt(Option.RECV_TIMEOUT) == value
        for wrong in ("1", True, float("nan")):
            with pytest.raises(ModemError) as caught:
                sock.set_opt(Option.RECV_TIMEOUT, wrong)
            assert error_pair(caught.value).code == Errno.EINVAL

    def test_resumption_is_false_where_nothing_tells(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.SESSION_RESUMED) is False
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        with pytest.raises(ModemError):
            create_tcp_socket(modem).get_opt(Option.SESSION_RESUMED)

    def test_the_rest(self, modem):
        sock = create_ssl_socket(modem, TLS)
        assert sock.get_opt(Option.INNER_MTU) == 0
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.UNSPEC
        sock.connect("2001:db8::1", "1")
        assert sock.get_opt(Option.ADDR_FAMILY) is AddressFamily.IPV6
        for option in set(Option) - {Option.RECV_TIMEOUT}:
            with pytest.raises(ModemError) as caught:
                sock.set_opt(option, 1)
            assert caught.value.errno == errno.EINVAL

"""connect, get and terminal without a modem: streams, bodies, keys and lines."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modemtls.cli import main as cli
from modemtls.cli.connect import stream
from modemtls.cli.files import named_stream
from modemtls.cli.get import GetError, Target, _sink, fetch, target
from modemtls.cli.lineedit import Editor, Key
from modemtls.cli.output import Progress, logged, one_line
from modemtls.cli.terminal import Screen
from modemtls.errors import PinError, PortBusyError

EVERY_BYTE = bytes(range(256)) * 40


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# -- connect -------------------------------------------------------------------------------------------------------


def test_every_byte_passes_both_ways_and_the_peers_end_ends_it(pair, tmp_path: Path) -> None:
    ours, theirs = pair
    source = tmp_path / "in"  # a plain file: what epoll refuses
    source.write_bytes(EVERY_BYTE)
    got: list[bytes] = []
    back = bytearray()

    def peer() -> None:
        while len(back) < len(EVERY_BYTE):
            back.extend(theirs.recv(4096))
        theirs.sendall(bytes(reversed(EVERY_BYTE)))
        theirs.shutdown(socket.SHUT_WR)

    thread = in_background(peer)
    with source.open("rb") as file:
        why = stream(ours, file.fileno(), got.append, 5)
    thread.join(5)
    assert why == "closed by the peer"
    assert bytes(back) == EVERY_BYTE
    assert b"".join(got) == bytes(reversed(EVERY_BYTE))


def test_after_the_end_of_stdin_it_goes_on_while_data_comes(pair) -> None:
    ours, theirs = pair
    got: list[bytes] = []

    def peer() -> None:
        for _ in range(4):
            threading.Event().wait(0.04)
            theirs.sendall(b"x")

    thread = in_background(peer)
    with Path(os.devnull).open("rb") as nothing:
        why = stream(ours, nothing.fileno(), got.append, 0.1)
    thread.join(5)
    assert "nothing came" in why
    assert b"".join(got) == b"xxxx"


def test_a_linger_longer_than_anybody_can_wait(pair) -> None:
    ours, theirs = pair
    thread = in_background(lambda: (theirs.recv(1), theirs.shutdown(socket.SHUT_WR)))
    with Path(os.devnull).open("rb") as nothing:
        why = stream(ours, nothing.fileno(), lambda _: None, 1e10)
    thread.join(5)
    assert why == "closed by the peer"


class Scripted:
    """A socket that answers recv() from a list, whose last answer stays.

    `full` never takes anything, `refused` raises that, and `late` is the failure of what it had taken.
    """

    def __init__(
        self,
        readable: int,
        *answers: bytes | OSError,
        full: bool = False,
        refused: OSError | None = None,
        late: int = 0,
    ) -> None:
        self.readable, self.answers, self.full, self.refused, self.late = readable, list(answers), full, refused, late

    def fileno(self) -> int:
        return self.readable

    def setblocking(self, _flag: bool) -> None: ...

    def shutdown(self, _how: int) -> None: ...

    def getsockopt(self, level: int, name: int) -> int:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.late

    def send(self, data: bytes) -> int:
        if self.refused is not None:
            raise self.refused
        if self.full:
            raise BlockingIOError
        return len(data)

    def recv(self, _size: int) -> bytes:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_what_came_before_a_reset_is_written_and_the_reset_is_an_error(pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"!")
    got: list[bytes] = []
    with Path(os.devnull).open("rb") as nothing, pytest.raises(ConnectionResetError, match="cut"):
        stream(Scripted(ours.fileno(), b"last words", ConnectionResetError("cut")), nothing.fileno(), got.append, 1)
    assert got == [b"last words"]


def test_a_close_before_all_was_sent_is_an_error(pair, tmp_path: Path) -> None:
    ours, theirs = pair
    theirs.sendall(b"!")
    source = tmp_path / "in"
    source.write_bytes(b"12345")
    sock = Scripted(ours.fileno(), BlockingIOError(), b"", full=True)
    with source.open("rb") as file, pytest.raises(ConnectionResetError, match="before 5 bytes"):
        stream(sock, file.fileno(), lambda _: None, 1)


@pytest.mark.parametrize(
    "last", [[b""], [ConnectionResetError("cut")], [BlockingIOError()]], ids=["closed", "reset", "open"]
)
@pytest.mark.parametrize("linger", [0, 0.05])
def test_what_can_still_be_received_after_a_failed_send_is_written(pair, tmp_path: Path, last, linger) -> None:
    ours, theirs = pair
    theirs.sendall(b"!")

    def fed(data: bytes) -> None:
        got.append(data)
        if data == b"bye" and isinstance(last[0], BlockingIOError):
            ours.recv(1)  # nothing can be read any more, and nothing ends

    source = tmp_path / "in"
    source.write_bytes(b"12345")
    got: list[bytes] = []
    sock = Scripted(ours.fileno(), BlockingIOError(), b"good", b"bye", *last, refused=ConnectionAbortedError("no more"))
    with source.open("rb") as file, pytest.raises(ConnectionAbortedError, match="no more"):
        stream(sock, file.fileno(), fed, linger)
    assert got == [b"good", b"bye"]


def test_a_failed_send_that_is_told_when_receiving_costs_nothing_either(pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"!")
    got: list[bytes] = []
    sock = Scripted(ours.fileno(), ConnectionAbortedError("an earlier send failed"), b"bye", b"")
    with Path(os.devnull).open("rb") as nothing, pytest.raises(ConnectionAbortedError, match="earlier send"):
        stream(sock, nothing.fileno(), got.append, 1)
    assert got == [b"bye"]


def test_a_close_before_what_was_accepted_was_sent_is_an_error(pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"!")
    got: list[bytes] = []
    sock = Scripted(ours.fileno(), b"bye", b"", late=errno.ECONNRESET)
    with Path(os.devnull).open("rb") as nothing, pytest.raises(ConnectionResetError, match="before everything"):
        stream(sock, nothing.fileno(), got.append, 1)
    assert got == [b"bye"]


# -- get -----------------------------------------------------------------------------------------------------------


def answered(pair, answer: bytes, path: str = "/") -> tuple[bytes, bool, bytes]:
    """The body, whether its length was announced, and the request."""
    ours, theirs = pair
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    body: list[bytes] = []
    done, complete = fetch(ours, Target(True, "h.example", 443, path), body.append)
    assert done == len(b"".join(body))
    return b"".join(body), complete, theirs.recv(4096)


def test_a_page_and_what_was_asked(pair) -> None:
    body, complete, request = answered(
        pair, b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + bytes(300) + b"more", "/a?b"
    )
    assert (body, complete) == (bytes(300), True)
    assert request.startswith(b"GET /a?b HTTP/1.1\r\nHost: h.example\r\n")
    assert request.endswith(b"Connection: close\r\n\r\n")


def test_chunks(pair) -> None:
    body, complete, _ = answered(
        pair, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n yo\r\n0\r\n\r\n"
    )
    assert (body, complete) == (b"hello yo", True)


def test_a_page_of_unknown_length_says_so(pair) -> None:
    assert answered(pair, b"HTTP/1.0 200 OK\r\n\r\nall of it?")[:2] == (b"all of it?", False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + bytes(299), "299 of the 300"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "before the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "before the end"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 500 Oh\x1b[2J\r\n\r\n", "500 Oh"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://other/\r\n\r\n", "https://other/"),
        (b"SSH-2.0-x\r\n", "HTTP"),
        (b"", "HTTP"),
    ],
)
def test_what_is_no_page_is_a_failure_of_one_clean_line(pair, answer: bytes, said: str) -> None:
    with pytest.raises(GetError) as caught:
        answered(pair, answer)
    assert said in one_line(caught.value)
    assert one_line(caught.value).isprintable()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example", Target(True, "h.example", 443, "/")),
        ("http://h.example:8080/x?y=1#z", Target(False, "h.example", 8080, "/x?y=1")),
        ("https://[2001:db8::1]/", Target(True, "2001:db8::1", 443, "/")),
        ("https://h/%20%C3%A4/ä", Target(True, "h", 443, "/%20%C3%A4/%C3%A4")),
        ("https://bücher.example/", Target(True, "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_addresses(url: str, expected: Target) -> None:
    assert target(url) == expected


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"old")
    with contextlib.suppress(GetError), _sink(str(path)) as write:
        write(b"half of the n")
        raise GetError("cut")
    assert path.read_bytes() == b"old"
    with _sink(str(path)) as write:
        write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["page"]
    link = tmp_path / "link"
    link.symlink_to(path)
    with _sink(str(link)) as write:
        write(b"through a link")
    assert (link.is_symlink(), path.read_bytes()) == (True, b"through a link")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"old")
    path.chmod(mode)
    with _sink(str(path)) as write:
        write(b"new")
        (unfinished,) = (p for p in tmp_path.iterdir() if p != path)
        assert unfinished.stat().st_mode & 0o077 == 0
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (b"new", mode)


@pytest.mark.parametrize(
    "length",
    [
        b"-5",
        b"abc",
        b"",
        b"+3",
        b"3.0",
        b"0x3",
        b"1_0",
        b"9" * 6000,
        b"3, 4",
        b"\xb3",
        b"3\r\nContent-Length: 4",
        b"3;x",
    ],
)
def test_a_length_that_is_none_is_a_failure(pair, length) -> None:
    with pytest.raises(GetError) as caught:
        answered(pair, b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nabc")
    assert "length" in str(caught.value)
    assert len(one_line(caught.value)) < 400


@pytest.mark.parametrize("length", [b"3", b" 3 ", b"003", b"3, 3", b"3\r\nContent-Length: 3"])
def test_a_length_may_be_told_twice_if_it_is_the_same(pair, length) -> None:
    body, complete, _ = answered(pair, b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nabcdef")
    assert (body, complete) == (b"abc", True)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"x", b""])
def test_a_page_in_an_unknown_coding_is_a_failure(pair, coding) -> None:
    with pytest.raises(GetError, match="coding"):
        answered(pair, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("size", [b"-3", b"x", b"", b"9" * 6000, b"ffffffffffffffff"])
def test_a_piece_whose_length_is_none_is_a_failure(pair, size) -> None:
    with pytest.raises(GetError):
        answered(pair, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n")


def test_a_file_that_cannot_be_written_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, _sink(str(tmp_path / "absent" / "page")):
        pytest.fail("went on")
    assert "absent/page" in one_line(caught.value)


def test_a_file_that_is_full_is_named_and_nothing_is_left_of_it(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(OSError, match="No space") as caught, _sink("/dev/full") as write:
        write(b"a few bytes that wait for the end")
    assert one_line(caught.value) == "/dev/full: No space left on device"
    path = tmp_path / "page"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for where in ("replace", "chmod"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, where, full)
            with pytest.raises(OSError, match="No space") as caught, _sink(str(path)) as write:
                write(b"all of it")
            assert one_line(caught.value) == f"{path}: No space left on device"
            assert list(tmp_path.iterdir()) == []


def test_what_went_wrong_first_is_told_and_not_what_followed_at_the_close(tmp_path: Path) -> None:
    def cut() -> None:
        with _sink("/dev/full") as write:
            write(b"half of it")
            raise GetError("cut")

    with pytest.raises(GetError, match="cut"):
        cut()


def test_streams_get_a_name_and_stay_what_they_were(tmp_path: Path) -> None:
    for buffering in (-1, 0):
        with open(tmp_path / "out", "wb", buffering=buffering) as raw:
            stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=not buffering)
            named = named_stream(stream, "standard output")
            assert (named.encoding, named.errors, named.fileno()) == ("utf-8", "backslashreplace", raw.fileno())
            assert named.write_through is not bool(buffering)
            assert named_stream(named, "standard output") is named
            print("text \ud800", file=named)
            assert bool(buffering) is not bool((tmp_path / "out").read_bytes())
            named.flush()
            named.buffer.write(b"bytes")
            named.flush()
            del named
            assert stream.fileno() == raw.fileno(), "it is still open"
        assert (tmp_path / "out").read_bytes() == b"text \\ud800\nbytes"
    assert type(other := io.StringIO()) is type(named_stream(other, "x"))


def test_the_bar_is_for_terminals_only() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, pipe = Screen(), io.StringIO()
    for out in (screen, pipe):
        bar = Progress(1000, out)
        bar(1000)
        bar.close()
    assert "100 %" in screen.getvalue()
    assert screen.getvalue().endswith("\n")
    assert pipe.getvalue() == ""


# -- the line editor -----------------------------------------------------------------------------------------------


def typed(*pieces: bytes) -> tuple[Editor, list]:
    editor = Editor()
    return editor, [event for piece in pieces for event in editor.feed(piece)]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"AT\r", "AT"),
        (b"AX\x7fT\n", "AT"),
        (b"T\x1b[DA\r", "AT"),
        (b"T\x01A\x05!\r", "AT!"),
        (b"AXT\x1b[D\x1b[D\x1b[3~\r", "AT"),
        (b"one two\x17three\r", "one three"),
        (b"gone\x15AT\r", "AT"),
        (b"ATgone\x1bOD\x1bOD\x1bOD\x1bOD\x0b\r", "AT"),
        ("ä€\r".encode(), "ä€"),
        (b"A\x1b[99~T\r", "AT"),
        (b"A\x1b[1;5CT\r", "AT"),
    ],
)
def test_keys_make_the_line_whatever_the_cutting(keys: bytes, line: str) -> None:
    for pieces in ([keys], [bytes([k]) for k in keys]):
        _, events = typed(*pieces)
        assert [(e.key, e.text) for e in events] == [(Key.ENTER, line)]


def test_carriage_return_and_line_feed_are_one_enter() -> None:
    assert [e.text for e in typed(b"A\r\nB\r\n")[1]] == ["A", "B"]


def test_history() -> None:
    editor, events = typed(b"one\rtwo\rpart\x1b[A\x1b[A\r")
    assert events[-1].text == "one"
    assert editor.feed(b"draft\x1b[A\x1b[B\r")[-1].text == "draft"
    assert editor.feed(b"\x10\x10\x10\x10\x10\x10\r")[-1].text == "one"


def test_the_keys_that_end_things() -> None:
    assert [e.key for e in typed(b"\x04")[1]] == [Key.END]
    assert typed(b"A\x04\r")[1][-1].text == "A"
    assert [e.key for e in typed(b"text\x1d")[1]] == [Key.END]
    assert [(e.key, e.text) for e in typed(b"text\x03")[1]] == [(Key.INTERRUPT, "text")]
    assert [(e.key, e.text) for e in typed(b"text\x1a")[1]] == [(Key.FINISH, "text")]
    assert [e.key for e in typed(b"\x1b", b"\x1b")[1]] == [Key.CANCEL]


def test_a_line_longer_than_the_screen_stays_on_one_row() -> None:
    editor = Editor("at> ", columns=20)
    editor.feed(b"0123456789" * 5)
    assert len(editor.draw().replace("\r\x1b[K", "")) <= 20
    assert editor.draw().endswith("9")
    editor.feed(b"\x01")
    assert "at> 0123" in editor.draw()


# -- what the modem says -------------------------------------------------------------------------------------------


def said(chunks: list[bytes], *sent: str) -> tuple[list[str], Screen]:
    lines: list[str] = []
    screen = Screen(lines.append)
    for line in sent:
        screen.sent(line)
    for chunk in chunks:
        screen.feed(chunk)
    return lines, screen


ANSWER = b"ATI\r\r\nVendor\r\nModel\r\n\r\nOK\r\n\r\n+CREG: 1\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_answers_are_lines_without_the_echo(size: int) -> None:
    lines, screen = said([ANSWER[i : i + size] for i in range(0, len(ANSWER), size)], "ATI")
    assert lines == ["Vendor", "Model", "OK", "+CREG: 1"]
    assert not screen.waiting


def test_a_modem_that_does_not_echo() -> None:
    assert said([b"\r\nVendor\r\n\r\nOK\r\n"], "ATI")[0] == ["Vendor", "OK"]


def test_a_prompt_shows_at_once_and_data_has_an_echo_too() -> None:
    lines, screen = said([b"AT+X=0\r\r\n>"], "AT+X=0")
    assert lines == [">"]
    assert screen.prompted
    screen.sent("data")
    screen.feed(b" data\r\nSEND OK\r\n"[1:])
    assert lines == [">", "SEND OK"]
    assert not screen.waiting


@pytest.mark.parametrize("final", ["OK", "ERROR", "+CME ERROR: 10", "+CMS ERROR: x", "NO CARRIER"])
def test_final_results_end_the_wait(final: str) -> None:
    assert not said([f"\r\n{final}\r\n".encode()], "AT")[1].waiting
    assert said([b"\r\nOKAY\r\n"], "AT")[1].waiting


def test_an_unfinished_line_shows_when_the_modem_falls_silent() -> None:
    lines, screen = said([b"AT\r\r\nOK\r\nraw"], "AT")
    assert lines == ["OK"]
    screen.quiet()
    assert lines == ["OK", "raw"]


# -- how a run ends ------------------------------------------------------------------------------------------------


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr("modemtls.cli.completion.run", run)
    return cli.main(["completion", "bash"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PortBusyError("/dev/x: in use by\nprocess 7"), 1, "modemtls: /dev/x: in use by process 7\n"),
        (FileNotFoundError(2, "No such file", "ca.pem"), 1, "modemtls: ca.pem: No such file\n"),
        (OSError(28, "No space left on device"), 1, "modemtls: No space left on device\n"),
        (OSError("evil \x1b[2Jname"), 1, "modemtls: evil \\x1b[2Jname\n"),
        (
            PinError("SIM: it is locked; give its PIN with pin="),
            1,
            "modemtls: SIM: it is locked; give its PIN with --pin-file\n",
        ),
        (
            OSError('choices: min_version="1.2"; or verify=False'),
            1,
            "modemtls: choices: --min-version 1.2; or --no-verify\n",
        ),
        (OSError("AT+X=1, a=b, verify=Falsehood"), 1, "modemtls: AT+X=1, a=b, verify=Falsehood\n"),
        (TimeoutError("timed out"), 1, "modemtls: timed out\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (SystemExit(143), 143, ""),
    ],
)
def test_exit_codes_and_their_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, error) == code
    assert capsys.readouterr().err == line


def test_a_real_mistake_in_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        ended(monkeypatch, ZeroDivisionError())


# -- what is logged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [False, True])
def test_the_log_is_shown_as_lines_that_a_terminal_does_not_act_upon(verbose, capsys, caplog) -> None:
    log = logging.getLogger("modemtls.anything")
    with logged(verbose=verbose):
        log.info("all is well")
        log.warning("the modem said %s", "\x1b]0;pwn\x07\x9b5m\u202e\r\nmodemtls: all is well")
        log.error("serving a socket", exc_info=(ValueError, ValueError("two\nlines"), None))
    log.error("nobody's")
    err = capsys.readouterr().err.splitlines()
    failure = "modemtls: serving a socket: two lines"
    warning = r"modemtls: the modem said \x1b]0;pwn\x07\x9b5m\u202e\r\nmodemtls: all is well"
    assert err == ([warning, failure] if verbose else [failure])
    assert [record.getMessage() for record in caplog.records] == ["nobody's"], "as it was before"


def test_a_line_on_stderr_has_an_end() -> None:
    assert len(one_line(ValueError("9" * 100_000))) < 1100

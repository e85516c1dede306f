"""The file of --session-file: kept between runs, by one at a time, by nobody else."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from modemtls.cli.keeping import SIZE, kept_session
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind

ALLOWED = contextlib.nullcontext()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session"


def keep(path: Path, payload: bytes = b"ticket\0\0", kind: Kind = Kind.SESSION, engine: str = "host-openssl") -> None:
    """One run that ends with a session."""
    with kept_session(str(path)) as buffer:
        assert buffer is not None
        resumption.write(buffer, engine, kind, payload)


def found(path: Path, engine: str = "host-openssl") -> resumption.Kept | None:
    """What the next run begins with."""
    with kept_session(str(path)) as buffer:
        assert buffer is not None
        assert len(buffer) == SIZE
        return resumption.read(buffer, engine)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_a_name_nothing_is_kept() -> None:
    with kept_session(None) as buffer:
        assert buffer is None


def test_it_is_there_in_the_next_run_byte_for_byte_and_for_its_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        keep(path)
    finally:
        os.umask(umask)
    assert mode(path) == 0o600
    assert found(path) == (Kind.SESSION, b"ticket\0\0")
    assert path.stat().st_size < 100  # without the zeros behind it
    path.chmod(0o644)
    assert found(path) == (Kind.SESSION, b"ticket\0\0")
    assert mode(path) == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_what_was_there_stays_if_nothing_came_of_a_run(path: Path) -> None:
    keep(path)
    before = path.read_bytes()
    with contextlib.suppress(ZeroDivisionError), kept_session(str(path)):
        raise ZeroDivisionError
    assert path.read_bytes() == before


def test_a_session_that_came_before_a_failure_is_kept(path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), kept_session(str(path)) as buffer:
        resumption.write(buffer, "host-openssl", Kind.SESSION, b"new")
        raise ZeroDivisionError
    assert found(path) == (Kind.SESSION, b"new")


def test_what_an_engine_has_cleared_is_gone(path: Path) -> None:
    keep(path)
    with kept_session(str(path)) as buffer:
        resumption.clear(buffer)
    assert path.read_bytes() == b""
    assert found(path) is None


def test_a_file_made_for_nothing_is_not_left(path: Path) -> None:
    assert found(path) is None
    assert not path.exists()
    path.touch()
    assert found(path) is None
    assert path.exists()


@pytest.mark.parametrize(
    "content",
    [b"mtls\x01", b"mtls\x01" + b"x" * SIZE, b"mtls\x02" + b"of a later version" * 9],
    ids=["a beginning", "too large", "another version"],
)
def test_what_began_as_a_session_counts_as_none_and_stays_until_there_is_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert found(path) is None
    assert path.read_bytes() == content
    keep(path)
    assert found(path) == (Kind.SESSION, b"ticket\0\0")


@pytest.mark.parametrize(
    "content",
    [b"\n", b"\0" * 500, b"-----BEGIN PRIVATE KEY-----\n", b"mtl", b"mtls: notes\n", b"x" * (SIZE + 1)],
    ids=["a line", "zeros", "somebody's key", "short", "a text", "too large"],
)
@pytest.mark.parametrize("rights", [0o600, 0o644, 0o666])
def test_a_file_that_holds_something_else_is_refused_and_left_as_it_is(path: Path, content: bytes, rights: int) -> None:
    """The key's file by mistake: the first success would be the end of it."""
    path.write_bytes(content)
    path.chmod(rights)
    with pytest.raises(OSError, match=rf"{path}: this holds something else than a session"), kept_session(str(path)):
        pytest.fail("it was taken")
    assert (path.read_bytes(), mode(path)) == (content, rights)
    assert os.listdir(path.parent) == [path.name]


def test_every_damage_counts_as_none(path: Path) -> None:
    keep(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            kept = None
            with contextlib.suppress(OSError) if damaged and not damaged.startswith(b"mtls\x01") else ALLOWED:
                kept = found(path)
            assert kept is None, (at, kept)


@pytest.mark.parametrize("others", [0o620, 0o602, 0o666])
def test_what_others_can_write_is_not_relied_on_and_that_is_said(
    path: Path, others: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who writes it decides who the peer is: nothing is verified when a session is resumed."""
    keep(path)
    path.chmod(others)
    assert found(path) is None
    assert "others may write" in capsys.readouterr().err
    assert found(path) is None  # nor later
    keep(path)
    assert (mode(path), found(path)) == (0o600, (Kind.SESSION, b"ticket\0\0"))


def test_an_association_is_taken_out_while_it_lives(path: Path) -> None:
    """Its record numbers would be used again by who takes it up after the program was killed."""
    keep(path, b"state", Kind.CONNECTION)
    with kept_session(str(path)) as buffer:
        assert resumption.read(buffer, "host-openssl") == (Kind.CONNECTION, b"state")
        assert path.read_bytes() == b""
    assert found(path) == (Kind.CONNECTION, b"state")  # it was not used
    with kept_session(str(path)) as buffer:
        resumption.write(buffer, "host-openssl", Kind.TAKEN, b"")
    assert found(path) == (Kind.TAKEN, b"")


def test_a_session_stays_there_while_it_is_used(path: Path) -> None:
    keep(path)
    with kept_session(str(path)):
        assert path.stat().st_size


def test_one_run_at_a_time(path: Path) -> None:
    for _ in range(2):  # also when the file has been replaced
        with kept_session(str(path)) as buffer:
            with pytest.raises(OSError, match=rf"{path}: another run"), kept_session(str(path)):
                pytest.fail("both have it")
            resumption.write(buffer, "host-openssl", Kind.SESSION, os.urandom(8))
    assert found(path)


def test_what_replaced_the_file_before_it_was_locked_is_what_is_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    keep(path, b"old")
    lock = fcntl.flock

    def late(number: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        keep(path, b"new")  # another run, complete
        lock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert found(path) == (Kind.SESSION, b"new")


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    keep(link)
    assert link.is_symlink()
    assert found(path) == (Kind.SESSION, b"ticket\0\0")


def test_links_lead_as_everywhere(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One behind the other, relative, by way of a folder, and with ``..`` behind that."""
    (tmp_path / "there" / "in").mkdir(parents=True)
    (tmp_path / "folder").symlink_to("there/in")
    (tmp_path / "there" / "second").symlink_to("../session")
    (tmp_path / "first").symlink_to(tmp_path / "folder" / ".." / "second")
    keep(path)
    monkeypatch.chdir(tmp_path)
    for name in ("first", "folder/../second", "./there/../first", str(tmp_path / "first")):
        assert found(Path(name)) == (Kind.SESSION, b"ticket\0\0"), name


def test_a_circle_of_links_is_told(path: Path) -> None:
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels") as caught, kept_session(str(path)):
        pytest.fail("it was taken")
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("place", ["link", "folder"])
@pytest.mark.parametrize("content", [b"precious\n", b"", None])
def test_a_link_of_somebody_else_is_not_followed(
    path: Path, tmp_path: Path, place: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put into a folder like /tmp, it would have whatever it leads to replaced, or made."""
    target = path if place == "link" else path / "within"
    if place == "folder":
        path.mkdir()
    if content is not None:
        target.write_bytes(content)
    link = tmp_path / "planted"
    link.symlink_to(path)
    status = Path.lstat
    other = os.stat_result((0o120777, 1, 1, 1, os.geteuid() + 1000, 1, 1, 1, 1, 1))
    monkeypatch.setattr(Path, "lstat", lambda one: other if one == link else status(one))
    name = link if place == "link" else link / "within"
    with pytest.raises(OSError, match=rf"{link} is a link that belongs to somebody else"), kept_session(str(name)):
        pytest.fail("it was followed")
    assert (target.read_bytes() if target.exists() else None) == content


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "nowhere", "nobody's home"])
def test_what_cannot_keep_one_is_named_at_once(kind: str, path: Path) -> None:
    names = {"device": "/dev/null", "nowhere": str(path / "in" / "it"), "nobody's home": "~nobody-at-all/x"}
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    name = names.get(kind, str(path))
    with pytest.raises(OSError, match=r".") as caught, kept_session(name):
        pytest.fail("it was taken")
    assert name in str(caught.value)


def test_a_disk_that_is_full_is_told_and_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught, kept_session(str(path)) as buffer:
        resumption.write(buffer, "host-openssl", Kind.SESSION, b"new")
    assert caught.value.filename == str(path)
    assert found(path) == (Kind.SESSION, b"ticket\0\0")
    assert os.listdir(path.parent) == [path.name]

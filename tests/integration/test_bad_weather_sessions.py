"""What a resumption buffer may hold that is of no use, over every simulated modem and with the host's engine."""

from __future__ import annotations

import pytest

from modemtls.net import Option
from modemtls.net.contract import resumption
from modemtls.net.contract.resumption import Kind
from modemtls.tlsengine import Settings
from tests.support.bad_weather import IDENTITY, KEY, talk
from tests.support.dtls import DtlsEcho
from tests.support.tls_ends import need_mbedtls

SIZE = 2048
_WORD = 7  # where the engine's word begins; the byte before it is its length


def used(data: bytes) -> int:
    """How many of its bytes mean something."""
    return len(data.rstrip(b"\0"))


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def word_of(data: bytes) -> str:
    return data[_WORD : _WORD + data[6]].decode()


def of_another(data: bytes) -> bytes:
    """The same session, as another modem of the same kind would have kept it."""
    made = bytearray(len(data))
    word = word_of(data)
    payload = resumption.read(bytearray(data), word).payload
    assert resumption.write(made, word[:-1] + ("0" if word[-1] != "0" else "1"), Kind.SESSION, payload)
    return bytes(made)


def of_another_kind(data: bytes) -> bytes:
    """A session that calls itself a connection that was put aside."""
    made = bytearray(len(data))
    word = word_of(data)
    assert resumption.write(made, word, Kind.CONNECTION, resumption.read(bytearray(data), word).payload)
    return bytes(made)


CHANGES = {
    "foreign": lambda data: b"MSP\1\0\0\4\0".ljust(len(data), b"x"),
    "another modem": of_another,
    "another kind": of_another_kind,
    "its middle flipped": lambda data: flipped(data, used(data) // 2, 3),
    "its end zeroed": lambda data: data[: used(data) - 5].ljust(len(data), b"\0"),
}


@pytest.fixture
def resuming(here, good):
    """Sockets with a buffer, to a server that resumes."""
    here.need("dtls", "psk", "resumption")
    security = here.security(good.pki, datagram=True)

    def connect(buffer):
        sock = here.secure(security, datagram=True, session_resumption_buffer=buffer)
        talk(sock, good.psk.port)
        said = sock.get_opt(Option.SESSION_RESUMED), good.psk.handshakes[-1].resumed
        assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
        sock.cleanup()
        return said

    return connect


class TestBuffers:
    def test_anything_else_is_a_full_handshake(self, here, good, resuming):
        """And what is written then is good again."""
        told = here.host or here.able("resumption") == "reported"
        buffer = bytearray(SIZE)
        assert resuming(buffer) == (False, False)
        assert resuming(buffer) == (told, True)
        for at in range(used(buffer)):  # not one byte may be another
            changed = bytearray(flipped(bytes(buffer), at, at % 8))
            assert resumption.read(changed, word_of(buffer)) is None
        for name, change in CHANGES.items():
            kept = bytes(buffer)
            buffer[:] = change(kept)
            assert buffer != kept, name
            assert resuming(buffer) == (False, False), name
            assert resumption.read(buffer, word_of(kept)) is not None, name
        assert resuming(buffer) == (told, True)

    @pytest.mark.parametrize("size", [1, 6, 40])
    def test_one_that_is_too_short_is_zeroed(self, here, good, resuming, size):
        buffer = bytearray(SIZE)
        resuming(buffer)
        short = bytearray(buffer[:size])
        assert resuming(short) == (False, False)
        assert short == bytes(size)

    def test_a_session_that_the_server_has_forgotten(self, here, good, resuming):
        """The server decides; nothing fails, and nobody says that it was resumed."""
        buffer = bytearray(SIZE)
        resuming(buffer)
        with DtlsEcho(good.psk_settings) as other:
            sock = here.secure(here.security(good.pki, datagram=True), datagram=True, session_resumption_buffer=buffer)
            before = good.psk.port
            here.sim.map(f"server.example:{before}=127.0.0.1:{other.port}")
            try:
                talk(sock, before)
            finally:
                here.sim.map(f"server.example:{before}=127.0.0.1:{before}")
            assert sock.get_opt(Option.SESSION_RESUMED) is False
            assert other.handshakes[-1].resumed is False
            sock.cleanup()

    def test_of_one_engine_in_the_other(self, benches, good):
        """The host's own sessions are nothing to the modem below it, and the other way round."""
        buffer = bytearray(SIZE)
        for word in ("host", "ublox-sara-r5", "host", "nordic-sm", "ublox-sara-r4"):
            sock = benches[word].secure(
                benches[word].security(good.pki, datagram=True), datagram=True, session_resumption_buffer=buffer
            )
            talk(sock, good.psk.port)
            assert sock.get_opt(Option.SESSION_RESUMED) is False
            assert good.psk.handshakes[-1].resumed is False
            sock.cleanup()
            assert any(buffer)


class TestPutAside:
    """An association with a Connection ID that has been put aside."""

    def test_a_buffer_that_is_spoilt_meanwhile(self, here, good):
        here.need("dtls", "psk", *[] if here.host else ["cid"])
        if not here.host and not here.modem.limits.get("saved_connections"):
            pytest.skip(f"{here.word} puts no connections aside")
        need_mbedtls()
        security = here.security(good.pki, datagram=True)
        settings = Settings(server=True, datagram=True, psks={IDENTITY: KEY}, cid=b"server")
        buffer = bytearray(4 * SIZE)
        with DtlsEcho(settings) as server:
            sock = here.secure(security, datagram=True, use_connection_id=True, session_resumption_buffer=buffer)
            talk(sock, server.port)
            for change in ("its middle flipped", "foreign"):
                sock.close()
                assert resumption.kind_of(buffer) is Kind.CONNECTION
                buffer[:] = CHANGES[change](bytes(buffer))
                before = len(server.handshakes)
                talk(sock, server.port)
                assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is False
                assert sock.get_opt(Option.SESSION_RESUMED) is False
                assert len(server.handshakes) == before + 1
                assert server.handshakes[-1].resumed is False
            sock.close()
            talk(sock, server.port)
            assert sock.get_opt(Option.CONNECTION_ID_RESUMED) is True
            buffer[:] = bytes(len(buffer))  # it is not to be put aside once more
            sock.close()

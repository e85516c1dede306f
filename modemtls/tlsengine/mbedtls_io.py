"""What the library calls back for one connection on Mbed TLS: datagrams, timers, keys, its log."""

from __future__ import annotations

import ctypes as c
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modemtls.tlsengine.errors import Alert
from modemtls.tlsengine.mbedtls_library import SIZE, Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.tlsengine.mbedtls_verify import Judge

__all__ = ["WANT_READ", "Notes", "install", "next_offset"]

WANT_READ = -0x6900  # ssl.h, MBEDTLS_ERR_SSL_WANT_READ
_ALERT_RECORD, _RECORD_HEADER = 21, 13
_PLAIN = b"\0\0"  # epoch 0
_MASTER_SECRET = 0  # MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET
_IO = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)
_SET_TIMER = c.CFUNCTYPE(None, c.c_void_p, c.c_uint32, c.c_uint32)
_GET_TIMER = c.CFUNCTYPE(c.c_int, c.c_void_p)
_KEYS = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_void_p, c.c_size_t, c.c_void_p, c.c_void_p, c.c_int)
_ALERT_TOLD = re.compile(rb"got an alert message, type: \[(\d+):(\d+)\]")  # ssl_msg.c, at debug level 2


@dataclass(slots=True)
class Notes:
    """What callbacks note about one connection, and what they take from and give to it."""

    judge: Judge
    received: Alert | None = None
    sent: Alert | None = None
    psk_identity: bytes | None = None
    server_name: str = ""
    master: bytes = field(default=b"", repr=False)
    arrived: deque[bytes] = field(default_factory=deque)
    outgoing: list[bytes] = field(default_factory=list)
    timer: tuple[float, float, float] | None = None
    """When it was set, and after how many seconds the intermediate and the final delay are over."""

    def told(self, text: bytes) -> None:
        """Take a line of the library's log: it tells of alerts in no other way."""
        found = _ALERT_TOLD.search(text)
        if found:
            self.received = Alert(int(found[1]), int(found[2]))

    def send(self, datagram: bytes) -> None:
        """Take a datagram that has to go out."""
        self.outgoing.append(datagram)
        if datagram[0] == _ALERT_RECORD and datagram[3:5] == _PLAIN and len(datagram) == _RECORD_HEADER + 2:
            self.sent = Alert(datagram[-2], datagram[-1])


def install(lib: Any, ssl: Any, notes: Notes, keylog: Callable[[bytes], None] | None) -> tuple[object, ...]:
    """Give a connection its callbacks; returns what has to live as long as it. They know the notes, not the engine."""

    def send(_: int, data: int, length: int) -> int:
        notes.send(c.string_at(data, length))
        return length

    def receive(_: int, room: int, length: int) -> int:
        if not notes.arrived:
            return WANT_READ
        datagram = notes.arrived.popleft()[:length]
        c.memmove(room, datagram, len(datagram))
        return len(datagram)

    def set_timer(_: int, intermediate: int, final: int) -> None:
        notes.timer = (time.monotonic(), intermediate / 1000, final / 1000) if final else None

    def get_timer(_: int) -> int:
        if notes.timer is None:
            return -1
        passed = time.monotonic() - notes.timer[0]
        return 2 if passed >= notes.timer[2] else int(passed >= notes.timer[1])

    def keys(_: int, kind: int, secret: int, length: int, random: int, _server: int, _function: int) -> None:
        if kind == _MASTER_SECRET:
            notes.master = c.string_at(secret, length)
            if keylog is not None:
                keylog(b"CLIENT_RANDOM %s %s" % (c.string_at(random, 32).hex().encode(), notes.master.hex().encode()))

    held = (_IO(send), _IO(receive), _SET_TIMER(set_timer), _GET_TIMER(get_timer), _KEYS(keys))
    lib.ssl_set_bio(ssl, None, held[0], held[1], None)
    lib.ssl_set_timer_cb(ssl, None, held[2], held[3])
    lib.ssl_set_export_keys_cb(ssl, held[4], None)
    return held


def next_offset(lib: Any, der: bytes) -> int | None:
    """Return where a certificate of the library's points at the next one: in the last word of its structure.

    Parsed twice into one list, a certificate has just that as the last word that is not zero.
    """
    made = lib.new("crt", "x509_crt")
    word = c.sizeof(c.c_void_p)
    try:
        if any(lib.x509_crt_parse_der(made, der, SIZE(len(der))) for _ in range(2)):
            return None
        offset = (len(made.raw.rstrip(b"\0")) - 1) // word * word
        second = c.c_void_p.from_buffer(made, offset).value
        return offset if second and Certificate.from_address(second).der == der else None
    finally:
        lib.x509_crt_free(made)

"""The caller's resumption buffer, as one connection reads and writes it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from modemtls.net.contract import resumption
from modemtls.net.contract.dane import digest
from modemtls.net.contract.resumption import Kind
from modemtls.tlsengine import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modemtls.net.contract.dane import TlsaRecord
    from modemtls.net.contract.resumption import Buffer
    from modemtls.tlsengine import Engine

__all__ = ["Keeper"]

_BOUND = 16


class Keeper:
    """Takes a session out of the buffer for one connection, and puts the next one in.

    What is kept is bound to the peer, and to the TLSA records that accepted it: nothing is verified again when it is
    resumed. ``engine``: the word for who can read it.
    """

    def __init__(self, buffer: Buffer | None, engine: str, host: str, port: str, records: Sequence[TlsaRecord]) -> None:
        self._buffer = buffer
        self._engine = f"host-{engine}"
        peer = f"{host}\0{port}".encode() + digest(records)
        self._bound = hashlib.sha256(peer).digest()[:_BOUND]
        self._written = False
        self._last = b""
        self.offered = False
        self.loaded = False

    def resume(self, engine: Engine) -> None:
        """Have the engine take up what is in the buffer now, if it is for this connection."""
        if self._buffer is None:
            return
        kept = resumption.read(self._buffer, self._engine)
        if kept is None or not kept.payload.startswith(self._bound):
            return
        payload = kept.payload[_BOUND:]
        if kept.kind is Kind.SESSION:
            self.offered = engine.offer_session(payload)
        elif kept.kind is Kind.CONNECTION:
            # Whatever comes of it, it must not be taken up twice: its record numbers would be used again.
            self._write(Kind.TAKEN, b"")
            self.loaded = engine.load(payload)

    def store(self, engine: Engine) -> None:
        """Keep the engine's session if it has another one than before."""
        if self._buffer is None or self.loaded or self._is_cleared():
            return
        session = engine.export_session()
        if session and session != self._last:
            self._last = session
            self._write(Kind.SESSION, session)
        elif not session and not self._written:
            resumption.clear(self._buffer)  # what was in there did not serve, and nothing replaces it yet
            self._last = b""

    def park(self, engine: Engine) -> None:
        """Keep the whole association, if it has a Connection ID that the peer calls itself by; it has ended then."""
        if self._buffer is None or not engine.info().peer_cid or self._is_cleared():
            return
        try:
            association = engine.save()
        except (ValueError, UnsupportedError):
            return
        self._write(Kind.CONNECTION, association)

    def forget(self) -> None:
        """Empty the buffer: what was in there led to a failure."""
        if self._buffer is not None:
            resumption.clear(self._buffer)

    def _write(self, kind: Kind, payload: bytes) -> None:
        assert self._buffer is not None
        self._written = resumption.write(self._buffer, self._engine, kind, self._bound + payload)

    def _is_cleared(self) -> bool:
        """Whether the caller has zeroed what this connection wrote: the next handshake is to be a full one."""
        return self._written and self._buffer is not None and resumption.is_clear(self._buffer)

"""What both engines give: :class:`Context`, :class:`Engine`, :class:`Info`. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from modemtls.tlsengine.errors import Alert
    from modemtls.tlsengine.settings import Settings

__all__ = ["Context", "Engine", "Info", "VerifyError"]


@dataclass(frozen=True, slots=True)
class VerifyError:
    """One thing that is wrong with the peer's chain. ``code``: OpenSSL's; ``depth``: 0 is the peer's certificate."""

    code: int
    depth: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What was agreed on; before the end of the handshake the fields are empty that are not known yet.

    ``engine``: ``openssl`` or ``mbedtls``. ``version``: ``TLSv1.2``, ``DTLSv1.2`` … ``suite``: IANA number, 0 if none;
    ``suite_name``: its IANA name. ``resumed``: true only if a session that was offered was taken up, or an association
    loaded (``loaded``); a pre-shared key of TLS 1.3 is not that. ``own_cid``, ``peer_cid``: what each direction bears,
    None if Connection ID was not agreed on. DER, leaf first: ``peer_chain`` as received (after resumption at most the
    leaf), ``verified_chain`` as built up to a trust anchor; while ``verify_code`` is not 0, as far as it went.
    ``verify_code``: 0, or the first of ``verify_errors``, told also where nothing is demanded. ``server_name`` and
    ``psk_identity``: what the client sent, as the server knows it. Alerts: the last of each direction, close_notify
    too.
    """

    engine: str
    version: str = ""
    suite: int = 0
    suite_name: str = ""
    alpn: bytes = b""
    resumed: bool = False
    loaded: bool = False
    own_cid: bytes | None = None
    peer_cid: bytes | None = None
    peer_chain: tuple[bytes, ...] = ()
    verified_chain: tuple[bytes, ...] = ()
    verify_code: int = 0
    verify_errors: tuple[VerifyError, ...] = ()
    server_name: str = ""
    psk_identity: bytes | None = None
    received: Alert | None = None
    sent: Alert | None = None


class Context(Protocol):
    """Settings that an engine has accepted. A server's engines of one context resume each other's sessions."""

    @property
    def settings(self) -> Settings:
        """What it was made of."""

    @property
    def name(self) -> str:
        """``openssl`` or ``mbedtls``."""

    def engine(self, peer: bytes = b"", *, cid: bytes | None = None) -> Engine:
        """Return the engine of one connection.

        ``peer``: a server over datagrams has one engine for each peer; this is its address in any form, bound into the
        cookie. ``cid``: instead of the settings' own Connection ID another one of the same length, by which a server
        tells its peers apart when their addresses change (:func:`modemtls.tlsengine.connection_id`). Raises
        :exc:`modemtls.tlsengine.SettingsError` if that cannot be.
        """


class Engine(Protocol):
    """One end of one connection. It does no input or output and starts no threads; use it from one thread at a time.

    After every call, whatever it raised, send what :meth:`take` returns. Calls raise
    :exc:`~modemtls.tlsengine.errors.WantReadError` if nothing goes on without the peer, and
    :exc:`~modemtls.tlsengine.errors.TlsError` if the connection failed.
    """

    def feed(self, data: bytes) -> None:
        """Take what arrived: bytes of the stream, ``b""`` when the peer has ended it; or exactly one datagram."""

    def take(self) -> list[bytes]:
        """Return what has to be sent: pieces of the stream, or datagrams, one for each entry."""

    def handshake(self) -> None:
        """Go on with the handshake; returns when it is done, at once if it already is.

        Over datagrams nothing here ends a handshake that the peer leaves unanswered, except ``timers``: a wrong
        pre-shared key is met with silence. The caller has a deadline of its own.
        """

    def write(self, data: bytes) -> None:
        """Encrypt ``data``. Over datagrams one call is one record is one datagram.

        Raises :exc:`~modemtls.tlsengine.errors.MessageSizeError` if it is larger than :meth:`payload_limit`.
        """

    def read(self) -> bytes:
        """Return decrypted bytes, ``b""`` after the peer's close_notify. Over datagrams one call is one record.

        Data that is there is returned before the end or an error is told. Over datagrams it also answers a peer that
        repeats its last flight, not knowing yet that the handshake is done.
        """

    def close(self, *, notify: bool = True) -> None:
        """End our direction, with close_notify or without. Never raises; after it write() fails."""

    def deadline(self) -> float | None:
        """Return the seconds until :meth:`on_timer` is due, 0 if it is; None: no timer runs."""

    def on_timer(self) -> bool:
        """Send the last flight again if its timer is due; returns whether it was.

        Raises :exc:`~modemtls.tlsengine.errors.HandshakeTimeoutError` after the last wait.
        """

    def payload_limit(self) -> int:
        """Return the largest payload of one :meth:`write` over datagrams, in bytes; 0 over streams (any size).

        Raises :exc:`ValueError` before the end of the handshake, when the suite is not known.
        """

    def info(self) -> Info:
        """Return what was agreed on so far."""

    def export_session(self) -> bytes:
        """Return the session, to be offered later, by another process too; ``b""`` while there is none.

        With TLS 1.3 there is none before the peer's ticket has come, which is after the handshake, during a read();
        another one may come with any read(). It holds keys: as secret as a private key. At the end of the buffer that
        it is kept in there may be zeros.
        """

    def offer_session(self, session: bytes) -> bool:
        """Before the handshake: offer a session that was exported by this kind of engine for the same demands.

        Returns false and does nothing if it is anything else: empty, zeroed, truncated, altered, foreign, or from a
        connection with other demands on the peer (name, trust anchors, verification, key, versions).
        """

    def save(self) -> bytes:
        """Return the whole state of a live association with Connection ID; the engine is of no use afterwards.

        Raises :exc:`~modemtls.tlsengine.errors.UnsupportedError` if the engine cannot, and :exc:`ValueError` if the
        association has no Connection ID that the peer calls itself by. As secret as a private key; to be loaded once.
        """

    def load(self, association: bytes) -> bool:
        """Before the handshake: go on where :meth:`save` stopped, without any packet; the handshake is done then.

        Returns false and does nothing for whatever is not an association saved for the same demands.
        """

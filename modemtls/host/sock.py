"""The secure socket whose TLS is done here, over a plain socket of the contract."""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING

from modemtls import tlsengine
from modemtls.errors import ConfigurationError, ModemError, NotSupportedError, TlsError
from modemtls.host.demands import Demands
from modemtls.host.flow import Flow, check_size
from modemtls.host.keeping import Keeper
from modemtls.net.contract import (
    DEFAULT_RECEIVE_TIMEOUT,
    DEFAULT_SEND_TIMEOUT,
    UNSET,
    AddressFamily,
    Option,
    Socket,
    State,
    TlsVersion,
    Unset,
)
from modemtls.net.contract.configuration import check_dtls_timeouts
from modemtls.net.contract.dane import check_records
from modemtls.net.contract.interface import check_receive_timeout
from modemtls.net.contract.mtu import RecordShape, secure_inner, udp_inner

if TYPE_CHECKING:
    from collections.abc import Callable

    from modemtls.net.contract import Pollable, SslConfiguration
    from modemtls.net.contract.dane import TlsaRecord
    from modemtls.tlsengine import Info

__all__ = ["HostSocket", "decorate"]

_OPEN = (State.CONNECTED, State.ACCEPTED)
_SMALLEST = 256  # bytes of a datagram that a handshake can be cut into: OpenSSL's least


def decorate(lower: Socket, configuration: SslConfiguration) -> HostSocket:
    """Return a secure socket over ``lower``, in its place; if that fails ``lower`` is as before, and the caller's."""
    made = HostSocket(configuration, datagram=lower.datagram)
    made.decorate(lower)
    return made


class HostSocket(Socket):
    """TLS over a stream socket, DTLS over a datagram socket.

    ``lower``: the plain socket below, closed or bound, owned from here on; None if :meth:`decorate` is to bring one.
    ``datagram``: which of the two, where there is no ``lower`` yet.

    Raises :class:`NotSupportedError` for what no TLS engine of this host can do, :class:`CredentialError` and
    :class:`OSError` for credentials that cannot be read.
    """

    engine = "host"
    encrypted = True

    def __init__(
        self, configuration: SslConfiguration, lower: Socket | None = None, *, datagram: bool | None = None
    ) -> None:
        if lower is not None and lower.encrypted:
            raise ConfigurationError("the socket below is secure already")
        if datagram is None:
            datagram = lower is not None and lower.datagram
        elif lower is not None and lower.datagram is not datagram:
            raise ConfigurationError("the socket below is of the other kind: stream and datagram do not mix")
        self.datagram = datagram
        self._configuration = configuration
        self._demands = Demands(configuration, datagram=datagram)
        self._lower = lower
        self._life = threading.RLock()
        self._flow: Flow | None = None
        self._info: Info | None = None
        self._records: tuple[TlsaRecord, ...] = ()
        self._receive_timeout: float | None = DEFAULT_RECEIVE_TIMEOUT
        self._sent_before = self._received_before = 0
        self._gone = False
        self._callback: Callable[[], None] | None = None
        if lower is not None:
            lower.watch(self._changed)

    def __repr__(self) -> str:
        kind = "DTLS" if self.datagram else "TLS"
        return f"<{kind} socket over {self._lower!r}, {self.state.value}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def connect(self, host: str, port: str, *, timeout: float | None = None) -> None:
        """Resolve, connect and finish the handshake; see :meth:`Socket.connect`."""
        deadline = _deadline(timeout)
        with self._life:
            self._check_here()
            state = self.state
            if state is not State.CLOSED and not (self.datagram and state is State.BOUND):
                raise ModemError(f"the socket is {state.value}; close it first", number=errno.EISCONN)
            lower = self._below()
            name = self._configuration.server_name_indication or host
            deciding = self._demands.deciding(self._records)
            if self._flow is not None:  # interrupted the last time
                self.close(timeout=timeout)
            self._info = None
            lower.connect(host, port, timeout=timeout)
            try:
                self._secure(lower, name, deciding, deadline, server=False)
            except BaseException:
                self._drop(0)
                raise
        self._changed()

    def bind(self, address: str | None, port: str) -> None:
        """Take a local address and port; see :meth:`Socket.bind`."""
        with self._life:
            self._check_here()
            self._below().bind(address, port)

    def decorate(self, lower: Socket) -> None:
        """Secure ``lower``; see :meth:`Socket.decorate`."""
        with self._life:
            self._check_here()
            state = lower.get_opt(Option.STATE)
            if self.state is not State.CLOSED:
                raise ModemError(f"the socket is {self.state.value} already", number=errno.EISCONN)
            if lower.encrypted or lower.datagram is not self.datagram or lower is self._lower:
                raise ConfigurationError(f"{self!r} cannot secure {lower!r}")
            if state in _OPEN:
                server = state is State.ACCEPTED
                if server and getattr(self._configuration.security, "dane", False):
                    raise NotSupportedError("a server has no TLSA records of its clients", capability="dane")
                name = self._configuration.server_name_indication or ("" if server else _name_of(lower))
                deciding = () if server else self._demands.deciding(self._records)
                self._secure(lower, name, deciding, None, server=server)
            before, self._lower = self._lower, lower
            lower.watch(self._changed)
        if before is not None:
            before.cleanup()
        self._changed()

    def _secure(
        self, lower: Socket, name: str, deciding: tuple[TlsaRecord, ...], deadline: float | None, *, server: bool
    ) -> None:
        """Shake hands over ``lower``, judge the peer, and be connected. On failure nothing is changed here."""
        configuration = self._configuration
        limit = configuration.handshake_timeout
        if limit is not None:
            deadline = min(time.monotonic() + limit, float("inf") if deadline is None else deadline)
        room = self._lower_inner(lower) if self.datagram else 0
        if self.datagram and room < _SMALLEST:
            raise ModemError(f"datagrams of {room} bytes are too small for a handshake", number=errno.EMSGSIZE)
        whole = lower.receive_limit if self.datagram else None
        settings = self._demands.settings(
            name=name, server=server, mtu=room or _SMALLEST, records=deciding, whole=whole
        )
        engine = self._demands.context(settings).engine(_peer(lower))
        host, port = _where(lower)
        buffer = None if server else configuration.session_resumption_buffer
        keeper = Keeper(buffer, engine.info().engine, host, port, deciding)
        keeper.resume(engine)
        where = f"{host} port {port}" if host else repr(lower)
        flow = Flow(engine, lower, keeper, where, datagram=self.datagram, stir=self._changed)
        if not keeper.loaded:
            wait = self._receive_timeout
            try:
                flow.handshake(deadline, DEFAULT_RECEIVE_TIMEOUT if wait is not None and wait <= 0 else wait)
            except ModemError as error:
                if keeper.offered and isinstance(error, TlsError):
                    keeper.forget()
                raise
        info = engine.info()
        if deciding and not info.resumed:
            try:
                self._demands.judge(deciding, info, where)
            except ModemError:
                flow.refuse()
                raise
        flow.begin()
        self._info, self._flow = info, flow

    def shutdown(self) -> None:
        """End both directions, without close_notify; see :meth:`Socket.shutdown`."""
        with self._life:
            if self.state is State.CLOSED or self._lower is None:
                raise ModemError("the socket is not open", number=errno.EBADF)
            self._lower.shutdown()
        self._changed()

    def close(self, *, timeout: float | None = None) -> None:
        """Drop the connection; see :meth:`Socket.close`.

        close_notify is sent if the connection was neither shut down nor parked by its Connection ID.
        """
        with self._life:
            self._drop(timeout)
        self._changed()

    def _drop(self, timeout: float | None) -> None:
        flow, lower = self._flow, self._lower
        try:
            if flow is not None:
                notify = lower is not None and lower.state in _OPEN
                flow.close(_deadline(timeout), notify=notify)
        finally:
            if flow is not None:
                sent, received = self._sent_before + flow.sent, self._received_before + flow.received
                self._flow = None
                self._sent_before, self._received_before = sent, received
            if lower is not None:
                lower.close(timeout=timeout)

    def cleanup(self) -> None:
        """Close, for good, and the socket below as well."""
        with self._life:
            self._gone = True
            self._drop(None)
            lower, self._lower = self._lower, None
        if lower is not None:
            lower.cleanup()
        self._changed()

    def _check_here(self) -> None:
        if self._gone:
            raise ModemError("the socket was cleaned up", number=errno.EBADF)

    def _below(self) -> Socket:
        if self._lower is None:
            raise ModemError("there is no socket below to connect", number=errno.EBADF)
        return self._lower

    # -- data ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes | bytearray | memoryview, *, timeout: float | Unset | None = UNSET) -> None:
        """Send all of ``data`` or raise; see :meth:`Socket.send`. Nothing of it is no datagram either."""
        flow = self._sendable()
        view = memoryview(data).cast("B")
        if view:
            limit = self._inner_mtu(flow) if self.datagram else 0
            flow.send(view, limit, _deadline(DEFAULT_SEND_TIMEOUT if isinstance(timeout, Unset) else timeout))

    def receive(self, size: int, *, timeout: float | Unset | None = UNSET, peek: bool = False) -> bytes:
        """Return what is there, up to ``size`` bytes; see :meth:`Socket.receive`."""
        flow = self._secured()
        check_size(size)
        if not size and not self.datagram:
            return b""
        if self.state is State.SHUTDOWN:
            return flow.take_last(size, peek=peek)
        return flow.receive(size, self._receive_timeout if isinstance(timeout, Unset) else timeout, peek=peek)

    def _secured(self) -> Flow:
        flow = self._flow
        if flow is None:
            raise ModemError("the socket is not connected", number=errno.EBADF)
        return flow

    def _sendable(self) -> Flow:
        flow = self._secured()
        if self.state is State.SHUTDOWN:
            raise ModemError("the socket was shut down", number=errno.EPIPE)
        return flow

    # -- questions ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """That of the socket below, which is no connection before the handshake is done."""
        lower = self._lower
        if lower is None:
            return State.CLOSED
        state = lower.state
        return State.CLOSED if state in _OPEN and self._flow is None else state

    def get_opt(self, option: Option) -> object:
        """Return an option; see :class:`Option`."""
        flow, lower = self._flow, self._lower
        match option:
            case Option.STATE:
                return self.state
            case Option.RECV_TIMEOUT:
                return self._receive_timeout
            case Option.BYTES_SENT:
                return self._sent_before + (flow.sent if flow else 0)
            case Option.BYTES_RECEIVED:
                return self._received_before + (flow.received if flow else 0)
            case Option.HAS_BUFFERED_DATA:
                return (
                    flow is not None
                    and lower is not None
                    and (flow.ready or bool(lower.get_opt(Option.HAS_BUFFERED_DATA)))
                )
            case Option.SESSION_RESUMED:
                return self._info is not None and self._info.resumed
            case Option.CONNECTION_ID_RESUMED:
                return self._info is not None and self._info.loaded
            case Option.MTU:
                forced = self._configuration.socket.forced_mtu
                return forced or self._below().get_opt(Option.MTU)
            case Option.INNER_MTU:
                if not self.datagram or self.state in (State.CLOSED, State.BOUND):
                    return 0
                return self._inner_mtu(self._secured())
            case Option.ADDR_FAMILY:
                return AddressFamily.UNSPEC if lower is None else lower.get_opt(option)
            case Option.PREFERRED_ADDR_FAMILY | Option.FORCED_ADDR_FAMILY:
                return self._below().get_opt(option)
        raise ModemError(f"{option.name} cannot be read", number=errno.EINVAL)

    def set_opt(self, option: Option, value: object) -> None:
        """Set an option; see :class:`Option`."""
        match option:
            case Option.RECV_TIMEOUT:
                self._receive_timeout = check_receive_timeout(value)
            case Option.DANE_TLSA_ARRAY:
                if not getattr(self._configuration.security, "dane", False):
                    raise ModemError("the configuration has no DANE", number=errno.EINVAL)
                self._records = check_records(value)
            case Option.DTLS_HANDSHAKE_TIMEOUTS:
                self._set_timers(value)
            case Option.PREFERRED_ADDR_FAMILY | Option.FORCED_ADDR_FAMILY:
                self._below().set_opt(option, value)
            case _:
                raise ModemError(f"{option.name} cannot be set", number=errno.EINVAL)

    def _set_timers(self, value: object) -> None:
        if not self.datagram:
            raise ModemError("a stream has no retransmission timers", number=errno.EBADF)
        try:
            timers = check_dtls_timeouts(value)
        except ConfigurationError as error:
            raise ModemError(error.message, number=errno.EBADF) from None
        self._demands.set_timers(timers)

    def _lower_inner(self, lower: Socket) -> int:
        """Return the largest datagram that the socket below carries now, or may by the configuration."""
        inner = lower.get_opt(Option.INNER_MTU)
        assert isinstance(inner, int)
        forced = self._configuration.socket.forced_mtu
        if not forced:
            return inner
        family = lower.get_opt(Option.ADDR_FAMILY)
        assert isinstance(family, AddressFamily)
        return min(inner or forced, udp_inner(forced, family))

    def _inner_mtu(self, flow: Flow) -> int:
        info = self._info
        suite = None if info is None else tlsengine.suites.SUITES.get(info.suite)
        shape = None if suite is None else RecordShape(suite.nonce, suite.tag, suite.block)
        cid = len(info.peer_cid or b"") if info is not None else 0
        return secure_inner(self._lower_inner(flow.lower), shape, cid=cid, limit=flow.payload_limit())

    @property
    def version(self) -> TlsVersion | None:
        """The TLS version; DTLS goes by the names of TLS."""
        if self._info is None or self._flow is None:
            return None
        name = self._info.version.rpartition("v")[2]
        return TlsVersion.of(name if "." in name else f"{name}.0")

    @property
    def info(self) -> Info | None:
        """What was agreed on with the peer in the last handshake."""
        return self._info

    @property
    def end_authenticated(self) -> bool | None:
        """Whether the peer itself ended the stream, by close_notify; None before the end."""
        return None if self._flow is None else self._flow.ended

    @property
    def system(self) -> Pollable | None:
        """That of the socket below."""
        return None if self._lower is None or self.state is State.CLOSED else self._lower.system

    @property
    def interface_name(self) -> str:
        """That of the socket below."""
        return self._below().interface_name

    @property
    def remote_host(self) -> str:
        """That of the socket below."""
        return self._below().remote_host

    @property
    def remote_hostname(self) -> str:
        """The host as given to connect."""
        return self._below().remote_hostname

    @property
    def remote_port(self) -> str:
        """The port as given to connect."""
        return self._below().remote_port

    @property
    def local_host(self) -> str:
        """That of the socket below."""
        return self._below().local_host

    @property
    def local_port(self) -> str:
        """That of the socket below."""
        return self._below().local_port

    # -- for adapters -------------------------------------------------------------------------------------------

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` after every change; see :meth:`Socket.watch`."""
        self._callback = callback

    def _changed(self) -> None:
        callback = self._callback
        if callback is not None:
            callback()

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` gives something now."""
        flow = self._flow
        return flow is None or self.state is State.SHUTDOWN or flow.ready

    @property
    def unread(self) -> bool:
        """Whether the socket below has, or may have, something."""
        flow = self._flow
        return flow is not None and self.state in _OPEN and flow.unread

    def take(self, size: int, *, peek: bool = False) -> bytes | None:
        """Give data, the end or an error from memory, or None."""
        flow = self._secured()
        if self.state is State.SHUTDOWN:
            return flow.take_last(size, peek=peek)
        return flow.take(size, peek=peek)

    def check_sendable(self) -> None:
        """Raise why nothing can be sent any more, if that is known already."""
        self._sendable().check_sendable()

    def offer(self, piece: bytes) -> int:
        """Hand over one piece without waiting for room."""
        return self._sendable().offer(piece)

    def read_ahead(self, window: int) -> bool:
        """Fetch one piece, if there may be one and there is room."""
        flow = self._flow
        return flow is not None and self.state in _OPEN and flow.read_ahead(window)

    @property
    def poll_period(self) -> float | None:
        """That of the socket below."""
        return None if self._lower is None else self._lower.poll_period

    def poll_again(self) -> None:
        """Make the next :meth:`read_ahead` ask, whether there was notice or not."""
        if self._lower is not None:
            self._lower.poll_again()

    @property
    def send_limit(self) -> int:
        """The largest piece to offer at once."""
        flow = self._secured()
        return self._inner_mtu(flow) if self.datagram else flow.send_limit


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _name_of(lower: Socket) -> str:
    """Return the name that a connected socket was told; :class:`ConfigurationError` if there is none to check."""
    try:
        return lower.remote_hostname
    except ModemError as error:
        raise ConfigurationError(
            f"{lower!r} does not know whom it is connected to; give server_name_indication ({error})"
        ) from None


def _where(lower: Socket) -> tuple[str, str]:
    try:
        return lower.remote_hostname, lower.remote_port
    except ModemError:
        return "", ""


def _peer(lower: Socket) -> bytes:
    """Return what tells a peer from others, for the cookie of a server over datagrams."""
    try:
        return f"{lower.remote_host} {lower.remote_port}".encode()
    except ModemError:
        return b"peer"

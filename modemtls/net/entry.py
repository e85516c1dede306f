"""The entry points of the contract: global state, and the four kinds of socket.

The global state is brought up by whichever socket is created first, of any kind, and taken down again if that fails.
Nothing of the engines needs it: modems are attached by their owners, and the host's TLS is loaded when it is first
used. What is kept here is the order and the guard that callers rely on.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Literal, cast

from modemtls.errors import ConfigurationError, NotSupportedError, quoted
from modemtls.net.contract import SocketConfiguration, SslConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modemtls.modem.attached import AttachedModem
    from modemtls.net.contract import Socket
    from modemtls.net.offload import Holder, ReceiveMode
    from modemtls.net.packets import DatagramSocket
    from modemtls.net.streams import StreamSocket

__all__ = [
    "EngineChoice",
    "check_engine",
    "cleanup_global_ssl_state",
    "create_dtls_socket",
    "create_ssl_socket",
    "create_tcp_socket",
    "create_udp_socket",
    "global_ssl_state_is_up",
    "initialize_global_ssl_state",
]

#: Who secures the connection: the modem; this host, over the modem's plain socket; or the modem, and the host where the
#: modem lacks something that the configuration needs.
EngineChoice = Literal["modem", "host", "auto"]

_ENGINES = ("modem", "host", "auto")


def check_engine(engine: object) -> None:
    """Raise :class:`ConfigurationError` unless ``engine`` is an :data:`EngineChoice`."""
    if engine not in _ENGINES:
        raise ConfigurationError(f'engine: "modem", "host" or "auto", not {quoted(engine)}')


class _State:
    """Whether the global state is up, and whether sockets have been made since."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.up = False
        self.making = 0
        self.made = False


_state = _State()


def initialize_global_ssl_state() -> None:
    """Bring the global state up; done already, nothing happens. Any thread may call it."""
    with _state.lock:
        _state.up = True


def cleanup_global_ssl_state() -> None:
    """Undo it; the next socket, or :func:`initialize_global_ssl_state`, brings it up afresh. May be called twice.

    Sockets that exist stay usable.
    """
    with _state.lock:
        _state.up = _state.made = False


def global_ssl_state_is_up() -> bool:
    """Return whether it has been brought up and not been taken down since."""
    return _state.up


@contextlib.contextmanager
def _creating() -> Iterator[None]:
    """Have the global state up while a socket is created; down again if it was the first one, and failed."""
    with _state.lock:
        began = not _state.up
        if began:
            initialize_global_ssl_state()
        _state.making += 1
    try:
        yield
    except BaseException:
        with _state.lock:
            _state.making -= 1
            if began and not _state.made and not _state.making:
                cleanup_global_ssl_state()
        raise
    with _state.lock:
        _state.making -= 1
        _state.made = True


def create_ssl_socket(
    modem: AttachedModem | Holder,
    configuration: SslConfiguration,
    *,
    engine: EngineChoice = "modem",
    receive: ReceiveMode = "buffered",
) -> Socket:
    """Return a closed TLS socket of ``modem``; nothing goes over the network.

    ``modem``: what :func:`modemtls.open` returns, or what it holds. ``engine``: who does the TLS; the socket's own
    ``engine`` tells which of the two it is.

    Raises :class:`NotSupportedError` for what the engine cannot do, :class:`CredentialError` for certificates and keys
    that are none, :class:`ConfigurationError`.
    """
    return _secure(modem, configuration, engine, receive, datagram=False)


def create_dtls_socket(
    modem: AttachedModem | Holder,
    configuration: SslConfiguration,
    *,
    engine: EngineChoice = "modem",
    receive: ReceiveMode = "buffered",
) -> Socket:
    """Return a closed DTLS socket of ``modem``; see :func:`create_ssl_socket`."""
    return _secure(modem, configuration, engine, receive, datagram=True)


def create_tcp_socket(
    modem: AttachedModem | Holder,
    configuration: SocketConfiguration | None = None,
    *,
    receive: ReceiveMode = "buffered",
) -> StreamSocket:
    """Return a closed plain TCP socket of ``modem``."""
    with _creating():
        return _plain_tcp(modem, configuration, receive)


def create_udp_socket(
    modem: AttachedModem | Holder,
    configuration: SocketConfiguration | None = None,
    *,
    receive: ReceiveMode = "buffered",
) -> DatagramSocket:
    """Return a closed plain UDP socket of ``modem``."""
    with _creating():
        return _plain_udp(modem, configuration, receive)


def _plain_tcp(
    modem: AttachedModem | Holder, configuration: SocketConfiguration | None, receive: ReceiveMode
) -> StreamSocket:
    from modemtls.net.streams import StreamSocket

    _check_socket_configuration(configuration)
    return StreamSocket(modem, None, receive=receive, transport=configuration)


def _plain_udp(
    modem: AttachedModem | Holder, configuration: SocketConfiguration | None, receive: ReceiveMode
) -> DatagramSocket:
    from modemtls.net.packets import DatagramSocket

    _check_socket_configuration(configuration)
    return DatagramSocket(modem, None, receive=receive, transport=configuration)


def _check_socket_configuration(configuration: SocketConfiguration | None) -> None:
    if configuration is not None and not isinstance(configuration, SocketConfiguration):
        raise ConfigurationError(f"a SocketConfiguration is wanted, not a {type(configuration).__name__}")


def _secure(
    modem: AttachedModem | Holder,
    configuration: SslConfiguration,
    engine: EngineChoice,
    receive: ReceiveMode,
    *,
    datagram: bool,
) -> Socket:
    if not isinstance(configuration, SslConfiguration):
        raise ConfigurationError(f"an SslConfiguration is wanted, not a {type(configuration).__name__}")
    check_engine(engine)
    with _creating():
        if engine == "host":
            return _on_the_host(modem, configuration, receive, datagram=datagram)
        try:
            return _in_the_modem(modem, configuration, receive, datagram=datagram)
        except NotSupportedError as lacking:
            if engine == "modem":
                raise
            try:
                return _on_the_host(modem, configuration, receive, datagram=datagram)
            except NotSupportedError as neither:
                raise NotSupportedError(
                    f"{lacking}; nor can the host: {neither}", capability=lacking.capability
                ) from neither


def _in_the_modem(
    modem: AttachedModem | Holder, configuration: SslConfiguration, receive: ReceiveMode, *, datagram: bool
) -> Socket:
    from modemtls.net.packets import DatagramSocket
    from modemtls.net.streams import StreamSocket

    _attached(modem).ensure_ready()
    return (DatagramSocket if datagram else StreamSocket)(modem, configuration, receive=receive)


def _on_the_host(
    modem: AttachedModem | Holder, configuration: SslConfiguration, receive: ReceiveMode, *, datagram: bool
) -> Socket:
    from modemtls.host import HostSocket

    plain = _plain_udp if datagram else _plain_tcp
    return HostSocket(configuration, plain(modem, configuration.socket, receive))


def _attached(modem: AttachedModem | Holder) -> AttachedModem:
    return cast("AttachedModem", getattr(modem, "attached", modem))

"""The public face: open a modem, connect through it."""

from __future__ import annotations

import errno
import os
import socket
import stat
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from modemtls.at.forks import Inheritance
from modemtls.errors import ConfigurationError, ModemError, NotSupportedError, quoted
from modemtls.modem.attaching import attach
from modemtls.modem.settings import Settings
from modemtls.net.address import check_host, check_port
from modemtls.net.contract import Certificates, Encrypted, Psk, SslConfiguration, Stored, TlsVersion
from modemtls.net.contract.configuration import check_flag, check_list, check_seconds, shown_without
from modemtls.net.entry import check_engine, create_ssl_socket, create_tcp_socket
from modemtls.sockets.pump import Pump
from modemtls.sockets.stream import ModemSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

    from modemtls.at.trace import Trace
    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.credentials import CredentialStore
    from modemtls.modem.facts import Status
    from modemtls.modem.settings import Auth, PdpFamily
    from modemtls.net.contract import Credential, Socket
    from modemtls.net.contract.resumption import Buffer
    from modemtls.net.entry import EngineChoice
    from modemtls.net.offload import ReceiveMode

__all__ = ["Encrypted", "Modem", "Psk", "Stored", "TLSConfig", "open"]

#: A certificate or key: PEM text, PEM or DER bytes, the path of a file with it, or the name of what the modem holds.
Material: TypeAlias = "str | bytes | os.PathLike[str] | Stored"

#: Seconds that :meth:`Modem.close` gives to what non-blocking sockets had accepted before they were closed.
LINGER: Final = 10.0

#: The same at the end of a program, or of the last reference to a modem, that was not closed.
EXIT_LINGER: Final = 2.0

#: Seconds that :meth:`Modem.connect` without a time-out waits for a socket that is being closed, when all are taken.
ROOM: Final = 30.0

_GLOBAL_DEFAULT_TIMEOUT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """How to secure a connection. Unless told otherwise: chain and host name verified, TLS 1.2 or later.

    ``ca``: the CA certificates to trust. Needed unless ``system_trust``, ``psk`` or ``verify=False`` is given.
    ``system_trust``: trust the CAs of this host's own store (as well). For ``engine="host"``.
    ``revocation_lists``: CRLs; what is listed there is refused. For ``engine="host"``.
    ``cert`` and ``key``: this side's certificate (leaf first) and private key; both or neither. A key in the same text
    as the certificate need not be given again. ``Encrypted(key, password)`` is opened on this host.
    ``psk``: ``Psk(identity, key)``, both bytes, instead of certificates: who has the key is the peer, and none of the
    words about certificates may stand beside it.
    ``check_hostname=False``: verify the chain, but not whose certificate it is.
    ``verify=False``: verify nothing; the peer can be anybody. That includes the host name, which proves nothing in a
    certificate that anybody may have made: with ``verify=False``, ``check_hostname`` is False unless given, and an
    error if given as True.
    ``check_dates=False``: do not compare the certificate's dates with the modem's clock.
    ``min_version``, ``max_version``: ``"1.2"`` and the like.
    ``suites``: IANA numbers such as ``0xC02F``; None for all that the modem has, of those with a pre-shared key for the
    usual ones (decision 0011). An empty list is an error.
    ``sni``: the server name to send, and to check the certificate for; None for the host connected to.
    ``alpn``: application protocols to offer.
    ``handshake_timeout``: seconds, as near as the modem can be set to it.
    ``session_resumption_buffer``: a ``bytearray`` of yours, such as ``bytearray(8192)``, in which the session is kept
    for the next connection to the same peer; write it to a file to keep it for longer. All zeros: a full handshake. As
    secret as a private key.
    """

    ca: Material | None = None
    cert: Material | None = None
    key: Material | Encrypted | None = None
    psk: Psk | None = None
    verify: bool = True
    check_hostname: bool | None = None
    check_dates: bool = True
    min_version: str = "1.2"
    max_version: str | None = None
    suites: Collection[int] | None = None
    sni: str | None = None
    alpn: Sequence[str] = ()
    handshake_timeout: float | None = None
    system_trust: bool = False
    revocation_lists: Material | None = None
    session_resumption_buffer: Buffer | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        flags = ("verify", "check_dates", "system_trust")
        for name in (*flags, *(() if self.check_hostname is None else ("check_hostname",))):
            check_flag(f"TLSConfig: {name}", getattr(self, name))
        if self.psk is not None:
            self._check_psk()
        elif self.verify and self.ca is None and not self.system_trust:
            raise ConfigurationError(
                "TLSConfig: no CA to verify the peer with; give ca= (a PEM file, PEM text, or Stored(name) for one "
                "that is in the modem), psk=Psk(identity, key), or verify=False to connect to anybody"
            )
        if not self.verify and self.check_hostname:
            raise ConfigurationError(
                "TLSConfig: check_hostname=True proves nothing with verify=False; leave one of them out"
            )
        if self.check_hostname is None:
            object.__setattr__(self, "check_hostname", self.verify and self.psk is None)
        if self.key is not None and self.cert is None:
            raise ConfigurationError("TLSConfig: key is given without cert")
        if self.suites is not None:
            object.__setattr__(self, "suites", check_list("TLSConfig: suites", self.suites))
            if not self.suites:
                raise ConfigurationError("TLSConfig: no suite is left in suites; leave it out for all of the modem's")
        object.__setattr__(self, "alpn", check_list("TLSConfig: alpn", self.alpn))
        check_seconds("TLSConfig: handshake_timeout", self.handshake_timeout)
        for name in ("ca", "cert", "key", "revocation_lists"):
            given = getattr(self, name)
            credential = given.key if isinstance(given, Encrypted) else _credential(name, given)
            if isinstance(credential, os.PathLike):
                _check_readable(name, Path(credential))
        self.configuration()

    def _check_psk(self) -> None:
        if not isinstance(self.psk, Psk):
            raise ConfigurationError(f"TLSConfig: psk: Psk(identity, key) is wanted, not a {type(self.psk).__name__}")
        beside = {
            "ca": self.ca, "cert": self.cert, "key": self.key, "revocation_lists": self.revocation_lists,
            "system_trust": self.system_trust or None, "verify": None if self.verify else False,
            "check_hostname": self.check_hostname, "check_dates": None if self.check_dates else False,
        }  # fmt: skip
        for name, value in beside.items():
            if value is not None:
                raise ConfigurationError(f"TLSConfig: {name} is about certificates, and has no place beside psk")

    def __repr__(self) -> str:
        return shown_without(self, ("ca", "cert", "key", "revocation_lists", "session_resumption_buffer"))

    def _security(self) -> Certificates | Psk:
        if self.psk is not None:
            return self.psk
        cert = _credential("cert", self.cert)
        key = _credential("key", self.key)
        return Certificates(
            trusted=_credential("ca", self.ca),
            client_cert=cert,
            client_key=cert if key is None else key,
            verify=self.verify,
            check_hostname=bool(self.check_hostname),
            check_dates=self.check_dates,
            use_system_trust=self.system_trust,
            revocation_lists=_credential("revocation_lists", self.revocation_lists),
        )

    def configuration(self) -> SslConfiguration:
        """Return the same for the strict contract."""
        return SslConfiguration(
            security=self._security(),
            version=TlsVersion.of(self.min_version),
            max_version=None if self.max_version is None else TlsVersion.of(self.max_version),
            ciphersuites=tuple(self.suites or ()),
            server_name_indication=None if self.sni is None else check_host(self.sni),
            alpn=tuple(self.alpn),
            handshake_timeout=self.handshake_timeout,
            session_resumption_buffer=self.session_resumption_buffer,
        )


def _credential(name: str, given: Material | Encrypted | None) -> Credential | None:
    if isinstance(given, str | bytes) and not given:
        raise ConfigurationError(f"TLSConfig: {name} is empty")
    if given is None or isinstance(given, bytes | Stored):
        return given
    if isinstance(given, Encrypted) and name == "key":
        return given
    if isinstance(given, str) and "-----BEGIN" in given:
        return given.encode("ascii", "replace")
    if isinstance(given, str | os.PathLike):
        try:
            return Path(given).expanduser()
        except RuntimeError:  # the home of a user that does not exist
            raise ConfigurationError(f"TLSConfig: {name}: {os.fspath(given)!r} cannot be a file") from None
    raise ConfigurationError(
        f"TLSConfig: {name} is a path, PEM text or bytes, or Stored(name), not {type(given).__name__}"
    )


def _check_readable(name: str, path: Path) -> None:
    """Raise the OSError that reading would raise, path and all; the file is not opened, as it may be a pipe."""
    try:
        mode = path.stat().st_mode
    except ValueError:  # a NUL, or what cannot be encoded
        raise ConfigurationError(f"TLSConfig: {name}: {os.fspath(path)!r} cannot be a file") from None
    code = errno.EISDIR if stat.S_ISDIR(mode) else 0 if os.access(path, os.R_OK) else errno.EACCES
    if code:
        raise OSError(code, os.strerror(code), os.fspath(path))


class Modem:
    """An open modem; a context manager. Made by :func:`open`.

    All methods may be called from any thread. Closing it closes its connections. A program that ends without closing
    it waits two seconds at most for what its sockets had accepted without blocking; what is not sent by then is logged.
    """

    def __init__(self, attached: AttachedModem) -> None:
        self.attached = attached
        self._pump = Pump(attached.now, attached.name, ended=attached.channel.notify)
        self._closed = False
        self._owned = Inheritance()
        self._finalizer = weakref.finalize(self, _shut, attached, self._pump, self._owned)

    def __repr__(self) -> str:
        return (
            f"<modemtls.Modem {self.attached.name} ({self.attached.profile.name}){' [closed]' if self._closed else ''}>"
        )

    # -- connecting ---------------------------------------------------------------------------------------------

    def connect(
        self,
        address: tuple[str, int | str],
        *,
        tls: TLSConfig | None,
        engine: EngineChoice = "modem",
        timeout: float | None = None,
        receive: ReceiveMode = "buffered",
    ) -> ModemSocket:
        """Connect to ``(host, port)`` and return the connected socket.

        ``tls=None``, in so many words, is plain TCP. ``engine``: who does the TLS: the ``"modem"``; this ``"host"``,
        over plain TCP through the modem (it needs the extra ``host``); or ``"auto"``, the modem, and the host where the
        modem lacks something that ``tls`` asks for. The socket's ``engine`` tells which of the two it was.
        ``timeout`` in seconds is for everything that has to be done
        until the connection stands, and then the socket's own; None leaves the modem's limits, and a socket that
        blocks. The modem resolves the name. ``receive="push"``: the modem sends data as soon as it has it, which saves
        a command and leaves nothing to hold it back with.

        Raises :class:`ConfigurationError` and :class:`NotSupportedError` before anything is sent to the peer,
        :class:`HandshakeError`, :class:`CertificateError`, :class:`ConnectError`,
        :class:`ConnectOrHandshakeError` where the modem does not tell which, :class:`NameResolutionError`,
        :class:`ModemTimeoutError`, :class:`NetworkError`, :class:`SimError`.
        """
        host, port = _address(address)
        if tls is not None and not isinstance(tls, TLSConfig):
            raise ConfigurationError(f"tls: a TLSConfig, or None for plain TCP, not {type(tls).__name__}")
        check_engine(engine)
        if tls is None and engine != "modem":
            raise ConfigurationError(f"engine={quoted(engine)}: nobody secures a connection with tls=None")
        if timeout is not None and not timeout > 0:
            raise ConfigurationError("timeout: more than 0 seconds; make the socket non-blocking when it is connected")
        if self._closed:
            raise ModemError("the modem is closed", number=errno.EBADF)
        self._check_owned()
        deadline = None if timeout is None else self.attached.now() + timeout
        self.attached.ensure_ready(deadline=deadline)
        connection: Socket
        if tls is None:
            connection = create_tcp_socket(self.attached, receive=receive)
        else:
            connection = create_ssl_socket(self.attached, tls.configuration(), engine=engine, receive=receive)
        try:
            self._connect(connection, host, port, deadline)
            sock = ModemSocket(connection, self._pump, (host, port), timeout=timeout)
        except BaseException:
            connection.close(timeout=0)  # if it was connected, an interrupt came in between; closed in the background
            raise
        sock.owner = self
        return sock

    def _check_owned(self) -> None:
        self._owned.check(self.attached.name)

    def _connect(self, connection: Socket, host: str, port: int, deadline: float | None) -> None:
        """Connect; when everything is taken, as soon as something that is being closed makes room."""
        until = self.attached.now() + ROOM if deadline is None else deadline
        while True:
            ended = self._count_ended()
            try:
                connection.connect(host, str(port), timeout=self._pump.remaining(deadline))
            except ModemError as error:
                if error.errno not in {errno.EMFILE, errno.EBUSY} or not self._await_room(ended, until):
                    raise
            else:
                return

    def _await_room(self, ended: tuple[int, int], until: float) -> bool:
        """Wait until a socket has been closed; whether one has been since ``ended`` was counted."""
        attached, pump = self.attached, self._pump

        def moved() -> bool:
            return self._count_ended() != ended or not (pump.leaving or attached.sockets.leaving)

        attached.channel.wait(moved, until)
        return self._count_ended() != ended

    def _count_ended(self) -> tuple[int, int]:
        return self._pump.closed, self.attached.sockets.freed

    def create_connection(
        self,
        address: tuple[str, int | str],
        timeout: object = _GLOBAL_DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        tls: TLSConfig | None = None,
        engine: EngineChoice = "modem",
        receive: ReceiveMode = "buffered",
    ) -> ModemSocket:
        """Connect as :func:`socket.create_connection` does, for libraries that take such a function.

        Like that one it makes a plain TCP connection, unless it is given ``tls``.
        """
        if source_address not in {None, ("", 0)}:
            raise NotSupportedError("a modem's own address cannot be chosen", capability="source_address")
        if not isinstance(timeout, int | float | None):
            timeout = socket.getdefaulttimeout()
        return self.connect(address, tls=tls, engine=engine, timeout=timeout, receive=receive)

    # -- the modem itself ---------------------------------------------------------------------------------------

    def provision(
        self, tls: TLSConfig, *, dtls: bool = False, radio_off: bool = False, timeout: float | None = None
    ) -> Mapping[str, str]:
        """Store in the modem what connections with ``tls`` will need, and return its names there.

        Certificates, keys and pre-shared keys go there anyway when a connection first needs them. Some modems take them
        only while the radio is off: this can be called before it goes on, as nothing is connected nor brought up.
        ``radio_off=True``: where it is on already, it may be switched off for a moment, this once; no socket may be
        open then. ``dtls``: they are for DTLS connections. Nothing is returned for what is not kept in the modem, and
        what is there already is not written again.

        Raises :class:`CredentialError`, :class:`NotSupportedError` for what the modem cannot be given, and
        :class:`ConfigurationError`.
        """
        from modemtls.net.securing import Securing

        if not isinstance(tls, TLSConfig):
            raise ConfigurationError(f"tls: a TLSConfig is wanted, not {type(tls).__name__}")
        for name, value in (("dtls", dtls), ("radio_off", radio_off)):
            check_flag(name, value)
        self._check_owned()
        deadline = self._pump.deadline(timeout)
        self.attached.ensure_ready(deadline=deadline)
        configuration = replace(tls.configuration(), session_resumption_buffer=None)
        securing = Securing(self.attached, configuration, "dtls" if dtls else "tls")
        return securing.provision(radio_off=radio_off, deadline=deadline)

    def bring_up(self, *, timeout: float | None = None) -> None:
        """Do now what the first :meth:`connect` would do: SIM, registration, PDP context, clock.

        Nothing is sent if that has been done since the modem started.
        """
        self._check_owned()
        self.attached.ensure_up(deadline=self._pump.deadline(timeout))

    def info(self, *, timeout: float | None = None) -> Mapping[str, str]:
        """Return what modem this is: manufacturer, model, revision, and what its profile asks for (IMEI, ICCID, …)."""
        self._check_owned()
        return self.attached.info(deadline=self._pump.deadline(timeout))

    def status(self, *, timeout: float | None = None) -> Status:
        """Return how it stands with SIM, registration, signal and address, without changing anything."""
        self._check_owned()
        return self.attached.status(deadline=self._pump.deadline(timeout))

    @property
    def profile(self) -> str:
        """The name of the profile in use."""
        return self.attached.profile.name

    @property
    def capabilities(self) -> Mapping[str, object]:
        """What this modem with this firmware can do, in the words of the profile language.

        Where that depends on the firmware the modem is asked, if it has not been since it started; that needs neither
        SIM nor network, and raises :class:`ModemError` if the modem does not answer.
        """
        self._check_owned()
        return self.attached.capabilities

    @property
    def limits(self) -> Mapping[str, object]:
        """Sizes and numbers, in the words of the profile language."""
        return self.attached.limits

    @property
    def credentials(self) -> CredentialStore:
        """What the driver has put into the modem: ``list()``, ``remove(name)``, ``purge()``."""
        self._check_owned()
        return self.attached.credentials

    def close(self) -> None:
        """Close all connections and the port; may be called twice.

        What sockets had accepted without blocking is sent first, for ten seconds at most; what is not sent by then is
        logged.
        """
        if not self._closed:
            self._closed = True
            self._finalizer.detach()
            _shut(self.attached, self._pump, self._owned, LINGER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shut(attached: AttachedModem, pump: Pump, owned: Inheritance, linger: float | None = None) -> None:
    if owned.foreign:  # forked from the process that opened it
        return
    try:
        pump.drain(EXIT_LINGER if linger is None else linger)
    finally:
        pump.close()
        attached.close()


def _address(address: object) -> tuple[str, int]:
    if not isinstance(address, tuple | list) or len(address) < 2:
        raise ConfigurationError(f"address: (host, port) is wanted, not {quoted(address)}")
    return check_host(address[0]), check_port(address[1])


def open(  # noqa: A001 - the name users know: modemtls.open()
    port: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    apn: str | None = None,
    user: str | None = None,
    password: str | None = None,
    auth: Auth | None = None,
    pin: str | None = None,
    pdp: int | None = None,
    family: PdpFamily = "ipv4",
    baudrate: int | Literal["auto"] | None = None,
    rtscts: bool = False,
    profile: str | None = None,
    roaming: bool = True,
    take_over: bool = False,
    radio_off: bool = False,
    ntp: str | None = None,
    timeout: float = 300.0,
    trace: Trace | None = None,
    progress: Callable[[str, str], None] | None = None,
) -> Modem:
    """Open the modem at ``port`` and find out what it is; it is brought up by the first connection.

    ``port``: ``/dev/ttyUSB2``, ``socket://host:port``, ``rfc2217://host:port``, or ``sim:MODEL`` for a simulated one.
    ``apn``, ``pdp``: the PDP context; without ``apn`` it is used as the modem has it stored. ``user``, ``password``,
    ``auth``, ``family``: what is written with the ``apn``.
    ``pin``: the SIM's. One that was not accepted is not sent again, in later runs either: it is noted, hashed, in
    ``$XDG_STATE_HOME/modemtls`` before it is sent (:class:`PinError` if that cannot be written; it names the file).
    ``baudrate``: bit/s; None asks at the usual rates. ``rtscts``: hardware flow control.
    ``profile``: name or file of a profile; None asks the modem what it is.
    ``roaming=False``: refuse a visited network. ``take_over=True``: the driver may deactivate, close and reconfigure
    what others have set up in the modem. ``radio_off=True``: where a modem takes certificates and keys only without
    radio, the driver may switch it off for a moment, while no socket is open. ``ntp``: time server, for when nothing
    else knows the time.
    ``timeout``: seconds for bringing the modem up.
    ``trace`` is given every piece of the AT dialogue, secrets masked; ``progress(step, detail)`` what bring-up does.

    Raises :class:`PortError` (:class:`PortBusyError`, :class:`NotAModemError`), :class:`ConfigurationError`.
    """
    settings = Settings(
        apn=apn,
        user=user,
        password=password,
        auth=auth,
        family=family,
        pin=pin,
        pdp=pdp,
        baudrate=baudrate,
        rtscts=rtscts,
        profile=profile,
        roaming=roaming,
        take_over=take_over,
        radio_off=radio_off,
        ntp=ntp,
        timeout=timeout,
    )
    try:
        name = os.fsdecode(port)
    except TypeError:
        raise ConfigurationError(f"port: a name or a path is wanted, not {type(port).__name__}") from None
    return Modem(attach(name, settings, trace=trace, progress=progress))

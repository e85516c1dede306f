"""Adapters for urllib3 and requests: connection pools whose connections go through a modem.

    session = requests.Session()
    session.mount("https://", ModemAdapter(modem, tls=TLSConfig(ca="ca.pem")))
    session.get("https://api.example/")

or, with urllib3 alone, ``pool_manager(modem, tls=…).request("GET", url)``.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from modemtls.errors import ConfigurationError, NotSupportedError

try:
    import requests.adapters
    import urllib3
    import urllib3.connection
    import urllib3.exceptions
    from urllib3.poolmanager import SSL_KEYWORDS
except ImportError as error:
    raise ImportError(f"modemtls.sockets.web needs requests and urllib3: pip install requests ({error})") from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modemtls.net.entry import EngineChoice
    from modemtls.sockets.stream import ModemSocket

__all__ = ["Connector", "ModemAdapter", "pool_manager"]

_HOSTS_TLS: Final = frozenset({*SSL_KEYWORDS, "assert_fingerprint", "assert_hostname", "server_hostname"})
# What requests says with every connection; ModemAdapter.cert_verify has judged what the caller said.
_REQUESTS_TLS: Final = frozenset({"cert_reqs", "ca_certs", "ca_cert_dir"})


class Connector(Protocol):
    """What these adapters need of a :class:`modemtls.Modem`."""

    def connect(
        self, address: tuple[str, int], *, tls: Any, engine: EngineChoice = "modem", timeout: float | None = None
    ) -> ModemSocket:
        """Connect to ``(host, port)``."""
        ...


def pool_manager(
    modem: Connector, *, tls: Any = None, engine: EngineChoice = "modem", **options: Any
) -> urllib3.PoolManager:
    """Return a ``urllib3.PoolManager`` whose connections go through ``modem``.

    ``tls``: a :class:`modemtls.TLSConfig` for ``https``; without one, only ``http`` works. ``engine``: who does the
    TLS, as in :meth:`modemtls.Modem.connect`. ``options`` are urllib3's, but for those of TLS, here or for a single
    pool: they would have no effect, and raise ConfigurationError.
    """
    _refuse(options)
    manager = urllib3.PoolManager(**options)
    _equip(manager, modem, tls, engine)
    return manager


def _refuse(options: Mapping[str, Any], but: Iterable[str] = ()) -> None:
    """Raise ConfigurationError for what is said to the library's own TLS, which has no part in it."""
    given = sorted(name for name in _HOSTS_TLS.difference(but) if options.get(name) is not None)
    if given:
        raise ConfigurationError(
            f"{given[0]}= belongs to the library's own TLS; what is to be checked is said by tls=TLSConfig(…) alone"
        )


def _refuse_proxy(proxy: Any) -> None:
    """Refuse: the connection starts at the modem."""
    if proxy is not None:
        where = urllib3.util.parse_url(str(proxy)).host  # its address may hold a password
        raise NotSupportedError(
            f"a modem's connections cannot go through the proxy {where}",
            capability="proxy",
            choices=("session.trust_env = False, if it comes from the environment",),
        )


def _equip(
    manager: urllib3.PoolManager, modem: Connector, tls: Any, engine: EngineChoice, passed_over: Iterable[str] = ()
) -> None:
    plain = _plain_connection(modem)
    secure = _secure_connection(modem, tls, engine)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = plain

        def __init__(self, *args: Any, **options: Any) -> None:
            _refuse_proxy(options.get("_proxy"))
            super().__init__(*args, **options)

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = secure

        def __init__(self, *args: Any, **options: Any) -> None:
            if tls is None:
                raise ConfigurationError("https: through a modem needs tls=TLSConfig(…)")
            _refuse_proxy(options.get("_proxy"))
            _refuse(options, passed_over)
            super().__init__(*args, **options)

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _open(
    connection: urllib3.connection.HTTPConnection, modem: Connector, tls: Any, engine: EngineChoice = "modem"
) -> socket.socket:
    """Connect, with failures in urllib3's own terms, so that its retries and its callers understand them."""
    host, wait = connection.host, connection.timeout
    try:
        return modem.connect((host, connection.port), tls=tls, engine=engine, timeout=wait if wait else None)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(host, connection, error) from error
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(
            connection, f"connecting to {host} took longer than {wait} s"
        ) from error
    except ConnectionError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error


def _plain_connection(modem: Connector) -> type[urllib3.connection.HTTPConnection]:
    class PlainConnection(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            self.sock = _open(self, modem, None)

    return PlainConnection


def _secure_connection(modem: Connector, tls: Any, engine: EngineChoice) -> type[urllib3.connection.HTTPSConnection]:
    class SecureConnection(urllib3.connection.HTTPSConnection):
        def connect(self) -> None:
            self.sock = _open(self, modem, tls, engine)
            self.is_verified = bool(tls.verify)

    return SecureConnection


class ModemAdapter(requests.adapters.HTTPAdapter):
    """Mount this on a ``requests.Session``: its requests then go through ``modem``.

    ``engine``: who does the TLS, as in :meth:`modemtls.Modem.connect`.
    What is verified, and with which certificates, is said by ``tls`` alone; ``verify=`` and ``cert=`` of requests
    belong to the library's own TLS and are refused. A CA bundle from the environment is passed over.
    """

    def __init__(self, modem: Connector, *, tls: Any = None, engine: EngineChoice = "modem", **options: Any) -> None:
        self._modem = modem
        self._tls = tls
        self._engine = engine
        super().__init__(**options)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a ModemAdapter cannot be pickled: it belongs to an open modem")

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools; called by the base class."""
        _refuse(options)
        super().init_poolmanager(*args, **options)
        _equip(self.poolmanager, self._modem, self._tls, self._engine, _REQUESTS_TLS)

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """Choose the pool for a request; called by the base class, before :meth:`cert_verify`."""
        self.cert_verify(None, "", verify, cert)
        return super().get_connection_with_tls_context(request, verify, proxies, cert)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002 - requests' signature
        """Refuse what only the library's own TLS could do."""
        bundles = {os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("CURL_CA_BUNDLE")} - {None}
        if (verify is not True and verify is not None and verify not in bundles) or cert is not None:
            raise ConfigurationError(
                "verify= and cert= belong to the library's own TLS; say it to the adapter instead: "
                "tls=TLSConfig(ca=…, verify=…, cert=…)"
            )

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ARG002 - requests' signature
        """Refuse: the connection starts at the modem."""
        _refuse_proxy(proxy)

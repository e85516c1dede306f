"""Which engine serves which settings. Neither is loaded before it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.tlsengine.errors import EngineUnavailableError, UnsupportedError

if TYPE_CHECKING:
    from modemtls.tlsengine.contract import Context, Engine
    from modemtls.tlsengine.settings import Settings

__all__ = ["context_for", "engine_for", "require"]


def require(name: str) -> None:
    """Load the engine ``openssl`` or ``mbedtls``.

    Raises :exc:`modemtls.tlsengine.EngineUnavailableError` if it cannot be used here.
    """
    if name == "openssl":
        import modemtls.tlsengine.openssl  # noqa: F401
    elif name == "mbedtls":
        from modemtls.tlsengine.mbedtls_library import library

        library()
    else:
        raise ValueError(f"no such engine: {name}")


def context_for(settings: Settings) -> Context:
    """Return the context of the engine that can fulfil ``settings``: OpenSSL if it can, else Mbed TLS.

    Raises :exc:`modemtls.tlsengine.SettingsError` or :exc:`modemtls.tlsengine.EngineUnavailableError`; what either
    engine lacks is in the text.
    """
    lacks: UnsupportedError | EngineUnavailableError
    try:
        from modemtls.tlsengine.openssl import OpenSslContext

        return OpenSslContext(settings)
    except (UnsupportedError, EngineUnavailableError) as error:
        if not settings.datagram:
            raise
        lacks = error
    try:
        from modemtls.tlsengine.mbedtls import MbedContext

        return MbedContext(settings)
    except (UnsupportedError, EngineUnavailableError) as error:
        both = f"{lacks}; {error}"
        if isinstance(lacks, EngineUnavailableError) or isinstance(error, EngineUnavailableError):
            raise EngineUnavailableError(both) from None
        raise UnsupportedError(both) from None


def engine_for(settings: Settings, peer: bytes = b"") -> Engine:
    """Return the engine of one connection: ``context_for(settings).engine(peer)``."""
    return context_for(settings).engine(peer)

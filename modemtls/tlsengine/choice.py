"""Which engine serves which settings. Neither is loaded before it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.tlsengine.errors import EngineUnavailableError

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
        raise EngineUnavailableError("mbedtls: not there yet")
    else:
        raise ValueError(f"no such engine: {name}")


def context_for(settings: Settings) -> Context:
    """Return the context of the engine that can fulfil ``settings``.

    Raises :exc:`modemtls.tlsengine.SettingsError` and :exc:`modemtls.tlsengine.EngineUnavailableError`.
    """
    from modemtls.tlsengine.openssl import OpenSslContext

    return OpenSslContext(settings)


def engine_for(settings: Settings, peer: bytes = b"") -> Engine:
    """Return the engine of one connection: ``context_for(settings).engine(peer)``."""
    return context_for(settings).engine(peer)

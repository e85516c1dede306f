"""The modem's TLS contexts, shared by configuration.

A context is written and read back once per configuration and boot epoch, and is immutable while a socket uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from modemtls.modem.settings import TlsSettings

__all__ = ["ContextLease", "ContextPool"]


class ContextLease:
    """The right to open sockets with one configured context; a context manager.

    ``number`` is the context, ``epoch`` the boot epoch it was configured in. Keep it until the socket is closed.
    """

    number: int
    epoch: int
    settings: TlsSettings

    def release(self) -> None:
        """Give the context back; more than once is harmless."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ContextPool:
    """All TLS contexts of one modem."""

    def lease(self, settings: TlsSettings, *, deadline: float | None = None) -> ContextLease:
        """Give a context that is configured exactly as ``settings`` say.

        No command is sent when one is, in this epoch. Otherwise the least recently used idle context is configured
        and read back. Raises :class:`ModemError` (``EBUSY``) when every context is in use with another configuration,
        and what the modem answers when it refuses a setting or reads back something else.
        """
        raise NotImplementedError

    def names_in_use(self) -> frozenset[str]:
        """Name the credentials that leased contexts refer to."""
        raise NotImplementedError

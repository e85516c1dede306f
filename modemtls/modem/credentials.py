"""The driver's certificates and keys in the modem: named by content, uploaded once, removed when space runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["PREFIX", "CredentialKind", "CredentialStore", "Holding", "StoredCredential"]

CredentialKind: TypeAlias = Literal["ca", "cert", "key"]

PREFIX = "mtls-"
"""Every file of the driver's starts so; nothing else is ever overwritten or removed."""


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A file of the driver's in the modem. ``size`` in bytes; ``in_use``: by a socket of this process."""

    name: str
    size: int
    in_use: bool


class Holding:
    """Credentials that must stay while a connection is being prepared; from :meth:`CredentialStore.hold`."""

    def ensure(self, kind: CredentialKind, data: bytes, *, deadline: float | None = None) -> str:
        """Do as :meth:`CredentialStore.ensure`, and keep the file until the holding ends."""
        raise NotImplementedError


class CredentialStore:
    """What the driver has put into the modem."""

    def ensure(self, kind: CredentialKind, data: bytes, *, deadline: float | None = None) -> str:
        """Make sure that ``data`` (PEM) is in the modem and give its name there.

        Nothing is sent when it is known to be there in this epoch. Raises :class:`CredentialError` for what is no PEM
        of that kind, an encrypted key, and for want of space.
        """
        raise NotImplementedError

    def hold(self) -> AbstractContextManager[Holding]:
        """Keep every credential ensured within the ``with`` block from being evicted by another thread.

        Take the context lease inside the block: from then on the lease keeps them.
        """
        raise NotImplementedError

    def list(self, *, deadline: float | None = None) -> list[StoredCredential]:
        """List the driver's own files in the modem; foreign ones are not listed."""
        raise NotImplementedError

    def remove(self, name: str, *, deadline: float | None = None) -> bool:
        """Remove one of the driver's files; False if it was not there.

        Raises :class:`CredentialError` for a name that is not the driver's, and for one in use.
        """
        raise NotImplementedError

    def purge(self, *, deadline: float | None = None) -> Iterator[str]:
        """Remove all of the driver's files that are not in use, and give their names."""
        raise NotImplementedError

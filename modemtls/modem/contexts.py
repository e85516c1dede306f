"""The modem's TLS contexts, shared by configuration.

A context is written and read back once per configuration and boot epoch, and is immutable while a socket uses it. Where
a modem keeps its TLS settings over a restart, what the driver wrote before is only read back, and written again if it
differs.

What was read back is believed only until something happens that may have hidden a restart (:attr:`Host.doubts`): then
it is read back again, before a context is given out, and once more before a socket is that was opened with it.
"""

from __future__ import annotations

import errno
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Final

from modemtls.errors import CommandError, ConfigurationError, ModemError, ModemRestartedError
from modemtls.modem.interfaces import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import NoReturn, Self

    from modemtls.modem.interfaces import Host
    from modemtls.modem.settings import TlsSettings

__all__ = ["ContextLease", "ContextPool"]

logger = logging.getLogger(__name__)

_TRIES: Final = 3  # a read-back in which something else makes no sense is repeated so often


class ContextLease:
    """The right to open sockets with one configured context; a context manager.

    ``number`` is the context, ``epoch`` the boot epoch it was configured in, ``doubts`` the count at which it was last
    read back for this lease. An open socket holds a share of its own. A lease that nobody refers to any more counts as
    released: an interrupt may strike before its owner has stored it.
    """

    __slots__ = ("__weakref__", "_context", "_pool", "doubts", "epoch", "number", "released", "settings")

    def __init__(self, pool: ContextPool, context: _Context, epoch: int, doubts: int, settings: TlsSettings) -> None:
        self._pool = pool
        self._context = context
        self.released = False
        self.number = context.number
        self.epoch = epoch
        self.doubts = doubts
        self.settings = settings

    def __repr__(self) -> str:
        return f"<ContextLease {self.number} epoch {self.epoch}>"

    def begin(self) -> bool:
        """Note that a connection is about to be made; whether it is the first one since the context was written."""
        context = self._context
        clean, context.clean = context.clean, False
        return clean

    def share(self) -> ContextLease:
        """Give another lease of the same context; each is released on its own."""
        return self._pool._share(self)  # noqa: SLF001 - one class in two parts

    def check(self, *, deadline: float | None = None) -> None:
        """Make sure that the context still is as leased; no command if nothing has happened since it was read back.

        Raises :class:`CommandError` when it is not, or cannot be read back any more: the modem has restarted, which
        is for the caller to declare. :class:`ModemRestartedError` when that is known already.
        """
        self._pool._check(self, deadline)  # noqa: SLF001

    def confirm(self, *, deadline: float | None = None) -> None:
        """Do as :meth:`check`, and end the epoch if it fails. Raises :class:`ModemRestartedError`."""
        self._pool._confirm(self, deadline)  # noqa: SLF001

    def release(self) -> None:
        """Give the context back; more than once is harmless."""
        self.released = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Context:
    """What is known of one context. ``settings`` None: not configured by the driver in ``epoch``, or half.

    ``doubts``: the count at which the settings were last read back and right. ``clean``: written, and nothing has been
    connected with it since. ``leases``: those given of it, released
    ones among them until the next is given.
    """

    __slots__ = ("clean", "doubts", "epoch", "leases", "number", "settings", "used")

    def __init__(self, number: int) -> None:
        self.number = number
        self.settings: TlsSettings | None = None
        self.epoch = -1
        self.doubts = -1
        self.clean = False
        self.leases: list[weakref.ref[ContextLease]] = []
        self.used = 0

    def leased(self, epoch: int) -> list[weakref.ref[ContextLease]]:
        """Give the leases of ``epoch`` that have not been released."""
        return [ref for ref in self.leases if (one := ref()) is not None and not one.released and one.epoch == epoch]


class ContextPool:
    """All TLS contexts of one modem.

    ``foreign`` asks the modem for the contexts of TLS sockets that are not the driver's: number of each such socket to
    its context, None where the modem does not tell it. ``survive``: the modem keeps TLS settings over a restart.
    """

    def __init__(
        self,
        host: Host,
        numbers: Sequence[int],
        *,
        foreign: Callable[[float | None], Mapping[int, int | None]],
        survive: bool = False,
    ) -> None:
        self._host = host
        # From the top: other software in or beside the modem tends to use the first ones.
        self._contexts = [_Context(number) for number in reversed(numbers)]
        self._foreign = foreign
        self._survive = survive
        self._turn = Turn("TLS context")
        self._lock = threading.Lock()  # over leases, held for a few instructions only
        self._tick = 0

    def lease(self, settings: TlsSettings, *, anew: bool = False, deadline: float | None = None) -> ContextLease:
        """Give a context that is configured exactly as ``settings`` say.

        Settings that resume a session get a context of their own. ``anew``: it is written again, though it be in order,
        so that nothing is left in it of a session before.

        No command is sent when one is, in this epoch, and nothing has happened since that may have hidden a restart;
        else it is read back again, and if that fails the epoch ends. Without such a context the least recently used
        idle one is configured and read back. Raises :class:`ModemError` (``EBUSY``) when every context is in use with
        another configuration, :class:`CommandError` when the modem refuses a setting or reads back something else, and
        :class:`ModemRestartedError` when it restarts meanwhile, or turns out to have restarted.
        """
        with self._turn.take(self._host.now, deadline):
            epoch = self._host.epoch
            for context in self._contexts:
                alone = settings.resume and context.leased(epoch)  # a session belongs to one connection
                if not anew and context.settings == settings and context.epoch == epoch and not alone:
                    if context.doubts != self._host.doubts:
                        self._look_again(context, settings, deadline)
                    return self._grant(context, epoch, context.doubts, settings)
            context = self._choose(epoch, settings, deadline)
            kept = not anew and self._survive and context.settings == settings and context.epoch != epoch
            with self._lock:
                context.settings = None  # until every setting is known to be in place
                context.epoch = epoch
                context.clean = False
            before = self._host.doubts
            try:
                if not (kept and self._still_there(context, settings, deadline)):
                    context.doubts = self._configure(context.number, settings, deadline)
                    context.clean = True
            except CommandError as error:
                error.message = f"TLS context {context.number}: {error.message}"
                if self._host.epoch == epoch and self._host.doubts != before:
                    self._give_up(context.number, error)
                # Wrong, and nobody knows why: what else is believed is looked at again.
                self._host.raise_doubt(error.message)
                raise
            if self._host.epoch != epoch:
                raise ModemRestartedError("the modem restarted while a TLS context was being configured")
            context.settings = settings
            logger.info("TLS context %d configured and read back", context.number)
            return self._grant(context, epoch, context.doubts, settings)

    def _still_there(self, context: _Context, settings: TlsSettings, deadline: float | None) -> bool:
        """Read back what was written before the modem restarted."""
        if not self._host.has("tls_verify"):
            return False
        try:
            context.doubts = self._read_back(context.number, settings, deadline)
        except CommandError as error:
            logger.info("TLS context %d did not outlast the restart: %s", context.number, error)
            return False
        return True

    def _configure(self, number: int, settings: TlsSettings, deadline: float | None) -> int:
        """Write and read back; the count of doubts at which the settings were certainly there."""
        bindings = {"context": number, **settings.bindings()}
        if self._host.has("tls_verify"):
            self._host.run("tls_configure", bindings, deadline=deadline)
            return self._read_back(number, settings, deadline)
        for _ in range(_TRIES):
            doubts = self._host.doubts
            self._host.run("tls_configure", bindings, deadline=deadline)
            if self._host.doubts == doubts:
                return doubts
        raise self._disturbed()

    def _read_back(self, number: int, settings: TlsSettings, deadline: float | None) -> int:
        """Read back what can be read, until nothing comes between that may have hidden a restart."""
        failure: CommandError | None = None
        for _ in range(_TRIES):
            doubts = self._host.doubts
            failure = None
            try:
                self._host.run("tls_verify", {"context": number, **settings.bindings()}, deadline=deadline)
            except CommandError as error:
                if self._host.doubts == doubts:
                    raise
                failure = error
                continue
            if self._host.doubts == doubts:
                return doubts
        raise failure or self._disturbed()

    def _disturbed(self) -> CommandError:
        return CommandError(
            f"the settings cannot be made sure of, the line is too disturbed ({self._host.doubted}, again and again)",
            kind="unknown",
        )

    def _look_again(self, context: _Context, settings: TlsSettings, deadline: float | None) -> None:
        """Read back a context that was right once, as something may have hidden a restart; it ends the epoch if so."""
        logger.info("TLS context %d is read back again: %s", context.number, self._host.doubted)
        try:
            if self._host.has("tls_verify"):
                context.doubts = self._read_back(context.number, settings, deadline)
            else:
                context.doubts = self._configure(context.number, settings, deadline)
        except CommandError as error:
            self._give_up(context.number, error)

    def _give_up(self, number: int, error: CommandError) -> NoReturn:
        reason = f"TLS context {number} is not as it was written ({error})"
        self._host.end_epoch(reason)
        raise ModemRestartedError(f"the modem restarted unnoticed: {reason}") from error

    def _confirm(self, lease: ContextLease, deadline: float | None) -> None:
        try:
            self._check(lease, deadline)
        except CommandError as error:
            self._give_up(lease.number, error)

    def _check(self, lease: ContextLease, deadline: float | None) -> None:
        if self._host.epoch != lease.epoch:
            raise ModemRestartedError("the modem restarted: its TLS settings are gone")
        if self._host.doubts == lease.doubts:
            return
        logger.info("TLS context %d is read back again: %s", lease.number, self._host.doubted)
        with self._turn.take(self._host.now, deadline):
            if not self._host.has("tls_verify"):
                raise CommandError(f"TLS context {lease.number} cannot be read back ({self._host.doubted})")
            lease.doubts = self._read_back(lease.number, lease.settings, deadline)
            lease._context.doubts = max(lease._context.doubts, lease.doubts)  # noqa: SLF001
        if self._host.epoch != lease.epoch:
            raise ModemRestartedError("the modem restarted while its TLS settings were being read back")

    def names_in_use(self) -> frozenset[str]:
        """Name the credentials that leased contexts refer to."""
        epoch = self._host.epoch
        with self._lock:
            return frozenset(
                name
                for context in self._contexts
                if context.settings is not None and context.leased(epoch)
                for name in context.settings.names
            )

    def _choose(self, epoch: int, settings: TlsSettings, deadline: float | None) -> _Context:
        if not self._contexts:
            raise ConfigurationError("the modem's profile has no TLS contexts")
        idle = [context for context in self._contexts if not context.leased(epoch)]
        if not idle:
            raise ModemError(
                f"all {len(self._contexts)} TLS contexts of the modem are in use, each with another configuration: "
                "close a connection, or use the settings of an open one",
                number=errno.EBUSY,
            )
        foreign = self._foreign(deadline)
        if None in foreign.values():
            raise ModemError(
                "another program has TLS sockets open in the modem, and the modem does not tell which of its contexts "
                "they use: close them there, or use take_over=True",
                number=errno.EBUSY,
            )
        idle = [context for context in idle if context.number not in foreign.values()]
        if not idle:
            raise ModemError(
                "every free TLS context of the modem is used by a socket that another program opened: close it there, "
                "or use take_over=True",
                number=errno.EBUSY,
            )
        return min(
            idle,
            key=lambda context: (
                not (self._survive and context.settings == settings),
                context.epoch == epoch,
                context.used,
            ),
        )

    def _grant(self, context: _Context, epoch: int, doubts: int, settings: TlsSettings) -> ContextLease:
        lease = ContextLease(self, context, epoch, doubts, settings)
        with self._lock:
            if context.epoch != epoch:
                raise ModemRestartedError("the modem restarted: its TLS settings are gone")
            self._tick += 1
            context.used = self._tick
            context.leases = [*context.leased(epoch), weakref.ref(lease)]
        return lease

    def _share(self, lease: ContextLease) -> ContextLease:
        return self._grant(lease._context, lease.epoch, lease.doubts, lease.settings)  # noqa: SLF001

"""The contract fulfilled on the host: TLS and DTLS over any plain socket of the contract.

Needs the extra ``host`` (``pip install 'modemtls[host]'``); without it making a socket raises
:class:`~modemtls.errors.NotSupportedError`, which names it. Importing this package loads no TLS engine.
"""

from __future__ import annotations

from modemtls.host.sock import HostSocket, decorate

__all__ = ["HostSocket", "decorate"]

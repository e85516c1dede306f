"""QSSL commands (BG96 SSL AT Commands Manual V1.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.connection import BUFFER, INITIAL, Connection
from modemtls.sim.personalities.quectel.sockets import CONNECT_FAILED, IDS, Sockets
from modemtls.sim.personalities.quectel.tlsconfig import CONTEXTS, ConfigurationError
from modemtls.sim.transport import Stage, TlsTransport

if TYPE_CHECKING:
    from modemtls.sim.job import Job

__all__ = ["Ssl"]

LONGEST_HOST = 255  # not stated in the manual
MOST_READ = 1500


class Ssl(Sockets):
    """TLS clients."""

    open_name = "+QSSLOPEN"
    urc_name = "+QSSLURC"

    def uses_context(self, context: int) -> bool:
        """Whether a client uses an SSL context."""
        return any(item.context == context and item.state != INITIAL for item in self.table.values())

    @at("+QSSLOPEN")
    def _open(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QSSLOPEN: (1-16),(0-5),(0-11),<serveraddr>,<server_port>[,(0-2)]")
            return
        if job.form is not Form.SET:
            raise Refusal
        args = self.ip_args(job)
        args.count(5, 6)
        connection = Connection(
            args.number(2, 0, IDS - 1),
            "SSLClient",
            args.number(0, 1, 16),
            args.text(3, longest=LONGEST_HOST),
            args.number(4, 1, 65535),
            args.number(5, 0, 2, BUFFER),
        )
        connection.context = args.number(1, 0, CONTEXTS - 1)
        if not connection.host:
            raise self.ip_error(552, "no host")
        self.admit(job, connection, self._connect)

    def _connect(self, connection: Connection) -> None:
        address = self.machine.network.address(connection.host)
        if address is None:
            self.failed(connection, 565, f"no such name: {connection.host}")
            return
        connection.address = address
        try:
            settings = self.module.tlsconfig.client_settings(connection.context, connection.host)
        except ConfigurationError as error:
            self.failed(connection, CONNECT_FAILED, str(error))
            return
        transport = TlsTransport(
            self.loop,
            self.machine.network,
            self.trace,
            settings,
            self.module.tlsconfig.handshake_limit(connection.context),
        )
        connection.transport = transport
        transport.opened = lambda: self.opened(connection)
        transport.failed = lambda stage, why: self.failed(connection, self._code(stage), why)
        transport.data = lambda data: self.arrived(connection, data)
        transport.ended = lambda why: self.ended(connection, why)
        transport.open(connection.host, connection.port)

    def _code(self, stage: Stage) -> int:
        return int(self.variants["timeout-code"]) if stage is Stage.TIMEOUT else CONNECT_FAILED

    @at("+QSSLSEND")
    def _send(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QSSLSEND: (0-11)[,(1-1460)]")
            return
        args = self.ip_args(job)
        args.count(1, 2)
        number = args.number(0, 0, IDS - 1)
        length = args.number(1, 1, int(self.variants["send-max"])) if len(args) == 2 else None
        connection = self.sendable(number)
        echo = self.module.tcp.echo if self.variants.on("qisde-ssl") else True
        self.prompt(job, connection.number, length, lambda data: self.transmit(job, connection, data), echo=echo)

    @at("+QSSLRECV")
    def _receive(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QSSLRECV: (0-11),(1-1500)")
            return
        args = self.ip_args(job)
        args.count(1, 2)
        number = args.number(0, 0, IDS - 1)
        least = 0 if self.variants["recv-zero"] == "counts" else 1
        length = args.number(1, least, MOST_READ, MOST_READ)
        connection = self.readable(number)
        if length == 0:
            total, unread = connection.total_received, connection.unread
            job.info(f"+QSSLRECV: {total},{total - unread},{unread}")
            return
        data = self.read(connection, length).data
        job.info(f"+QSSLRECV: {len(data)}")
        if data:
            job.raw(data + b"\r\n")

    @at("+QSSLCLOSE")
    def _close(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QSSLCLOSE: (0-11),(0-65535)")
            return
        self.close(job)

    @at("+QSSLSTATE")
    def _state(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        if job.form is Form.READ:
            raise Refusal
        args = self.ip_args(job)
        args.count(0, 1)
        number = args.number(0, 0, IDS - 1) if job.form is Form.SET else None
        for connection in sorted(self.table.values(), key=lambda item: item.number):
            if number in {None, connection.number}:
                job.info(self._state_line(connection))

    def _state_line(self, connection: Connection) -> str:
        local = 0 if self.variants.on("port-zero") or connection.transport is None else connection.transport.local_port
        return (
            f'+QSSLSTATE: {connection.number},"SSLClient","{connection.address}",{connection.port},{local},'
            f'{connection.state},{connection.cid},{connection.server},{connection.mode},"{self.module.facts.port}",{connection.context}'
        )

"""QSSL commands (BG96 SSL AT Commands Manual V1.0; DTLS is known by the keys of real BG95-M3 alone)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.connection import BUFFER, INITIAL, TRANSPARENT, Connection
from modemtls.sim.personalities.quectel.sockets import CONNECT_FAILED, IDS, Sockets
from modemtls.sim.personalities.quectel.tlsconfig import CONTEXTS, ConfigurationError
from modemtls.sim.secure import SecureDatagrams
from modemtls.sim.transport import Stage, TlsTransport

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.tlsengine import Engine, Settings

__all__ = ["Ssl"]

LONGEST_HOST = 255  # not stated in the manual
MOST_READ = 1500


class Ssl(Sockets):
    """TLS and DTLS clients."""

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
        if connection.mode == TRANSPARENT and self.module.tlsconfig.datagram(connection.context):
            raise self.ip_error(552, "no transparent mode for datagrams")
        self.admit(job, connection, self._connect)

    def _connect(self, connection: Connection) -> None:
        address = self.machine.network.address(connection.host, self.module.packet.kind(connection.cid))
        if address is None:
            self.failed(connection, 565, f"no such name: {connection.host}")
            return
        connection.address = address
        try:
            settings = self.module.tlsconfig.client_settings(connection.context, connection.host)
        except ConfigurationError as error:
            self.failed(connection, CONNECT_FAILED, str(error))
            return
        limit = self.module.tlsconfig.handshake_limit(connection.context)
        if settings.datagram:
            association = self._associated(connection, settings, limit)
            if association is not None:
                self._wire(connection, association)
                association.open()
            return
        transport = TlsTransport(self.loop, self.machine.network, self.trace, settings, limit)
        connection.transport = transport
        self._wire(connection, transport)
        transport.open(connection.host, connection.port)

    def _associated(self, connection: Connection, settings: Settings, limit: float) -> SecureDatagrams | None:
        """Return the association with the peer; None if there is no socket for it, which has been told."""
        network = self.machine.network
        try:
            datagrams = network.datagrams(0)
        except OSError as error:
            self.failed(connection, 554, str(error))
            return None
        connection.datagrams = datagrams
        connection.rest = self.variants["datagram-rest"]
        peer = network.target(connection.host, connection.port)
        connection.association = SecureDatagrams(self.loop, self.trace, settings, datagrams, peer, limit)
        return connection.association

    def _wire(self, connection: Connection, transport: TlsTransport | SecureDatagrams) -> None:
        sessions = self.module.tlsconfig.sessions
        place = connection.context, connection.host, connection.port

        def judged(engine: Engine) -> str:
            sessions.keep(*place, engine)
            return ""

        transport.prepare = lambda engine: sessions.offer(*place, engine)
        transport.judge = judged
        transport.opened = lambda: self.opened(connection)
        transport.failed = lambda stage, why: self.failed(connection, self._code(stage), why)
        transport.data = lambda data: self.arrived(connection, data)
        transport.ended = lambda why: self.ended(connection, why)

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

    def deliver(self, connection: Connection, data: bytes, peer: tuple[str, int] | None) -> str:
        """Send; over datagrams one record, none if there is nothing in it."""
        from modemtls.tlsengine import MessageSizeError

        if connection.association is None:
            return super().deliver(connection, data, peer)
        try:
            return "SEND OK" if connection.association.write(data) else "SEND FAIL"
        except MessageSizeError as error:
            self.trace.note(f"id {connection.number}: {error}")
            return self.variants["dtls-large"]

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
        source = connection.transport or connection.datagrams
        local = 0 if self.variants.on("port-zero") or source is None else source.local_port
        return (
            f'+QSSLSTATE: {connection.number},"SSLClient","{connection.address}",{connection.port},{local},'
            f'{connection.state},{connection.cid},{connection.server},{connection.mode},"{self.module.facts.port}",{connection.context}'
        )

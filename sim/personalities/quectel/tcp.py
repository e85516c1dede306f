"""QI commands: plain TCP and UDP (BG96 TCP(IP) AT Commands Manual V1.1)."""

from __future__ import annotations

import errno
import ipaddress
import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.connection import BUFFER, CONNECTED, TRANSPARENT, Connection
from modemtls.sim.personalities.quectel.sockets import CONNECT_FAILED, IDS, Sockets
from modemtls.sim.transport import PlainTransport

if TYPE_CHECKING:
    from modemtls.sim.job import Job
    from modemtls.sim.network import Stream
    from modemtls.sim.personalities.quectel import Quectel
    from modemtls.sim.personalities.quectel.connection import Piece

__all__ = ["Tcp"]

KINDS = ("TCP", "UDP", "TCP LISTENER", "UDP SERVICE")
LONGEST_HOST = 255
MOST_READ = 1500
MOST_HEX = 512  # bytes in a QISENDEX
BIND_FAILED = 556
_PORT_TAKEN = {errno.EADDRINUSE, errno.EACCES}


class Tcp(Sockets):
    """TCP clients and listeners, UDP."""

    open_name = "+QIOPEN"
    urc_name = "+QIURC"

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self._ranges = {key: values for key, values, _ in module.facts.qicfg}

    def reset(self) -> None:
        """No socket; payload echo on; QICFG at its defaults."""
        super().reset()
        self.echo = True
        self._config = {key: default for key, _, default in self.module.facts.qicfg}

    # --- opening ----------------------------------------------------------------------------------

    @at("+QIOPEN")
    def _open(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info(
                '+QIOPEN: (1-16),(0-11),"TCP/UDP/TCP LISTENER/UDP SERVICE",'
                '"<IP_address>/<domain_name>",<remote_port>,<local_port>,(0-2)'
            )
            return
        if job.form is not Form.SET:
            raise Refusal
        args = self.ip_args(job)
        args.count(5, 7)
        kind = args.word(2, KINDS)
        serves = kind in {"TCP LISTENER", "UDP SERVICE"}
        connection = Connection(
            args.number(1, 0, IDS - 1),
            kind,
            args.number(0, 1, 16),
            args.text(3, longest=LONGEST_HOST),
            args.number(4, 0 if serves else 1, 65535),
            args.number(6, 0, 2, BUFFER),
        )
        connection.local_port = args.number(5, 0, 65535, 0)
        if not connection.host or (serves and connection.host != "127.0.0.1"):
            raise self.ip_error(552, "host")
        if connection.mode == TRANSPARENT and kind != "TCP":
            raise self.ip_error(552, f"no transparent mode for {kind}")
        self.admit(job, connection, self._connect)

    def _connect(self, connection: Connection) -> None:
        if connection.kind == "TCP LISTENER":
            self._listen(connection)
            return
        if connection.kind == "UDP SERVICE":
            connection.address = self.module.packet.address(connection.cid)
            self._bind(connection)
            return
        address = self.machine.network.address(connection.host, self.module.packet.kind(connection.cid))
        if address is None:
            self.failed(connection, 565, f"no such name: {connection.host}")
            return
        connection.address = address
        if connection.kind == "TCP":
            self._wire(connection, PlainTransport(self.loop, self.machine.network, self.trace))
            assert connection.transport is not None
            connection.transport.open(connection.host, connection.port, connection.local_port)
        else:
            connection.names[self.machine.network.target(connection.host, connection.port)] = address, connection.port
            self._bind(connection)

    def _bind(self, connection: Connection) -> None:
        try:
            connection.datagrams = self.machine.network.datagrams(connection.local_port)
        except OSError as error:
            self.failed(connection, BIND_FAILED, str(error))
            return
        connection.rest = self.variants["datagram-rest"]
        connection.datagrams.on_datagram = lambda data, host, port: self._heard(connection, data, (host, port))
        self.opened(connection)

    def _heard(self, connection: Connection, data: bytes, peer: tuple[str, int]) -> None:
        known = connection.names.get(peer)
        if known is None and connection.kind == "UDP" and self.variants["udp-client-hears"] == "peer":
            self.trace.note(f"id {connection.number}: a datagram of somebody else's")
            return
        self.arrived(connection, data, known or peer)

    def _wire(self, connection: Connection, transport: PlainTransport) -> None:
        connection.transport = transport
        transport.opened = lambda: self.opened(connection)
        transport.failed = lambda _, why: self.failed(
            connection, BIND_FAILED if transport.error in _PORT_TAKEN else CONNECT_FAILED, why
        )
        transport.data = lambda data: self.arrived(connection, data)
        transport.ended = lambda why: self.ended(connection, why)

    def _listen(self, connection: Connection) -> None:
        connection.address = self.module.packet.address(connection.cid)
        try:
            connection.listener = self.machine.network.listen(
                connection.local_port, lambda stream, host, port: self._incoming(connection, stream, host, port)
            )
        except OSError as error:
            self.failed(connection, 557, str(error))
            return
        self.opened(connection)

    def _incoming(self, listener: Connection, stream: Stream, host: str, port: int) -> None:
        free = [number for number in range(IDS - 1, -1, -1) if number not in self.table]
        if not free:
            stream.abort()
            self.module.urc('+QIURC: "incoming full"')
            return
        mode = listener.mode if self.variants["incoming-mode"] == "inherited" else BUFFER
        connection = Connection(free[0], "TCP INCOMING", listener.cid, host, port, mode)
        connection.server = listener.number
        connection.state = CONNECTED
        connection.local_port = listener.local_port
        transport = PlainTransport(self.loop, self.machine.network, self.trace)
        self._wire(connection, transport)
        transport.adopt(stream)
        self.table[connection.number] = connection
        self.module.urc(f'+QIURC: "incoming",{connection.number},{listener.number},"{host}",{port}')
        stream.resume()

    # --- sending ----------------------------------------------------------------------------------

    @at("+QISEND")
    def _send(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QISEND: (0-11),(0-1460)")
            return
        args = self.ip_args(job)
        args.count(1, 4)
        number = args.number(0, 0, IDS - 1)
        length = args.number(1, 0, int(self.variants["send-max"])) if len(args) > 1 else None
        if length == 0:
            args.count(2, 2)
            self._acknowledged(job, number)
            return
        connection = self.sendable(number)
        peer: tuple[str, int] | None = None
        if connection.kind == "UDP SERVICE":
            args.count(4, 4)
            peer = self._receiver(connection, args.text(2), args.number(3, 1, 65535))
        else:
            args.count(1, 2)
        self.prompt(
            job, connection.number, length, lambda data: self.transmit(job, connection, data, peer), echo=self.echo
        )

    def _receiver(self, connection: Connection, address: str, port: int) -> tuple[str, int]:
        """Return where datagrams to an address really go."""
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise self.ip_error(552, f"{address!r} is no address") from None
        real = self.machine.network.target(address, port)
        connection.names[real] = address, port
        return real

    def _acknowledged(self, job: Job, number: int) -> None:
        connection = self.table.get(number)
        if connection is None:
            raise self.ip_error(552, f"id {number} is not in use")
        stream = connection.transport.stream if connection.transport is not None else None
        unacknowledged = stream.unacknowledged() if stream is not None else 0
        total = connection.total_sent
        job.info(f"+QISEND: {total},{max(0, total - unacknowledged)},{min(total, unacknowledged)}")

    @at("+QISENDEX")
    def _send_hex(self, job: Job) -> None:
        args = self.ip_args(job)
        args.count(2, 2)
        number, text = args.number(0, 0, IDS - 1), args.text(1, longest=2 * MOST_HEX)
        if not re.fullmatch(r"([0-9A-Fa-f]{2})+", text):
            raise self.ip_error(552, "not hexadecimal")
        connection = self.sendable(number)
        if connection.kind == "UDP SERVICE":
            raise self.ip_error(552, f"id {number}: a datagram without an address")
        job.defer()
        self.transmit(job, connection, bytes.fromhex(text))

    @at("+QISDE")
    def _payload_echo(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QISDE: (0,1)")
        elif job.form is Form.READ:
            job.info(f"+QISDE: {int(self.echo)}")
        else:
            self.echo = self.ip_args(job).number(0, 0, 1) == 1

    # --- receiving --------------------------------------------------------------------------------

    @at("+QIRD")
    def _read(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QIRD: (0-11),(0-1500)")
            return
        args = self.ip_args(job)
        args.count(1, 2)
        number, length = args.number(0, 0, IDS - 1), args.number(1, 0, MOST_READ, MOST_READ)
        connection = self.readable(number)
        if length == 0:
            total, unread = connection.total_received, connection.unread
            job.info(f"+QIRD: {total},{total - unread},{unread}")
            return
        piece = self.read(connection, length)
        peer = f',"{piece.peer[0]}",{piece.peer[1]}' if piece.peer and connection.kind == "UDP SERVICE" else ""
        if piece.data and self._config["viewmode"] == "1":
            job.raw(f"\r\n+QIRD: {len(piece.data)}{peer},".encode() + piece.data + b"\r\n")
            return
        job.info(f"+QIRD: {len(piece.data)}{peer}")
        if piece.data:
            job.raw(piece.data + b"\r\n")

    def announcement(self, connection: Connection) -> str:
        """Return the length with ``recvind``."""
        return f",{connection.unread}" if self._config["recvind"] == "1" else ""

    def push_header(self, connection: Connection, piece: Piece) -> str:
        """Add the sender of a datagram of a UDP service."""
        peer = f',"{piece.peer[0]}",{piece.peer[1]}' if piece.peer and connection.kind == "UDP SERVICE" else ""
        return super().push_header(connection, piece) + peer

    # --- the rest ---------------------------------------------------------------------------------

    @at("+QICLOSE")
    def _close(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QICLOSE: (0-11),(0-65535)")
            return
        self.close(job)

    def remove(self, connection: Connection, *, keep_transport: bool = False) -> None:
        """Free the id, with a listener those of what it has accepted, where the variant says so."""
        super().remove(connection, keep_transport=keep_transport)
        if connection.kind == "TCP LISTENER" and self.variants["listener-close"] == "with-incoming":
            for item in list(self.table.values()):
                if item.kind == "TCP INCOMING" and item.server == connection.number:
                    super().remove(item)

    @at("+QISTATE")
    def _state(self, job: Job) -> None:
        if job.form is Form.TEST:
            return
        chosen = sorted(self.table.values(), key=lambda item: item.number)
        if job.form is Form.SET:
            args = self.ip_args(job)
            args.count(2, 2)
            if args.number(0, 0, 1) == 0:
                cid = args.number(1, 1, 16)
                chosen = [item for item in chosen if item.cid == cid]
            else:
                number = args.number(1, 0, IDS - 1)
                chosen = [item for item in chosen if item.number == number]
        for connection in chosen:
            job.info(self._state_line(connection))

    def _state_line(self, connection: Connection) -> str:
        source = connection.transport or connection.datagrams or connection.listener
        local = connection.local_port or (source.local_port if source is not None else 0)
        state = connection.state
        if state == CONNECTED and connection.kind == "TCP":
            state = int(self.variants["state-connected"])
        return (
            f'+QISTATE: {connection.number},"{connection.kind}","{connection.address}",{connection.port},{local},'
            f'{state},{connection.cid},{connection.server},{connection.mode},"{self.module.facts.port}"'
        )

    @at("+QISWTMD")
    def _switch_mode(self, job: Job) -> None:
        if job.form is Form.TEST:
            job.info("+QISWTMD: (0-11),(0-2)")
            return
        args = self.ip_args(job)
        args.count(2, 2)
        number, mode = args.number(0, 0, IDS - 1), args.number(1, 0, 2)
        # One command for both families of ids: the connection left last, else TLS, else TCP.
        ssl = self.module.ssl
        family: Sockets = self if number not in ssl.table or self.suspended is self.table.get(number, 0) else ssl
        family.switch(job, number, mode)

    @at("O")
    def _online(self, job: Job) -> None:
        if not self.module.ssl.resume(job) and not self.resume(job):
            job.final("NO CARRIER")

    @at("+QICFG")
    def _configure(self, job: Job) -> None:
        if job.form is Form.TEST:
            for key, values in self._ranges.items():
                job.info(f'+QICFG: "{key}",{values}')
            return
        args = self.ip_args(job)
        args.count(1, 5)
        key = args.text(0)
        if key not in self._config:
            raise self.ip_error(552, f"no key {key!r}")
        if len(args) == 1:
            job.info(f'+QICFG: "{key}",{self._config[key]}')
            return
        limits = []
        for part in re.findall(r"\(([^)]*)\)", self._ranges[key]):
            bounds = [int(number) for number in re.findall(r"\d+", part)]
            limits.append((bounds[0], bounds[-1]))
        # tcp/keepalive may be switched off with one value; the others need all of theirs
        if len(args) - 1 != len(limits) and not (key == "tcp/keepalive" and len(args) == 2):
            raise self.ip_error(552)
        numbers = [args.number(index + 1, *limits[index]) for index in range(len(args) - 1)]
        if key == "dataformat" and any(numbers):
            raise self.ip_error(555, "dataformat: hexadecimal is not simulated")
        self._config[key] = ",".join(map(str, numbers))

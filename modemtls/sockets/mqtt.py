"""Adapter for paho-mqtt: a client whose connections, also those after a loss, go through a modem.

client = paho.mqtt.client.Client(CallbackAPIVersion.VERSION2)
through(client, modem, tls=TLSConfig(ca="ca.pem"))  # engine= as in Modem.connect
client.connect("broker.example", 8883)
client.loop_forever()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modemtls.net.entry import EngineChoice
    from modemtls.sockets.web import Connector

__all__ = ["through"]


def through(client: Any, modem: Connector, *, tls: Any, engine: EngineChoice = "modem") -> None:
    """Make ``client`` connect through ``modem``; ``tls=None`` is MQTT without TLS.

    ``engine``: who does the TLS, as in :meth:`modemtls.Modem.connect`. Do not call the client's own ``tls_set``: its
    TLS would be one more.
    """

    def create_socket() -> Any:
        return modem.connect((client.host, client.port), tls=tls, engine=engine, timeout=client.connect_timeout)

    if not hasattr(client, "_create_socket_connection"):  # the one place where paho-mqtt 1.6 and 2.x make a socket
        raise TypeError(f"{type(client).__name__} is no client of paho-mqtt 2.x")
    client._create_socket_connection = create_socket  # noqa: SLF001

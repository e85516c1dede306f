"""What is tried with every peer through every modem, and what each of it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from modemtls.net import TlsVersion


@dataclass(frozen=True)
class Feature:
    """A row of the table.

    ``kind``: who shows what: the server a certificate, both one, or neither but a key.
    """

    name: str
    title: str
    version: TlsVersion = TlsVersion.TLS1_2
    datagram: bool = False
    kind: Literal["certificate", "mutual", "psk"] = "certificate"
    resumed: bool = False
    cid: bool = False

    @property
    def protocol(self) -> str:
        """The heading that it stands under."""
        return f"{'DTLS' if self.datagram else 'TLS'} {self.version.value}"


CERTIFICATE, MUTUAL, PSK = "certificate of the server", "certificates of both", "pre-shared key"
RESUMED = "session resumed"
_13 = TlsVersion.TLS1_3

FEATURES = (
    Feature("tls1.2-certificate", CERTIFICATE),
    Feature("tls1.2-mutual", MUTUAL, kind="mutual"),
    Feature("tls1.2-resumed", RESUMED, resumed=True),
    Feature("tls1.2-psk", PSK, kind="psk"),
    Feature("tls1.3-certificate", CERTIFICATE, version=_13),
    Feature("tls1.3-mutual", MUTUAL, version=_13, kind="mutual"),
    Feature("tls1.3-resumed", RESUMED, version=_13, resumed=True),
    Feature("tls1.3-psk", PSK, version=_13, kind="psk"),
    Feature("dtls1.2-certificate", CERTIFICATE, datagram=True),
    Feature("dtls1.2-mutual", MUTUAL, datagram=True, kind="mutual"),
    Feature("dtls1.2-resumed", RESUMED, datagram=True, resumed=True),
    Feature("dtls1.2-psk", PSK, datagram=True, kind="psk"),
    Feature("dtls1.2-cid", "Connection ID", datagram=True, kind="psk", cid=True),
)

BY_NAME = {feature.name: feature for feature in FEATURES}


def lacking(feature: Feature, able: Mapping[str, object], *, host: bool) -> list[str]:
    """Return the capabilities that a modem lacks for ``feature``, as a refusal names them; the one to be told first.

    ``host``: the host secures the connection, and a plain socket is all that it takes.
    """
    transport = "udp" if feature.datagram else "tcp"
    if host:
        return [] if able.get(transport) else [transport]
    protocol = "dtls" if feature.datagram else "tls"
    version = f"{protocol}{feature.version.value}"
    known = able.get(protocol)
    needs = {
        protocol: True,
        "client_certificates": feature.kind == "mutual",
        "cid": feature.cid,
        "psk": feature.kind == "psk",
        "resumption": feature.resumed,
    }
    found = [capability for capability, needed in needs.items() if needed and not able.get(capability)]
    if protocol not in found and not (isinstance(known, list | tuple) and feature.version.value in known):
        found.insert(0, version)
    return found

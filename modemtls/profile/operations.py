"""The operations that a profile may define: the contract between profiles and the driver.

Inputs have types of the language. ``?`` behind a name: it may be missing (None). The types:

========  ========================  =========================================================
int       int
text      str
host      str                       DNS name or address; letters, digits, ``-._:``
digits    str                       decimal digits
word      str                       one of the neutral words listed; goes through a table
token     str or int                from one of the profile's tables, written as it is
tokens    list of these
bool      bool                      goes through a table
bytes     bytes
========  ========================  =========================================================

What a program gives has the types int, text, bool and word. ``?`` behind a name: a program need not give it. ``~``: the
program must be able to give it, and one answer may lack it all the same. Otherwise a result without it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BEYOND",
    "CAPABILITIES",
    "CHOICES",
    "CLOSING",
    "CREDENTIAL_KINDS",
    "FAMILIES",
    "INPUT_NEEDS",
    "OPENING",
    "OPEN_NEEDS",
    "OPERATIONS",
    "SECURE",
    "Capability",
    "Input",
    "Operation",
    "Output",
    "family_of",
    "operation",
    "serves",
]

FAMILIES: Final = ("tls", "dtls", "tcp", "udp")
"""The families of sockets: each has operations of its own name."""

SECURE: Final = ("tls", "dtls")
"""Those with TLS settings. TLS and DTLS share their numbers, and so do TCP and UDP."""

CREDENTIAL_KINDS: Final = ("ca", "cert", "key", "psk", "psk_identity", "peer")
"""What a store of credentials holds. ``peer``: the certificate of a server, to be compared with the one it shows."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of an operation. ``words`` are the values of a word."""

    name: str
    type: str
    optional: bool = False
    secret: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A field of a result. ``given``: some path of the program gives it; ``always``: every successful result has it."""

    name: str
    type: str
    given: bool = True
    always: bool = True
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, what it takes and what it gives: ``values``, fields of each row, and whether received data."""

    name: str
    inputs: dict[str, Input]
    about: str
    values: dict[str, Output] = field(default_factory=dict)
    rows: dict[str, Output] = field(default_factory=dict)
    payload: bool = False


def _input(text: str) -> Input:
    name, _, kind = text.partition(":")
    secret = kind.endswith("!")
    kind, _, words = kind.rstrip("!").partition("=")
    return Input(name.rstrip("?"), kind, name.endswith("?"), secret, tuple(words.split("|")) if words else ())


def _inputs(text: str) -> dict[str, Input]:
    return {one.name: one for one in map(_input, text.split())}


def _outputs(text: str) -> dict[str, Output]:
    out = {}
    for one in text.split():
        head, _, kind = one.partition(":")
        kind, _, words = kind.partition("=")
        name = head.rstrip("?~")
        out[name] = Output(name, kind, "?" not in head, head == name, tuple(words.split("|")) if words else ())
    return out


def _op(name: str, inputs: str, about: str, values: str = "", *, rows: str = "", payload: bool = False) -> Operation:
    return Operation(name, _inputs(inputs), about, _outputs(values), _outputs(rows), payload)


_SETTINGS = (
    "version:token suites:tokens ca?:text cert?:text key?:text psk?:text peer?:text bundle?:text verify:bool"
    " client_auth:bool sni:bool sni_name?:host check_hostname:bool expected_name?:host check_dates:bool"
    " handshake_timeout:int psk_identity?:bytes psk_key?:bytes! dtls:bool alpn?:text resume:bool cid:bool"
    " dtls_timeout_min?:int dtls_timeout_max?:int dtls_timeout_total?:int"
)
_FAMILY = "local_port?:int family?:word=ipv4|ipv6"
_OPEN = f"pdp:int socket:int host:host port:int receive:word=pull|push {_FAMILY}"
_CONFIRM = (
    "pdp:int context:int socket:int address?:text port:int receive:word=pull|push version:token verify:bool"
    " client_auth:bool suites:tokens"
)
_LISTEN = "pdp:int socket:int local_port:int receive:word=pull|push family?:word=ipv4|ipv6"
_BIND = f"pdp:int socket:int receive:word=pull|push {_FAMILY}"
_ACCEPTED = "socket:int host?:text port?:int"
_STATES = "state~:word=open|opening|closing|closed"
_SIM = "state~:word=ready|pin|puk|absent|busy|other"
_STAT = "stat:word=home|roaming|searching|denied|idle|unknown"
_KIND = "|".join(CREDENTIAL_KINDS)


def _socket_operations(family: str) -> tuple[Operation, ...]:
    """Return what every family of sockets has."""
    secure = family in SECURE
    opened = "socket?:int resumed?:bool" if secure else "socket?:int"
    about = "connect and shake hands" if secure else "set the peer" if family == "udp" else "connect"
    compared = "compare what an open did with what it was told"
    return (
        *((_op(f"{family}_confirm", _CONFIRM, compared),) if secure else ()),
        _op(f"{family}_open", ("context:int " if secure else "") + _OPEN, about, opened),
        _op(f"{family}_send", "socket:int data:bytes size:int", "send", "sent?:int"),
        _op(f"{family}_receive", "socket:int size:int", "read what is there", "left?:int", payload=True),
        _op(f"{family}_pending", "socket:int", "how much is there", "pending~:int"),
        _op(f"{family}_close", "socket:int", "close"),
        _op(f"{family}_state", "socket:int", "state of a socket", _STATES),
        _op(f"{family}_list", "", "sockets in use", rows="socket:int context?:int"),
        _op(
            f"{family}_address",
            "socket:int",
            "numeric addresses of a socket",
            "local_host?:text local_port?:int remote_host?:text remote_port?:int",
        ),
    )


OPERATIONS: Final[dict[str, Operation]] = {
    one.name: one
    for one in (
        _op("setup", "", "at the start of each boot epoch, after echo and error form were set"),
        _op("probe", "", "find out what this firmware has; sets flags"),
        _op("info", "", "what modem this is", "firmware?:text revision?:text imei?:text iccid?:text model?:text"),
        _op("sim_state", "", "state of the SIM", _SIM),
        _op("sim_unlock", "pin:digits!", "enter the PIN"),
        _op("radio_state", "", "functionality level", "level:int"),
        _op("radio_on", "", "full functionality"),
        _op("radio_off", "", "no radio, as writing credentials needs it"),
        _op("registration", "", "one row for each domain", rows=f"{_STAT} technology?:text"),
        _op("registration_notify", "", "switch registration results on"),
        _op("signal", "", "signal quality", "rssi~:int"),
        _op("operator", "", "name of the operator", "operator~:text"),
        _op("pdp_list", "", "active PDP contexts", rows="pdp:int address?:text state?:text"),
        _op("pdp_read", "pdp:int", "settings of a PDP context", "apn~:text user?:text family?:text"),
        _op(
            "pdp_configure",
            "pdp:int apn:text user?:text password?:text! auth?:word=none|pap|chap|any family:word=ipv4|ipv6|ipv4v6",
            "write the settings of a PDP context",
        ),
        _op("pdp_activate", "pdp:int", "activate a PDP context"),
        _op("pdp_deactivate", "pdp:int", "deactivate a PDP context"),
        _op("clock_read", "", "read the clock", "clock~:text"),
        _op("clock_set", "clock:text", "set the clock"),
        _op("clock_network", "", "the time that the network told", "clock~:text"),
        _op("clock_sync", "pdp:int server:host port:int", "ask a time server", "clock~:text"),
        _op(
            "credential_write",
            f"name:text data:bytes! size:int kind:word={_KIND} identity?:bytes",
            "store a certificate, a private or pre-shared key",
        ),
        _op("credential_list", "", "what is stored", rows=f"name:text size?:int kind?:word={_KIND}|other digest?:text"),
        _op("credential_digest", f"name:text kind:word={_KIND}", "digest of what is stored", "digest~:text"),
        _op("credential_delete", f"name:text kind?:word={_KIND}", "remove what is stored"),
        _op("credential_space", "", "room in the store", "free~:int total?:int"),
        _op("tls_configure", f"context:int {_SETTINGS}", "write every security-relevant setting of a TLS context"),
        _op("tls_verify", f"context:int {_SETTINGS}", "read back what can be read"),
        *(one for family in FAMILIES for one in _socket_operations(family)),
        _op("tls_listen", f"context:int {_LISTEN}", "wait for TLS connections", "socket?:int"),
        _op("tls_accept", "socket:int", "take a connection that came", _ACCEPTED),
        _op("tcp_listen", _LISTEN, "wait for connections", "socket?:int"),
        _op("tcp_accept", "socket:int", "take a connection that came", _ACCEPTED),
        _op("tcp_acked", "socket:int", "what the peer has acknowledged", "sent:int acked:int unacked:int"),
        _op("udp_bind", _BIND, "a socket without a peer", "socket?:int"),
        _op("udp_sendto", "socket:int host:host port:int data:bytes size:int", "send one datagram", "sent?:int"),
        _op(
            "udp_receivefrom",
            "socket:int size:int",
            "read a datagram and whom it is from",
            "host~:text port~:int left?:int",
            payload=True,
        ),
        _op("udp_pendingfrom", "socket:int", "how much a socket without a peer holds", "pending~:int"),
        _op("restart", "", "restart the modem"),
        _op("session_restore", "context:int", "give session data back before a connect"),
        _op("session_purge", "context:int", "make the modem forget the sessions that it has kept"),
        _op("cid_status", "socket:int", "use of Connection ID", "cid~:word=none|receive|send|both"),
        _op("connection_save", "socket:int", "put a DTLS connection aside"),
        _op("connection_load", "socket:int", "take up a DTLS connection that was put aside"),
        _op("peer_certificate", "socket:int", "the certificate (DER) that the server showed", payload=True),
    )
}

CLOSING: Final = frozenset(f"{one}_close" for one in FAMILIES)
OPENING: Final = frozenset({*(f"{one}_{how}" for one in FAMILIES for how in ("open", "listen", "accept")), "udp_bind"})
"""Operations that bring a socket into being."""

_WITH_SETTINGS: Final = frozenset({"tls_open", "dtls_open", "tls_listen"})
_CONFIRMING: Final = frozenset({"tls_confirm", "dtls_confirm"})


def operation(name: str, behaviour: Mapping[str, Any], session: Mapping[str, Input] | None = None) -> Operation:
    """Return an operation as a profile of this behaviour has it.

    Where TLS settings belong to the socket, what opens a secure one takes them, and no context. ``session_restore``
    takes ``session`` besides: what the modem's own session results give.
    """
    found = OPERATIONS[name]
    if (name in _WITH_SETTINGS or name in _CONFIRMING) and behaviour.get("tls_contexts") == "none":
        settings = _inputs(_SETTINGS + " purge:bool") if name in _WITH_SETTINGS else {}
        inputs = {key: one for key, one in found.inputs.items() if key != "context"}
        return replace(found, inputs={**inputs, **settings})
    if name == "session_restore":
        return replace(found, inputs={**found.inputs, **(session or {})})
    return found


def family_of(name: str) -> str:
    """Return the family of sockets that an operation is for."""
    family = name.partition("_")[0]
    return family if family in FAMILIES else "dtls" if name.startswith(("cid_", "connection_")) else "tls"


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability: the type of its value (``bool``, ``versions``, ``dtls``, or words) and what it needs.

    ``operations`` must exist; ``uses`` lists (operation, names): the operation must use all of these inputs. Of
    operations, ``tls_configure`` stands for all that take TLS settings, ``*_open`` for the opening of every declared
    family of sockets. ``families``: those that it may be restricted to; then its value is a bool or a list of some.
    """

    name: str
    type: str
    about: str
    operations: tuple[str, ...] = ()
    uses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tables: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    words: tuple[str, ...] = field(default=())
    families: tuple[str, ...] = ()


def serves(value: object, family: str) -> bool:
    """Tell whether a capability of this value is there for a family of sockets."""
    return family in value if isinstance(value, tuple) else bool(value)


def _configures(*names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("tls_configure", names),)


CAPABILITIES: Final[dict[str, Capability]] = {
    one.name: one
    for one in (
        Capability(
            "tls",
            "versions",
            "TLS versions of the client",
            ("tls_configure", "tls_open", "tls_send", "tls_close"),
            tables=("tls_versions",),
            limits=("tls_sockets", "send", "receive"),
        ),
        Capability(
            "dtls",
            "dtls",
            "DTLS versions of the client",
            ("tls_configure", "dtls_open", "dtls_send", "dtls_close"),
            tables=("dtls_versions",),
            limits=("send", "receive"),
        ),
        Capability("tcp", "bool", "plain TCP", ("tcp_open", "tcp_send", "tcp_close"), limits=("tcp_sockets",)),
        Capability("udp", "bool", "plain UDP to one peer", ("udp_open", "udp_send", "udp_close")),
        Capability("udp_unconnected", "bool", "plain UDP without a peer", ("udp_bind", "udp_sendto", "udp_close")),
        Capability("pull", "bool", "received data is read when wanted"),
        Capability("push", "bool", "received data comes by itself", uses=(("*_open", ("receive",)),)),
        Capability(
            "local_port", "bool", "the local port can be chosen", uses=(("*_open", ("local_port",)),), families=FAMILIES
        ),
        Capability("address_family", "bool", "IPv4 or IPv6 can be forced", uses=(("*_open", ("family",)),)),
        Capability("listen", "bool", "accepts plain TCP connections", ("tcp_listen",)),
        Capability("sni", "bool", "server name indication", families=SECURE),
        Capability("hostname_check", "bool", "compares host name and certificate", uses=_configures("check_hostname")),
        Capability("date_check", "bool", "checks validity dates", uses=_configures("check_dates")),
        Capability("client_certificates", "bool", "shows a client certificate"),
        Capability(
            "suites", "words", "restricts cipher suites", (), _configures("suites"), ("suites",), (), ("one", "list")
        ),
        Capability("handshake_timeout", "bool", "limit for the handshake", uses=_configures("handshake_timeout")),
        Capability("handshake_timers", "words", "DTLS retransmission timers", words=("range", "total")),
        Capability("readback", "bool", "settings can be read back", ("tls_verify",)),
        Capability(
            "credentials",
            "bool",
            "certificates and keys live in the modem",
            ("credential_write", "credential_list", "credential_delete"),
        ),
        Capability("acked", "bool", "tells what the peer acknowledged", ("tcp_acked",)),
        Capability("clock", "bool", "a clock", ("clock_read", "clock_set")),
        Capability("network_time", "bool", "time from the network", ("clock_network",)),
        Capability("ntp", "bool", "time from a server", ("clock_sync",)),
        Capability("psk", "words", "pre-shared keys", words=("inline", "stored")),
        Capability("pinning", "bool", "compares the server's certificate with a stored one", uses=_configures("peer")),
        Capability("peer_certificate", "bool", "gives the server's certificate", ("peer_certificate",)),
        Capability(
            "resumption", "words", "resumes sessions", uses=_configures("resume"), words=("unreported", "reported")
        ),
        Capability("session_store", "words", "who keeps sessions", words=("modem", "host")),
        Capability("alpn", "bool", "protocol negotiation", uses=_configures("alpn")),
        Capability("server", "bool", "accepts TLS connections", ("tls_listen",)),
        Capability("cid", "bool", "DTLS Connection ID", ("cid_status",), (("dtls_open", ("cid",)),)),
        Capability(
            "saved_connections",
            "bool",
            "DTLS connections can be put aside",
            ("connection_save", "connection_load"),
            limits=("saved_connections",),
        ),
        Capability("close_reason", "bool", "tells a clean close from a cut one"),
    )
}

# What configures or opens with such a value needs the capability; asked before anything is sent.
INPUT_NEEDS: Final[dict[str, str]] = {
    "sni": "sni",
    "check_hostname": "hostname_check",
    "client_auth": "client_certificates",
    "check_dates": "date_check",
    "psk": "psk",
    "psk_key": "psk",
    "peer": "pinning",
    "dtls": "dtls",
    "alpn": "alpn",
    "resume": "resumption",
    "cid": "cid",
    "dtls_timeout_min": "handshake_timers",
    "dtls_timeout_max": "handshake_timers",
    "dtls_timeout_total": "handshake_timers",
}
# The same of what makes a connection, which is more than TLS settings.
OPEN_NEEDS: Final[dict[str, str]] = {"local_port": "local_port", "family": "address_family"}

# What works instead, as the public API spells it. Only what works today.
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "sni": ("sni=False",),
    "hostname_check": ("check_hostname=False",),
    "client_certificates": ("no client certificate",),
    "date_check": ("check_dates=False",),
    "suites": ("no list of cipher suites",),
    "local_port": ("leave the local port to the modem",),
    "address_family": ("leave the address family to the modem",),
    "alpn": ("no application protocols",),
    "push": ('receive="pull"',),
    "pull": ('receive="push"',),
}

# What the language can say and this version does not act upon: (section, key) and why it matters.
BEYOND: Final[dict[tuple[str, str], str]] = {
    ("limits", "credential_names"): "files are named by their content",
    ("behaviour", "announced_only"): "more would be read than was announced",
}

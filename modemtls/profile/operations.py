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

What a program gives has the types int, text and word. ``?`` behind a name: a program need not give it. ``~``: the
program must be able to give it, and one answer may lack it all the same. Otherwise a result without it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BEYOND",
    "CAPABILITIES",
    "CHOICES",
    "INPUT_NEEDS",
    "OPERATIONS",
    "Capability",
    "Input",
    "Operation",
    "Output",
]


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


def _outputs(text: str) -> dict[str, Output]:
    out = {}
    for one in text.split():
        head, _, kind = one.partition(":")
        kind, _, words = kind.partition("=")
        name = head.rstrip("?~")
        out[name] = Output(name, kind, "?" not in head, head == name, tuple(words.split("|")) if words else ())
    return out


def _op(name: str, inputs: str, about: str, values: str = "", *, rows: str = "", payload: bool = False) -> Operation:
    parsed = {one.name: one for one in map(_input, inputs.split())}
    return Operation(name, parsed, about, _outputs(values), _outputs(rows), payload)


_TLS_SETTINGS = (
    "context:int version:token suites:tokens ca?:text cert?:text key?:text verify:bool client_auth:bool sni:bool"
    " sni_name?:host check_hostname:bool check_dates:bool handshake_timeout:int"
    " psk_identity?:text psk_key?:bytes! dtls?:bool alpn?:text"
)
_OPEN = "pdp:int {}socket:int host:host port:int receive:word=pull|push"
_CONFIRM = (
    "pdp:int context:int socket:int address?:text port:int receive:word=pull|push version:token verify:bool"
    " client_auth:bool"
)
_STATES = "state~:word=open|opening|closing|closed"
_SIM = "state~:word=ready|pin|puk|absent|busy|other"
_STAT = "stat:word=home|roaming|searching|denied|idle|unknown"

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
        _op("credential_write", "name:text data:bytes! size:int kind:word=ca|cert|key", "store a certificate or key"),
        _op("credential_list", "", "what is stored", rows="name:text size?:int"),
        _op("credential_delete", "name:text kind?:word=ca|cert|key", "remove a certificate or key"),
        _op("credential_space", "", "room in the store", "free~:int total?:int"),
        _op("tls_configure", _TLS_SETTINGS, "write every security-relevant setting of a TLS context"),
        _op("tls_verify", _TLS_SETTINGS, "read back what can be read"),
        _op("tls_open", _OPEN.format("context:int "), "connect and shake hands", "socket?:int"),
        _op("tls_send", "socket:int data:bytes size:int", "send", "sent?:int"),
        _op("tls_receive", "socket:int size:int", "read what is there", payload=True),
        _op("tls_pending", "socket:int", "how much is there", "pending~:int"),
        _op("tls_close", "socket:int", "close"),
        _op("tls_state", "socket:int", "state of a socket", _STATES),
        _op("tls_list", "", "sockets in use", rows="socket:int context?:int"),
        _op("tcp_open", _OPEN.format(""), "connect", "socket?:int"),
        _op("tcp_send", "socket:int data:bytes size:int", "send", "sent?:int"),
        _op("tcp_receive", "socket:int size:int", "read what is there", payload=True),
        _op("tcp_pending", "socket:int", "how much is there", "pending~:int"),
        _op("tcp_close", "socket:int", "close"),
        _op("tcp_state", "socket:int", "state of a socket", _STATES),
        _op("tcp_list", "", "sockets in use", rows="socket:int context?:int"),
        _op("tcp_acked", "socket:int", "what the peer has acknowledged", "sent:int acked:int unacked:int"),
        _op("tls_confirm", _CONFIRM, "compare what an open did with what it was told"),
        _op("restart", "", "restart the modem"),
        _op("psk_write", "name:text identity:text key:bytes!", "store a pre-shared key"),
        _op("session_restore", "context:int", "give session data back before a connect"),
    )
}


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability: the type of its value (``bool``, ``versions``, ``dtls``, or words) and what it needs.

    ``operations`` must exist; ``uses`` lists (operation, names): the operation must use all of these inputs.
    """

    name: str
    type: str
    about: str
    operations: tuple[str, ...] = ()
    uses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tables: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    words: tuple[str, ...] = field(default=())


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
            _configures("version"),
            ("tls_versions",),
            ("contexts", "tls_sockets", "send", "receive"),
        ),
        Capability("tcp", "bool", "plain TCP", ("tcp_open", "tcp_send", "tcp_close"), limits=("tcp_sockets",)),
        Capability("pull", "bool", "received data is read when wanted"),
        Capability("push", "bool", "received data comes by itself", uses=(("tls_open", ("receive",)),)),
        Capability("sni", "bool", "server name indication"),
        Capability("hostname_check", "bool", "compares host name and certificate", uses=_configures("check_hostname")),
        Capability("date_check", "bool", "checks validity dates", uses=_configures("check_dates")),
        Capability("client_certificates", "bool", "shows a client certificate", uses=_configures("cert", "key")),
        Capability(
            "suites", "words", "restricts cipher suites", (), _configures("suites"), ("suites",), (), ("one", "list")
        ),
        Capability("handshake_timeout", "bool", "limit for the handshake", uses=_configures("handshake_timeout")),
        Capability("readback", "bool", "settings can be read back", ("tls_verify",)),
        Capability(
            "credentials",
            "bool",
            "certificates and keys live in the modem",
            ("credential_write", "credential_list", "credential_delete"),
            limits=("credential_name",),
        ),
        Capability("acked", "bool", "tells what the peer acknowledged", ("tcp_acked",)),
        Capability("clock", "bool", "a clock", ("clock_read", "clock_set")),
        Capability("network_time", "bool", "time from the network", ("clock_network",)),
        Capability("ntp", "bool", "time from a server", ("clock_sync",)),
        Capability("psk", "bool", "pre-shared keys"),
        Capability("dtls", "dtls", "DTLS versions of the client", uses=_configures("dtls")),
        Capability("resumption", "words", "resumes sessions", words=("unreported", "reported")),
        Capability("alpn", "bool", "protocol negotiation", uses=_configures("alpn")),
        Capability("server", "bool", "accepts TLS connections"),
        Capability("cid", "bool", "DTLS connection id"),
        Capability("close_reason", "bool", "tells a clean close from a cut one"),
    )
}

# tls_configure and tls_open with such a value need the capability; asked before anything is sent.
INPUT_NEEDS: Final[dict[str, str]] = {
    "sni": "sni",
    "check_hostname": "hostname_check",
    "client_auth": "client_certificates",
    "check_dates": "date_check",
    "psk_key": "psk",
    "dtls": "dtls",
    "alpn": "alpn",
}

# What works instead, as the public API spells it. Only what works today.
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "sni": ("sni=False",),
    "hostname_check": ("check_hostname=False",),
    "client_certificates": ("no client certificate",),
    "date_check": ("check_dates=False",),
    "suites": ("no list of cipher suites",),
    "push": ('receive="pull"',),
    "pull": ('receive="push"',),
}

# What the language can say and this version does not act upon: (section, key) and why it matters.
BEYOND: Final[dict[tuple[str, str], str]] = {
    ("limits", "credential_names"): "files are named by their content",
    ("behaviour", "announced_only"): "more would be read than was announced",
    ("behaviour", "credentials_radio_off"): "files would be written with the radio on",
}

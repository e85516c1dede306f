"""What the sheets say about the two applications, as data.

Sources, by the tags used in this package:
SLM-SOCK-a, SLM-SOCK-b, SLM-TCPUDP, SLM-DM, SLM-C: nrfconnect/sdk-nrf, applications/serial_lte_modem (commits 6d433af7,
00e91346, 057f1d6a, 087d3185 and d502c029, 05e6190f and 03564020); SM-SOCK, SM-DM, SM-GEN, SM-C: nrfconnect/
ncs-serial-modem at e23c2bde; SM-LATER: its doc/app/at_socket.rst at 06a77234; NRFX-H: sdk-nrfxlib, nrf_modem; CMNG:
nRF91 AT Commands guide, set command %CMNG.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import COMMON_VARIANTS, preferring
from modemtls.sim.personalities.common.card import CARD_VARIANTS
from modemtls.sim.personalities.common.clock import CLOCK_VARIANTS
from modemtls.sim.personalities.common.contexts import CONTEXT_VARIANTS
from modemtls.sim.personalities.common.registration import REGISTRATION_VARIANTS

__all__ = ["FIRMWARES", "MODELS", "RELEASES", "Firmware", "Model", "Option", "Release", "variants"]


@dataclass(frozen=True, slots=True)
class Firmware:
    """A modem firmware. ``cid``: DTLS Connection ID (PR-11836); ``suite_known``: CIPHERSUITE_USED ("mfw 2.x")."""

    device: str
    cid: bool
    suite_known: bool
    send_notices: bool = False


FIRMWARES = {
    "mfw_nrf91x1_2.0.2": Firmware("nRF9161-LACA", cid=True, suite_known=True),
    "mfw_nrf9160_1.3.7": Firmware("nRF9160-SICA", cid=True, suite_known=False),
    "mfw_nrf9160_1.3.4": Firmware("nRF9160-SICA", cid=False, suite_known=False),
    "mfw_nrf9151-ntn_1.0.0": Firmware("nRF9151-LACA", cid=True, suite_known=True, send_notices=True),
}


class Option(Enum):
    """A secure socket's option by its meaning: its number depends on the release."""

    HOSTNAME = "TLS_HOSTNAME"
    SUITE_USED = "CIPHERSUITE_USED"
    PEER_VERIFY = "PEER_VERIFY"
    SESSION_CACHE = "SESSION_CACHE"
    CACHE_PURGE = "SESSION_CACHE_PURGE"
    HANDSHAKE_TIMEOUT = "DTLS_HANDSHAKE_TIMEO"
    CID = "DTLS_CID"
    CID_STATUS = "DTLS_CID_STATUS"
    SAVE = "DTLS_CONN_SAVE"
    LOAD = "DTLS_CONN_LOAD"
    FRAGMENT = "DTLS_FRAG_EXT"


_SAME = {
    2: Option.HOSTNAME, 4: Option.SUITE_USED, 5: Option.PEER_VERIFY, 12: Option.SESSION_CACHE, 13: Option.CACHE_PURGE,
}  # fmt: skip
_OLD = {**_SAME, 14: Option.HANDSHAKE_TIMEOUT, 17: Option.CID, 18: Option.CID_STATUS}  # SLM-SOCK-a
_NEW = {**_SAME, 14: Option.CID, 15: Option.CID_STATUS, 18: Option.HANDSHAKE_TIMEOUT}  # SLM-SOCK-b
_SM = {**_NEW, 19: Option.SAVE, 20: Option.LOAD, 22: Option.FRAGMENT}  # sm_sockopt.h


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the application: its version line and what changed with it."""

    version: str
    options: dict[int, Option]
    async_poll: bool
    datagram_port: bool  # XRECVFROM tells the port


RELEASES = {
    "2.9.0": Release('"2.9.0","2.9.0-1-7b5d4f6"', _NEW, async_poll=False, datagram_port=True),
    "1.9.2": Release('"1.9.2","1.5.1"', _OLD, async_poll=False, datagram_port=False),
    "3.1.0": Release('"3.1.0","3.1.0"', _NEW, async_poll=True, datagram_port=True),
    "1.99.0": Release('"1.99.0","3.3.0"', _SM, async_poll=True, datagram_port=True),
}


@dataclass(frozen=True, slots=True)
class Model:
    """One of the two applications."""

    title: str
    version_command: str
    releases: tuple[str, ...]
    firmwares: tuple[str, ...]
    longest_line: int
    defaults: dict[str, str] = field(default_factory=dict)


MODELS = {
    "nordic-slm": Model(
        "Nordic nRF91, Serial LTE Modem",
        "#XSLMVER",
        ("2.9.0", "1.9.2", "3.1.0"),
        ("mfw_nrf9160_1.3.7", "mfw_nrf9160_1.3.4", "mfw_nrf91x1_2.0.2"),
        4096,
        {
            "terminator": "crlf", "first-handle": "1", "rx-max": "576", "text-max": "1024", "datamode-exit": "errno",
            "datamode-break": "unnoticed",
        },
    ),
    "nordic-sm": Model(
        "Nordic nRF91, Serial Modem",
        "#XSMVER",
        ("1.99.0",),
        ("mfw_nrf91x1_2.0.2", "mfw_nrf9151-ntn_1.0.0", "mfw_nrf9160_1.3.7", "mfw_nrf9160_1.3.4"),
        8192,
        {
            "terminator": "cr", "first-handle": "0", "rx-max": "2048", "text-max": "4096", "datamode-exit": "minus-one",
        },
    ),
}  # fmt: skip

_YES_NO, _NO_YES = ("yes", "no"), ("no", "yes")
_VARIANTS = (
    Variant("boot-time", "seconds from a restart to Ready", ("0.2",), number=True),
    Variant("boot-result", "what the start prints: the modem library started, or it did not", ("ready", "init-error")),
    Variant("radio-at-start", "whether the radio is on after a start (AT+CFUN=1 given by the firmware)", ("off", "on")),
    *CARD_VARIANTS,
    Variant("card-while-off", "AT+CPIN? with the radio off: the card has no power, or it has", ("dead", "ready")),
    *REGISTRATION_VARIANTS,
    *CLOCK_VARIANTS,
    *CONTEXT_VARIANTS,
    Variant("network-time", "whether the network tells the time", _YES_NO),
    Variant("cfun-time", "seconds that AT+CFUN=0 and 4 take", ("0",), number=True),
    Variant("address-after-loss", "the address when the PDN comes back: the same, or a new one", ("same", "new")),
    # the line
    Variant("terminator", "what ends a command (Kconfig)", ("cr", "crlf", "lf")),
    Variant("typing-idle", "seconds without a character after which URCs wait no longer", ("0.1",), number=True),
    Variant("echo-max", "characters of a line that ATE1 echoes (0: all)", ("0",), number=True),
    Variant("comma-in-text", "a comma in text to send: cuts it off, an error, is sent", ("cuts", "error", "sent")),
    # credentials
    Variant("replace", "%CMNG=0 over what is there: replaces it, or +CME ERROR: 519", _YES_NO),
    Variant("credential-memory", "bytes of credential storage (515 beyond)", ("65536",), number=True),
    Variant("content-check", "527 for what is no PEM between its marks, or for nothing", ("marks", "none")),
    Variant("internal-tags", "the lists show internal tags (from 4294967292) too", _NO_YES),
    Variant("empty-tag", "a tag without usable credentials fails on: XCONNECT, or opening", ("connect", "open")),
    Variant("ca-under", "the root CA that certificates need: under the same tag, or any", ("same", "any")),
    Variant("psk-needs-ca", "a PSK alone is not enough: some root CA is needed as well", _NO_YES),
    Variant("both-under-tag", "PSK and CA under one tag: which is used", ("psk", "certificate")),
    Variant(
        "dates",
        "dates of certificates: checked once the clock is set, never, always",
        ("when-set", "ignored", "always"),
    ),
    Variant("sessions-by", "the session cache, besides the tag, goes by: the host, or TLS_HOSTNAME", ("host", "name")),
    # sockets
    Variant("first-handle", "the first socket's handle", ("0", "1")),
    Variant("rx-max", "the most bytes of one XRECV", ("2048", "708", "576")),
    Variant("text-max", "the most bytes of text in one XSEND", ("4096", "1024")),
    Variant("mtu", "bytes of the largest IP packet", ("1280",), number=True),
    Variant("receive-buffer", "bytes buffered per socket before the modem stops reading", ("16384",), number=True),
    Variant("send-buffer", "unsent bytes per socket at which a send has to wait", ("16384",), number=True),
    Variant("tls-timeout", "seconds that a TLS handshake may take", ("60",), number=True),
    Variant("listen-role", "XLISTEN of a socket opened as a client's: works (SM-LATER at XACCEPT; SM-C does not "
            "ask), or is an error", ("any", "server")),
    Variant("connect-again", "XCONNECT of a socket whose XCONNECT has failed", ("error", "tries")),
    Variant("poll-combined", "XAPOLL: data and hang-up in one value (17), or one after the other", _YES_NO),
    Variant("poll-end", "XAPOLL tells the end without data, if POLLIN is asked for: as 17 (SM-LATER), or 16",
            ("17", "16")),
    Variant("without-handle", "XAPOLL and XRECVCFG without a handle: later sockets too (SM-LATER), or those open now",
            ("later-too", "open")),
    Variant("poll-timeout", "XPOLL in whose time nothing happened", ("OK", "ERROR")),
    # data mode
    Variant("datamode-entry", "the answer to entering data mode: OK, or none (old builds)", ("OK", "none")),
    Variant("datamode-exit", "the report of a failure: -1, a negative errno, or ERROR (old builds: OK otherwise)",
            ("minus-one", "errno", "plain")),
    Variant("datamode-urc", "#XDATAMODE: <size> after each block sent (SLM's Kconfig)", _NO_YES),
    Variant("datamode-break", "the socket breaks: the modem says +++ and waits for it, or leaves; or only a send shows "
            "it, for slm_at_socket.c polls none (the proxies poll theirs)", ("plus", "leaves", "unnoticed")),
    Variant("datamode-length", "with a length given, silence: sends what has come, or waits for the rest",
            ("sends", "waits")),
)  # fmt: skip
_ONLY = {
    "nordic-slm": (
        Variant("native-tls", "TLS in the application: #XCMNG instead of %CMNG, no PSK, no sessions kept", _NO_YES),
    ),
    "nordic-sm": (
        Variant("modem-urcs", "#XMODEM: SHUTDOWN and INIT with AT#XMODEMRESET", _NO_YES),
        Variant("tls-listen", "XLISTEN of a secure socket: an error (SM-SOCK, SM-C), or serves TLS", _NO_YES),
    ),
}


def variants(name: str) -> tuple[Variant, ...]:
    """Return the variants of a model."""
    model = MODELS[name]
    wanted = {key.replace("-", "_"): value for key, value in model.defaults.items()}
    return (
        *preferring(COMMON_VARIANTS, urcs_at_prompt="hold", urcs_in_answer="hold"),
        Variant("release", "release of the application, which decides on option numbers", model.releases),
        Variant("firmware", "modem firmware, which decides on options", model.firmwares),
        *preferring(_VARIANTS, **wanted),
        *_ONLY[name],
    )

"""What the documents say about the models, as data.

Sources: Quectel BG96 SSL V1.0, TCP(IP) V1.1, FILE V1.1, AT Commands V2.2 manuals; outputs of real modules in
lukejenkins/cellular (BG95-M3) and RAKWireless/rakwireless-docs (BG96MAR02A07M1G).
"""

from __future__ import annotations

from dataclasses import dataclass

from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import COMMON_VARIANTS
from modemtls.sim.personalities.common.card import CARD_VARIANTS
from modemtls.sim.personalities.common.clock import CLOCK_VARIANTS
from modemtls.sim.personalities.common.line import LINE_VARIANTS
from modemtls.sim.personalities.common.registration import REGISTRATION_VARIANTS

__all__ = ["CIPHERS_BG95", "CIPHERS_BG96", "CME_TEXTS", "FIRST_KEYS", "IP_ERRORS", "MODELS", "VARIANTS", "Model"]

CME_TEXTS = {  # BG96 AT Commands Manual V2.2 (the wording of 3GPP TS 27.007, 9.2)
    0: "phone failure",
    1: "no connection to phone",
    2: "phone-adaptor link reserved",
    3: "operation not allowed",
    4: "operation not supported",
    5: "PH-SIM PIN required",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    14: "SIM busy",
    15: "SIM wrong",
    16: "incorrect password",
    17: "SIM PIN2 required",
    18: "SIM PUK2 required",
    20: "memory full",
    21: "invalid index",
    22: "not found",
    23: "memory failure",
    24: "text string too long",
    25: "invalid characters in text string",
    26: "dial string too long",
    27: "invalid characters in dial string",
    30: "no network service",
    31: "network timeout",
    32: "network not allowed - emergency calls only",
}

IP_ERRORS = {  # BG96 TCP(IP) manual V1.1, BG96 SSL manual V1.0: QIGETERROR and the <err> of the opens
    0: "operate successfully",
    550: "unknown error",
    551: "operation blocked",
    552: "invalid parameters",
    553: "memory not enough",
    554: "create socket failed",
    555: "operation not supported",
    556: "socket bind failed",
    557: "socket listen failed",
    558: "socket write failed",
    559: "socket read failed",
    560: "socket accept failed",
    561: "open PDP context failed",
    562: "close PDP context failed",
    563: "socket identity has been used",
    564: "DNS busy",
    565: "DNS parse failed",
    566: "socket connect failed",
    567: "socket has been closed",
    568: "operation busy",
    569: "operation timeout",
    570: "PDP context broken down",
    571: "cancel send",
    572: "operation not allowed",
    573: "APN not configured",
    574: "port busy",
}

CIPHERS_BG96 = "0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC011,0XC012,0XC013,0XC014,0XC027,0XC028,0XC02F,0XFFFF"
# The stray blank is in the real module's output.
CIPHERS_BG95 = (
    "0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC002,0XC003,0XC004,0XC005, 0XC007,0XC008,0XC009,0XC00A,0XC011,0XC012,"
    "0XC013,0XC014,0XC00C,0XC00D,0XC00E,0XC00F,0XC023,0XC024,0XC025,0XC026,0XC027,0XC028,0XC029,0XC02A,0XC02B,0XC02F,0XFFFF"
)
_TLS_BG96 = (
    ("sslversion", "(0-4)"),
    ("ciphersuite", f"({CIPHERS_BG96})"),
    ("cacert", "<cacertpath>"),
    ("clientcert", "<client_cert_path>"),
    ("clientkey", "<client_key_path>"),
    ("seclevel", "(0-2)"),
    ("ignorelocaltime", "(0,1)"),
    ("negotiatetime", "(10-300)"),
)
FIRST_KEYS = tuple(key for key, _ in _TLS_BG96)  # in every list that was seen
_TLS_BG96_LATE = (  # the order of the RAK5010's output
    *_TLS_BG96[:6],
    ("sni", "(0,1)"),
    ("checkhost", "(0,1)"),
    ("ignorecertchain", "(0,1)"),
    *_TLS_BG96[6:],
)
_TLS_BG95 = (
    ("sslversion", "(0-4)"),
    ("ciphersuite", f"({CIPHERS_BG95})"),
    ("cacert", "<cacertpath>"),
    ("clientcert", "<clientcertpath>"),
    ("clientkey", "<clientkeypath>"),
    ("seclevel", "(0-2)"),
    ("session", "(0,1)"),
    ("sni", "(0,1)"),
    ("checkhost", "(0,1)"),
    ("ignorelocaltime", "(0,1)"),
    ("negotiatetime", "(10-300)"),
    ("dtls", "(0,1)"),
    ("dtlsversion", "(0-2)"),
)


@dataclass(frozen=True, slots=True)
class Model:
    """One model; ``firmwares`` maps the ``firmware`` variant to (CGMR, QGMR, the QSSLCFG list as ``=?`` orders it)."""

    title: str
    name: str
    port: str
    firmwares: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]]
    qicfg: tuple[tuple[str, str, str], ...]  # key, range as in =?, default
    act: int
    baud_rates: tuple[int, ...]
    dtr: int


_QICFG_COMMON = (
    ("transpktsize", "(1-1460)", "1024"),
    ("transwaittm", "(0-20)", "2"),
    ("dataformat", "(0,1),(0,1)", "0,0"),
    ("viewmode", "(0,1)", "0"),
    ("recvind", "(0,1)", "0"),
)
_RETRANSMISSION = ("tcp/retranscfg", "(3-20),(5-1000)", "8,600")
_BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)

MODELS = {
    "quectel-bg95": Model(
        title="Quectel BG95",
        name="BG95-M3",
        port="uart1",
        firmwares={
            "BG95M3LAR02A03_01.011": ("BG95M3LAR02A03", "BG95M3LAR02A03_01.011.01.011", _TLS_BG95),
            "BG95M3LAR02A03_A0.300": ("BG95M3LAR02A03", "BG95M3LAR02A03_A0.300.A300", _TLS_BG95),
        },
        qicfg=(  # the order of a real module; the defaults of sack and tcp/keepalive are not known
            *_QICFG_COMMON,
            ("sack", "(0,1)", "1"),
            ("tcp/keepalive", "(0-1),(1-120),(25-100),(3-10)", "0"),
            _RETRANSMISSION,
        ),
        act=8,
        baud_rates=_BAUD_RATES,
        dtr=1,
    ),
    "quectel-bg96": Model(
        title="Quectel BG96",
        name="BG96",
        port="usbmodem",
        firmwares={
            # what follows the underscore in QGMR was not seen for these
            "BG96MAR02A07M1G": ("BG96MAR02A07M1G", "BG96MAR02A07M1G_01.016.01.016", _TLS_BG96_LATE),
            "V1.0": ("BG96MAR01A01M1G", "BG96MAR01A01M1G", _TLS_BG96),
        },
        qicfg=(*_QICFG_COMMON, _RETRANSMISSION, ("prefix", "(0,1)", "1")),
        act=8,
        baud_rates=_BAUD_RATES,
        dtr=1,
    ),
}


def _firmware(model: Model) -> Variant:
    return Variant("firmware", "firmware, which decides on the QSSLCFG keys", tuple(model.firmwares))


def variants(name: str) -> tuple[Variant, ...]:
    """Return the variants of a model."""
    return (*COMMON_VARIANTS, _firmware(MODELS[name]), *VARIANTS)


_YES_NO, _NO_YES = ("yes", "no"), ("no", "yes")

VARIANTS = (
    # circumstances
    Variant("boot-time", "seconds from a restart to RDY", ("0.2",), number=True),
    *CARD_VARIANTS,
    *REGISTRATION_VARIANTS,
    *CLOCK_VARIANTS,
    Variant("apn", "the only APN that the network accepts (empty: any)", ("",), free=True),
    Variant("pdp-auth", "USER:PASSWORD that the APN asks for (empty: none)", ("",), free=True),
    Variant("pdp-time", "seconds that QIACT blocks", ("0.05",), number=True),
    Variant("open-time", "seconds before a connection is tried", ("0",), number=True),
    Variant("network-time", "whether the network tells the time (QLTS, CTZU)", _YES_NO),
    Variant("ntp", "whether QNTP's server answers", _YES_NO),
    Variant("ufs-size", "bytes of file storage", ("14483456",), number=True),
    Variant("receive-buffer", "bytes buffered per connection before the modem stops reading", ("16384",), number=True),
    Variant("send-buffer", "unsent bytes per connection from which on a send gets SEND FAIL", ("32768",), number=True),
    Variant("send-fail-every", "every so manieth send gets SEND FAIL (0: none does so)", ("0",), number=True),
    *LINE_VARIANTS,
    # what the documents leave open
    Variant(
        "prompt",
        "the data prompt: CR LF > blank; no blank; CR LF behind; late by a second",
        ("crlf-space", "no-space", "crlf-after", "late"),
    ),
    Variant("push-trailer", "CR LF behind the data of a push URC", _YES_NO),
    Variant(
        "id-after-failed-open",
        "whether an id stays taken after a failed open until QSSLCLOSE/QICLOSE",
        ("kept", "free"),
    ),
    Variant("id-taken", "how 563 is reported: +QSSLOPEN: <id>,563 or ERROR", ("urc", "error")),
    Variant("pdp-down", "how an open on an inactive PDP context fails: ERROR or with a URC (561)", ("error", "urc")),
    Variant("error-after-open", "what QIGETERROR says after a failed asynchronous open", ("0", "code")),
    Variant("qisde-ssl", "whether QISDE also governs the echo of QSSLSEND's payload", _YES_NO),
    Variant("qfdel-missing", "QFDEL of a missing file", ("405", "418")),
    Variant("qflst-missing", "QFLST of a missing file", ("405", "417")),
    Variant("checksum-case", "the checksum's hexadecimal digits", ("lower", "upper")),
    Variant("file-prefix", "UFS: inside the quotes of QFLST", _NO_YES),
    Variant("file-error-text", "with CMEE=2 file errors arrive as text", _NO_YES),
    Variant("lose-qfupl", "the closing +QFUPL line and its OK: printed, only OK, or neither", ("no", "line", "both")),
    Variant("partial-upload", "what follows a QFUPL that timed out: the line and 421, or 421 alone", ("line", "error")),
    Variant("recv-zero", "QSSLRECV=<id>,0: ERROR, or +QSSLRECV: <total>,<read>,<unread>", ("error", "counts")),
    Variant(
        "recv-again", "a new recv URC after: the buffer became empty; a read found it empty", ("empty", "zero-read")
    ),
    Variant("closed-urc", "the closed URC, relative to data that arrived with it", ("after", "glued")),
    Variant("closed-after-pdpdeact", "closed URCs of the connections behind a pdpdeact", _YES_NO),
    Variant("esc-result", "the answer to a send cancelled with ESC", ("OK", "ERROR")),
    Variant("send-timeout", "seconds of silence after which a prompt is given up (0: never)", ("5",), number=True),
    Variant("send-max", "the largest send", ("1460", "1500")),
    Variant("error-space", "QIGETERROR with a blank behind the comma", _NO_YES),
    Variant("cfg-while-open", "QSSLCFG of a context in use", ("accept", "refuse")),
    Variant(
        "close-while-opening",
        "QSSLCLOSE of a connection being opened: silent, or the open still reports 566",
        ("silent", "report"),
    ),
    Variant("close-blocks", "QSSLCLOSE/QICLOSE always wait for the whole time-out", _NO_YES),
    Variant(
        "session-by",
        "session=1 resumes by: a ticket where the server gives one, or the session id alone",
        ("ticket", "id"),
    ),
    Variant(
        "lacking-keys",
        "QSSLCFG keys that this build lacks, as key,key (lists differ from build to build)",
        ("",),
        free=True,
    ),
    Variant(
        "datagram-rest",
        "a read of less than a datagram of UDP or DTLS: the rest is kept, lost; or datagrams run together",
        ("kept", "lost", "joined"),
    ),
    Variant(
        "dtls-large",
        "a QSSLSEND over DTLS too long for one IP packet of 1500 bytes: IP fragments it, or so fails",
        ("fragments", "SEND FAIL", "ERROR"),
    ),
    Variant("dtls-sni", "sni=1 with DTLS (said to be for TLS only): not sent, or sent", _NO_YES),
    Variant("udp-client-hears", "whose datagrams a UDP client takes: its peer's, or anybody's", ("peer", "anybody")),
    Variant(
        "incoming-mode",
        "the access mode of an incoming connection: its listener's (2.2.4 of the application note), or buffer (2.3.4)",
        ("inherited", "buffer"),
    ),
    Variant(
        "listener-close",
        "closing a listener: its incoming connections stay, or are closed with it",
        ("alone", "with-incoming"),
    ),
    Variant("state-connected", "the state number of a connected TCP client", ("2", "3")),
    Variant("port-zero", "local port shown as 0 in QSSLSTATE", _NO_YES),
    Variant("urc-port", "where URCs go at first: this port, or elsewhere until QURCCFG", ("own", "usbat")),
    Variant("cn-only", "a certificate without subjectAltName whose CN matches, with checkhost", ("accept", "refuse")),
    Variant("timeout-code", "the error of a TLS handshake that takes longer than negotiatetime", ("566", "569")),
    Variant("exhaustion", "every open gives 552 after this many (0: never) until a restart", ("0",), number=True),
    Variant("restart-noise", "POWERED DOWN and pdpdeact on the way down in a CFUN=1,1", _NO_YES),
    Variant("ato-text", "text behind CONNECT in answer to ATO", ("",), free=True),
    Variant("dtr", "closing the port: no effect, or a DTR drop (&D1/&D2)", ("ignored", "follow")),
    Variant("qntp-utc", "QNTP's time is UTC although it carries the local zone", _NO_YES),
)

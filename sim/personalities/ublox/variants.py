"""What can be chosen of these models: circumstances, and all that the documents leave open.

The first value of each is the default. "inferred" below means that no document that could be read says it.
"""

from __future__ import annotations

from modemtls.sim.options import Variant
from modemtls.sim.personalities.base import COMMON_VARIANTS, preferring
from modemtls.sim.personalities.common.card import CARD_VARIANTS
from modemtls.sim.personalities.common.clock import CLOCK_VARIANTS
from modemtls.sim.personalities.common.contexts import CONTEXT_VARIANTS
from modemtls.sim.personalities.common.line import LINE_VARIANTS
from modemtls.sim.personalities.common.registration import REGISTRATION_VARIANTS
from modemtls.sim.personalities.ublox.facts import MODELS

__all__ = ["variants"]

_YES_NO, _NO_YES = ("yes", "no"), ("no", "yes")

_LINE = (
    Variant(
        "gap", "a command that comes too soon after the last output: taken all the same, or lost", ("any", "strict")
    ),
    Variant(
        "prompt-gap", "bytes within 50 ms after the @ and > prompts: taken all the same, or lost", ("any", "strict")
    ),
    Variant("typed-ahead", "what is typed while a command runs: kept until it ends, or lost", ("kept", "lost")),
    Variant("too-long", "the answer to a command line of more than 1024 characters", ("1650", "error")),
    Variant("bad-parameter", "the error for values out of range and operations unknown", ("3", "4", "50", "error")),
    Variant("cme-case", "the texts of CMEE=2 begin with a small letter or a capital", ("lower", "capital")),
    Variant("colon-space", "a blank behind the colon of answers", _YES_NO),
    Variant("greeting", "the text that CSGT has stored, printed at boot (empty: none)", ("",), free=True),
    Variant("upsv", "the power saving mode that is stored: 0 never sleeps", ("0", "1", "4")),
    Variant("reboot-other", "the other one of CFUN=15 and CFUN=16: refused, or a restart too", ("refuse", "accept")),
)
_NETWORK = (
    Variant("boot-time", "seconds from a restart to the first command taken", ("0.2",), number=True),
    Variant("pdp-time", "seconds that an activation takes", ("0.05",), number=True),
    Variant("dns-time", "seconds until a name is resolved for UDNSRN", ("0.02",), number=True),
    Variant("cgdcont-kept", "contexts stay defined over a restart (particle-iot/device-os issue 1798)", _YES_NO),
    Variant("cgpaddr-quotes", "quotes around the address that CGPADDR shows", _YES_NO),
    Variant("no-context", "without an active context fails: the USOCR, or the USOCO", ("usocr", "usoco")),
    Variant("uusocl-after-loss", "+UUSOCL of each socket when its context goes", _YES_NO),
    Variant("uusocl-after-cops2", "+UUSOCL of each socket when the host leaves the network with COPS=2", _YES_NO),
    Variant("udnsrn-prefix", "the prefix of a resolved name's answer", ("+UDNSRN", "+UUDNSRN")),
)
_STORE = (
    Variant("pem", "certificates and keys as PEM (the documents disagree for R41x)", ("accept", "refuse")),
    Variant("pem-lines", "PEM without line ends", ("any", "needed")),
    Variant("import-prompt", "the prompt of an import: > alone, or with a blank", ("plain", "blank")),
    Variant("import-answer-op", "the operation that the answer to an import repeats", ("0", "1")),
    Variant("store-size", "entries in the store", ("16",), number=True),
    Variant("store-full", "the answer to an import when the store is full", ("1914", "error")),
    Variant("replace", "an import under a name that is there: replaces, or 1917", ("silent", "1917")),
    Variant("missing-name", "the error for a name that is not in the store", ("1916", "4", "error")),
    Variant(
        "bad-key", "the error for a key that cannot be read (1913 is the one seen for certificates)", ("1913", "1918")
    ),
    Variant("fresh-store", "R422 out of the box: imports give 1912 until ULSTFILE", _NO_YES),
    Variant("list-style", "the lines of the list", ("plain", "blank-lines", "spaced", "quoted-tag", "short")),
    Variant("expiry", "the date of a certificate in the list", ("date", "date-time")),
)
_SECURITY = (
    Variant("settings-survive", "security profiles survive a restart (not stated)", _NO_YES),
    Variant("absent-name", "naming an entry that is not in the store fails: at the connect, or at once",
            ("usoco", "usecprf")),
    Variant("nameless-level", "level 2 without a host name before it", ("accept", "refuse")),
    Variant("empty-name", "levels 2 and 3 without a host name, at the connect", ("fail", "pass")),
    Variant("host-names", "what op code 4 is compared with (a common name only where there is no other; undocumented)",
            ("san", "cn", "either")),
    Variant("version", "op code 1 is the least version, or the only one", ("minimum", "exact")),
    Variant("legacy-suites", "the highest of the old cipher numbers", ("33",), number=True),
    Variant("second-suite", "R422S: a second 99: replaces the first, or fails", ("replace", "fail")),
    Variant("key-size-floor", "RSA below 2048 and ECDSA below 192 bits fail the handshake", _YES_NO),
    Variant("root-of-trust", "IDENTITY:HEXKEY that the root of trust makes for op code 11",
            ("rot-device-0001:9f1d3c5b7a90e2f4866b0d1c2e3f4a5b",), free=True),
    Variant("resumption-urcs", "+UUSECPRF of a blocking connect: before its result, or held until then",
            ("before", "held")),
    Variant("resumption-quotes", "quotes around the strings of +UUSECPRF", _YES_NO),
    Variant("handshake-time", "seconds that connect and handshake may take together", ("120",), number=True),
    Variant("tls-limit", "the fifth secure socket fails: at its connect, or at its USOSEC", ("usoco", "usosec")),
)  # fmt: skip
_SOCKETS = (
    Variant("usocr-port", "USOCR with a local port repeats it in the answer", _NO_YES),
    Variant("async-connect", "USOCO with the flag (inferred for SARA-R5)", ("accept", "refuse")),
    Variant("async-udp", "USOCO with the flag on UDP (the flag is for TCP)", ("refuse", "accept")),
    Variant("async-tls", "+UUSOCO of a secure socket comes after: the handshake, or the TCP connection",
            ("handshake", "tcp")),
    Variant("id-after-failed-connect",
            "a failed connect frees the id, with +UUSOCL (the manuals), or leaves it to USOCL (an R410M-02B did: "
            "arduino-libraries/MKRNB pull request 37)",
            ("freed", "kept")),
    Variant("uusocl-after-failed", "+UUSOCL behind the +UUSOCO of a failed connect (inferred)", _YES_NO),
    Variant("second-connect", "a USOCO while one is under way: closes that one, or is refused alone",
            ("close-first", "refuse")),
    Variant("connect-busy", "so many of the first USOCO get ERROR at once, the socket untouched", ("0",), number=True),
    Variant("sync-connect-locks", "a blocking connect that fails locks the module up (R410M before 05.08)", _NO_YES),
    Variant("tls-errno", "the errno of a failed handshake", ("111", "65", "9", "11")),
    Variant("usosec-profile-off", "USOSEC=<s>,0,<profile>", ("refuse", "accept")),
    Variant("close-waits", "USOCL waits until the peer has closed as well", _NO_YES),
    Variant("early-close", "+UUSOCL comes with unread data still there, which is lost (G450, U2)", _NO_YES),
    Variant("dead-tls", "R410M: a TLS connection that breaks shows as +UUSORD: <s>,4294967295", _YES_NO),
    Variant("empty-read", "nothing to read: the length is missing, or 0", ("bare", "zero")),
    Variant("read-blank-line", "an empty line between what a read gives and OK", _YES_NO),
    Variant("connected-udp-notice", "the notice of data on UDP with a peer, and DTLS: as on UDP, or as on TCP",
            ("udp", "tcp")),
    Variant("datagram-rest", "the rest of a datagram read in part on a connected socket", ("kept", "lost")),
    Variant("short-writes", "every so manieth write takes half of its bytes (0: none)", ("0",), number=True),
    Variant("lost-write-lines", "every so manieth write says OK alone, and has taken nothing (0: none)", ("0",),
            number=True),
    Variant("send-fail-every", "every so manieth write finds the queue full (0: none)", ("0",), number=True),
    Variant("receive-buffer", "bytes buffered per socket before the module stops reading", ("16384",), number=True),
    Variant("linger-off", "USOSO linger with 0", ("accept", "refuse")),
    Variant("direct-link-tls", "USODL over a secure socket (not described)", ("accept", "refuse")),
    Variant("direct-link-end", "what the peer's close prints first in direct link", ("disconnect", "uusocl")),
    Variant("direct-link-unread", "data that came before USODL: handed out, or kept for USORD", ("first", "kept")),
)  # fmt: skip


def variants(name: str) -> tuple[Variant, ...]:
    """Return the variants of a model."""
    modules = MODELS[name].modules
    firmwares = dict.fromkeys(text for module in modules.values() for text in module.firmwares)
    common = preferring(COMMON_VARIANTS, urcs_at_prompt="hold", urcs_in_answer="hold")
    line = preferring(LINE_VARIANTS, cmee_at_start="0")
    return (
        *common,
        Variant("module", "the module, which decides on what there is", tuple(modules)),
        Variant("firmware", "what ATI9 says; own: the module's first", ("own", *firmwares)),
        *line,
        *CARD_VARIANTS,
        *REGISTRATION_VARIANTS,
        *CLOCK_VARIANTS,
        *CONTEXT_VARIANTS,
        *_LINE,
        *_NETWORK,
        *_STORE,
        *_SECURITY,
        *_SOCKETS,
    )

"""How the engine on Mbed TLS judges the peer's chain, in OpenSSL's numbers.

The library calls back for each certificate of the chain that it built, from the top down to the peer's own, with flags
of what is wrong (x509.h). What is wrong above is held back until the last call: only then is it known whether the
peer's certificate is itself an anchor.
"""

from __future__ import annotations

import ctypes as c
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modemtls.tlsengine import blocks
from modemtls.tlsengine.contract import VerifyError
from modemtls.tlsengine.mbedtls_library import Certificate
from modemtls.tlsengine.names import is_address, wire_name
from modemtls.tlsengine.settings import Verify

if TYPE_CHECKING:
    from modemtls.tlsengine.mbedtls_library import Library
    from modemtls.tlsengine.settings import Settings

__all__ = ["Judge"]

# x509.h, MBEDTLS_X509_BADCERT_… and …_BADCRL_…; openssl/x509_vfy.h and its words
_EXPIRED, _CN_MISMATCH, _NOT_TRUSTED, _EXT_KEY_USAGE, _FUTURE = 0x01, 0x04, 0x08, 0x1000, 0x0200
_CODES = {
    0x01: (10, "certificate has expired"),
    0x02: (23, "certificate revoked"),
    0x04: (62, "hostname mismatch"),
    0x08: (20, "unable to get local issuer certificate"),
    0x10: (8, "CRL signature failure"),
    0x20: (12, "CRL has expired"),
    0x0200: (9, "certificate is not yet valid"),
    0x0400: (11, "CRL is not yet valid"),
    0x0800: (26, "unsuitable certificate purpose"),
    0x1000: (26, "unsuitable certificate purpose"),
    0x2000: (26, "unsuitable certificate purpose"),
    0x4000: (68, "CA signature digest algorithm too weak"),
    0x8000: (68, "CA signature digest algorithm too weak"),
    0x010000: (66, "EE certificate key too weak"),
    0x020000: (68, "CA signature digest algorithm too weak"),
    0x040000: (68, "CA signature digest algorithm too weak"),
    0x080000: (66, "EE certificate key too weak"),
}
_ADDRESS_MISMATCH = (64, "IP address mismatch")
_SELF_SIGNED = (18, "self-signed certificate")
_SELF_SIGNED_ABOVE = (19, "self-signed certificate in certificate chain")
_OTHER = (1, "unspecified certificate verification error")
_FATAL = -0x3000  # MBEDTLS_ERR_X509_FATAL_ERROR: refused also where the library would let it pass
_ALTERNATIVE_NAMES = bytes.fromhex("0603551d11")  # the extension's identifier, 2.5.29.17, RFC 5280, section 4.2.1.6
_SERVER_AUTH, _CLIENT_AUTH = bytes.fromhex("2b06010505070301"), bytes.fromhex("2b06010505070302")  # RFC 5280, 4.2.1.12
_UTC_TIME = 0x17


@dataclass(slots=True)
class Judge:
    """Judges one peer. ``wrong``, ``chain`` (leaf first) and ``refused`` tell what came of it."""

    library: Library
    settings: Settings
    anchors: frozenset[bytes]
    wrong: list[VerifyError] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)
    refused: bool = False

    def certificate(self, pointer: int, depth: int, flags: c._Pointer[c.c_uint32]) -> int:
        """Take one certificate; the library's callback (``mbedtls_ssl_conf_verify``)."""
        if not self.chain:
            self.wrong.clear()
        der = Certificate.from_address(pointer).der
        self.chain.insert(0, der)
        found = flags[0]
        if not self.settings.check_dates or self.settings.at is not None:
            found &= ~(_EXPIRED | _FUTURE)
        if self.settings.check_dates and self.settings.at is not None:
            found |= _dates(der, self.settings.at)
        if depth == 0:
            found = (found & ~_CN_MISMATCH) | self._name(pointer, der) | self._purpose(pointer)
        self._note(found, depth, der)
        flags[0] = 0
        if depth:
            return 0
        if self.anchors & set(self.chain):
            self.wrong = [error for error in self.wrong if error.code not in (18, 19, 20)]
        self.wrong.sort(key=lambda error: -error.depth)
        self.refused = bool(self.wrong) and self.settings.verify not in (Verify.NONE, Verify.JUDGED)
        if self.refused:
            flags[0] = found or _NOT_TRUSTED
            return _FATAL
        return 0

    def _note(self, flags: int, depth: int, der: bytes) -> None:
        for bit in (1 << shift for shift in range(20)):
            if not flags & bit:
                continue
            code, text = _CODES.get(bit, _OTHER)
            if bit == _CN_MISMATCH and is_address(self.settings.host):
                code, text = _ADDRESS_MISMATCH
            if bit == _NOT_TRUSTED and _self_issued(der):
                code, text = _SELF_SIGNED_ABOVE if depth else _SELF_SIGNED
            self.wrong.append(VerifyError(code, depth, text))

    def _name(self, pointer: int, der: bytes) -> int:
        """Return the flag for a certificate that does not bear the host's name, by the library's own rules."""
        host = self.settings.host
        if not host:
            return 0
        if not self.settings.common_name_counts and _ALTERNATIVE_NAMES not in der:
            return _CN_MISMATCH
        name = host.encode() if is_address(host) else wire_name(host)
        flags, itself = c.c_uint32(0), c.c_void_p(pointer)
        self.library.x509_crt_verify(itself, itself, None, name, c.byref(flags), None, None)
        return flags.value & _CN_MISMATCH

    def _purpose(self, pointer: int) -> int:
        purpose = _CLIENT_AUTH if self.settings.server else _SERVER_AUTH
        check = self.library.x509_crt_check_extended_key_usage
        return _EXT_KEY_USAGE if check(c.c_void_p(pointer), purpose, c.c_size_t(len(purpose))) else 0


def _tbs(der: bytes) -> list[tuple[int, bytes]]:
    """Return serial, algorithm, issuer, validity, subject … of a certificate, without its version."""
    parts = list(blocks.children(next(iter(blocks.split_der(der)))))
    inner = b"\x30\x84" + len(parts[0][1]).to_bytes(4, "big") + parts[0][1]
    found = list(blocks.children(inner))
    return found[1:] if found[0][0] == 0xA0 else found


def _self_issued(der: bytes) -> bool:
    tbs = _tbs(der)
    return tbs[2][1] == tbs[4][1]


def _dates(der: bytes, at: dt.datetime) -> int:
    validity = _tbs(der)[3][1]
    limits = [
        _time(tag, text.decode("ascii"))
        for tag, text in blocks.children(b"\x30\x84" + len(validity).to_bytes(4, "big") + validity)
    ]
    when = at.astimezone(dt.UTC)
    return (_FUTURE if when < limits[0] else 0) | (_EXPIRED if when > limits[1] else 0)


def _time(tag: int, text: str) -> dt.datetime:
    """Read a time of a certificate (RFC 5280, section 4.1.2.5: two digits from 50 on are of the last century)."""
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)

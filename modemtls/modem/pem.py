"""PEM text as modems want it: only the blocks asked for, LF line ends, 64 columns (RFC 7468, section 2).

Errors say what was to be read (a CA certificate, a client certificate, a private key) and name the file that it came
from, if it came from one. The content of a key never appears in them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.errors import ConfigurationError, CredentialError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modemtls.modem.credentials import CredentialKind

__all__ = ["MAX_SIZE", "PemText", "check_pair", "load", "normalise", "noun", "read"]

MAX_SIZE = 1 << 20
"""Bytes of text that are looked at; a bundle of every public CA has a quarter of this."""

_COLUMNS = 64  # RFC 7468, section 2: generators wrap base64 at 64 characters
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE"})  # RFC 7468, section 5
_KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})  # RFC 7468, 10; RFC 8017, A.1.2; RFC 5915
_ENCRYPTED_LABEL = "ENCRYPTED PRIVATE KEY"  # RFC 7468, section 11
_NOUN = {
    "ca": "CA certificate",
    "cert": "client certificate",
    "key": "private key",
    "peer": "server certificate",
    "psk": "pre-shared key",
    "psk_identity": "identity of the pre-shared key",
}


@dataclass(frozen=True, slots=True)
class PemText:
    """What was given as a certificate or key. ``source``: the file that it was read from, empty if from none."""

    data: bytes = field(repr=False)
    source: str = ""


def read(paths: Mapping[CredentialKind, os.PathLike[str]]) -> dict[CredentialKind, PemText]:
    """Read the file of each kind; what several of them name is read once, as it may be a pipe.

    Of a file that has no end just so much is read that :func:`normalise` sees it to be too large. Raises
    :class:`OSError` as reading does, and :class:`ConfigurationError` for a path that no file can have.
    """
    found: dict[tuple[int, int], bytes] = {}
    texts: dict[CredentialKind, PemText] = {}
    for kind, given in paths.items():
        path = Path(given)
        try:
            status = path.stat()
        except ValueError:  # a NUL, or what cannot be encoded
            raise ConfigurationError(f"{_NOUN[kind]}: {os.fspath(path)!r} cannot be a file") from None
        file = (status.st_dev, status.st_ino)
        if file not in found:
            with path.open("rb") as source:
                found[file] = source.read(MAX_SIZE + 1)
        texts[kind] = PemText(found[file], os.fspath(path))
    return texts


def load(texts: Mapping[CredentialKind, PemText]) -> dict[CredentialKind, bytes]:
    """Give each kind in the form of :func:`normalise`, with a key that belongs to its certificate.

    Raises :class:`CredentialError` as that one and :func:`check_pair` do.
    """
    pems = {kind: normalise(kind, text.data, text.source) for kind, text in texts.items()}
    if "cert" in pems and "key" in pems:
        check_pair(pems["cert"], pems["key"], (texts["cert"].source, texts["key"].source))
    return pems


def noun(kind: CredentialKind, source: str) -> str:
    """Say what a text is, and the file that it came from if it came from one."""
    return f"{_NOUN[kind]} {source}" if source else _NOUN[kind]


def normalise(kind: CredentialKind, data: bytes, source: str = "") -> bytes:
    """Give the blocks of ``data`` that ``kind`` is made of, in canonical form. ``source``: the file it came from.

    Text around the blocks, and blocks of other kinds (a key beside its certificate), are left out. Raises
    :class:`CredentialError` for text without such a block, damaged base64, a cut block, more than one key, an encrypted
    key, and for certificates that cannot be parsed.
    """
    what = noun(kind, source)
    if kind in {"psk", "psk_identity"}:  # of any content
        if kind == "psk" and not data:
            raise CredentialError(f"{what}: it is empty")
        return bytes(data)
    if len(data) > MAX_SIZE:
        raise CredentialError(f"{what}: this is more than any certificate or key ({MAX_SIZE} bytes at most)")
    wanted = _KEY_LABELS if kind == "key" else _CERTIFICATE_LABELS
    found: list[bytes] = []
    others: list[str] = []
    for label, encrypted, body in _blocks(what, data):
        if kind == "key" and (encrypted or label == _ENCRYPTED_LABEL):
            raise CredentialError(
                f"{what}: the key is encrypted, and modems cannot ask for its password; decrypt it first (openssl pkey)"
            )
        if label in wanted:
            found.append(_render(label, body))
        else:
            others.append(label)
    if not found:
        raise CredentialError(f"{what}: {_why_none(kind, data, others)}")
    if kind == "key" and len(found) > 1:
        raise CredentialError(f"{what}: {len(found)} keys in one text; give the one that belongs to the certificate")
    pem = b"".join(found)
    if kind != "key":
        _check_certificates(what, pem)
    return pem


def _blocks(what: str, data: bytes) -> Iterator[tuple[str, bool, bytes]]:
    """Yield label, whether encrypted by a header (RFC 1421, 4.6.1.1), and DER of each block."""
    label: str | None = None
    encrypted = False
    body: list[bytes] = []
    for raw in data.removeprefix(b"\xef\xbb\xbf").splitlines():
        line = raw.strip()
        if line.startswith(b"-----BEGIN ") and line.endswith(b"-----"):
            if label is not None:
                raise CredentialError(f"{what}: a PEM block begins before the one before it has ended")
            label, encrypted, body = line[11:-5].decode("ascii", "replace"), False, []
        elif label is None:
            continue
        elif line.startswith(b"-----END "):
            if line != b"-----END " + label.encode("ascii", "replace") + b"-----":
                raise CredentialError(f"{what}: the PEM block {label} does not end as {label}")
            try:
                der = base64.b64decode(b"".join(body), validate=True)
            except binascii.Error:
                raise CredentialError(f"{what}: the PEM block {label} is not base64") from None
            if not der:
                raise CredentialError(f"{what}: the PEM block {label} is empty")
            yield label, encrypted, der
            label = None
        elif b":" in line:
            encrypted = encrypted or (line.startswith(b"Proc-Type:") and b"ENCRYPTED" in line)
        elif not (encrypted and line.startswith(b"-")):
            body.append(line)
    if label is not None:
        raise CredentialError(f"{what}: the PEM block {label} has no end")


def _render(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    return b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""])


def _why_none(kind: CredentialKind, data: bytes, others: list[str]) -> str:
    if others:
        return f"no such block in the PEM text (it holds {', '.join(sorted(set(others)))})"
    if not data.strip():
        return "the text is empty"
    if data[:1] == b"\x30" and len(data) > 1 and data[1] >= 0x80:  # X.690, 8.1: SEQUENCE with a long length
        command = "openssl pkey" if kind == "key" else "openssl x509"
        return f"this is DER, not PEM; convert it first ({command} -inform DER)"
    return "this is not PEM text (no -----BEGIN line)"


def _check_certificates(what: str, pem: bytes) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except ssl.SSLError:
        raise CredentialError(f"{what}: the PEM block does not hold a certificate") from None


def check_pair(certificate: bytes, key: bytes, sources: tuple[str, str] = ("", "")) -> None:
    """Raise :class:`CredentialError` if ``key`` does not belong to the first certificate of ``certificate``.

    Both as :func:`normalise` gives them, and the files that they came from. The key goes through memory only. Does
    nothing where the system offers no file in memory (it then shows in the handshake).
    """
    import ssl

    try:
        handle = os.memfd_create("credential", os.MFD_CLOEXEC)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fchmod(handle, 0o600)
        view = memoryview(certificate + key)
        while view:
            view = view[os.write(handle, view) :]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("ALL:@SECLEVEL=0")  # whether they fit is the question, not whether they are strong
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=lambda: b"")
    except FileNotFoundError:
        return
    except ssl.SSLError as error:
        what = noun("key", sources[1])
        # OpenSSL keeps a certificate for each kind of key: for a key of another kind it finds none.
        if "MISMATCH" in (error.reason or "") or error.reason == "NO_CERTIFICATE_ASSIGNED":
            raise CredentialError(f"{what}: it does not belong to the {noun('cert', sources[0])}") from None
        raise CredentialError(f"{what}: it cannot be read as one") from None
    finally:
        os.close(handle)

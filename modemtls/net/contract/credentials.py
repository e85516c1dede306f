"""Certificates, CRLs and keys as callers give them: bytes, files, folders, lists of such, encrypted keys.

What is in them is told by content: PEM, with whatever else is in the text passed over, or one DER object. Errors say
what was to be read and where it came from; the content of a key never appears in them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from modemtls.errors import ConfigurationError, CredentialError, NotSupportedError, quoted
from modemtls.net.contract.der import is_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "Credential",
    "Encrypted",
    "Loader",
    "PrivateKey",
    "Stored",
    "check_credential",
    "check_pair",
    "pem",
    "rebuilt",
    "stored_names",
]

MAX_SIZE: Final = 4 << 20
"""Bytes of one text or file that are looked at; a bundle of every public CA has a tenth of this."""

_CERTIFICATES: Final = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_CRLS: Final = ("X509 CRL",)
_KEYS: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_DER: Final = b"\x30"


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate or key that is in the modem already, by the modem's own name for it."""

    name: str

    def __post_init__(self) -> None:
        if not self.name or not self.name.isascii() or not self.name.isprintable() or '"' in self.name:
            raise ConfigurationError(f"{quoted(self.name)} cannot be the name of a stored credential")


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A private key that needs a password: PEM or DER bytes, or a file with it."""

    key: bytes | os.PathLike[str] = field(repr=False)
    password: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, bytes | os.PathLike) or not isinstance(self.password, bytes):
            raise ConfigurationError("Encrypted: a key (bytes or a path object) and its password are wanted")
        if not self.password:
            raise ConfigurationError("Encrypted: the password is empty")


#: Certificate or key material: PEM or DER bytes, a file with it, or the name of what is in the modem already; for
#: trust anchors also a folder; for a key also :class:`Encrypted`; for anything but a key also a list of these, and of
#: lists.
Credential: TypeAlias = "bytes | os.PathLike[str] | Stored | Encrypted | Sequence[Credential]"


def check_credential(name: str, value: object, *, key: bool = False) -> None:
    """Raise :class:`ConfigurationError` unless ``value`` is a :data:`Credential` (or None). Nothing is read."""
    if value is None or isinstance(value, bytes | os.PathLike | Stored):
        return
    if isinstance(value, Encrypted) and key:
        return
    if isinstance(value, list | tuple) and not key:
        for one in value:
            check_credential(name, one)
        return
    if isinstance(value, Encrypted):
        raise ConfigurationError(f"{name}: only a private key may be Encrypted")
    choices = "PEM or DER bytes, a path object, Stored(name)" + (" or Encrypted" if key else ", or a list of these")
    raise ConfigurationError(f"{name}: one of {choices} is wanted, not a {type(value).__name__}")


def stored_names(credential: Credential | None) -> tuple[str, ...]:
    """Return the names of all that is in the modem already."""
    if isinstance(credential, Stored):
        return (credential.name,)
    if isinstance(credential, list | tuple):
        return tuple(name for one in credential for name in stored_names(one))
    return ()


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One private key, PEM or DER, and its password if it has one."""

    data: bytes = field(repr=False)
    password: bytes = field(default=b"", repr=False)


class Loader:
    """Reads what makes up one configuration. A file that is named twice is read once, as it may be a pipe.

    Raises :class:`OSError` as reading does, :class:`CredentialError` for what is not what it should be, and
    :class:`NotSupportedError` for a :class:`Stored`.
    """

    def __init__(self) -> None:
        self._files: dict[tuple[int, int], bytes] = {}

    def certificates(self, credential: Credential | None, what: str, *, folders: bool = False) -> tuple[bytes, ...]:
        """Return the DER of every certificate, in order, each once. ``folders``: a path may be one."""
        found = self._objects(credential, _CERTIFICATES, what, folders=folders)
        return tuple(dict.fromkeys(found))

    def revocation_lists(self, credential: Credential | None, what: str = "revocation list") -> tuple[bytes, ...]:
        """Return the DER of every CRL, in order."""
        return tuple(dict.fromkeys(self._objects(credential, _CRLS, what, folders=False)))

    def private_key(self, credential: Credential, what: str = "private key") -> PrivateKey:
        """Return the one key."""
        password = b""
        if isinstance(credential, Encrypted):
            password = credential.password
            credential = credential.key
        if isinstance(credential, Stored):
            raise _stored(what, credential)
        if not isinstance(credential, bytes | os.PathLike):
            raise ConfigurationError(f"{what}: a list has no meaning here")
        data, where = self._text(credential, what)
        if data[:1] == _DER:
            if not is_element(data):
                raise CredentialError(f"{where}: it is cut short, or something follows it")
            return PrivateKey(data, password)
        blocks = [block for block in _BLOCK.finditer(data) if block[1].decode() in _KEYS]
        if len(blocks) != 1:
            raise CredentialError(f"{where}: {len(blocks) or 'no'} private keys in it; one is wanted")
        locked = blocks[0][1].startswith(b"ENCRYPTED") or b"ENCRYPTED" in blocks[0][2][:200]
        if locked and not password:
            raise CredentialError(f"{where}: the key is encrypted; give Encrypted(key, password)")
        return PrivateKey(blocks[0][0] + b"\n", password)

    def _objects(
        self, credential: Credential | None, labels: tuple[str, ...], what: str, *, folders: bool
    ) -> Iterator[bytes]:
        if credential is None:
            return
        if isinstance(credential, Stored):
            raise _stored(what, credential)
        if isinstance(credential, Encrypted):
            raise ConfigurationError(f"{what}: only a private key may be Encrypted")
        if not isinstance(credential, bytes | os.PathLike):
            for one in credential:
                yield from self._objects(one, labels, what, folders=folders)
        elif folders and isinstance(credential, os.PathLike) and Path(credential).is_dir():
            yield from self._folder(Path(credential), labels, what)
        else:
            data, where = self._text(credential, what)
            yield from _split(data, labels, where)

    def _folder(self, folder: Path, labels: tuple[str, ...], what: str) -> Iterator[bytes]:
        """Yield what is in the files of a folder; a file without anything of the kind is passed over."""
        empty = True
        for path in sorted(folder.iterdir()):
            if not path.is_file():
                continue
            data, where = self._text(path, what)
            if data[:1] == _DER and not is_element(data):
                continue
            if data[:1] == _DER or any(f"-----BEGIN {label}-----".encode() in data for label in labels):
                empty = False
                yield from _split(data, labels, where)
        if empty:
            raise CredentialError(f"{what} {folder}: nothing of the kind in that folder")

    def _text(self, credential: bytes | os.PathLike[str], what: str) -> tuple[bytes, str]:
        """Return the content, and what to call it in an error."""
        if isinstance(credential, bytes):
            return _bounded(credential, what), what
        path = Path(credential)
        where = f"{what} {path}"
        try:
            status = path.stat()
        except ValueError:  # a NUL, or what cannot be encoded
            raise ConfigurationError(f"{what}: {os.fspath(path)!r} cannot be a file") from None
        file = (status.st_dev, status.st_ino)
        if file not in self._files:
            with path.open("rb") as source:
                self._files[file] = _bounded(source.read(MAX_SIZE + 1), where)
        return self._files[file], where


def _stored(what: str, credential: Stored) -> NotSupportedError:
    return NotSupportedError(
        f"{what}: {credential.name!r} is in the modem and cannot be read from there",
        capability="stored_credentials",
        choices=("give the credential itself", 'engine="modem"'),
    )


def _bounded(data: bytes, where: str) -> bytes:
    if not data:
        raise CredentialError(f"{where}: it is empty")
    if len(data) > MAX_SIZE:
        raise CredentialError(f"{where}: this is more than any credential ({MAX_SIZE} bytes at most)")
    return data


def _split(data: bytes, labels: tuple[str, ...], where: str) -> list[bytes]:
    if data[:1] == _DER:
        if not is_element(data):
            raise CredentialError(f"{where}: it is cut short, or something follows it")
        return [data]
    found = []
    for block in _BLOCK.finditer(data):
        if block[1].decode() not in labels:
            continue
        try:
            found.append(base64.b64decode(b"".join(block[2].split()), validate=True))
        except binascii.Error:
            raise CredentialError(f"{where}: a block of it is not base64") from None
    if not found:
        raise CredentialError(f"{where}: neither PEM nor DER, or nothing of the kind in it")
    return found


def pem(objects: Iterable[bytes], label: str = "CERTIFICATE") -> bytes:
    """Return DER objects as PEM, 64 columns wide (RFC 7468, section 2)."""
    parts = []
    for der in objects:
        text = base64.b64encode(der)
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        parts.append(b"\n".join([f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""]))
    return b"".join(parts)


def check_pair(certificate: bytes, key: PrivateKey) -> None:
    """Raise :class:`CredentialError` unless ``key`` can be read and belongs to ``certificate`` (DER)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load: Any = serialization.load_der_private_key if key.data[:1] == _DER else serialization.load_pem_private_key
    try:
        private = load(key.data, key.password or None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        how = "its password does not open it, or it cannot" if key.password else "it cannot"
        raise CredentialError(f"private key: {how} be read") from None  # what it says may hold parts of the key
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        public = x509.load_der_x509_certificate(certificate).public_key().public_bytes(*form)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError(f"client certificate: it cannot be read ({error})") from None
    if private.public_key().public_bytes(*form) != public:
        raise CredentialError("private key: it does not belong to the client certificate")


def rebuilt(chain: tuple[bytes, ...], pool: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return ``chain`` with its ancestors from ``pool`` appended, as far as there are any."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    found = list(chain)
    while found:
        last = x509.load_der_x509_certificate(found[-1])
        if last.issuer == last.subject:
            break
        for der in pool:
            if der in found:
                continue
            try:
                last.verify_directly_issued_by(x509.load_der_x509_certificate(der))
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                continue
            found.append(der)
            break
        else:
            break
    return tuple(found)

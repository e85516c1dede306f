"""Certificates and keys as callers give them, in the form in which they go into a modem."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modemtls.errors import CredentialError, NotSupportedError
from modemtls.modem.pem import PemText, read
from modemtls.modem.pem import load as load_texts
from modemtls.net.contract import Certificates, Encrypted, Psk, Stored
from modemtls.net.contract.credentials import Loader, pem, rebuilt, stored_names
from modemtls.net.contract.der import private_key_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modemtls.modem.credentials import CredentialKind
    from modemtls.net.contract import Credential

__all__ = ["Material", "check_chains", "check_psk", "load"]


@dataclass(frozen=True, slots=True)
class Material:
    """What goes into the modem (``given``: PEM, or the bytes of a pre-shared key), and what is there (``stored``).

    ``sources``: the files that it came from.
    """

    given: Mapping[CredentialKind, bytes] = field(default_factory=dict, repr=False)
    stored: Mapping[CredentialKind, str] = field(default_factory=dict)
    sources: Mapping[CredentialKind, str] = field(default_factory=dict)


def load(security: Certificates | Psk, modem: str, *, psk_stored: bool, bundles: bool) -> Material:
    """Read and check what a configuration names: what is none fails before anything is sent.

    ``psk_stored``: a pre-shared key is part of the modem's store. ``bundles``: the store keeps all things of one
    connection under one number. Raises :class:`CredentialError`, :class:`OSError` as reading does, and
    :class:`NotSupportedError` by the capability that is lacking.
    """
    if isinstance(security, Psk):
        return Material({"psk": security.key, "psk_identity": security.identity} if psk_stored else {})
    loader = Loader()
    given: dict[CredentialKind, Credential | None] = {
        "cert": _own(security, loader, modem),
        "key": _key(security.client_key, loader),
    }
    # Without anything in its store such a modem makes no connection, not even one that verifies nobody.
    if security.verify or (bundles and security.client_cert is None):
        given["ca"] = _single(security.trusted, "CA certificate", loader, modem)
    texts = read({kind: path for kind, path in given.items() if isinstance(path, os.PathLike)})
    texts |= {kind: PemText(data) for kind, data in given.items() if isinstance(data, bytes)}
    stored = {kind: one.name for kind, one in given.items() if isinstance(one, Stored)}
    made = load_texts(texts)
    if bundles and stored and (made or len(set(stored.values())) > 1):
        raise NotSupportedError(
            f"{modem} keeps all certificates and keys of a connection under one number, and they are not all under "
            f"{' or '.join(sorted(set(stored.values())))}",
            capability="stored_credentials",
            choices=("give all certificates and keys themselves", "name one number for all of them"),
        )
    return Material(made, stored, {kind: text.source for kind, text in texts.items()})


def _single(credential: Credential | None, what: str, loader: Loader, modem: str) -> Credential | None:
    """Return the same as one text, one file or one stored name."""
    der = isinstance(credential, bytes) and credential[:1] == b"\x30"
    folder = isinstance(credential, os.PathLike) and Path(credential).is_dir()
    file = isinstance(credential, os.PathLike) and not folder and _holds_der(credential)
    if not (der or folder or file or isinstance(credential, list | tuple)):
        return credential
    if stored_names(credential):
        raise NotSupportedError(
            f"{what}: {modem} takes one stored name, not a list with others",
            capability="compound_stored_credentials",
            choices=("give the certificates themselves",),
        )
    return pem(loader.certificates(credential, what, folders=True)) or None


def _holds_der(path: os.PathLike[str]) -> bool:
    try:
        if not Path(path).is_file():
            return False  # a pipe is read once
        with Path(path).open("rb") as source:
            return source.read(1) == b"\x30"
    except (OSError, ValueError):
        return False  # reading it says what is wrong


def _own(security: Certificates, loader: Loader, modem: str) -> Credential | None:
    """Return this side's certificates, with what is missing of their path if that is wanted."""
    what = "client certificate"
    chain = security.client_cert
    if chain is None or not security.rebuild_client_chain or stored_names(chain):
        return _single(chain, what, loader, modem)
    pool = () if stored_names(security.trusted) else loader.certificates(security.trusted, "CA", folders=True)
    _need_cryptography("rebuild_client_chain")
    try:
        return pem(rebuilt(loader.certificates(chain, what), pool)) or None
    except ValueError as error:
        raise CredentialError(f"{what}: it cannot be read ({error})") from None


def _key(credential: Credential | None, loader: Loader) -> Credential | None:
    """Return a private key as PEM without a password, a file with it, or its stored name."""
    if isinstance(credential, Encrypted):
        key = loader.private_key(credential)
        return _unlocked(key.data, key.password)
    der = isinstance(credential, bytes) and credential[:1] == b"\x30"
    if not der and not (isinstance(credential, os.PathLike) and _holds_der(credential)):
        return credential
    assert credential is not None
    data = loader.private_key(credential).data
    label = private_key_label(data)
    if label is None:
        raise CredentialError("private key: it is no private key, or it needs a password")
    return pem((data,), label)


def _unlocked(data: bytes, password: bytes) -> bytes:
    """Decrypt a key: a modem cannot ask for its password, and where it could be told one it would travel beside it."""
    _need_cryptography("encrypted_keys")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    read_key: Any = serialization.load_der_private_key if data[:1] == b"\x30" else serialization.load_pem_private_key
    try:
        key = read_key(data, password)
    except (TypeError, ValueError, UnsupportedAlgorithm):  # what they say may hold parts of the key
        raise CredentialError("private key: its password does not open it, or it cannot be read") from None
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made


def _need_cryptography(capability: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise NotSupportedError(
            f"{capability.replace('_', ' ')}: this needs the package cryptography",
            capability=capability,
            choices=("install modemtls[host]",),
        ) from None


def check_chains(given: Mapping[CredentialKind, bytes], most: object, modem: str) -> None:
    """Raise :class:`NotSupportedError` for more certificates than the modem takes in one."""
    if not isinstance(most, int):
        return
    for kind in ("ca", "cert"):
        count = given.get(kind, b"").count(b"-----BEGIN ")
        if count > most:
            what = "CA certificate" if kind == "ca" else "client certificate"
            raise NotSupportedError(
                f"{what}: {modem} takes {most} in one, not {count}",
                capability="credential_chain",
                choices=(f"give {most}", 'engine="host"'),
            )


def check_psk(security: Psk, limits: Mapping[str, object], modem: str) -> None:
    """Raise :class:`NotSupportedError` for a pre-shared key or an identity that is longer than the modem takes."""
    for what, value, limit in (("key", security.key, "psk_key"), ("identity", security.identity, "psk_identity")):
        most = limits.get(limit)
        if isinstance(most, int) and len(value) > most:
            raise NotSupportedError(
                f"{modem} takes a pre-shared {what} of up to {most} bytes, not {len(value)}"
                if what == "key"
                else f"{modem} takes an identity of up to {most} bytes, not {len(value)}",
                capability="psk",
                choices=('engine="host"',),
            )

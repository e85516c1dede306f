"""How an OpenSSL context checks the peer's chain: anchors, revocation, names, dates, and what is held against it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from modemtls.tlsengine import blocks
from modemtls.tlsengine.contract import VerifyError
from modemtls.tlsengine.errors import CredentialError, SettingsError
from modemtls.tlsengine.names import is_address, wire_name
from modemtls.tlsengine.openssl_library import SSL, crypto, ffi, lib, verify_text
from modemtls.tlsengine.settings import Verify

if TYPE_CHECKING:
    from modemtls.tlsengine.settings import Settings

__all__ = ["certificate", "demand", "load_trust", "verify_callback"]

# openssl/x509_vfy.h and x509v3.h
_NO_CHECK_TIME, _PARTIAL_CHAIN, _CRL_CHECK, _CRL_CHECK_ALL = 0x200000, 0x80000, 0x4, 0x8
_NEVER_CHECK_SUBJECT = 0x20
_NO_CRL, _WEAK_LEAF, _WEAK_CA, _WEAK_HASH, _APPLICATION = 3, 66, 67, 68, 50
_LEAST_RSA, _LEAST_EC = 2048, 224  # bits: OpenSSL's security level 2, 112 bits
_WEAK_HASHES = {"md5", "sha1"}


def load_trust(context: SSL.Context, settings: Settings) -> None:
    """Give ``context`` its trust anchors and CRLs; raises :exc:`modemtls.tlsengine.CredentialError`."""
    store = context.get_cert_store()
    if store is None:
        raise SettingsError("no certificate store")
    flags = 0
    for data, what in ((settings.ca, "CA certificate"), (settings.anchors, "trust anchor")):
        for der in blocks.objects(data, blocks.CERTIFICATES, what):
            store.add_cert(crypto.X509.from_cryptography(certificate(der, what)))
    if settings.anchors:
        flags |= _PARTIAL_CHAIN
    for der in blocks.objects(settings.crls, blocks.CRLS, "CRL"):
        try:
            store.add_crl(x509.load_der_x509_crl(der))
        except (ValueError, TypeError, SSL.Error, crypto.Error) as error:
            raise CredentialError(f"CRL: {error}") from error
        flags |= _CRL_CHECK | _CRL_CHECK_ALL
    if flags:
        store.set_flags(flags)


def certificate(der: bytes, what: str) -> x509.Certificate:
    """Parse a certificate; raises :exc:`modemtls.tlsengine.CredentialError`."""
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError) as error:
        raise CredentialError(f"{what}: cannot be read ({error})") from error


def demand(ssl: Any, settings: Settings) -> None:
    """Set what a connection demands of name and dates."""
    parameters = lib.SSL_get0_param(ssl)
    if not settings.check_dates:
        lib.X509_VERIFY_PARAM_set_flags(parameters, _NO_CHECK_TIME)
    elif settings.at is not None:
        lib.X509_VERIFY_PARAM_set_time(parameters, int(settings.at.timestamp()))
    if not settings.host:
        return
    if is_address(settings.host):
        packed = ipaddress.ip_address(settings.host).packed
        lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
        return
    if not settings.common_name_counts:
        lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NEVER_CHECK_SUBJECT)
    name = wire_name(settings.host)
    lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))


def verify_callback(settings: Settings, *, own_strength: bool) -> Any:
    """Return the callback that notes what is wrong and says whether it matters.

    ``own_strength``: OpenSSL's security level had to be lowered for the sake of the suites, so keys and hashes of the
    chain are checked here.
    """
    lenient = settings.verify in (Verify.NONE, Verify.JUDGED)
    refuse_all = settings.psk is not None

    @ffi.callback("int(int, X509_STORE_CTX *)")  # type: ignore[untyped-decorator]
    def check(ok: int, store: Any) -> int:
        index = lib.SSL_get_ex_data_X509_STORE_CTX_idx()
        ssl = lib.X509_STORE_CTX_get_ex_data(store, index)
        notes = SSL.Connection._reverse_mapping[ssl].get_app_data()  # noqa: SLF001 - probed in openssl_library
        code, depth = lib.X509_STORE_CTX_get_error(store), lib.X509_STORE_CTX_get_error_depth(store)
        if not ok and code == _NO_CRL:
            lib.X509_STORE_CTX_set_error(store, 0)
            return 1
        if refuse_all:
            code = _APPLICATION
        elif ok:  # what the error is then is one that was passed over before
            code = _weakness(store, depth) if own_strength else 0
        if not code:
            return 1
        lib.X509_STORE_CTX_set_error(store, code)
        text = "a certificate where a pre-shared key was demanded" if refuse_all else verify_text(code)
        notes.wrong.append(VerifyError(code, depth, text))
        notes.refused = notes.refused or not lenient or refuse_all
        return int(lenient and not refuse_all)

    return check


def _weakness(store: Any, depth: int) -> int:
    """Return the verify code for a certificate whose key or signature OpenSSL's level 2 would refuse, or 0."""
    pointer = lib.X509_STORE_CTX_get_current_cert(store)
    lib.X509_up_ref(pointer)
    found = crypto.X509._from_raw_x509_ptr(pointer).to_cryptography()  # noqa: SLF001 - takes the reference over
    try:
        key, hashed = found.public_key(), found.signature_hash_algorithm
    except Exception:  # what cannot be read cannot be held strong; nothing may leave a callback of OpenSSL's
        return _WEAK_CA if depth else _WEAK_LEAF
    if (isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < _LEAST_EC
    ):
        return _WEAK_CA if depth else _WEAK_LEAF
    anchor = found.issuer == found.subject  # its signature is by itself and proves nothing
    return _WEAK_HASH if hashed is not None and hashed.name in _WEAK_HASHES and not anchor else 0

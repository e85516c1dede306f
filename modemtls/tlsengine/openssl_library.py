"""pyOpenSSL, and the OpenSSL functions that ``cryptography`` exports but pyOpenSSL does not wrap.

Those have private names. They are looked up when this module is imported, and
:exc:`modemtls.tlsengine.EngineUnavailableError` names what is missing, in one line.
"""

from __future__ import annotations

from modemtls.tlsengine.errors import EngineUnavailableError

__all__ = ["SSL", "crypto", "ffi", "lib", "verify_text"]

_NEEDED = """
Cryptography_SSL_SESSION_new DTLSv1_listen PEM_read_bio_DHparams BIO_new_mem_buf BIO_free DH_free SSL_CIPHER_find
SSL_CTX_set1_sigalgs_list SSL_CTX_set_psk_client_callback SSL_CTX_set_psk_find_session_callback
SSL_CTX_set_psk_server_callback SSL_CTX_set_psk_use_session_callback SSL_CTX_set_tmp_dh SSL_CTX_set_verify
SSL_CTX_use_psk_identity_hint SSL_SESSION_free SSL_SESSION_set1_master_key SSL_SESSION_set_cipher
SSL_SESSION_set_protocol_version SSL_get0_param SSL_get1_session SSL_get_ex_data_X509_STORE_CTX_idx SSL_get_session
SSL_get_verify_result SSL_session_reused SSL_set_session X509_STORE_CTX_get_current_cert X509_STORE_CTX_get_error
X509_STORE_CTX_get_error_depth X509_STORE_CTX_get_ex_data X509_STORE_CTX_set_error X509_VERIFY_PARAM_set1_host
X509_VERIFY_PARAM_set1_ip X509_VERIFY_PARAM_set_flags X509_VERIFY_PARAM_set_hostflags X509_VERIFY_PARAM_set_time
X509_free X509_up_ref X509_verify_cert_error_string d2i_SSL_SESSION i2d_SSL_SESSION
""".split()  # noqa: SIM905 - a list of forty lines is not easier to read
_HINT = "install it with: pip install 'modemtls[host]'"

try:
    import cryptography.x509  # noqa: F401 - pyOpenSSL imports it as well, but this names it if it is what is missing
    from OpenSSL import SSL, crypto
    from OpenSSL._util import ffi, lib
except ImportError as error:
    raise EngineUnavailableError(f"the TLS engine needs pyOpenSSL and cryptography ({error}); {_HINT}") from error
_missing = [name for name in _NEEDED if not hasattr(lib, name)]
if _missing:
    raise EngineUnavailableError(
        f"this version of cryptography does not export {', '.join(_missing)}, which the TLS engine needs; {_HINT}"
    )


def verify_text(code: int) -> str:
    """Return OpenSSL's words for a verify code."""
    return str(ffi.string(lib.X509_verify_cert_error_string(code)).decode())

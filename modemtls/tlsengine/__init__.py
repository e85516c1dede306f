"""(D)TLS without sockets: bytes in, bytes out. Neutral: it knows neither modems nor their simulation.

Two engines fulfil one contract (:mod:`modemtls.tlsengine.contract`):

``openssl``
    pyOpenSSL's memory BIO: TLS 1.0 to 1.3 and DTLS 1.0 and 1.2, client and server.
``mbedtls``
    Mbed TLS 3.6 as shared libraries: DTLS 1.2, client and server, with Connection ID, associations that can be
    saved and loaded, and retransmission timers below a second.

Either is loaded when it is first needed; importing this package loads neither.

A client::

    engine = engine_for(Settings(ca=pem, host="host.example", server_name="host.example"))
    while True:
        try:
            engine.handshake()
            break
        except WantReadError:
            send(engine.take()); engine.feed(receive(engine.deadline()) or ...)   # or engine.on_timer()
    send(engine.take())

A server over datagrams has one context and an engine for each peer::

    context = context_for(Settings(server=True, datagram=True, psks={b"identity": key}))
    engine = context.engine(peer=repr(address).encode())

Functions
---------
``context_for(settings) -> Context``
    The engine that can fulfil the settings: OpenSSL, or Mbed TLS where OpenSSL cannot (a Connection ID, timers below
    1 s, small fragments, an identity with a NUL byte). Raises :exc:`SettingsError` (or its :exc:`CredentialError`,
    :exc:`UnsupportedError`) for settings that none can, and :exc:`EngineUnavailableError` if the one that could is not
    there.
``engine_for(settings, peer=b"") -> Engine``
    ``context_for(settings).engine(peer)``.
``require(name)``
    Raises :exc:`EngineUnavailableError` with the reason if the engine ``openssl`` or ``mbedtls`` cannot be used here.
``connection_id(datagram, length)``
    The Connection ID that a datagram bears: a server finds the engine by it.
``whole_records(datagram)``
    The records that are there to their end, of a datagram whose end may be missing.
``suites``
    The table of cipher suites: numbers, names, kinds, overhead.
"""

from modemtls.tlsengine import suites
from modemtls.tlsengine.choice import context_for, engine_for, require
from modemtls.tlsengine.contract import Context, Engine, Info, VerifyError
from modemtls.tlsengine.errors import (
    Alert,
    AlertReceivedError,
    CertificateRefusedError,
    CredentialError,
    EngineUnavailableError,
    HandshakeTimeoutError,
    MessageSizeError,
    ProtocolError,
    SettingsError,
    StreamEndedError,
    TlsError,
    UnsupportedError,
    WantReadError,
)
from modemtls.tlsengine.records import connection_id, whole_records
from modemtls.tlsengine.settings import FRAGMENTS, Psk, Settings, Timers, Verify, Version

__all__ = [
    "FRAGMENTS",
    "Alert",
    "AlertReceivedError",
    "CertificateRefusedError",
    "Context",
    "CredentialError",
    "Engine",
    "EngineUnavailableError",
    "HandshakeTimeoutError",
    "Info",
    "MessageSizeError",
    "ProtocolError",
    "Psk",
    "Settings",
    "SettingsError",
    "StreamEndedError",
    "Timers",
    "TlsError",
    "UnsupportedError",
    "Verify",
    "VerifyError",
    "Version",
    "WantReadError",
    "connection_id",
    "context_for",
    "engine_for",
    "require",
    "suites",
    "whole_records",
]

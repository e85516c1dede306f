"""AT+QSSLCFG: six contexts of settings and what they mean to a (D)TLS stack (BG96 SSL V1.0, real ``=?`` outputs)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modemtls.sim.command import Form, Refusal
from modemtls.sim.faults import UsageError
from modemtls.sim.personalities.base import at
from modemtls.sim.personalities.quectel.area import Area
from modemtls.sim.personalities.quectel.facts import FIRST_KEYS
from modemtls.sim.personalities.quectel.sessions import Sessions

if TYPE_CHECKING:
    from modemtls.sim.command import Args
    from modemtls.sim.job import Job
    from modemtls.sim.personalities.quectel import Quectel
    from modemtls.tlsengine import Settings

__all__ = ["ConfigurationError", "TlsConfig"]

CONTEXTS = 6
ALL_SUITES = "0XFFFF"
LONGEST_PATH = 84  # "UFS:" and the 80 bytes of a file name
_DEFAULTS = {
    "sslversion": "4",
    "ciphersuite": ALL_SUITES,
    "cacert": "",
    "clientcert": "",
    "clientkey": "",
    "seclevel": "0",  # verifies nothing
    "session": "0",
    "sni": "0",
    "checkhost": "0",
    "ignorelocaltime": "1",  # dates are not checked
    "ignorecertchain": "0",
    "negotiatetime": "300",
    "dtls": "0",
    "dtlsversion": "2",
}
_PATHS = {"cacert", "clientcert", "clientkey"}
_RANGES = {
    "sslversion": (0, 4), "seclevel": (0, 2), "session": (0, 1), "sni": (0, 1), "checkhost": (0, 1),
    "ignorelocaltime": (0, 1), "ignorecertchain": (0, 1), "negotiatetime": (10, 300),
    "dtls": (0, 1), "dtlsversion": (0, 2),
}  # fmt: skip
_VERSIONS = {1: (0x0301, 0x0301), 2: (0x0302, 0x0302), 3: (0x0303, 0x0303), 4: (0x0301, 0x0303)}  # as on the line
# DTLS 1.0 is TLS 1.1 and DTLS 1.2 is TLS 1.2 over datagrams (RFC 4347, RFC 6347). Values 0 and 1 as ECx00x has them,
# 2 as BC660K has it: both.
_DATAGRAM_VERSIONS = {0: (0x0302, 0x0302), 1: (0x0303, 0x0303), 2: (0x0302, 0x0303)}
_PACKET = 1500 - 28  # bytes of UDP payload in an IPv4 packet
_FRAGMENTED = 1600  # bytes of UDP payload that the largest send never reaches: IP cuts it into packets


class ConfigurationError(Exception):
    """The open has to fail; the text is the true reason, for the trace."""


class TlsConfig(Area):
    """The settings and the sessions kept; volatile."""

    def __init__(self, module: Quectel) -> None:
        super().__init__(module)
        self._lacking = set(filter(None, self.variants["lacking-keys"].split(",")))
        later = [key for key in _DEFAULTS if key not in FIRST_KEYS]
        if not self._lacking <= set(later):
            raise UsageError(f"variant lacking-keys: what a build can lack is {', '.join(later)}")

    def reset(self) -> None:
        """Defaults: any version, any suite, nothing verified."""
        self._keys = {key: values for key, values in self.module.general.firmware[2] if key not in self._lacking}
        self.sessions = Sessions(self.trace)
        self._contexts = [{key: _DEFAULTS[key] for key in self._keys} for _ in range(CONTEXTS)]
        listed = re.findall(r"0X[0-9A-F]{4}", self._keys["ciphersuite"])
        self._listed = [int(code, 16) for code in listed]

    @at("+QSSLCFG")
    def _qsslcfg(self, job: Job) -> None:
        if job.form is Form.TEST:
            for key, values in self._keys.items():
                job.info(f'+QSSLCFG: "{key}",(0-5),{values}')
            return
        if job.form is not Form.SET:
            raise Refusal  # there is no QSSLCFG?
        args = self.ip_args(job)
        args.count(2, 3)
        key = args.text(0)
        if key not in self._keys:
            raise self.ip_error(552, f"this firmware has no key {key!r}")
        context = args.number(1, 0, CONTEXTS - 1)
        if len(args) == 2:  # also QSSLCFG="ignorelocaltime",1: it reads context 1
            value = self._contexts[context][key]
            job.info(f'+QSSLCFG: "{key}",{context},' + (f'"{value}"' if key in _PATHS else value))
            return
        value = self._value(args, key)
        if self.variants["cfg-while-open"] == "refuse" and self.module.ssl.uses_context(context):
            raise self.ip_error(572, f"SSL context {context} is in use")
        self._contexts[context][key] = value
        if key == "session":
            self.sessions.use(context, on=value == "1")

    def _value(self, args: Args, key: str) -> str:
        if key in _PATHS:
            return args.text(2, "", longest=LONGEST_PATH)
        if key == "ciphersuite":
            raw = args.raw(2)
            if (
                raw.quoted
                or not re.fullmatch(r"0[xX][0-9a-fA-F]{4}", raw.text)
                or int(raw.text, 16) not in self._listed
            ):
                raise self.ip_error(552, f"cipher suite {raw.text!r}{' in quotes' if raw.quoted else ''}")
            return raw.text.upper()
        return str(args.number(2, *_RANGES[key]))

    # --- meaning ----------------------------------------------------------------------------------

    def handshake_limit(self, context: int) -> float:
        """Return ``negotiatetime``."""
        return float(self._contexts[context]["negotiatetime"])

    def datagram(self, context: int) -> bool:
        """Return whether the context is for DTLS."""
        return self._contexts[context].get("dtls") == "1"

    def _versions(self, context: int) -> tuple[int, int]:
        values = self._contexts[context]
        if self.datagram(context):
            return _DATAGRAM_VERSIONS[int(values.get("dtlsversion", _DEFAULTS["dtlsversion"]))]
        version = int(values["sslversion"])
        if version not in _VERSIONS:
            raise ConfigurationError("sslversion=0: SSL 3.0 no longer exists in the stack underneath")
        return _VERSIONS[version]

    def client_settings(self, context: int, host: str) -> Settings:
        """Return what the context asks of the TLS stack; raises :class:`ConfigurationError`."""
        from modemtls.tlsengine import Settings, Verify, Version

        values = self._contexts[context]
        low, high = self._versions(context)
        datagram = self.datagram(context)
        level = int(values["seclevel"])
        verify = level > 0 and values.get("ignorecertchain") != "1"
        cert = key = b""
        if level == 2:
            if values["clientcert"]:
                cert = self._file(values["clientcert"], "clientcert")
            if values["clientkey"]:
                key = self._file(values["clientkey"], "clientkey")
            if bool(cert) != bool(key):
                raise ConfigurationError("seclevel=2 with only one of clientcert and clientkey")
        checkhost = verify and values.get("checkhost") == "1"
        named = values.get("sni") == "1" and (not datagram or self.variants.on("dtls-sni"))
        return Settings(
            datagram=datagram,
            mtu=_FRAGMENTED if self.variants["dtls-large"] == "fragments" else _PACKET,
            handshake_mtu=_PACKET,  # a handshake is cut into messages that fit (RFC 6347, 4.2.3)
            tickets=self.variants["session-by"] == "ticket",
            min_version=Version(low),
            max_version=Version(high),
            suites=self._suites(values["ciphersuite"]),
            legacy=True,  # the modem takes old suites and short keys without a murmur
            ca=self._ca(values["cacert"], level, verify=verify),
            chain=cert,
            key=key,
            verify=Verify.REQUIRED if verify else Verify.NONE,
            check_dates=values["ignorelocaltime"] == "0",
            at=self.module.clock.rtc.utc(),
            host=host if checkhost else "",
            common_name_counts=self.variants["cn-only"] == "accept",
            server_name=host if named else "",
        )

    def _ca(self, path: str, level: int, *, verify: bool) -> bytes:
        if not path and verify:
            raise ConfigurationError(f"seclevel={level} without cacert")
        return self._file(path, "cacert") if verify else b""

    def _file(self, path: str, key: str) -> bytes:
        data = self.module.files.load(path)
        if data is None:
            raise ConfigurationError(f"{key}: no file {path!r}")
        return data

    def _suites(self, value: str) -> tuple[int, ...]:
        """Return what exists in the stack underneath: RC4, 3DES and static ECDH no longer do."""
        from modemtls.tlsengine.suites import listed

        codes = self._listed if value == ALL_SUITES else [int(value, 16)]
        found = tuple(suite.number for suite in listed(codes) if suite.openssl)
        if not found:
            raise ConfigurationError(f"ciphersuite={value}: no longer exists in the stack underneath")
        return found

"""What the documents say about the modules, as data.

Sources: u-blox SARA-R4 series AT commands manual (UBX-17003787 R09, R11, R16), SARA-R4/SARA-R5 Internet applications
development guide (UBX-20032566 R05), SARA-R5 application development guide (UBX-20009652 R02), AT commands manual
UBX-13002752 as transcribed in FactbirdHQ/ublox-cellular-rs @d2265bd, and what u-blox/ubxlib @0237d5d3 says of families.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CME_TEXTS", "FIRMWARES_R5", "FIRMWARES_R41", "MODELS", "NUMERIC", "Model", "Module"]

CME_TEXTS = {  # UBX-17003787 R16, appendix; the list of UBX-22016905 R04 agrees
    0: "phone failure",
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
    20: "memory full",
    21: "invalid index",
    22: "not found",
    23: "memory failure",
    30: "no network service",
    31: "network timeout",
    32: "network not allowed - emergency calls only",
    50: "incorrect parameters",
    100: "unknown",
    1600: "FFS error",
    1612: "FILE NOT FOUND",
    1620: "buffer full",
    1650: "command line too long",
    1910: "USECMNG import timeout",
    1911: "USECMNG file size exceeds the limit",
    1912: "USECMNG no memory available",
    1913: "USECMNG invalid certificate/key format",
    1914: "USECMNG database full",
    1915: "USECMNG internal error",
    1916: "USECMNG name not found",
    1917: "USECMNG name already present",
    1918: "USECMNG invalid key format",
    1919: "USECMNG MD5 error",
    1920: "USECMNG PEM to DER conversion error",
    1921: "USECMNG date error",
    1922: "USECMNG common name error",
    2000: "command timeout",
    3000: "command aborted",
    4000: "APN configuration mismatch",
    4001: "IP type configuration mismatch",
}

NUMERIC = {  # UBX-17003787 R16, page 14
    "NOT SUPPORT": 10,
    "INVALID COMMAND LINE": 11,
    "CR": 12,
    "SIM DROP": 13,
    "DISCONNECT": 14,
    "Command aborted": 3000,
}

FIRMWARES_R41 = ("L0.0.00.00.05.06,A.02.00", "L0.0.00.00.05.07,A.02.02", "L0.0.00.00.05.08,A.02.04")
FIRMWARES_R5 = ("02.06,A00.01", "03.15,A00.01")  # 00B, 01B


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module. ``name`` is what +CGMM says; ``ati`` are the lines of ATI.

    ``gap`` is the silence between commands in seconds, ``reboot`` the +CFUN that restarts. ``level`` and ``version``
    are what a reset of a security profile leaves; ``newest`` is the newest version that it can have. ``styles`` are the
    forms of +USECPRF's op code 2 besides the old numbers. ``psd``: ``none``, ``map`` or ``full`` (+UPSD, +UPSDA).
    ``queue`` is in bytes. ``long_ati``: ATI prints a list.
    """

    name: str
    firmwares: tuple[str, ...]
    gap: float
    reboot: int
    level: int
    version: int
    newest: int = 3
    tls: bool = True
    dtls: bool = False
    sni: bool = True
    typed_psk: bool = False
    root_of_trust: bool = False
    pinning: bool = False
    resumption: bool = False
    zero_touch: bool = False
    styles: frozenset[int] = frozenset()
    local_port: bool = False
    async_close: bool = False
    psd: str = "none"
    udp_urc: str = "+UUSORF"
    unacknowledged: bool = True
    tcp_options: bool = False
    queue: int = 16384
    import_echo: bool = False
    upper_md5: bool = False
    stray_blank: bool = False
    long_ati: bool = False
    subject_names: bool = True
    act: int = 7

    @property
    def old(self) -> bool:
        """Whether it is of the first generation of SARA-R4."""
        return self.long_ati


def _r41(name: str, *, sni: bool = True) -> Module:
    return Module(
        name=name, firmwares=FIRMWARES_R41, gap=0.1, reboot=15, level=0, version=0, sni=sni, async_close=True,
        import_echo=True, upper_md5=True, stray_blank=True, long_ati=True,
    )  # fmt: skip


def _r5(name: str) -> Module:
    return Module(
        name=name, firmwares=FIRMWARES_R5, gap=0.02, reboot=16, level=1, version=3, newest=4, dtls=True, typed_psk=True,
        root_of_trust=True, pinning=True, resumption=True, zero_touch=True, styles=frozenset({99, 100}),
        local_port=True, psd="full", udp_urc="+UUSORD", unacknowledged=False, tcp_options=True, queue=8192,
        subject_names=False,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the simulator: the modules that a variant chooses from, the first being the default."""

    title: str
    modules: dict[str, Module]


MODELS = {
    "ublox-sara-r5": Model(
        "u-blox SARA-R5", {name: _r5(f"SARA-{name}") for name in ("R510M8S", "R500S", "R510S")}
    ),
    "ublox-sara-r4": Model(
        "u-blox SARA-R4",
        {
            "R410M-02B": _r41("SARA-R410M-02B", sni=False),
            "R410M-03B": _r41("SARA-R410M-03B"),
            "R412M-02B": _r41("SARA-R412M-02B"),
            "R422": Module(
                name="SARA-R422", firmwares=("00.12,A00.00",), gap=0.02, reboot=15, level=1, version=3, tls=False,
                async_close=True, psd="map",
            ),
            "R422S": Module(
                name="SARA-R422S", firmwares=("00.12,A00.00",), gap=0.02, reboot=15, level=1, version=3, dtls=True,
                typed_psk=True, resumption=True, styles=frozenset({99}), async_close=True, psd="map",
            ),
        },
    ),
}  # fmt: skip

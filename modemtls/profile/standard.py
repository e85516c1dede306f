"""Error codes of the standards that every profile starts from."""

from __future__ import annotations

from typing import Final

from modemtls.profile.model import ErrorCode

__all__ = ["STANDARD_ERRORS"]

# 27.007 9.2.1 to 9.2.3.
_CME: Final = {
    0: ("unknown", "phone failure"),
    1: ("unknown", "no connection to phone"),
    2: ("busy", "phone-adaptor link reserved"),
    3: ("not_allowed", "operation not allowed"),
    4: ("not_supported", "operation not supported"),
    5: ("sim_locked", "PH-SIM PIN required"),
    10: ("sim_absent", "SIM not inserted"),
    11: ("sim_locked", "SIM PIN required"),
    12: ("puk", "SIM PUK required"),
    13: ("sim_absent", "SIM failure"),
    14: ("busy", "SIM busy"),
    15: ("sim_absent", "SIM wrong"),
    16: ("pin_wrong", "incorrect password"),
    17: ("sim_locked", "SIM PIN2 required"),
    18: ("puk", "SIM PUK2 required"),
    20: ("no_space", "memory full"),
    21: ("parameter", "invalid index"),
    22: ("not_found", "not found"),
    23: ("memory", "memory failure"),
    24: ("parameter", "text string too long"),
    25: ("parameter", "invalid characters in text string"),
    26: ("parameter", "dial string too long"),
    27: ("parameter", "invalid characters in dial string"),
    30: ("network", "no network service"),
    31: ("timeout", "network timeout"),
    32: ("network", "network not allowed - emergency calls only"),
    40: ("sim_locked", "network personalization PIN required"),
    41: ("puk", "network personalization PUK required"),
    42: ("sim_locked", "network subset personalization PIN required"),
    43: ("puk", "network subset personalization PUK required"),
    44: ("sim_locked", "service provider personalization PIN required"),
    45: ("puk", "service provider personalization PUK required"),
    46: ("sim_locked", "corporate personalization PIN required"),
    47: ("puk", "corporate personalization PUK required"),
    50: ("parameter", "incorrect parameters"),
    51: ("not_allowed", "command implemented but currently disabled"),
    52: ("unknown", "command aborted by user"),
    53: ("network", "not attached to network due to MT functionality restrictions"),
    54: ("not_allowed", "modem not allowed - MT restricted to emergency calls only"),
    55: ("not_allowed", "operation not allowed because of MT functionality restrictions"),
    57: ("network", "temporarily out of service"),
    100: ("unknown", "unknown"),
    103: ("network", "illegal MS"),
    106: ("network", "illegal ME"),
    107: ("network", "GPRS services not allowed"),
    111: ("network", "PLMN not allowed"),
    112: ("network", "location area not allowed"),
    113: ("network", "roaming not allowed in this location area"),
    126: ("pdp_failed", "insufficient resources"),
    127: ("pdp_failed", "missing or unknown APN"),
    128: ("pdp_failed", "unknown PDP address or PDP type"),
    129: ("pdp_failed", "user authentication failed"),
    132: ("pdp_failed", "service option not supported"),
    133: ("pdp_failed", "requested service option not subscribed"),
    134: ("pdp_failed", "service option temporarily out of order"),
    148: ("pdp_failed", "unspecified GPRS error"),
    149: ("pdp_failed", "PDP authentication failure"),
    150: ("network", "invalid mobile class"),
}
# 27.005 3.2.5.
_CMS: Final = {
    300: ("unknown", "ME failure"),
    302: ("not_allowed", "operation not allowed"),
    303: ("not_supported", "operation not supported"),
    304: ("parameter", "invalid PDU mode parameter"),
    305: ("parameter", "invalid text mode parameter"),
    310: ("sim_absent", "SIM not inserted"),
    311: ("sim_locked", "SIM PIN required"),
    313: ("sim_absent", "SIM failure"),
    314: ("busy", "SIM busy"),
    315: ("sim_absent", "SIM wrong"),
    316: ("puk", "SIM PUK required"),
    320: ("memory", "memory failure"),
    321: ("parameter", "invalid memory index"),
    322: ("no_space", "memory full"),
    331: ("network", "no network service"),
    332: ("timeout", "network timeout"),
    500: ("unknown", "unknown error"),
}

STANDARD_ERRORS: Final[dict[str, dict[str, ErrorCode]]] = {
    "cme": {str(code): ErrorCode(*what) for code, what in _CME.items()},
    "cms": {str(code): ErrorCode(*what) for code, what in _CMS.items()},
}

"""What a modem can be told of the network layer below its sockets: the family of addresses, the size of packets."""

from __future__ import annotations

import errno
import ipaddress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modemtls.errors import ModemError, NameResolutionError, NotSupportedError, quoted
from modemtls.net.address import check_port
from modemtls.net.choose import is_address
from modemtls.net.contract import AddressFamily, Option

if TYPE_CHECKING:
    from modemtls.modem.attached import AttachedModem
    from modemtls.modem.settings import PdpFamily
    from modemtls.net.contract import SocketConfiguration

__all__ = ["Transport", "Word", "check_local", "literal"]

Word: TypeAlias = Literal["ipv4", "ipv6"]

_WORDS: Final[dict[AddressFamily, Word]] = {AddressFamily.IPV4: "ipv4", AddressFamily.IPV6: "ipv6"}
_WILDCARDS: Final = {None: AddressFamily.UNSPEC, "": AddressFamily.UNSPEC, "0.0.0.0": AddressFamily.IPV4}  # noqa: S104
_OTHER: Final = {AddressFamily.IPV4: AddressFamily.IPV6, AddressFamily.IPV6: AddressFamily.IPV4}

# Which to try for a name over the kinds of PDP contexts; one for IPv4 alone is as the modem has it.
_OF_BEARERS: Final[dict[PdpFamily, tuple[AddressFamily, ...]]] = {
    "ipv4": (AddressFamily.UNSPEC,),
    "ipv6": (AddressFamily.IPV6,),
    "ipv4v6": (AddressFamily.IPV4, AddressFamily.IPV6),
}


def literal(host: str) -> AddressFamily:
    """Return the family of an address; ``UNSPEC`` for a name."""
    if not is_address(host):
        return AddressFamily.UNSPEC
    return AddressFamily.IPV6 if ":" in host else AddressFamily.IPV4


def check_local(address: str | None, port: str, modem: str) -> tuple[AddressFamily, int]:
    """Return the family of the wildcard ``address`` and the port, 0 for any: what a socket can be bound to.

    Raises :class:`ConfigurationError`, and ``EADDRNOTAVAIL`` for an address that is no wildcard.
    """
    number = 0 if port in ("", "0") else check_port(port)
    family = _WILDCARDS.get(address)
    if family is None:
        if address is not None and literal(address) is AddressFamily.IPV6 and not int(ipaddress.IPv6Address(address)):
            return AddressFamily.IPV6, number
        raise ModemError(
            f"{modem} binds sockets to all of its addresses, not to {quoted(address)}", number=errno.EADDRNOTAVAIL
        )
    return family, number


class Transport:
    """The wishes of one socket, and what the modem lets anybody choose of them.

    Raises :class:`NotSupportedError` for what it does not. To share a local port, and an address to prefer, needs
    nothing done. ``packets``: the forced size of a packet of the network layer in bytes, None if there is none.
    """

    def __init__(self, modem: AttachedModem, configuration: SocketConfiguration) -> None:
        self._modem = modem
        wanted = {
            "dscp": configuration.dscp != 0,
            "priority": configuration.priority != 0,
            "transparent": configuration.transparent,
            "interface": configuration.interface is not None,
        }
        for capability, asked in wanted.items():
            if asked:
                raise NotSupportedError(f"{modem.profile.name} cannot be told a {capability}", capability=capability)
        if configuration.address_family is not AddressFamily.UNSPEC and not self.can_choose:
            raise NotSupportedError(
                f"{modem.profile.name} cannot be told which family of addresses to use", capability="address_family"
            )
        self.forced = configuration.address_family
        self.preferred = configuration.preferred_family
        self.packets = configuration.forced_mtu or None

    @property
    def can_choose(self) -> bool:
        """Whether the modem can be told which family to use."""
        return bool(self._modem.capabilities.get("address_family"))

    def set(self, option: Option, value: object) -> None:
        """Set one of the options about families; ``EINVAL``."""
        if not isinstance(value, AddressFamily):
            raise ModemError(f"{option.name}: an AddressFamily is wanted, not {quoted(value)}", number=errno.EINVAL)
        if option is Option.PREFERRED_ADDR_FAMILY:
            self.preferred = value
            return
        if value is not AddressFamily.UNSPEC and not self.can_choose:
            raise ModemError(
                f"{option.name}: {self._modem.profile.name} cannot be told which family of addresses to use",
                number=errno.EINVAL,
            )
        self.forced = value

    def families(self, host: str) -> tuple[AddressFamily, ...]:
        """Return which families to try for ``host``, one after the other; ``UNSPEC`` leaves it to the modem."""
        own, forced = literal(host), self.forced
        if own is not AddressFamily.UNSPEC:
            if forced not in (AddressFamily.UNSPEC, own):
                raise NameResolutionError(f"{host} is no {forced.name} address, and no other may be used")
            return (own,)
        if forced is not AddressFamily.UNSPEC:
            return (forced,)
        if self.preferred is not AddressFamily.UNSPEC and self.can_choose:
            return (self.preferred, _OTHER[self.preferred])
        if self.can_choose:
            return _OF_BEARERS[self._modem.settings.family]
        return (AddressFamily.UNSPEC,)

    def local_family(self, wildcard: AddressFamily) -> AddressFamily:
        """Return the family to bind a socket in; ``EADDRNOTAVAIL`` if the one forced is not that of the address."""
        if self.forced is AddressFamily.UNSPEC:
            return wildcard
        if wildcard not in (AddressFamily.UNSPEC, self.forced):
            raise ModemError(f"only {self.forced.name} addresses may be used", number=errno.EADDRNOTAVAIL)
        return self.forced

    def word(self, family: AddressFamily) -> Word | None:
        """Return how the modem is told a family; None if it is not."""
        return _WORDS.get(family) if self.can_choose else None

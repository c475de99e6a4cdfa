"""Which addresses may be connected to. Pure: nothing is looked up.

What is public is told by the registries of special-purpose addresses (RFC 6890, IANA), which Python's `ipaddress`
holds in part, and of another edition in each version: the networks that it lacks are here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given out as global unicast (RFC 4291 2.4)."""
NAT64 = IPv6Network("64:ff9b::/96")
"""Stands for any IPv4 address where a network has IPv6 only (RFC 6052): without it such a one reaches nobody."""
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
"""The same for translators of one's own (RFC 8215), with prefixes of any length: not public."""
COMPATIBLE = IPv6Network("::/96")
"""Deprecated by RFC 4291 2.5.5.1. The unspecified address and loopback are within it and stand for themselves."""

NOT_PUBLIC: tuple[Network, ...] = (
    IPv4Network("100.64.0.0/10"),  # shared by providers' customers, RFC 6598
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, RFC 7526
    IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
    IPv6Network("2001::/23"),  # protocol assignments, Teredo and ORCHID among them
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)


class OutwardFailed(Exception):
    """A request that went out, or was not let out, came to nothing.

    Attributes:
        detail: one sentence for the caller. What an operator needs beyond it is the exception's `__cause__`.
    """

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class AddressRefused(OutwardFailed):
    """The policy lets nothing go out to the address."""


class AddressPolicy:
    """What may be connected to: public addresses, and those that the operator allows.

    Args:
        allowed: networks such as `10.0.0.0/8`, of the setting CALLBACK_ALLOW.

    Raises:
        ValueError: one is no network.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(map(ip_network, allowed))

    def check(self, address: str) -> None:
        """Let an address pass only together with every other that it stands for.

        Args:
            address: IPv4 or IPv6, with or without a scope (`fe80::1%eth0`).

        Raises:
            AddressRefused: it may not be connected to, or is no address.
        """
        try:
            meant = list(_iter_meant(ip_address(address)))
        except ValueError as error:
            raise AddressRefused(f"{address!r} is no address") from error
        if not all(self._passes(each) for each in meant):
            # What a name of an internal network stands for is not for whoever asks for it.
            detail = "its address is not public; CALLBACK_ALLOW names those that may be reached all the same"
            raise AddressRefused(detail) from ValueError(f"{address} is not public")

    def _passes(self, address: Address) -> bool:
        return _is_public(address) or any(address in network for network in self._allowed)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in UNICAST and address not in NAT64:
        return False
    return address.is_global and not any(address in network for network in NOT_PUBLIC)


def _iter_meant(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses within it that a packet may be carried on to."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped  # the same address in another notation, which the kernel connects to as IPv4
    else:
        yield address
        yield from _iter_embedded(address)


def _iter_embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    if address in NAT64 or (address in COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in NAT64_LOCAL:
        yield from _translated(address)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo  # the server that is asked, and the client


def _translated(address: IPv6Address) -> list[IPv4Address]:
    """Where a translator may read IPv4 when nobody tells the length of its prefix: 48, 56, 64 or 96 bits.

    RFC 6052 2.2: the bits follow the prefix, and skip the eight from the 64th on. What begins with a zero octet is
    prefix or suffix, and no address that a translator sends to.
    """
    number = int(address)
    without_skipped = number >> 64 << 56 | number & (1 << 56) - 1
    found = [IPv4Address(without_skipped >> shift & 0xFFFF_FFFF) for shift in (40, 32, 24, 0)]
    return [each for each in found if each.packed[0]] or [IPv4Address(0)]

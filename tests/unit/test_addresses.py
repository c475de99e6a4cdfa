"""Which addresses are let pass."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spark_export.outward.addresses import AddressPolicy, AddressRefused, OutwardFailed

EVERYTHING_BUT_IPV4 = AddressPolicy(["::/0"])
"""Lets every wrapping pass, so that only what is within it can be refused."""

PRIVATE_NETWORKS = [
    IPv4Network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip


def mapped(inner: IPv4Address) -> IPv6Address:
    """RFC 4291 2.5.5.2."""
    return IPv6Address(0xFFFF << 32 | int(inner))


def compatible(inner: IPv4Address) -> IPv6Address:
    """RFC 4291 2.5.5.1."""
    return IPv6Address(int(inner))


def six_to_four(inner: IPv4Address) -> IPv6Address:
    """RFC 3056 2."""
    return IPv6Address(0x2002 << 112 | int(inner) << 80 | 1)


def teredo_client(inner: IPv4Address) -> IPv6Address:
    """RFC 4380 4, behind a public server."""
    return IPv6Address(0x2001 << 112 | int(IPv4Address("8.8.8.8")) << 64 | int(inner) ^ 0xFFFFFFFF)


def teredo_server(inner: IPv4Address) -> IPv6Address:
    """RFC 4380 4, of a public client."""
    return IPv6Address(0x2001 << 112 | int(inner) << 64 | int(IPv4Address("8.8.8.8")) ^ 0xFFFFFFFF)


def nat64(inner: IPv4Address) -> IPv6Address:
    """RFC 6052 2.1."""
    return IPv6Address(int(IPv6Address("64:ff9b::")) | int(inner))


def nat64_local_96(inner: IPv4Address) -> IPv6Address:
    """RFC 8215, with a prefix of 96 bits."""
    return IPv6Address(int(IPv6Address("64:ff9b:1::")) | int(inner))


def nat64_local_48(inner: IPv4Address) -> IPv6Address:
    """RFC 8215, with a prefix of 48 bits, and a suffix that could be read as a public address."""
    high, low = divmod(int(inner), 2**16)
    return IPv6Address(int(IPv6Address("64:ff9b:1::808:808")) | high << 64 | low << 40)


WRAPPINGS = (
    mapped, compatible, six_to_four, teredo_client, teredo_server, nat64, nat64_local_96, nat64_local_48,
)  # fmt: skip


def passes(policy: AddressPolicy, address: object) -> bool:
    """Whether the policy lets it pass."""
    try:
        policy.check(str(address))
    except AddressRefused:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
     "2002:808:808::1"],
)  # fmt: skip
def test_public_addresses_pass(address: str) -> None:
    """Global unicast passes, IPv4 also where a network has IPv6 only."""
    assert passes(AddressPolicy(), address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - nothing listens here
        "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.31.0.1",
        "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.19.0.1", "203.0.113.1", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "100::1",
        "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "2001::1", "2001:20::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8", "2002:7f00:1::1", "2002:a9fe:a9fe::",
        "64:ff9b::169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::8.8.8.8", "::ffff:0:8.8.8.8",
    ],
)  # fmt: skip
def test_others_are_refused(address: str) -> None:
    """Nothing else does; the refusal names the setting, and the address to the log alone."""
    with pytest.raises(AddressRefused) as caught:
        AddressPolicy().check(address)
    assert address not in caught.value.detail
    assert address in str(caught.value.__cause__)
    assert "CALLBACK_ALLOW" in caught.value.detail


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "010.0.0.1", "8.8.8.8 ", "[::1]"]
)
def test_no_address_is_refused(text: str) -> None:
    """What is no address in its plain form is refused, even where everything is allowed."""
    with pytest.raises(OutwardFailed, match="is no address"):
        AddressPolicy(["0.0.0.0/0", "::/0"]).check(text)


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("127.0.0.1/32", "127.0.0.1"),
        ("127.0.0.1/32", "::ffff:127.0.0.1"),
        ("::1/128", "::1"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3"),
        ("fe80::/10", "fe80::1%eth0"),
        ("fc00::/7", "fd00::1"),
    ],
)
def test_allowed_networks_pass(allowed: str, address: str) -> None:
    """An allowed network lets its addresses pass, wrapped ones too; without it they do not."""
    assert passes(AddressPolicy([allowed]), address)
    assert not passes(AddressPolicy(), address)


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("127.0.0.1/32", "127.0.0.2"),
        ("::1/128", "127.0.0.1"),
        ("127.0.0.1/32", "::1"),
        ("0.0.0.0/0", "::1"),
        ("::/0", "10.0.0.1"),
        ("127.0.0.0/8", "::127.0.0.1"),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"),
    ],
)
def test_allowed_networks_are_no_wider(allowed: str, address: str) -> None:
    """An allowed network lets nothing else pass, and a wrapping not what is within."""
    assert not passes(AddressPolicy([allowed]), address)


def test_own_translator() -> None:
    """Where the operator allows a translator's own prefix, public addresses behind it pass, whatever its length."""
    policy = AddressPolicy(["64:ff9b:1::/48"])
    assert passes(policy, "64:ff9b:1::8.8.8.8")
    assert passes(policy, "64:ff9b:1:808:8:800::")


@given(
    st.sampled_from(PRIVATE_NETWORKS).flatmap(lambda network: st.ip_addresses(v=4, network=network)),
    st.sampled_from(WRAPPINGS),
)
def test_no_wrapping_hides_an_address(inner: IPv4Address, wrap: Callable[[IPv4Address], IPv6Address]) -> None:
    """What may not be connected to is refused in every wrapping, even where the wrapping is allowed."""
    assume(inner.packed[0] or wrap is not nat64_local_48)  # a zero octet there belongs to a longer prefix
    assume(int(inner) > 1 or wrap is not compatible)  # :: and ::1 are addresses of their own
    assert not passes(AddressPolicy(), inner)
    assert not passes(AddressPolicy(), wrap(inner))
    assert not passes(EVERYTHING_BUT_IPV4, wrap(inner))


@given(st.ip_addresses(v=4), st.sampled_from(WRAPPINGS))
def test_python_agrees(inner: IPv4Address, wrap: Callable[[IPv4Address], IPv6Address]) -> None:
    """No address that Python calls anything but public passes, bare or wrapped."""
    unwanted = inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast or inner.is_reserved
    for address in (inner, wrap(inner)):
        assert not (unwanted and passes(AddressPolicy(), address))


@given(st.ip_addresses(v=6) | st.ip_addresses(v=6, network=IPv6Network("2000::/3")))
def test_python_agrees_on_ipv6(address: IPv6Address) -> None:
    """No IPv6 address that Python calls private, loopback, link-local, site-local or multicast passes."""
    unwanted = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_site_local
        or address.is_multicast
        or address.is_unspecified
    )
    assert not (unwanted and passes(AddressPolicy(), address))


@given(st.ip_addresses(v=4, network=IPv4Network("10.0.0.0/8")))
def test_unwrapping_is_exact(inner: IPv4Address) -> None:
    """Each wrapping is read where its RFC puts the address: allowing that one lets it pass, its neighbour does not."""
    neighbour = IPv4Address(int(inner) ^ 1)
    for wrap in (mapped, compatible, six_to_four, teredo_client, teredo_server, nat64, nat64_local_96):
        assert passes(AddressPolicy(["::/0", f"{inner}/32"]), wrap(inner))
        assert not passes(AddressPolicy(["::/0", f"{neighbour}/32"]), wrap(inner))

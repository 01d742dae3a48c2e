"""Which hosts are never contacted: those that hold a cloud's secrets, whatever a URL, DNS or a proxy makes of them.

It knows addresses and names; it never resolves or connects.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import unquote

_METADATA_SERVICES = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # IPv4 link-local: the metadata services of most clouds
        "fe80::/10",  # IPv6 link-local
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
    )
)

_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
"""Behind a proxy, which does its own DNS, the name is all there is to see."""

_IPV4_AT_THE_END = (
    ipaddress.ip_network("64:ff9b::/96"),  # RFC 6052
    ipaddress.ip_network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
)
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
"""RFC 8215. Which of the prefix lengths of RFC 6052 a network uses within it cannot be seen."""
_LOCAL_NAT64_BYTES = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
"""RFC 6052 section 2.2: where the IPv4 address is with a prefix of 48, 56, 64 and 96 bits."""

_NUMERIC = re.compile(r"[0-9a-fx.]+")
"""What inet_aton(3) may take for an address; it would also take one with other words after a space."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def forbidden_host(host: str) -> str | None:
    """Why this host of a URL is never connected to, or None: an address in any spelling, or a metadata service's name.

    Another name may still resolve to a forbidden address: `forbidden_address` is for what DNS says.
    """
    name = unquote(host).lower().rstrip(".")
    if name in _METADATA_NAMES:
        return f"{name} is a cloud's metadata service, which is never contacted"
    literal = _literal(name)
    return None if literal is None else forbidden_address(literal)


def forbidden_address(address: str) -> str | None:
    """Why this address is never connected to, or None: link-local and metadata services, and what no server has."""
    possible = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    for one in possible:
        if any(one in network for network in _METADATA_SERVICES):
            return f"{one} is link-local or a cloud's metadata service, which is never contacted"
    last = possible[-1]
    if last.is_unspecified or last.is_multicast or (last.version == 4 and last.is_reserved):  # noqa: PLR2004 - IPv4
        return f"{last} is not the address of a server"
    return None


def is_loopback(host: str) -> bool:
    """Whether this host of a URL is this machine."""
    literal = _literal(host.lower())
    return host.lower() == "localhost" if literal is None else ipaddress.ip_address(literal).is_loopback


def _literal(host: str) -> str | None:
    """The address that a host is, also in the spellings that resolvers take: 2852039166, 0xa9fea9fe, 0251.0376.1."""
    bare = host.strip("[]").partition("%")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare)) if _NUMERIC.fullmatch(bare) else None
    except OSError:
        return None


def _unwrapped(address: _Address) -> tuple[_Address, ...]:
    """The IPv4 addresses that a network could make of an IPv6 one, the likeliest last; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:  # RFC 4291 section 2.5.5.2, RFC 3056
        return (inner,)
    if address in _LOCAL_NAT64:
        packed = address.packed
        return tuple(ipaddress.IPv4Address(bytes(packed[at] for at in places)) for places in _LOCAL_NAT64_BYTES)
    if any(address in network for network in _IPV4_AT_THE_END) and not (address.is_loopback or address.is_unspecified):
        return (ipaddress.IPv4Address(address.packed[-4:]),)
    return (address,)

"""Which IP addresses are not somebody's server on the internet.

The table says in our own words what the IANA special-purpose registries of IPv4 and IPv6 list (RFC 6890), adds the
addresses at which clouds serve credentials to their machines, and takes everything that is not global unicast for
reserved. It is stricter than `ipaddress.is_global`, which calls ::127.0.0.1 and 192.0.0.192 global.

SECURITY: a name that is allowed may resolve to anything, at any time (DNS rebinding); only what is not listed here
is connected to, unless a rule names the network. An IPv4 address inside an IPv6 one (compatible, 6to4, Teredo,
NAT64) is not judged by what it holds but refused: no public service has such an address.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

import msgspec

METADATA = "metadata"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Special(msgspec.Struct, frozen=True):
    """A network, what it is, and where that is laid down."""

    network: str
    what: str
    laid_down: str


# The first entry that holds an address says what it is.
SPECIAL = (
    Special("169.254.169.254/32", METADATA, "instance metadata of AWS, Azure, Google, Oracle, OpenStack and others"),
    Special("169.254.170.2/32", METADATA, "credentials of AWS ECS tasks"),
    Special("169.254.170.23/32", METADATA, "credentials of AWS EKS pods"),
    Special("100.100.100.200/32", METADATA, "instance metadata of Alibaba Cloud"),
    Special("168.63.129.16/32", METADATA, "the host agent of Azure; not in a special range"),
    Special("192.0.0.192/32", METADATA, "instance metadata of Oracle Cloud's first generation"),
    Special("fd00:ec2::254/128", METADATA, "instance metadata of AWS"),
    Special("fd00:ec2::23/128", METADATA, "credentials of AWS EKS pods"),
    Special("fd20:ce::254/128", METADATA, "instance metadata of Google Cloud"),
    Special("0.0.0.0/32", "unspecified", "RFC 1122, section 3.2.1.3; Linux connects to this host"),
    Special("0.0.0.0/8", "this network", "RFC 791, section 3.2"),
    Special("10.0.0.0/8", "private", "RFC 1918"),
    Special("100.64.0.0/10", "carrier-grade NAT", "RFC 6598; overlay networks use it too"),
    Special("127.0.0.0/8", "loopback", "RFC 1122, section 3.2.1.3"),
    Special("169.254.0.0/16", "link-local", "RFC 3927"),
    Special("172.16.0.0/12", "private", "RFC 1918"),
    Special("192.0.0.0/24", "protocol assignments", "RFC 6890, section 2.1"),
    Special("192.0.2.0/24", "documentation", "RFC 5737"),
    Special("192.88.99.0/24", "6to4 relay", "RFC 7526"),
    Special("192.168.0.0/16", "private", "RFC 1918"),
    Special("198.18.0.0/15", "benchmarking", "RFC 2544; our own synthetic addresses are taken from it"),
    Special("198.51.100.0/24", "documentation", "RFC 5737"),
    Special("203.0.113.0/24", "documentation", "RFC 5737"),
    Special("224.0.0.0/4", "multicast", "RFC 5771"),
    Special("255.255.255.255/32", "broadcast", "RFC 919, section 7"),
    Special("240.0.0.0/4", "reserved", "RFC 1112, section 4"),
    Special("::/128", "unspecified", "RFC 4291, section 2.5.2"),
    Special("::1/128", "loopback", "RFC 4291, section 2.5.3"),
    Special("::ffff:0:0/96", "IPv4 in IPv6", "RFC 4291, section 2.5.5.2: IPv4-mapped"),
    Special("::ffff:0:0:0/96", "IPv4 in IPv6", "RFC 2765, section 2.1: IPv4-translated"),
    Special("::/96", "IPv4 in IPv6", "RFC 4291, section 2.5.5.1: IPv4-compatible"),
    Special("64:ff9b::/96", "NAT64", "RFC 6052"),
    Special("64:ff9b:1::/48", "NAT64", "RFC 8215"),
    Special("100::/64", "discard", "RFC 6666"),
    Special("100:0:0:1::/64", "dummy", "RFC 9780"),
    Special("2001::/32", "Teredo", "RFC 4380"),
    Special("2001:2::/48", "benchmarking", "RFC 5180"),
    Special("2001::/23", "protocol assignments", "RFC 2928; ORCHID, DRIP, anycast of PCP and TURN"),
    Special("2001:db8::/32", "documentation", "RFC 3849"),
    Special("2002::/16", "6to4", "RFC 3056"),
    Special("3fff::/20", "documentation", "RFC 9637"),
    Special("5f00::/16", "segment routing", "RFC 9602"),
    Special("fc00::/7", "private", "RFC 4193"),
    Special("fe80::/10", "link-local", "RFC 4291, section 2.5.6"),
    Special("fec0::/10", "site-local", "RFC 3879"),
    Special("ff00::/8", "multicast", "RFC 4291, section 2.7"),
)
_TABLE = tuple((ipaddress.ip_network(entry.network), entry.what) for entry in SPECIAL)
_GLOBAL = ipaddress.IPv6Network("2000::/3")  # all that IANA gives out as global unicast (RFC 4291, section 2.4)


@lru_cache(maxsize=1024)
def special(address: str) -> str:
    """Say what a special address is; return an empty string for a public one. Raise ValueError for what is no address.

    An address with a zone (`fe80::1%eth0`) is judged without it.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    for network, what in _TABLE:
        if parsed in network:
            return what
    return "" if parsed.version == 4 or parsed in _GLOBAL else "reserved"


def in_networks(address: str, networks: Iterable[str]) -> bool:
    """Tell whether one of `networks` (canonical) holds `address`; IPv4 in an IPv4-mapped address counts as IPv4."""
    forms = _forms(address)
    return any(form in _parsed(network) for network in networks for form in forms)


def canonical_network(text: str) -> str:
    """Return the one form of a network or address in CIDR notation; raise ValueError where host bits are set."""
    return str(ipaddress.ip_network(text))


def is_single(network: str) -> bool:
    """Tell whether a canonical network holds one address."""
    return _parsed(network).num_addresses == 1


def _forms(address: str) -> tuple[Address, ...]:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed, parsed.ipv4_mapped
    return (parsed,)


@lru_cache(maxsize=1024)
def _parsed(network: str) -> Network:
    return ipaddress.ip_network(network)

"""Keeps a download away from addresses that its source does not name.

A public page may redirect to, or embed, an address inside the user's network or on this machine. The guard
sits where every connection is made, so redirects, embedded players and names that resolve to a private
address are all seen.
"""

import ipaddress
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Where clouds tell their machines who they are, keys included, beside the link-local ones. No video is there.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
_WITHIN = (".local", ".lan", ".home", ".home.arpa", ".internal", ".intranet", ".corp", ".localhost")


@dataclass
class Guard:
    """Which addresses a download may connect to.

    Attributes:
        named: those that the source names itself, and those of the proxy and of `ingest.private_hosts`.
        loopback: whether the source is on this machine.
        refused: the address that was refused, if one was.
    """

    named: frozenset[Address] = frozenset()
    loopback: bool = False
    refused: str | None = field(default=None)

    @property
    def beyond_public(self) -> tuple[bool, frozenset[Address]]:
        """What is allowed beside public addresses; downloads that agree in it may share connections."""
        return self.loopback, frozenset(address for address in self.named if not _is_public(address))

    def allows(self, host: str) -> bool:
        """Whether a connection to this IP address may be made."""
        try:
            address = _reached(host)
        except ValueError:
            return True  # a name: it is resolved first, and its addresses come here
        if address.is_loopback or address.is_unspecified:  # the latter connects to this machine, too
            return self.loopback
        never = address.is_link_local or address.is_multicast or address in _METADATA
        return not never and (_is_public(address) or address in self.named)


def _reached(text: str) -> Address:
    """The address that a connection to this one ends at: some of IPv6 stand for one of IPv4."""
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_reserved or is_site_local)


class RefusedAddressError(PermissionError):
    """A connection that the source does not justify."""


_active: Guard | None = None
_installed = False


def guard_for(url: str, proxy: str | None = None, private_hosts: Iterable[str] = ()) -> Guard:
    """The guard for an http(s) URL of the manifest; without a proxy the environment's are used.

    A name whose address anybody may change names no private address, unless it is among `private_hosts`: it
    could be made to lead into the user's network.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    trusted = _is_address(host) or "." not in host or host.endswith(_WITHIN) or host in private_hosts
    ways = [proxy] if proxy else [value for name, value in getproxies().items() if name != "no"]
    hosts = [urlsplit(way if "://" in way else f"//{way}").hostname or "" for way in ways]
    hosts += [host] if trusted else []
    named = frozenset(address for host in hosts for address in _addresses(host))
    loopback = any(address.is_loopback or address.is_unspecified for address in named)
    return Guard(named=named, loopback=loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@contextmanager
def guarded(guard: Guard) -> Iterator[Guard]:
    """Refuse, in this process, every connection that `guard` does not allow."""
    global _active, _installed
    if not _installed:
        sys.addaudithook(_watch)
        _installed = True
    _active = guard
    try:
        yield guard
    finally:
        _active = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.connect" or _active is None:
        return
    address = arguments[1]
    if isinstance(address, tuple) and isinstance(address[0], str) and not _active.allows(address[0]):
        _active.refused = address[0]
        raise RefusedAddressError(f"a connection to {address[0]} was refused")


def _addresses(host: str) -> frozenset[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):
        return frozenset()  # the download will say so
    return frozenset(_reached(str(entry[4][0])) for entry in found)

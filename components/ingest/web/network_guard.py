"""Keeps a download away from addresses that its source does not name.

A public page may redirect to, or embed, an address inside the user's network or on this machine. The guard
sits where every connection is made, so redirects, embedded players and names that resolve to a private
address are all seen.
"""

import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass
class Guard:
    """Which addresses a download may connect to.

    Attributes:
        named: those that the source (or the proxy) names itself.
        loopback: whether the source is on this machine.
        refused: the address that was refused, if one was.
    """

    named: frozenset[Address] = frozenset()
    loopback: bool = False
    refused: str | None = field(default=None)

    @property
    def beyond_public(self) -> tuple[bool, frozenset[Address]]:
        """What is allowed beside public addresses; downloads that agree in it may share connections."""
        return self.loopback, frozenset(address for address in self.named if not address.is_global)

    def allows(self, host: str) -> bool:
        """Whether a connection to this IP address may be made."""
        try:
            address = ipaddress.ip_address(host.split("%")[0])
        except ValueError:
            return True  # a name: it is resolved first, and its addresses come here
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if address.is_loopback:
            return self.loopback
        return address.is_global or (address in self.named and not address.is_link_local)


class RefusedAddressError(PermissionError):
    """A connection that the source does not justify."""


_active: Guard | None = None
_installed = False


def guard_for(url: str, proxy: str | None = None) -> Guard:
    """The guard for an http(s) URL of the manifest; without a proxy the environment's are used."""
    parts = urlsplit(url)
    named = _addresses(parts.hostname)
    for way in [proxy] if proxy else {value for name, value in getproxies().items() if name != "no"}:
        named |= _addresses(urlsplit(way if "://" in way else f"//{way}").hostname)
    return Guard(named=named, loopback=any(address.is_loopback for address in named))


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


def _addresses(host: str | None) -> frozenset[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):
        return frozenset()  # the download will say so
    return frozenset(ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found)

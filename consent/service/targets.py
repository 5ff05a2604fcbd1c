"""Where the service may connect to on a brand's word: public addresses over TLS, and nothing else.

A name is resolved once, each of its addresses is judged, and the connection goes to the very address that was
judged: a name that resolves to something else a moment later changes nothing (OWASP, SSRF prevention).
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from anyio import getaddrinfo

from consent.errors import ConsentError, InvalidRequestError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
HTTPS_PORT = 443
PORTS = range(1, 65_536)
CARRYING_IPV4 = tuple(
    ipaddress.ip_network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
"""IPv6 ranges whose addresses stand for IPv4 ones: NAT64, 6to4, Teredo, and the deprecated compatible ones."""
PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
"""IETF protocol assignments, of which some Python versions call a few global."""


class TargetRefusedError(ConsentError):
    """An address that the service does not connect to."""

    code = "target_refused"


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name."""
    found: Sequence[Any] = await getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [entry[4][0] for entry in found]


class Targets:
    """Judges targets.

    Args:
        loopback: whether this machine itself may be connected to; for tests alone.
        resolve: finds the addresses of a name.
    """

    def __init__(self, *, loopback: bool = False, resolve: Resolve = resolve) -> None:
        self._loopback = loopback
        self._resolve = resolve

    def check_url(self, url: str) -> httpx.URL:
        """Return a URL that may be connected to, as far as can be told without resolving its name.

        Raises:
            InvalidRequestError: it is not HTTPS, carries a password or fragment, or names a private address.
        """
        try:
            parsed = httpx.URL(url)
            port = parsed.port or HTTPS_PORT
        except (httpx.InvalidURL, ValueError):
            raise InvalidRequestError("The address is not a URL; send one that begins with https://.") from None
        if parsed.scheme != "https" or not parsed.host or parsed.userinfo or parsed.fragment or port not in PORTS:
            raise InvalidRequestError("The address has to be https:// without a password or a fragment.")
        literal = _literal(parsed.host)
        if literal is not None and not self._allowed(literal):
            raise InvalidRequestError("The address is not public; name a server that the internet can reach.")
        return parsed

    async def pinned(self, url: httpx.URL) -> str:
        """Return the one address to connect to.

        Raises:
            TargetRefusedError: the name resolves to nothing, or also to an address that is not public.
            OSError: it does not resolve.
        """
        found = [_literal(one) for one in await self._resolve(url.host, url.port or HTTPS_PORT)]
        allowed = [one for one in found if one is not None and self._allowed(one)]
        if not allowed or len(allowed) < len(found):
            raise TargetRefusedError("The target's name resolves to an address that is not public.")
        return str(allowed[0])

    def _allowed(self, address: Address) -> bool:
        return is_public(address) or (self._loopback and address.is_loopback)


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to somebody on the internet: not to this network, machine or a group."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or any(address in network for network in CARRYING_IPV4):
            return False
        if address.is_site_local:
            return False
    elif address in PROTOCOLS:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None

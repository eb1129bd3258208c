"""Fields about the connection: who is believed, what is filled in, what ends at this hop. Pure.

Three moments: ``note_peer`` when a request comes in, ``for_upstream`` when it leaves for a server, and
``without_hop_fields`` when a response comes back.

Source: spec v2 sections 5.1 and 5.2; RFC 9110 sections 7.6.1 and 7.8.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.addresses import Networks, parse_networks
from shared.config.static import ForwardedHeaders
from shared.headers import Headers
from worker.messages import Request

_MANAGED = frozenset(
    b"x-forwarded-" + suffix
    for suffix in (
        b"for",
        b"host",
        b"port",
        b"proto",
        b"server",
        b"uri",
        b"method",
        b"prefix",
        b"tls-client-cert",
        b"tls-client-cert-info",
    )
) | {b"x-real-ip"}
"""What only a trusted peer may say; Connection cannot name these for removal."""

HOP_BY_HOP = (
    b"connection",
    b"proxy-connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"transfer-encoding",
    b"upgrade",
)
"""Fields that end at this hop (RFC 9110 section 7.6.1)."""
_NEVER_IN_TRAILERS = frozenset(
    {
        *HOP_BY_HOP,
        b"trailer",
        b"content-length",
        b"host",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"content-encoding",
    }
)
"""Fields that frame, route or authorise may not come after the body (RFC 9110 section 6.5.1)."""


@dataclass(frozen=True, slots=True)
class PeerTrust:
    """Whose statements about earlier hops an entrypoint believes.

    Attributes:
        insecure: everyone's.
        trusted: these peers'.
        kept_connection: lower-case names in Connection that stay until the proxy.
        append: whether X-Forwarded-For gets the peer.
        hostname: what X-Forwarded-Server says.
    """

    insecure: bool
    trusted: Networks
    kept_connection: frozenset[bytes]
    append: bool
    hostname: bytes

    def believes(self, client_ip: str) -> bool:
        """Whether this peer may speak of earlier hops."""
        return self.insecure or self.trusted.contains(client_ip)


def make_trust(settings: ForwardedHeaders, hostname: str) -> PeerTrust:
    """The trust that the settings of an entrypoint mean.

    Raises:
        ConfigError: a trusted address is malformed.
    """
    return PeerTrust(
        insecure=settings.insecure,
        trusted=parse_networks(settings.trusted_ips, "forwardedHeaders.trustedIPs"),
        kept_connection=frozenset(name.lower().encode() for name in settings.connection),
        append=not settings.not_append_x_forwarded_for,
        hostname=hostname.encode("utf-8", "surrogateescape"),
    )


def note_peer(request: Request, trust: PeerTrust) -> None:
    """Make the request say who its client is; what a stranger claims is dropped first."""
    headers = request.headers
    if not trust.believes(request.client_ip):
        _drop_managed(headers)
    if not headers.get(b"x-real-ip"):
        headers.set(b"X-Real-Ip", request.client_ip.partition("%")[0].encode())
    if not headers.get(b"x-forwarded-proto"):
        headers.set(b"X-Forwarded-Proto", _protocol(request))
    if not headers.get(b"x-forwarded-port"):
        headers.set(b"X-Forwarded-Port", _port(request))
    if not headers.get(b"x-forwarded-host") and request.host_header:
        headers.set(b"X-Forwarded-Host", request.host_header.encode("utf-8", "surrogateescape"))
    earlier = headers.get_all(b"x-forwarded-for")
    if len(earlier) > 1:
        headers.set(b"X-Forwarded-For", b", ".join(value for value in earlier if value))
    headers.set(b"X-Forwarded-Server", trust.hostname)
    _settle_connection(headers, trust)


def is_managed(name: bytes) -> bool:
    """Whether a folded name, in any spelling that servers may take for it, is ours to say."""
    return name.replace(b"_", b"-").replace(b".", b"-") in _MANAGED


def is_upgrade(headers: Headers) -> bool:
    """Whether the message asks for, or agrees to, another protocol (RFC 9110 section 7.8)."""
    return b"upgrade" in headers.tokens(b"connection") and bool(headers.get(b"upgrade"))


def for_upstream(request: Request, *, append: bool) -> Headers:
    """The fields to send to a server: ours added, those of this hop gone; Host and framing are left out.

    Args:
        request: as the chain left it.
        append: whether X-Forwarded-For gets the peer.
    """
    headers = without_hop_fields(request.headers, keep_upgrade=request.version == "1.1")
    if request.body.length is not None:
        headers.remove(b"Trailer")  # only chunks can carry what it announces
    if request.version == "1.0":  # the expectation is to be ignored (RFC 9110 section 10.1.1)
        headers.remove(b"expect")
    if b"trailers" in request.headers.tokens(b"te"):
        headers.add(b"Te", b"trailers")
    if append:
        peer = request.client_ip.partition("%")[0].encode()
        earlier = [value for value in headers.get_all(b"x-forwarded-for") if value]
        headers.set(b"X-Forwarded-For", b", ".join([*earlier, peer]))
    return headers


def without_hop_fields(headers: Headers, *, keep_upgrade: bool = False) -> Headers:
    """A copy without the fields that end at this hop and without Content-Length.

    Args:
        headers: of a request or response.
        keep_upgrade: put Connection and Upgrade back if the message is about a change of protocol.
    """
    kept = headers.copy()
    upgrade = headers.get(b"upgrade") if keep_upgrade and is_upgrade(headers) else None
    kept.remove(*HOP_BY_HOP, *headers.tokens(b"connection"), b"content-length")
    if upgrade is not None:
        kept.add(b"Connection", b"Upgrade")
        kept.add(b"Upgrade", upgrade)
    return kept


def passable_trailers(trailers: Headers | None) -> Headers | None:
    """The trailer fields that may be sent on; None for none."""
    if trailers is None or not len(trailers):
        return None
    kept = Headers((name, value) for name, value in trailers if _may_trail(name.lower()))
    return kept if len(kept) else None


def _drop_managed(headers: Headers) -> None:
    """Also drops other spellings that a server may take for a managed name (``X_Forwarded_For``)."""
    doomed = [name for name in headers.names() if is_managed(name)]
    if doomed:
        headers.remove(*doomed)


def _may_trail(name: bytes) -> bool:
    """A server may merge trailers into the head, so they may not say what only a trusted peer may say."""
    return name not in _NEVER_IN_TRAILERS and not is_managed(name)


def _protocol(request: Request) -> bytes:
    secure = request.scheme == "https"
    if is_upgrade(request.headers) and b"websocket" in request.headers.tokens(b"upgrade"):
        return b"wss" if secure else b"ws"
    return b"https" if secure else b"http"


def _port(request: Request) -> bytes:
    host, colon, port = request.host_header.rpartition(":")
    if colon and port.isdecimal() and (host.endswith("]") or ":" not in host):
        return port.encode()
    secure = request.headers.get(b"x-forwarded-proto") in (b"https", b"wss") or request.scheme == "https"
    return b"443" if secure else b"80"


def _settle_connection(headers: Headers, trust: PeerTrust) -> None:
    """Delete what Connection names, except what is ours; then it names only what stays until the proxy."""
    named = headers.tokens(b"connection")
    if not named:
        headers.remove(b"connection")
        return
    upgrade = headers.get(b"upgrade") if b"upgrade" in named else None
    kept = [name for name in named if name in trust.kept_connection]
    headers.remove(
        *(name for name in named if name not in kept and name not in _MANAGED and name != b"upgrade")
    )
    if upgrade:
        kept.append(b"Upgrade")
    if kept:
        headers.set(b"Connection", b", ".join(kept))
    else:
        headers.remove(b"connection")

"""Whom an entrypoint believes about where a connection came from; the same in both dialects."""

from __future__ import annotations

from msgspec import field

from shared.config.kinds import EmptySection


class ForwardedHeaders(EmptySection, frozen=True):
    """Whose X-Forwarded-* fields are believed (spec v2 section 5.1)."""

    insecure: bool = False
    trusted_ips: tuple[str, ...] = field(default=(), name="trustedIPs")
    connection: tuple[str, ...] = ()
    not_append_x_forwarded_for: bool = False


class ProxyProtocolTrust(EmptySection, frozen=True):
    """Whose PROXY protocol headers are believed."""

    insecure: bool = False
    trusted_ips: tuple[str, ...] = field(default=(), name="trustedIPs")

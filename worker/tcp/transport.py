"""How TCP servers are spoken to (spec v2 sections 6.2 and 10.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.config.dynamic import ProxyProtocol, TcpLoadBalancer
from shared.table.client_tls import ClientTlsEntry
from shared.table.stream_routes import TcpTransportEntry

SYSTEM_KEEP_ALIVE_S = 15.0
"""What a ``dialKeepAlive`` of 0 means."""


@dataclass(frozen=True, slots=True)
class TcpTransport:
    """A transport, worked out.

    Attributes:
        name: qualified.
        dial_timeout_s: longest time for a connection; infinite for none.
        keep_alive_s: between TCP keep-alive probes; None for no probes.
        termination_delay_s: how long one direction may go on when the other has ended; infinite for no end.
        proxy_version: of the PROXY protocol header that servers get; 0 for none.
        tls: for servers that are spoken to in TLS.
    """

    name: str
    dial_timeout_s: float
    keep_alive_s: float | None
    termination_delay_s: float
    proxy_version: int
    tls: ClientTlsEntry


def make_transport(entry: TcpTransportEntry, balancer: TcpLoadBalancer) -> TcpTransport:
    """The transport of a service. A transport that it names has the last word; else its own old options."""
    options = entry.options
    delay_s, proxy = options.termination_delay, options.proxy_protocol
    if not balancer.servers_transport:
        if balancer.termination_delay is not None:
            delay_s = balancer.termination_delay / 1000
        proxy = balancer.proxy_protocol or proxy
    keep_alive_s = options.dial_keep_alive or SYSTEM_KEEP_ALIVE_S
    return TcpTransport(
        name=entry.name,
        dial_timeout_s=options.dial_timeout or math.inf,
        keep_alive_s=keep_alive_s if keep_alive_s > 0 else None,
        termination_delay_s=delay_s if delay_s >= 0 else math.inf,
        proxy_version=_version(proxy),
        tls=entry.tls,
    )


def _version(options: ProxyProtocol | None) -> int:
    return options.version if options is not None else 0

"""One server of a service, ready to be sent to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.config import dynamic
from shared.errors import TableError
from shared.table.entries import TransportEntry
from worker.pool import Pool, Pools
from worker.upstream import Origin

_DEFAULT_PORTS = {"http": 80, "h2c": 80, "https": 443}


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """One upstream address.

    Attributes:
        url: as configured; its identity.
        weight: share of the traffic.
        host_header: what Host says when the client's is not passed on.
        base_path: escaped path to put in front of the request's; empty for none.
        pass_host_header: whether the client's Host is passed on.
        pool: its connections.
    """

    url: str
    weight: int
    host_header: str
    base_path: str
    pass_host_header: bool
    pool: Pool

    @property
    def keeps_connections(self) -> bool:
        """Whether connections to it are used more than once."""
        return self.pool.settings.max_idle > 0

    @property
    def is_plain(self) -> bool:
        """Whether the plain lane can speak to it: no TLS, kept connections, no clock on its answers."""
        return (
            self.pool.origin.scheme == "http"
            and self.keeps_connections
            and self.response_header_timeout_s == math.inf
        )

    @property
    def response_header_timeout_s(self) -> float:
        """Longest wait for a response head; infinite for no limit."""
        return self.pool.settings.response_header_timeout_s or math.inf


def make_server(
    options: dynamic.Server, balancer: dynamic.LoadBalancer, transport: TransportEntry, pools: Pools
) -> Server:
    """A server from its options, which the compiler has checked.

    Raises:
        TableError: the URL is none that this worker can send to.
    """
    try:
        url = urlsplit(options.url)
        port = url.port or _DEFAULT_PORTS[url.scheme]
    except (ValueError, KeyError) as error:
        raise TableError(f"server URL {options.url!r} cannot be used") from error
    if not url.hostname:
        raise TableError(f"server URL {options.url!r} has no host")
    origin = Origin(url.scheme, url.hostname, port)
    return Server(
        url=options.url,
        weight=1 if options.weight is None else options.weight,
        host_header=url.netloc.rpartition("@")[2],
        base_path=url.path if options.preserve_path else "",
        pass_host_header=balancer.pass_host_header,
        pool=pools.get(origin, transport.name, transport.options, transport.tls),
    )

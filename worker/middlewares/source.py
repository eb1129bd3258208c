"""What requests are counted by: the client's address, the host that was asked for, or a header field.

Source: spec v2 section 4.4 (sourceCriterion).
"""

from __future__ import annotations

from collections.abc import Callable

from shared.addresses import compile_client_ip_rule, pick_client_ip
from shared.config.middlewares import IpStrategy, SourceCriterion
from worker.exchange import Exchange

Source = Callable[[Exchange], bytes]
"""The key that an exchange counts under."""

BY_CLIENT = SourceCriterion(ip_strategy=IpStrategy())
BY_HOST = SourceCriterion(request_host=True)


def make_source(criterion: SourceCriterion | None, default: SourceCriterion) -> Source:
    """The source that a checked criterion means; ``default`` if it says nothing."""
    if criterion is None or criterion == SourceCriterion():
        criterion = default
    if criterion.request_host:
        return _host
    if criterion.request_header_name:
        name = criterion.request_header_name.encode("ascii")
        if name.lower() == b"host":
            return _host
        return lambda exchange: exchange.request.headers.get(name) or b""
    rule = compile_client_ip_rule(criterion.ip_strategy)

    def client(exchange: Exchange) -> bytes:
        request = exchange.request
        forwarded_for = request.headers.get(b"X-Forwarded-For") or b""
        text = pick_client_ip(rule, request.client_ip, forwarded_for.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")

    return client


def _host(exchange: Exchange) -> bytes:
    """The Host as it was sent, with its port."""
    return exchange.request.host_header.encode("utf-8", "surrogateescape")

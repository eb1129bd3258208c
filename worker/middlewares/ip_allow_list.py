"""ipAllowList and its old name ipWhiteList: lets only some addresses pass (spec v2 section 4.4)."""

from __future__ import annotations

from shared.addresses import compile_client_ip_rule, parse_networks, pick_client_ip
from shared.config.middlewares import IpAllowList, IpWhiteList
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.pipeline import SyncStep

WHITE_LIST_STATUS = 403


class IpAllowListStep(SyncStep):
    """Refuses clients whose address, found by the strategy, is not in the ranges or is no address."""

    __slots__ = ("_networks", "_rule", "_status")
    is_pure = True

    def __init__(self, options: IpAllowList | IpWhiteList) -> None:
        self._networks = parse_networks(options.source_range)
        self._rule = compile_client_ip_rule(options.ip_strategy)
        self._status = options.reject_status_code if isinstance(options, IpAllowList) else WHITE_LIST_STATUS

    def on_request(self, exchange: Exchange) -> Response | None:
        """Refuse, or let pass."""
        request = exchange.request
        forwarded_for = request.headers.get(b"X-Forwarded-For") or b""
        text = forwarded_for.decode("utf-8", "surrogateescape")
        client_ip = pick_client_ip(self._rule, request.client_ip, text)
        return None if self._networks.contains(client_ip) else replies.plain(self._status)

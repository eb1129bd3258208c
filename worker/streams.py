"""What a worker serves below HTTP, over all generations: TCP and UDP services and what they keep."""

from __future__ import annotations

from collections.abc import Mapping

from shared.identities import middleware_name
from shared.table.stream_routes import TcpContent, TcpMiddlewareEntry, TcpRouterEntry
from shared.table.streams import Streams as TableStreams
from worker.blocks import Blocks
from worker.tcp.routes import TcpRoutes, make_tcp_routes
from worker.tcp.services import TcpEndpoint, TcpServices
from worker.tcp.steps import TcpStep, build_tcp_step
from worker.udp.services import UdpRoute, UdpServices


class Streams:
    """See above."""

    def __init__(self) -> None:
        self._tcp = TcpServices()
        self._udp = UdpServices()

    def routes(
        self, streams: TableStreams, blocks: Blocks
    ) -> tuple[Mapping[str, TcpRoutes], Mapping[str, UdpRoute]]:
        """The TCP and the UDP routes of a table, by entrypoint.

        Raises:
            TableError: the table does not hold what it should.
        """
        made: dict[int, TcpEndpoint] = {}

        def make_endpoint(content: TcpContent, number: int) -> TcpEndpoint:
            return self._tcp.endpoint(content, number, blocks, made)

        def build_step(middleware: TcpMiddlewareEntry, router: TcpRouterEntry) -> TcpStep:
            name = middleware_name(router.name, middleware.name)
            return build_tcp_step(middleware.options, name, blocks)

        tcp = make_tcp_routes(streams.tcp, make_endpoint, build_step)
        return tcp, self._udp.routes(streams.udp, blocks)

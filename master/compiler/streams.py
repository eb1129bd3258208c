"""The TCP and UDP part of a compilation: catalog in, the table's streams and reports out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from master.compiler.checked import LinkedRouter
from master.compiler.entry_points import EntryPointModel
from master.compiler.linking import RouterReport
from master.compiler.stream_assembly import assemble_tcp, assemble_udp
from master.compiler.stream_catalog import StreamCatalog
from master.compiler.stream_checked import LinkedTcpRouter, LinkedUdpRouter
from master.compiler.stream_routers import StreamLinkMemory, TcpRouterLinker, UdpRouterLinker
from master.compiler.stream_services import TcpServiceChecker, UdpServiceChecker
from master.compiler.tls_material import TlsObjects
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import TcpRouter, UdpRouter
from shared.config.effective import default_entry_points
from shared.config.static import StaticConfig
from shared.table.stream_routes import TcpContent, UdpContent


class StreamCompiler:
    """Compiles again and again for one static configuration, remembering the last good links.

    Args:
        static: effective static settings.
        rank: a provider's place when priorities are equal.
    """

    def __init__(self, static: StaticConfig, rank: Callable[[str], int]) -> None:
        self._static = static
        self._rank = rank
        self._tcp: StreamLinkMemory[TcpRouter, LinkedTcpRouter] = StreamLinkMemory("tcp")
        self._udp: StreamLinkMemory[UdpRouter, LinkedUdpRouter] = StreamLinkMemory("udp")

    def compile(
        self,
        catalog: StreamCatalog,
        http: Iterable[LinkedRouter],
        models: Mapping[str, EntryPointModel],
        tls: TlsObjects,
        found: Diagnostics,
    ) -> tuple[TcpContent, UdpContent, list[RouterReport]]:
        """Link and assemble.

        Args:
            catalog: what providers say.
            http: linked HTTP routers, which share entrypoints with TCP ones.
            models: of entrypoints.
            tls: the TLS objects; is told which options TCP routers terminate with.
            found: takes the problems.
        """
        tcp_services = TcpServiceChecker(catalog, self._static, found)
        tcp = TcpRouterLinker(self._static, default_entry_points(self._static), tcp_services, tls)
        udp = UdpRouterLinker(self._static, UdpServiceChecker(catalog, found))
        tcp_links, tcp_reports = self._tcp.link_all(
            catalog.tcp_routers, catalog.broken_routers("tcp"), tcp.link, found
        )
        for link in tcp_links:
            if link.tls == "terminate":
                tls.require(link.tls_options)
        udp_links, udp_reports = self._udp.link_all(
            catalog.udp_routers, catalog.broken_routers("udp"), udp.link, found
        )
        content = assemble_tcp(tcp_links, http, models, self._rank)
        return content, assemble_udp(udp_links, found), tcp_reports + udp_reports

"""One compilation: catalog in, table bytes and a report out.

The way through: internal objects join the catalog -> every router is linked (rule, middlewares, service,
entrypoints) -> a router that cannot be linked keeps its last good form, if it had one -> the linked ones are
assembled and written. Results are kept for the next time: what did not change is not checked again.
"""

from __future__ import annotations

import msgspec

from master.arena_identities import IdentityPlanner
from master.compiler.assembly import Assembler
from master.compiler.catalog import INTERNAL, Catalog
from master.compiler.checked import CheckedMiddleware
from master.compiler.entry_points import entry_point_models
from master.compiler.internal import internal_objects
from master.compiler.linking import LinkMemory, RouterReport
from master.compiler.middlewares import MiddlewareChecker, ReadFile, read_credentials
from master.compiler.routers import RouterLinker
from master.compiler.services import ServiceChecker, ServiceResult
from master.compiler.streams import StreamCompiler
from master.compiler.suspicions import find_suspicions
from master.compiler.tls_checks import TlsCompiler
from shared.config.diagnostics import Diagnostic, Diagnostics
from shared.config.effective import default_entry_points
from shared.config.static import StaticConfig
from shared.identities import Identity
from shared.table.entries import TableContent
from shared.table.writer import TableWriter


class Compiled(msgspec.Struct, frozen=True):
    """The outcome of a compilation.

    Attributes:
        table: the bytes for the workers.
        digest: of the table without its generation; equal digests mean equal tables.
        found: every problem, located.
        routers: the state of every router, in match order.
        identities: what its workers will look for in the arena.
        content: what the bytes say.
    """

    table: bytes
    digest: bytes
    found: tuple[Diagnostic, ...]
    routers: tuple[RouterReport, ...]
    identities: frozenset[Identity] = frozenset()
    content: TableContent | None = None

    @property
    def summary(self) -> dict[str, int]:
        """Counts for one log line."""
        states = [router.status for router in self.routers]
        return {"routers": len(states), "kept": states.count("kept"), "disabled": states.count("disabled")}


class Compiler:
    """Compiles again and again for one static configuration.

    Args:
        static: effective static settings.
        read_file: reads credential files.
    """

    def __init__(self, static: StaticConfig, read_file: ReadFile = read_credentials) -> None:
        self._static = static
        self._read_file = read_file
        self._assembler = Assembler(static.providers.precedence)
        self._streams = StreamCompiler(static, self._assembler.rank)
        self._writer = TableWriter()
        self._identities = IdentityPlanner()
        self._services: dict[str, ServiceResult] = {}
        self._middlewares: dict[str, tuple[object, CheckedMiddleware]] = {}
        self._links = LinkMemory()
        self._tls = TlsCompiler(static)
        self._internal_found = Diagnostics()
        self._internal = internal_objects(static, self._internal_found)

    def forget_files(self) -> None:
        """Read credential files again next time, although their names did not change."""
        self._middlewares = {}

    def compile(
        self,
        catalog: Catalog,
        broken: frozenset[str],
        found: Diagnostics,
        generation: int,
        *,
        suspicions: bool = False,
    ) -> Compiled:
        """Compile what the providers say.

        Args:
            catalog: all readable objects; internal ones are added here.
            broken: qualified names of routers that could not even be read.
            found: problems so far; more are added.
            generation: the number the table will carry.
            suspicions: also warn about what is legal but probably not meant; takes much longer.
        """
        found.extend(self._internal_found)
        catalog.add(INTERNAL, None, self._internal)
        services = ServiceChecker(catalog, self._static, found, self._services)
        middlewares = MiddlewareChecker(catalog, self._read_file, self._middlewares)
        tls = self._tls.check(catalog, found)
        models = entry_point_models(self._static, middlewares, tls, found)
        linker = RouterLinker(self._static, default_entry_points(self._static), services, middlewares, tls)
        linked, reports = self._links.link_all(catalog, broken, linker, found)
        self._services, self._middlewares = services.done, middlewares.done
        if suspicions:
            in_order = sorted(linked, key=self._assembler.match_order)
            serving = [
                (catalog.routers[each.name], each) for each in in_order if each.name in catalog.routers
            ]
            find_suspicions(serving, catalog, self._static, found)
        tcp, udp, stream_reports = self._streams.compile(catalog.streams, linked, models, tls, found)
        reports += stream_reports
        content = self._assembler.assemble(linked, models, tls)
        streams = msgspec.structs.replace(content.streams, tcp=tcp, udp=udp)
        content = msgspec.structs.replace(content, streams=streams)
        table = self._writer.write(content, generation)
        digest = self._writer.payload_digest(table)
        reports.sort(key=lambda report: (-report.priority, report.name))
        return Compiled(table, digest, tuple(found), tuple(reports), self._identities.plan(content), content)

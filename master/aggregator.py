"""What all providers say now, merged: snapshots in, a compiled table out.

Documents are read once: a document that is the same object as before gives the same reading, and an object
that equals its predecessor is replaced by it, so that the compiler sees by identity what changed.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from master.compiler.catalog import Catalog, qualify
from master.compiler.compiler import Compiled, Compiler
from providers.base import Snapshot
from shared.config.diagnostics import Diagnostics
from shared.config.documents import Document
from shared.config.dynamic import DynamicConfig, HttpConfig
from shared.config.dynamic_reading import Reading, read_dynamic
from shared.config.static import StaticConfig

T = TypeVar("T")


class Aggregator:
    """Holds the latest snapshot of each provider.

    Args:
        static: effective static settings; a changed one needs a new aggregator.
    """

    def __init__(self, static: StaticConfig) -> None:
        self._compiler = Compiler(static)
        self._v1_retry = static.v1.retry if static.v1 is not None else None
        self._snapshots: dict[str, Snapshot] = {}
        self._readings: dict[Document, Reading] = {}

    def take(self, snapshot: Snapshot) -> None:
        """Replace what this provider said before."""
        self._snapshots[snapshot.provider] = snapshot

    def forget_files(self) -> None:
        """Read files that documents refer to (users files) again at the next compilation."""
        self._compiler.forget_files()

    def compile(self, generation: int, *, suspicions: bool = False) -> Compiled:
        """Compile the latest snapshots. Pure but for reading credential files; takes a while when large.

        Args:
            generation: the number the table will carry.
            suspicions: also warn about what is legal but probably not meant.
        """
        found = Diagnostics()
        catalog = Catalog()
        broken: set[str] = set()
        readings: dict[Document, Reading] = {}
        for provider in sorted(self._snapshots):
            snapshot = self._snapshots[provider]
            found.extend(snapshot.problems)
            for document in snapshot.documents:
                reading = readings[document] = self._read(document, provider)
                found.extend(reading.found)
                repeated = catalog.add(provider, document, reading.config.http)
                repeated += catalog.add_tls(provider, document, reading.config.tls)
                repeated += catalog.streams.add(provider, document, reading.config)
                for item, first in repeated:
                    origin = first.document.origin if first.document is not None else provider
                    item.warning(found, f"already defined in {origin}; that one wins")
                broken |= {
                    qualify(name, provider)
                    for section, kind, name in reading.broken
                    if (section, kind) == ("http", "routers")
                }
                catalog.streams.broken |= {
                    (section, qualify(name, provider))
                    for section, kind, name in reading.broken
                    if kind == "routers"
                }
        self._readings = readings
        return self._compiler.compile(catalog, frozenset(broken), found, generation, suspicions=suspicions)

    def _read(self, document: Document, provider: str) -> Reading:
        known = self._readings.get(document)
        if known is not None:
            return known
        reading = read_dynamic(document, v1_retry=self._v1_retry)
        before = next((old for other, old in self._readings.items() if other.origin == document.origin), None)
        return reading if before is None else _reuse(before, reading)


def _reuse(before: Reading, now: Reading) -> Reading:
    """The new reading, with every object that did not change replaced by the instance from before."""
    old, new = before.config.http, now.config.http
    http = HttpConfig(
        routers=_same_objects(old.routers, new.routers),
        services=_same_objects(old.services, new.services),
        middlewares=_same_objects(old.middlewares, new.middlewares),
        servers_transports=_same_objects(old.servers_transports, new.servers_transports),
    )
    config: DynamicConfig = msgspec.structs.replace(now.config, http=http)
    return msgspec.structs.replace(now, config=config)


def _same_objects(old: dict[str, T], new: dict[str, T]) -> dict[str, T]:
    return {name: old[name] if name in old and old[name] == value else value for name, value in new.items()}

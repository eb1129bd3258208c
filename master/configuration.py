"""The configuration as a start would find it, read and compiled without starting anything.

Static settings, providers and compiler are those of ``start``; each provider runs just until it has spoken
once. What ``check`` reports and what ``explain -c`` explains is therefore what would serve.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import trio

from master import stored_settings
from master.aggregator import Aggregator
from master.compiler.compiler import Compiled
from providers.base import Provider, Snapshot
from providers.registry import make_providers
from shared.config.diagnostics import Diagnostic, Position, Severity
from shared.config.documents import Document
from shared.config.sources import StaticConfigError, StaticLoad, load_static
from shared.config.static import StaticConfig
from shared.errors import ConfigError, ProviderError

PROVIDER_WAIT_S = 30.0
"""How long a provider may take to speak; a start would go on without it."""


class Configuration(msgspec.Struct, frozen=True):
    """Everything that was said, and what came of it.

    Attributes:
        static: the settings; None if they cannot be used, and then nothing was compiled.
        compiled: what would be served.
        found: every problem once, by place.
    """

    static: StaticConfig | None
    compiled: Compiled | None
    found: tuple[Diagnostic, ...]

    def count(self, severity: Severity) -> int:
        """How many problems are this bad."""
        return sum(each.severity is severity for each in self.found)


def read_configuration(static_args: Sequence[str], *, suspicions: bool = False) -> Configuration:
    """Read and compile. Blocks: it reads files and asks providers.

    Args:
        static_args: static settings as flags, as for ``start``.
        suspicions: also look for what is legal but probably not meant.
    """
    try:
        load = load_static(list(static_args), os.environ, Path.cwd(), stored=stored_settings.reader(None))
    except StaticConfigError as error:
        return Configuration(None, None, _ordered(error.found))
    found = list(load.found)
    try:
        providers = make_providers(load.config, load.document)
    except ConfigError as error:
        found.append(_problem(error.path, error.reason, error.hint, load.document))
        return Configuration(load.config, None, _ordered(found))
    snapshots, silent = trio.run(_ask_all, providers)
    aggregator = Aggregator(load.config)
    for snapshot in snapshots:
        aggregator.take(snapshot)
    compiled = aggregator.compile(1, suspicions=suspicions)
    found += silent
    found += (_with_place(each, load) for each in compiled.found)
    return Configuration(load.config, compiled, _ordered(found))


async def _ask_all(providers: Sequence[Provider]) -> tuple[list[Snapshot], list[Diagnostic]]:
    """The first snapshot of each provider, and what is wrong with those that gave none."""
    snapshots: list[Snapshot] = []
    problems: list[Diagnostic] = []

    async def ask(provider: Provider) -> None:
        try:
            snapshots.append(await _first_snapshot(provider))
        except ProviderError as error:
            problems.append(Diagnostic(Severity.ERROR, ("providers", provider.name), error.reason))

    async with trio.open_nursery() as nursery:
        for provider in providers:
            nursery.start_soon(ask, provider)
    return snapshots, problems


async def _first_snapshot(provider: Provider) -> Snapshot:
    """What a provider says first.

    Raises:
        ProviderError: it fails, or says nothing in time.
    """
    spoken: list[Snapshot] = []
    with trio.CancelScope(deadline=trio.current_time() + PROVIDER_WAIT_S) as scope:

        def take(snapshot: Snapshot) -> None:
            spoken.append(snapshot)
            scope.cancel()

        try:
            await provider.run(take)
        except BaseExceptionGroup as group:
            # A provider's nursery wraps its failure; the cancellation that ends it well stays outside.
            failures, rest = group.split(ProviderError)
            if failures is None or rest is not None:
                raise
            raise _first_leaf(failures) from group
    if not spoken:
        raise ProviderError(provider.name, f"said nothing within {PROVIDER_WAIT_S:g} s")
    return spoken[0]


def _first_leaf(group: BaseExceptionGroup[ProviderError]) -> ProviderError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _with_place(problem: Diagnostic, load: StaticLoad) -> Diagnostic:
    """The compiler knows the paths of static settings, but not the file they were written in."""
    if problem.position is not None or problem.path[:1] != ("entryPoints",) or load.document is None:
        return problem
    return msgspec.structs.replace(problem, position=load.document.locate(problem.path))


def _problem(dotted: str, reason: str, hint: str | None, document: Document | None) -> Diagnostic:
    path = tuple(dotted.split(".")) if dotted else ()
    position = document.locate(path) if document is not None else None
    return Diagnostic(Severity.ERROR, path, reason, hint, position)


def _ordered(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each problem once, by file and place; problems without a place come first."""
    return tuple(sorted(dict.fromkeys(found), key=_place))


def _place(problem: Diagnostic) -> tuple[str, int, int]:
    position = problem.position or Position("")
    return (position.file, position.line, position.column)

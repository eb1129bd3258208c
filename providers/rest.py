"""The REST provider: what somebody puts over the API, kept in memory (spec v1 section 6.1, v2 section 8.7).

It has no source to ask. It says at once that there is nothing yet, so that nobody waits for it, and from then
on what it was given last.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from providers.base import Provider, Publish, Snapshot
from shared.config.documents import Document
from shared.config.static import StaticConfig


class RestProvider:
    """Publishes what it is given.

    Args:
        name: ``web`` where v1's ``[web]`` feeds it, else ``rest``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.document: Document | None = None
        self._publish: Publish | None = None

    def validate(self) -> None:
        """There are no settings that could be wrong."""

    def put(self, document: Document) -> None:
        """Replace everything that was said before."""
        self.document = document
        self.reread()

    async def run(self, publish: Publish) -> None:
        """Publish what there is, and whatever is put later."""
        self._publish = publish
        self.reread()
        await trio.sleep_forever()

    def reread(self) -> None:
        """Say it again: there is nowhere to look."""
        if self._publish is not None:
            self._publish(Snapshot(self.name, (self.document,) if self.document is not None else ()))


def hand_down(before: Iterable[Provider], now: Iterable[Provider]) -> None:
    """What was put stays when static settings change: it is nowhere else."""
    for old in before:
        for new in now:
            if isinstance(old, RestProvider) and isinstance(new, RestProvider) and old.name == new.name:
                new.document = old.document


def rest_provider_name(config: StaticConfig) -> str | None:
    """The name under which these settings let rules be put; None if they do not."""
    if config.v1 is not None and config.v1.web is not None:
        return "web"
    return "rest" if config.providers.rest is not None else None


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.rest`` or ``[web]``."""
    name = rest_provider_name(config)
    return [RestProvider(name)] if name is not None else []

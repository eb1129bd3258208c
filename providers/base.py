"""What a provider is: construct (no side effects) -> validate -> run(publish) until cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from shared.config.diagnostics import Diagnostic
from shared.config.documents import Document


class Snapshot(msgspec.Struct, frozen=True):
    """The whole of what a provider says at one moment.

    Attributes:
        provider: its name as it appears behind ``@``.
        documents: parsed texts, in order of precedence; an unchanged document is the same object as in the
            snapshot before, so that nobody needs to read it again.
        problems: what could not be read at all (the last good documents stand in their place).
    """

    provider: str
    documents: tuple[Document, ...]
    problems: tuple[Diagnostic, ...] = ()


Publish = Callable[[Snapshot], None]
"""Hands a snapshot over; never waits."""


class Provider(Protocol):
    """A source of dynamic configuration, run as one trio task in the master."""

    @property
    def name(self) -> str:
        """The name behind ``@``."""

    def validate(self) -> None:
        """Check the settings before anything starts.

        Raises:
            ConfigError: they cannot work.
        """

    async def run(self, publish: Publish) -> None:
        """Publish whole snapshots until cancelled.

        Raises:
            ProviderError: the source failed; the caller restarts the provider later.
        """

    def reread(self) -> None:
        """Look at the source again now (SIGHUP). May be called at any time, from the same thread."""

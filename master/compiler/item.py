"""One object of the configuration, with the place it was written in."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from shared.config.diagnostics import Diagnostics, Path
from shared.config.documents import Document

T = TypeVar("T")


class Item(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """One object and where it comes from.

    Attributes:
        name: qualified, ``web@file``.
        provider: the part behind ``@``.
        value: the object as decoded; the same instance as long as it did not change.
        document: the text it stands in, None for internal objects.
        path: its place in that text.
    """

    name: str
    provider: str
    value: T
    document: Document | None = None
    path: Path = ()

    def error(self, found: Diagnostics, reason: str, hint: str | None = None, *inner: str | int) -> None:
        """Record an error of this object, with its position."""
        located = Diagnostics(self.document)
        located.error((*self.path, *inner), reason, hint)
        found.extend(located)

    def warning(self, found: Diagnostics, reason: str, hint: str | None = None, *inner: str | int) -> None:
        """Record a warning about this object, with its position."""
        located = Diagnostics(self.document)
        located.warning((*self.path, *inner), reason, hint)
        found.extend(located)

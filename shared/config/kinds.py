"""The scalar kinds that settings have beyond Python's own, as annotations the decoder reads.

A field says ``Duration`` and the decoder knows that ``"1m30s"``, ``90`` and ``"90"`` are all 90.0 seconds.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Duration = Annotated[float, msgspec.Meta(extra={"kind": "duration"})]
"""Seconds; written as a Go duration or as a bare number of seconds (spec v2 section 1.4)."""

Internal = msgspec.Meta(extra={"kind": "internal"})
"""Marks a field that translators set and that no document may name."""


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A table of settings. Python names are snake_case, written names camelCase, matched in any case."""


class EmptySection(Section, frozen=True):
    """A section that may be written empty (``tls: {}`` or ``--tls=true``); all others need a setting."""


class OneKind(Section, frozen=True):
    """A section that says what it is by which one of its fields is written; that field may not be empty."""

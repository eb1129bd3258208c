"""Bytes that travel in a table and are never shown."""

from __future__ import annotations

import msgspec


class Secret(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that must not be shown."""

    value: bytes

    def __repr__(self) -> str:
        return "Secret(...)"

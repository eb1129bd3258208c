"""Consul's key-value table: one counter for all writes, and what each thing's index is.

Every write takes the next number. The index of a key is that of its last write; of a prefix the highest of
its keys and of the deletions remembered below it; of nothing, the highest of the whole table, at least 1.
Writing the same value and flags again changes nothing.
"""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass
from typing import Any

FIRST_INDEX = 6
"""Where a new server's counter stands: its other tables have written before anybody writes a key."""


@dataclass
class Entry:
    """A key's value and when it was written."""

    value: bytes
    flags: int
    created: int
    modified: int


class RollbackError(Exception):
    """A transaction failed; nothing of it happened."""

    def __init__(self, position: int, what: str) -> None:
        self.position, self.what = position, what


class Table:
    """The table. Its condition is notified at every write; hold it for several calls at one moment."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.entries: dict[str, Entry] = {}
        self.deletions: dict[str, int] = {}
        self.index = FIRST_INDEX

    def wipe(self) -> None:
        """Start again low, as a new cluster does."""
        with self.changed:
            self.entries, self.deletions, self.index = {}, {}, FIRST_INDEX
            self.changed.notify_all()

    def forget_deletions(self) -> None:
        """What Consul does about 15 minutes after them: indexes may fall."""
        with self.changed:
            self.deletions.clear()

    def index_of(self, key: str, *, recurse: bool) -> int:
        """The index of a key, or of all below a prefix."""

        def counts(name: str) -> bool:
            return name.startswith(key) if recurse else name == key

        found = [each.modified for name, each in self.entries.items() if counts(name)]
        if recurse:
            found += [index for name, index in self.deletions.items() if counts(name)]
        if not found:
            found = [*(each.modified for each in self.entries.values()), *self.deletions.values()]
        return max([1, *found])

    def keys_below(self, prefix: str) -> list[str]:
        """Keys in byte order."""
        return sorted((name for name in self.entries if name.startswith(prefix)), key=str.encode)

    def put(self, key: str, value: bytes, flags: int = 0, index: int | None = None) -> None:
        """Write a key, at a new index or as part of a transaction at its one."""
        with self.changed:
            old = self.entries.get(key)
            if old is not None and (old.value, old.flags) == (value, flags):
                return
            at = self._next(index)
            self.entries[key] = Entry(value, flags, old.created if old is not None else at, at)
            self.changed.notify_all()

    def delete(self, keys: list[str], index: int | None = None) -> None:
        """Remove keys, all at one index."""
        with self.changed:
            present = [each for each in keys if each in self.entries]
            if not present:
                return
            at = self._next(index)
            for each in present:
                del self.entries[each]
                self.deletions[each] = at
            self.changed.notify_all()

    def transact(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run operations at one index, all or none.

        Raises:
            RollbackError: one of them cannot be done.
        """
        with self.changed:
            before = dict(self.entries), dict(self.deletions), self.index
            results: list[dict[str, Any]] = []
            try:
                at = self._next(None)
                for position, each in enumerate(operations):
                    results += self._operate(position, each["KV"], at)
            except RollbackError:
                self.entries, self.deletions, self.index = before
                raise
            self.changed.notify_all()
            return results

    def _operate(self, position: int, operation: dict[str, Any], at: int) -> list[dict[str, Any]]:
        key, verb = operation["Key"], operation["Verb"]
        entry = self.entries.get(key)
        match verb:
            case "set":
                value = base64.b64decode(operation.get("Value") or "")
                self.put(key, value, operation.get("Flags", 0), at)
                return [{"KV": {**describe(key, self.entries[key]), "Value": None}}]
            case "cas":
                if (entry.modified if entry is not None else 0) != operation.get("Index", 0):
                    raise RollbackError(position, f'failed to set key "{key}", index is stale')
                return self._operate(position, {**operation, "Verb": "set"}, at)
            case "get":
                if entry is None:
                    raise RollbackError(position, f'key "{key}" doesn\'t exist')
                return [{"KV": describe(key, entry)}]
            case "get-tree":
                return [{"KV": describe(each, self.entries[each])} for each in self.keys_below(key)]
            case "check-not-exists":
                if entry is not None:
                    raise RollbackError(position, f'key "{key}" exists')
                return []
            case "delete":
                self.delete([key], at)
                return []
            case "delete-tree":
                self.delete(self.keys_below(key), at)
                return []
        raise RollbackError(position, f'unknown KV verb "{verb}"')

    def _next(self, index: int | None) -> int:
        if index is not None:
            return index
        self.index += 1
        return self.index


def describe(key: str, entry: Entry) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "LockIndex": 0,
        "Key": key,
        "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() or None,
        "CreateIndex": entry.created,
        "ModifyIndex": entry.modified,
    }

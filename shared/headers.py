"""Header fields of one message: ordered, case-insensitive by name, spelling and order kept.

Names and values are bytes as on the wire. Looking a name up folds its case; the spelling that was received
(or configured) is what is sent on.

Source: RFC 9110 section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Field = tuple[bytes, bytes]
FoldedField = tuple[bytes, bytes, bytes]
"""The name in lower case, the name as spelled, the value."""


class Headers:
    """A mutable list of fields.

    Args:
        fields: (name, value) pairs in wire order, value without surrounding white space.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self._fields: list[FoldedField] = [(name.lower(), name, value) for name, value in fields]

    @classmethod
    def of_folded(cls, fields: list[FoldedField]) -> Headers:
        """Of fields whose names have been folded; the list is taken over."""
        made = cls.__new__(cls)
        made._fields = fields
        return made

    def folded(self) -> list[FoldedField]:
        """A copy of the fields, with their folded names."""
        return self._fields.copy()

    def get(self, name: bytes) -> bytes | None:
        """The first value of ``name``, or None."""
        folded = name.lower()
        for each, _, value in self._fields:
            if each == folded:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of ``name``, in order; lines are not joined or split."""
        folded = name.lower()
        return [value for each, _, value in self._fields if each == folded]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma list, over all lines, lower-case, empty ones left out."""
        joined = b",".join(self.get_all(name))
        return [token for part in joined.split(b",") if (token := part.strip(b" \t").lower())]

    def add(self, name: bytes, value: bytes) -> None:
        """Append a line."""
        self._fields.append((name.lower(), name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Make ``value`` the only line of ``name``, in the place of the first one."""
        folded = name.lower()
        kept: list[FoldedField] = []
        placed = False
        for each in self._fields:
            if each[0] != folded:
                kept.append(each)
            elif not placed:
                kept.append((folded, name, value))
                placed = True
        if not placed:
            kept.append((folded, name, value))
        self._fields = kept

    def remove(self, *names: bytes) -> None:
        """Drop every line of these names."""
        folded = {name.lower() for name in names}
        self._fields = [each for each in self._fields if each[0] not in folded]

    def names(self) -> list[bytes]:
        """The folded name of every line, in order, with repeats."""
        return [each for each, _, _ in self._fields]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.of_folded(self._fields.copy())

    def __contains__(self, name: bytes) -> bool:
        folded = name.lower()
        return any(each == folded for each, _, _ in self._fields)

    def __iter__(self) -> Iterator[Field]:
        return ((name, value) for _, name, value in self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

"""The attack corpus, read from its files (tests/corpus/README.md describes the form)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "corpus"

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|\{(\d+):((?:[^}\\]|\\.)*)\}|(.))", re.DOTALL)
_SIMPLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_HOLE = "<>"


@dataclass(frozen=True)
class Entry:
    """One message and what is expected of it.

    Attributes:
        name: file, message and row: ``07-rfc9112-6.1-transfer-encoding/coding/identity``.
        raw: the message.
        words: the expectation (``ok``, ``400``, ``cut close`` …), split.
        target: what the server must see, None for the target as sent.
    """

    name: str
    raw: bytes
    words: tuple[str, ...]
    target: bytes | None

    @property
    def group(self) -> str:
        """The file it stands in."""
        return self.name.split("/", 1)[0]

    @property
    def expected(self) -> str:
        """The first word of the expectation."""
        return self.words[0]


def read_corpus(kind: str) -> list[Entry]:
    """Every entry below ``tests/corpus/<kind>``, in order of the files."""
    entries: list[Entry] = []
    for path in sorted((CORPUS / kind).glob("*.http")):
        entries += _read_file(path)
    names = [entry.name for entry in entries]
    repeated = {name for name in names if names.count(name) > 1}
    assert not repeated, f"names that stand twice: {repeated}"
    return entries


def _read_file(path: Path) -> list[Entry]:
    entries: list[Entry] = []
    # Not splitlines(): it takes other characters than \n for line ends.
    _, *blocks = ("\n" + path.read_text(encoding="ascii").removesuffix("\n")).split("\n@ ")
    for block in blocks:
        heading, *lines = block.split("\n")
        name, expectation = heading.split(" ", 1)
        rows = [line for line in lines if line.startswith("|")]
        message = _join([line for line in lines if not line.startswith("|")])
        full = f"{path.stem}/{name}"
        if not rows:
            assert _HOLE not in message, f"{full}: a hole without rows"
            entries.append(_make(full, message, expectation))
        for row in rows:
            cells = row.split("|")
            assert len(cells) in (4, 5), f"{full}: not a row: {row}"
            filled = message.replace(_HOLE, cells[2])
            entries.append(_make(f"{full}/{cells[1]}", filled, cells[3] or expectation))
    return entries


def _join(lines: list[str]) -> str:
    message = "\r\n".join(lines).replace("\\\r\n", "")
    return message[:-1] if lines and lines[-1].endswith("\\") else message


def _make(name: str, message: str, expectation: str) -> Entry:
    words, _, target = expectation.partition("->")
    return Entry(name, unescape(message), tuple(words.split()), target.strip().encode() or None)


def unescape(text: str) -> bytes:
    """The bytes that a text of the corpus stands for."""
    out, at = b"", 0
    for found in _ESCAPE.finditer(text):
        out += text[at : found.start()].encode("ascii") + _value(found)
        at = found.end()
    return out + text[at:].encode("ascii")


def _value(found: re.Match[str]) -> bytes:
    hexadecimal, count, repeated, simple = found.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if count:
        return int(count) * unescape(repeated)
    return _SIMPLE[simple]

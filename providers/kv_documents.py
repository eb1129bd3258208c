"""Reading after reading of one store as documents, of which those that did not change stay the same objects.

Nobody reads an unchanged document again. So a large tree becomes many documents: the objects of ``http`` are
spread over them by their names, ``tcp``, ``udp`` and ``tls`` are in the first. A change of one key then costs
the reading of one of them. v1's tables refer to each other and are one document, of its own beside v2's.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from providers.kv import KeyDocument, KeyTree, document_of
from providers.kv_v1 import Keeps
from shared.config.diagnostics import Diagnostic
from shared.config.documents import V1_ROOTS, V2_ROOTS, Document

SPLIT_FROM = 2_000
"""Keys; a smaller tree is one document. Reading 2,000 keys takes about 20 ms."""
PARTS = 64
"""Documents for the objects of ``http``; at 10,000 routers each holds some 500 keys."""
KINDS = frozenset({"routers", "services", "middlewares", "serverstransports"})

_Made = tuple[KeyTree, KeyDocument, tuple[Diagnostic, ...]]


class DocumentMaker:
    """Translates the readings of one store.

    Args:
        store: the provider's name.
        keeps: v1's constraints over the tags of servers.
    """

    def __init__(self, store: str, keeps: Keeps = lambda tags: True) -> None:
        self._store = store
        self._keeps = keeps
        self._made: dict[int, _Made] = {}

    def translate(self, tree: KeyTree) -> tuple[tuple[Document, ...], tuple[Diagnostic, ...]]:
        """The documents that a tree says, at least one, and what was left out of them."""
        made: dict[int, _Made] = {}
        for part, pairs in sorted(_split(tree.pairs).items()):
            own = KeyTree(tree.root, pairs)
            before = self._made.get(part)
            if before is not None and before[0] == own:
                made[part] = before
            else:
                made[part] = (own, *document_of(own, self._store, self._keeps, part))
        self._made = made
        problems = tuple(each for _, _, found in made.values() for each in found)
        return tuple(document for _, document, _ in made.values()), problems


def _split(pairs: Mapping[str, bytes]) -> dict[int, Mapping[str, bytes]]:
    """The keys by part; there is at least one."""
    legacy = {key: value for key, value in pairs.items() if _root(key) in V1_ROOTS}
    if not legacy:
        return _split_large(pairs)
    rest = {key: value for key, value in pairs.items() if _root(key) in V2_ROOTS}
    if not rest:
        return {0: legacy}
    # A document is of one dialect, in whose words messages speak of its objects.
    return {**_split_large(rest), PARTS + 1: legacy}


def _split_large(pairs: Mapping[str, bytes]) -> dict[int, Mapping[str, bytes]]:
    if len(pairs) < SPLIT_FROM:
        return {0: pairs}
    parts: dict[int, dict[str, bytes]] = {0: {}}
    for key, value in pairs.items():
        words = key.split("/", 3)
        part = 0
        if len(words) == 4 and words[0].casefold() == "http" and words[1].casefold() in KINDS:
            part = 1 + zlib.crc32(words[2].encode()) % PARTS
        elif "//" in key:
            return {0: pairs}  # an object may be spelled in several ways, and must stay in one document
        parts.setdefault(part, {})[key] = value
    return dict(parts)


def _root(key: str) -> str:
    return key.partition("/")[0].casefold()

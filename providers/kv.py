"""Keys to a document: what a key-value store holds below a root, in the words that files use. Pure.

Both layouts are one nesting: each path element is a table, each value a text (spec v1 section 5f, spec v2
section 8.5). Which roots there are decides the dialect, as in a file: ``frontends`` and ``backends`` are v1's
(``providers.kv_v1`` has what only its key layout means), ``http``, ``tcp``, ``udp`` and ``tls`` are v2's.
All other roots are left alone: static settings and other programs' keys stand there.

- Where a key has a value and keys below it, those below count (``middlewares`` and ``middlewares/0``).
- Lists are tables of numbers, in the order of the keys as text: ``10`` stands before ``2``.
- A leading slash means nothing, neither in keys nor in the root. A key that ends in a slash is a folder.
- A value that is not UTF-8 stays bytes, which no setting accepts: its object is disabled, and only that.

``alias`` below the root names another root, and then the whole configuration is read from there: the way to
change many keys at once in stores that have no transactions, and an honest one in those that have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from providers.kv_v1 import Keeps, complete_v1
from shared.config.diagnostics import Diagnostic, Path, Position, Severity
from shared.config.documents import V1_ROOTS, V2_ROOTS, Document

ALIAS = "alias"
"""The key below the root whose value is another root."""
MAX_KEYS = 1_000_000
"""Keys of one tree; 100,000 routers with their services take about 400,000."""
MAX_TREE_BYTES = 256 * 1024 * 1024
"""Keys and values of one tree together; 100,000 routers take about 40 MB."""
MAX_DEPTH = 32
"""Path elements of a key; the deepest setting there is has 12."""


class TreeTooLargeError(ValueError):
    """A tree is over ``MAX_KEYS`` or ``MAX_TREE_BYTES``."""


class KeyTree(NamedTuple):
    """What a store held at one moment (one revision, one index, one transaction).

    Attributes:
        root: where the keys stand, as the store spells it; the alias's target if there is one.
        pairs: keys below the root, without leading slash, and their values.
        is_aliased: whether ``root`` was named by the alias key.
    """

    root: str
    pairs: Mapping[str, bytes]
    is_aliased: bool = False


def spellings(root: str) -> tuple[str, ...]:
    """A root as it may be spelled in stores of flat keys: as configured, and with the other leading slash.

    Returns:
        Without trailing slash; append ``/`` for the prefix of its keys.
    """
    bare = root.strip("/")
    return (f"/{bare}", bare) if root.startswith("/") else (bare, f"/{bare}")


def alias_of(pairs: Mapping[str, bytes]) -> str | None:
    """The root that the alias key names, None if there is no such key or it is empty.

    Args:
        pairs: keys below the configured root.
    """
    target = pairs.get(ALIAS, b"").decode("utf-8", "replace").strip().rstrip("/")
    return target or None


def keys_below(root: str, pairs: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The keys below a root in any spelling of it, relative; those as configured win over the others.

    Args:
        root: as configured.
        pairs: full keys and values.

    Raises:
        TreeTooLargeError: there are too many.
    """
    ours, others = (f"{each}/" for each in spellings(root))
    found: dict[str, bytes] = {}
    as_configured: dict[str, bytes] = {}
    size = 0
    for key, value in pairs:
        if key.startswith(ours):
            as_configured[key[len(ours) :].lstrip("/")] = value
        elif key.startswith(others):
            found[key[len(others) :].lstrip("/")] = value
        else:
            continue
        size += len(key) + len(value)
        if size > MAX_TREE_BYTES or len(found) + len(as_configured) > MAX_KEYS:
            raise TreeTooLargeError(f"more than {MAX_KEYS} keys or {MAX_TREE_BYTES} bytes below {root}")
    found |= as_configured
    return found


def tree_of(root: str, pairs: Mapping[str, bytes]) -> KeyTree:
    """The tree below a root of a store that was read as a whole, with its alias followed once.

    Args:
        root: as configured.
        pairs: full keys and values.

    Raises:
        TreeTooLargeError: there are too many.
    """
    own = keys_below(root, pairs.items())
    target = alias_of(own)
    if target is None:
        return KeyTree(root, own)
    return KeyTree(target, keys_below(target, pairs.items()), is_aliased=True)


class KeyDocument(Document):
    """A document that knows the key of each setting.

    Args:
        tree: nested keys.
        store: the provider's name, for messages.
        root: where the keys stand.
        part: which of several documents of one store this is; 0 if it is the only one.
    """

    __slots__ = ("_root", "_store")

    def __init__(self, tree: dict[str, Any], store: str, root: str, part: int = 0) -> None:
        super().__init__(tree, f"{store} part {part}" if part else store)
        self._store = store
        self._root = root

    def locate(self, path: Path) -> Position:
        """The key of a setting, or of its nearest ancestor that there is."""
        node: object = self.tree
        parts: list[str] = []
        for wanted in path:
            name = _child(node, wanted)
            if name is None or not isinstance(node, dict):
                break
            parts.append(name)
            node = node[name]
        return position_of(self._store, self._root, "/".join(parts))


def position_of(origin: str, root: str, key: str) -> Position:
    """Where a key stands, as messages show it: ``etcd:traefik/http/routers/web/rule``."""
    return Position(f"{origin}:{root}/{key}" if key else f"{origin}:{root}")


def document_of(
    tree: KeyTree, origin: str, keeps: Keeps = lambda tags: True, part: int = 0
) -> tuple[KeyDocument, tuple[Diagnostic, ...]]:
    """The document that a tree says.

    Args:
        tree: one consistent reading.
        origin: the provider's name.
        keeps: v1's constraints, over the tags of each server.
        part: which of several documents of the store this is.

    Returns:
        The document, and what was left out of it, with the key of each.
    """
    problems: list[Diagnostic] = []
    nested = _nest(tree.pairs, origin, tree.root, problems)
    for path, reason in complete_v1(nested, keeps):
        key = "/".join(path)
        where = position_of(origin, tree.root, key)
        problems.append(Diagnostic(Severity.WARNING, path, reason, position=where))
    return KeyDocument(nested, origin, tree.root, part), tuple(problems)


def _nest(pairs: Mapping[str, bytes], origin: str, root: str, problems: list[Diagnostic]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key in sorted(pairs):
        first = key.partition("/")[0].casefold()
        if first not in V1_ROOTS and first not in V2_ROOTS:
            continue
        *parents, last = key.split("/")
        if not last:  # a folder, as Consul's pages make them
            continue
        if len(parents) >= MAX_DEPTH:
            reason = f"more than {MAX_DEPTH} path elements; it is left out"
            where = position_of(origin, root, key)
            problems.append(Diagnostic(Severity.ERROR, (), reason, position=where))
            continue
        node = tree
        for part in parents:
            if not part:
                continue
            inner = node.get(part)
            if not isinstance(inner, dict):
                inner = node[part] = {}
            node = inner
        if not isinstance(node.get(last), dict):
            node[last] = _text(pairs[key])
    return tree


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _child(node: object, wanted: str | int) -> str | None:
    if not isinstance(node, dict):
        return None
    if isinstance(wanted, int):
        names = list(node)
        return names[wanted] if wanted < len(names) else None
    if wanted in node:
        return wanted
    folded = wanted.casefold()
    return next((name for name in node if name.casefold() == folded), None)

"""One source of static settings as a tree, and how the trees lie over each other.

Sources are layered per key: a flag replaces the one value it names and leaves its neighbours to the file.
Keys are the same in any case, since variables know no case at all. This differs on purpose from the
original, where the first source that says anything silences the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.config.diagnostics import Locator, Path, Position

Tree = dict[str, Any]


class Setting(NamedTuple):
    """One flag or variable.

    Attributes:
        path: the keys it names, as written.
        value: its text.
        origin: what to call it in messages: ``--api.insecure``, ``TRAEFIK_API``.
    """

    path: tuple[str, ...]
    value: str
    origin: str


class Layer(NamedTuple):
    """What one source says.

    Attributes:
        v1: flat settings, spelled as usual; read by ``static_legacy``.
        v2: the v2 tree, spelled as usual.
        is_v1: whether the source as a whole is in the v1 dialect; None if it could be either.
        locator: finds positions in the source.
    """

    v1: Tree
    v2: Tree
    is_v1: bool | None
    locator: Locator


class SettingsLocator:
    """Finds the flag or variable that a path came from."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        self._origins = {_folded(each.path): each.origin for each in settings}

    def locate(self, path: Path) -> Position | None:
        """The setting that names ``path``, its nearest ancestor, or something below it."""
        wanted = _folded(path)
        for end in range(len(wanted), 0, -1):
            if wanted[:end] in self._origins:
                return Position(self._origins[wanted[:end]])
        below = (origin for each, origin in self._origins.items() if each[: len(wanted)] == wanted)
        first = next(below, None)
        return Position(first) if first else None


class StackLocator:
    """Finds a path in the topmost layer that says it.

    Args:
        layers: from the lowest to the topmost.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = list(reversed(list(layers)))

    def locate(self, path: Path) -> Position | None:
        """The position of the setting, or of its nearest ancestor that any layer holds."""
        for end in range(len(path), 0, -1):
            for layer in self._layers:
                for tree in (layer.v2, layer.v1):
                    written = _written(tree, path[:end])
                    if written is not None:
                        return layer.locator.locate(written)
        return None


def build_tree(settings: Iterable[Setting], lists: Iterable[Setting] = ()) -> Tree:
    """The tree that flags or variables spell out.

    The first spelling of a key is kept. A setting that occurs again replaces the earlier one, or, for those
    in ``lists``, adds to it. Saying that a section is off (``--providers.docker=false``) counts whatever
    else is said about the section.
    """
    appended = set(lists)
    tree: Tree = {}
    # Shortest first: a section's own switch is known before its settings.
    for setting in sorted(settings, key=lambda each: len(each.path)):
        _insert(tree, setting, setting in appended)
    return _in_index_order(tree)


def merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    """``base`` with ``over`` on top, per key."""
    merged = dict(base)
    for key, value in over.items():
        at = _same_key(merged, key)
        old = merged.get(at)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[at] = merge(old, value)
        elif not (isinstance(old, dict) and is_on(value)):
            merged[at] = value
    return merged


def is_on(value: object) -> bool:
    """Whether a bare value switches a section on."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _insert(tree: Tree, setting: Setting, append: bool) -> None:
    *parents, last = setting.path
    for part in parents:
        at = _same_key(tree, part)
        inner = tree.get(at)
        if not isinstance(inner, dict):
            if inner is not None and not is_on(inner):
                return  # switched off
            inner = tree[at] = {}
        tree = inner
    at = _same_key(tree, last)
    old = tree.get(at)
    tree[at] = f"{old},{setting.value}" if append and isinstance(old, str) else setting.value


def _in_index_order(tree: Tree) -> Tree:
    """Items of a list in the order of their indexes, whatever order they were written in."""
    items = list(tree.items())
    if tree and all(key.isdecimal() for key in tree):
        items.sort(key=lambda item: int(item[0]))
    return {key: _in_index_order(value) if isinstance(value, dict) else value for key, value in items}


def _same_key(tree: Mapping[str, Any], key: str) -> str:
    """The key of ``tree`` that ``key`` is another spelling of; itself if there is none."""
    if key in tree:
        return key
    folded = key.lower()
    return next((each for each in tree if each.lower() == folded), key)


def _written(tree: Any, path: Path) -> Path | None:  # noqa: ANN401 - a tree of anything
    """``path`` as this tree spells it; None if the tree does not hold it."""
    written: list[str | int] = []
    for part in path:
        if isinstance(tree, dict) and isinstance(part, str):
            part = _same_key(tree, part)
            if part not in tree:
                return None
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
        written.append(part)
    return tuple(written)


def _folded(path: Path) -> tuple[str, ...]:
    return tuple(str(part).lower() for part in path)

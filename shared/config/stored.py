"""v1's static settings as keys of a key-value store, there and back (spec v1 sections 1.5 and 1.8). Pure.

A setting's key is its path: names of settings in lower case, names that people chose (entrypoints) as they
are, items of lists by number. A section has a folder, a key that ends in a slash, so that one without any
setting is seen as well. Dynamic configuration may stand beside them below the same root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.config.decode import written_names
from shared.config.layers import Setting, Tree, is_on
from shared.config.shapes import Shape, find_place
from shared.config.static_v1 import V1Static

_ROOTS = frozenset(name.lower() for name in written_names(V1Static))


def to_pairs(tree: Tree) -> dict[str, str]:
    """Keys below the root, and their values.

    Args:
        tree: v1's settings as they were written, spelled as usual.
    """
    return dict(_pairs(tree, (), ()))


def is_static(key: str) -> bool:
    """Whether a key below the root belongs to a static setting."""
    return key.lstrip("/").partition("/")[0].lower() in _ROOTS


def to_settings(pairs: Mapping[str, bytes], origin: str) -> list[Setting]:
    """The settings that keys say; keys that are none are left alone.

    Args:
        pairs: keys below the root, and their values.
        origin: store and root, for messages: ``consul:traefik``.
    """
    found: list[Setting] = []
    keys = sorted(pairs)
    for key in keys:
        parts = tuple(part for part in key.split("/") if part)
        if not is_static(key):
            continue
        text = pairs[key].decode("utf-8", "replace")
        if key.endswith("/") or not text:
            inner = f"{key.rstrip('/')}/"
            has_settings = any(each.startswith(inner) and each != inner for each in keys)
            if has_settings or find_place(V1Static, parts).shape is not Shape.SECTION:
                continue
            text = "true"
        found.append(Setting(parts, text, f"{origin}/{key}"))
    return found


def _pairs(value: Any, path: tuple[str, ...], key: tuple[str, ...]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a tree of anything
    shape = find_place(V1Static, path).shape if path else Shape.SECTION
    if isinstance(value, Mapping):
        if path and shape is Shape.SECTION:
            yield f"{'/'.join(key)}/", ""
        for name, inner in value.items():
            text = str(name)
            own = text.lower() if shape is Shape.SECTION else text
            yield from _pairs(inner, (*path, text), (*key, own))
    elif shape is Shape.SECTION:
        if is_on(value):
            yield f"{'/'.join(key)}/", ""
    elif shape is Shape.LIST and isinstance(value, str):
        yield from _pairs([each.strip() for each in value.split(",")], path, key)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _pairs(inner, (*path, str(number)), (*key, str(number)))
    elif isinstance(value, bool):
        yield "/".join(key), "true" if value else "false"
    elif value is not None and value != "":
        yield "/".join(key), str(value)

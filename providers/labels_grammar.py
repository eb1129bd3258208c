"""v2's label grammar: ``traefik.http.routers.web.rule=...`` as a tree (spec v2 section 8.2).

Labels are read in the order of their names. Elements are matched in any case; a name of somebody's own keeps
the spelling that came first. ``domains[0]`` and ``domains.0`` are list items; only their order counts, and it
is that of the text (``[10]`` comes before ``[2]``). A section that is also given a value keeps what stands
below it only if the value is ``true``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from providers.labels import Tree, Workload, fold_path, problem, source_of, usable_labels, warning
from shared.config.diagnostics import Diagnostic, Path, nearest_name

ROOT = "traefik"
MAX_ELEMENTS = 20
"""Elements of a label's name; the deepest setting has 9."""

_SECTIONS = ("http", "tcp", "udp")
_STORE = ("tls", "stores", "default")
_OTHER_ROOTS = ("enable", "docker", "swarm", "consulcatalog", "tags", "nomad")
_V1_ROOTS = frozenset({"port", "portindex", "weight", "protocol", "frontend", "backend", "domain"})
_INDEX = re.compile(r"(?P<name>[^\[\]]+)\[(?P<index>\d+)\]")


class LabelTree(NamedTuple):
    """What the labels of one workload say.

    Attributes:
        root: the tree; list items are mappings with their indexes as keys.
        sources: where settings come from, by folded path.
    """

    root: dict[str, Any]
    sources: dict[Path, str]


def read_labels(provider: str, workload: Workload) -> tuple[LabelTree, list[Diagnostic]]:
    """The tree of a workload's routing labels, and what is wrong with labels as such."""
    usable, found = usable_labels(provider, workload)
    tree = Tree(any_case=True)
    values: dict[Path, str] = {}
    for label, value in usable.items():
        elements = label.split(".")
        if elements[0].casefold() != ROOT or len(elements) < 2:
            continue
        if not _is_routing(elements):
            found += _about_others(provider, workload, label, elements)
            continue
        if elements[0] != ROOT:
            found.append(problem(provider, workload, f"invalid label root {elements[0]}", label))
            continue
        path = _path(elements[1:])
        if path is None or len(path) > MAX_ELEMENTS:
            found.append(
                problem(provider, workload, "not a name of settings joined by dots; left out", label)
            )
            continue
        values[path] = label
        _put(tree, path, value, source_of(workload, label))
    return LabelTree(tree.root, tree.sources), found


def _put(tree: Tree, path: tuple[str, ...], value: str, source: str) -> None:
    """Set a value; a section written as ``true`` gives way to what stands below it, and only then."""
    at = tree.get(path)
    if isinstance(at, dict):
        if value.lower() != "true":
            _replace(tree, path, value, source)
        return
    for length in range(1, len(path)):
        above = tree.get(path[:length])
        if isinstance(above, str):
            if above.lower() != "true":
                return
            _replace(tree, path[:length], {}, source)
    tree.put(path, value, source)


def _replace(tree: Tree, path: tuple[str, ...], value: object, source: str) -> None:
    parent = tree.get(path[:-1]) if len(path) > 1 else tree.root
    assert isinstance(parent, dict), "something stands below it"
    key = next(each for each in parent if each.casefold() == path[-1].casefold())
    parent[key] = value
    tree.sources[fold_path(path)] = source


def _is_routing(elements: list[str]) -> bool:
    second = elements[1].casefold()
    return second in _SECTIONS or tuple(each.casefold() for each in elements[1:4]) == _STORE


def _path(elements: list[str]) -> tuple[str, ...] | None:
    path: list[str] = []
    for element in elements:
        indexed = _INDEX.fullmatch(element)
        if indexed is not None:
            path += (indexed["name"], indexed["index"])
        elif not element or "[" in element or "]" in element:
            return None
        else:
            path.append(element)
    return tuple(path)


def _about_others(provider: str, workload: Workload, label: str, elements: list[str]) -> list[Diagnostic]:
    """Labels that are no routing labels: those of v1, and what is probably misspelt."""
    second = elements[1].casefold()
    if second in _OTHER_ROOTS:
        return []
    if second in _V1_ROOTS:
        reason = "a label of v1, which is read only under v1's own provider section"
        return [warning(provider, workload, reason, label)]
    hint = nearest_name(second, (*_SECTIONS, *_OTHER_ROOTS))
    reason = f'unknown label "{label}"'
    return [
        warning(provider, workload, f'{reason}; did you mean "{ROOT}.{hint}"?' if hint else reason, label)
    ]

"""What v1's key layout means beyond its files (spec v1 section 5f, column C). Pure.

The nesting of keys is v1's own, so ``shared.config.legacy`` reads it. Changed here is only what keys mean and
files do not: ``passHostHeader`` is true unless written; a server without address, a frontend without its
backend, a limit or a stickiness of which one half is missing are not there (yet: trees are written key by
key). A server's tags are for constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Found = tuple[tuple[str, ...], str]
"""Path of what was left out, and why."""
Keeps = Callable[[list[str]], bool]
"""Whether a server with these tags is wanted."""


def complete_v1(tree: dict[str, Any], keeps: Keeps) -> Iterator[Found]:
    """Complete the v1 part of a tree in place.

    Args:
        tree: nested keys, which are changed.
        keeps: decides over servers by their tags; a server without any has one empty tag.

    Yields:
        What was left out.
    """
    roots = {root.casefold(): (root, table) for root, table in tree.items() if isinstance(table, dict)}
    backends_root, backends = roots.get("backends", ("backends", {}))
    for name, backend in backends.items():
        if isinstance(backend, dict):
            yield from _complete_backend(backend, (backends_root, name), keeps)
    frontends_root, frontends = roots.get("frontends", ("frontends", {}))
    for name in list(frontends):
        frontend = frontends[name]
        if not isinstance(frontend, dict):
            continue
        backend = _get(frontend, "backend")
        if isinstance(backend, str) and backend in backends:
            if _key(frontend, "passHostHeader") is None:
                frontend["passHostHeader"] = "true"
            continue
        del frontends[name]
        unknown = f'there is no backend "{backend}"' if isinstance(backend, str) else "it names no backend"
        yield (frontends_root, name), f"{unknown}; the frontend is left out"


def _complete_backend(backend: dict[str, Any], path: tuple[str, ...], keeps: Keeps) -> Iterator[Found]:
    yield from _drop_halves(backend, path)
    servers_key = _key(backend, "servers")
    servers = backend.get(servers_key) if servers_key is not None else None
    if servers_key is None or not isinstance(servers, dict):
        return
    for name in list(servers):
        server = servers[name]
        if not isinstance(server, dict):
            continue
        tags_key = _key(server, "tags")
        tags = server.pop(tags_key) if tags_key is not None else ""
        if not keeps(_tags(tags)):
            del servers[name]
        elif _key(server, "url") is None:
            del servers[name]
            yield (*path, servers_key, name), "it has no url; the server is left out"


def _drop_halves(backend: dict[str, Any], path: tuple[str, ...]) -> Iterator[Found]:
    """Settings that count only together."""
    for section_name, wanted in (("loadBalancer", ("method",)), ("maxConn", ("amount", "extractorFunc"))):
        section_key = _key(backend, section_name)
        section = backend.get(section_key) if section_key is not None else None
        if section_key is None or not isinstance(section, dict):
            continue
        missing = [name for name in wanted if _key(section, name) is None]
        if not missing:
            continue
        dropped = list(section) if section_name == "maxConn" else ["sticky"]
        for name in dropped:
            key = _key(section, name)
            if key is not None:
                del section[key]
                yield (*path, section_key, key), f"it counts only with {' and '.join(missing)}; left out"
        if not section:
            del backend[section_key]


def _tags(value: object) -> list[str]:
    if isinstance(value, dict):
        return [str(each) for each in value.values()]
    return [each.strip() for each in str(value).split(",")]


def _get(table: dict[str, Any], name: str) -> object:
    key = _key(table, name)
    return table[key] if key is not None else None


def _key(table: dict[str, Any], name: str) -> str | None:
    """The key as it is written, in any case: settings are read that way."""
    if name in table:
        return name
    folded = name.casefold()
    return next((key for key in table if key.casefold() == folded), None)

"""Routes as keys, in both layouts: for the kits of all key-value stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.support.kits.base import Route


class Layout(NamedTuple):
    """How a route is written below a root.

    Attributes:
        pairs: keys and values of a route, in the order they are written.
        half: how many of them are half a route, which nothing may serve.
        spoilt: the pair that makes a route unusable.
        folders: prefixes that hold all keys of a route.
    """

    pairs: Callable[[Route], dict[str, str]]
    half: int
    spoilt: Callable[[Route], tuple[str, str]]
    folders: Callable[[Route], tuple[str, ...]]


def _v2_pairs(route: Route) -> dict[str, str]:
    return {
        f"http/routers/{route.name}/rule": f"Host(`{route.host}`)",
        f"http/routers/{route.name}/service": route.name,
        f"http/services/{route.name}/loadBalancer/servers/0/url": route.url,
    }


def _v1_pairs(route: Route) -> dict[str, str]:
    return {
        f"frontends/{route.name}/routes/main/rule": f"Host:{route.host}",
        f"frontends/{route.name}/backend": route.name,
        f"backends/{route.name}/servers/s1/url": route.url,
        f"backends/{route.name}/servers/s1/weight": "1",
    }


V2 = Layout(
    _v2_pairs,
    1,
    lambda route: (f"http/routers/{route.name}/bogus", "1"),
    lambda route: (f"http/routers/{route.name}/", f"http/services/{route.name}/"),
)
V1 = Layout(
    _v1_pairs,
    1,
    lambda route: (f"frontends/{route.name}/passHostHeader", "maybe"),
    lambda route: (f"frontends/{route.name}/", f"backends/{route.name}/"),
)


def pairs_of(layout: Layout, root: str, routes: Sequence[Route]) -> dict[str, str]:
    """Full keys of routes."""
    return {f"{root}/{key}": value for route in routes for key, value in layout.pairs(route).items()}


def half_of(layout: Layout, root: str, route: Route) -> Mapping[str, str]:
    """The first half of a route."""
    pairs = list(pairs_of(layout, root, [route]).items())
    return dict(pairs[: layout.half])


def batches(pairs: Mapping[str, str], size: int) -> list[dict[str, str]]:
    """The pairs in parts, as transactions have limits."""
    items = list(pairs.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), size)]

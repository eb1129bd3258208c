"""Routes as labels, in both layouts: for the kits of all providers of labelled things."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.kits.base import Route


class Labelling(NamedTuple):
    """How a route is written on the thing that serves it.

    Attributes:
        labels: of a thing whose address is known, but for its port.
        spoilt: a label that makes the route unusable.
    """

    labels: Callable[[Route], dict[str, str]]
    spoilt: Callable[[Route], tuple[str, str]]


V2 = Labelling(
    lambda route: {f"traefik.http.routers.{route.name}.rule": f"Host(`{route.host}`)"},
    lambda route: (f"traefik.http.routers.{route.name}.priority", "high"),
)
V1 = Labelling(
    lambda route: {"traefik.frontend.rule": f"Host:{route.host}"},
    lambda route: ("traefik.frontend.priority", "high"),
)


def port_of(route: Route) -> int:
    """The port of a route's server."""
    port = urlsplit(route.url).port
    assert port is not None, "kits' routes name it"
    return port

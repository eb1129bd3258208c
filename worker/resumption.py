"""An exchange that the plain lane began and the general lane goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import UpstreamError

if TYPE_CHECKING:
    from worker.routes import Routes
    from worker.target import Target
    from worker.upstream import UpstreamConnection


@dataclass(frozen=True, slots=True)
class Resumption:
    """How far it came. The request head is read again by the general lane, with the same result.

    Whatever gates its chain has (``pipeline.GatedStep``) it has entered.

    Attributes:
        routes: those it began with.
        target: the server that was picked; None to pick one anew.
        link: the connection that carries the request, lent; None if nothing was sent.
        received: what came back so far.
        error: why there will be no answer over that connection.
        elapsed_s: how long it has run.
    """

    routes: Routes
    target: Target | None = None
    link: UpstreamConnection | None = None
    received: bytes = b""
    error: UpstreamError | None = None
    elapsed_s: float = 0.0

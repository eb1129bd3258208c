"""What ``penstock explain`` asks and what it is told: the contract between command, master and data plane.

Texts are for people: bytes that are not UTF-8 and control characters are shown escaped.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DEFAULT_CLIENT_IP = "127.0.0.1"
NEAREST_SHOWN = 5
"""Routers that did not win and are shown without being asked for all: those whose rules came closest."""

Fate = Literal["won", "outranked", "failed"]
StepOutcome = Literal["passed on", "answered", "not reached", "not run"]


class Question(msgspec.Struct, frozen=True):
    """A request that nobody sends.

    Attributes:
        url: absolute, ``http://host[:port]/path?query``.
        headers: (name, value) in order; ``Host`` replaces the URL's.
        client_ip: who seems to ask.
        entrypoint: where it comes in; empty to find out from scheme and port of the URL.
        tls: whether it comes over TLS; None for what the URL's scheme says.
        show_all: every router of the entrypoint, not only the nearest.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    client_ip: str = DEFAULT_CLIENT_IP
    entrypoint: str = ""
    tls: bool | None = None
    show_all: bool = False


class Received(msgspec.Struct, frozen=True):
    """The request as rules see it."""

    entrypoint: str
    tls: bool
    client_ip: str
    method: str
    host: str
    path: str
    decoded_path: str
    query: str | None


class JudgedRouter(msgspec.Struct, frozen=True):
    """One router of the entrypoint and how it fared.

    Attributes:
        rank: its place in match order, from 1.
        fate: ``won``; ``outranked``: its rule holds as well, a router before it won; ``failed``.
        reasons: conditions that settle it, each with what the request has.
        outranked_by: why the winner came first; empty for others.
    """

    rank: int
    name: str
    rule: str
    priority: int
    service: str
    fate: Fate
    reasons: tuple[str, ...]
    outranked_by: str = ""


class ExplainedStep(msgspec.Struct, frozen=True):
    """One middleware of the winner's chain.

    Attributes:
        kind: as written in configuration, ``stripPrefix``.
        request_changes, response_changes: what it did, one change each.
        answer: what it answered instead of passing the request on.
    """

    name: str
    kind: str
    outcome: StepOutcome
    request_changes: tuple[str, ...] = ()
    response_changes: tuple[str, ...] = ()
    answer: str = ""


class ExplainedServer(msgspec.Struct, frozen=True):
    """One server, or one child service, of a service.

    Attributes:
        name: URL or qualified name.
        share: of the requests of its service, 0 to 1.
        picked: whether the request of the question goes there.
        note: what is to be known about it (fenced).
    """

    name: str
    weight: int
    share: float
    picked: bool = False
    note: str = ""


class ExplainedService(msgspec.Struct, frozen=True):
    """The winner's service, or one below it that was picked."""

    name: str
    strategy: str
    members: tuple[ExplainedServer, ...] = ()


class UpstreamRequest(msgspec.Struct, frozen=True):
    """What a server would get, body aside."""

    server_url: str
    request_line: str
    headers: tuple[tuple[str, str], ...]


class Answer(msgspec.Struct, frozen=True):
    """An answer that no server gives.

    Attributes:
        by: who answers: ``penstock`` or the middleware's name.
        why: in words.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: str
    by: str
    why: str


class Explanation(msgspec.Struct, frozen=True):
    """What would become of the request.

    Attributes:
        generation: of the table that was asked.
        received: None if the head was refused before rules could look at it.
        router: the one that won.
        others: the nearest of the rest, or all of them.
        others_left_out: how many more there are.
        upstream: what the server gets; None if none gets anything.
        answer: ours, if no server answers.
        notes: what the reader should know about this explanation.
    """

    generation: int
    received: Received | None = None
    router: JudgedRouter | None = None
    others: tuple[JudgedRouter, ...] = ()
    others_left_out: int = 0
    chain: tuple[ExplainedStep, ...] = ()
    services: tuple[ExplainedService, ...] = ()
    upstream: UpstreamRequest | None = None
    answer: Answer | None = None
    notes: tuple[str, ...] = ()

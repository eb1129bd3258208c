"""What a proxy made of a request: the answer to the client and what reached the origin; and comparing two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from tests.support.clients import RawResponse
from tests.support.origins import ReceivedRequest

FieldLines = tuple[tuple[str, str], ...]

UNCOMPARED = frozenset({"date"})
"""Response fields that differ from second to second."""


@dataclass(frozen=True)
class Upstream:
    """A request as an origin got it.

    Attributes:
        service: which origin.
        fields: lines with names in lower case, sorted: order between different names means nothing.
        body: digest of the content.
    """

    service: str
    method: str
    target: str
    fields: FieldLines
    body: str
    trailers: FieldLines

    def values(self, name: str) -> list[str]:
        """The values of every line of a field."""
        return [value for each, value in self.fields if each == name]


@dataclass(frozen=True)
class Outcome:
    """All that is compared.

    Attributes:
        status: 0 when there was no answer.
        fields: of the answer, as in ``Upstream``.
        upstream: one entry per request that arrived anywhere.
    """

    status: int
    fields: FieldLines
    body: bytes
    upstream: tuple[Upstream, ...]

    def values(self, name: str) -> list[str]:
        """The values of every line of a field of the answer."""
        return [value for each, value in self.fields if each == name]

    @property
    def router(self) -> str:
        """The router that says it answered, empty if none does."""
        return "".join(self.values("x-router"))


@dataclass(frozen=True)
class Aspect:
    """One thing in which two outcomes differ.

    Attributes:
        name: ``status``, ``body``, ``field:NAME`` of the answer; ``upstream`` when another number of requests
            arrived; else ``upstream.method``, ``upstream.field:NAME`` and so on.
    """

    name: str
    ours: object
    theirs: object


def outcome_of(response: RawResponse | None, arrived: list[tuple[str, ReceivedRequest]]) -> Outcome:
    """The outcome of an answer, None for a connection that was closed without one."""
    upstream = tuple(_upstream(service, request) for service, request in arrived)
    if response is None:
        return Outcome(0, (), b"", upstream)
    lines = _lines(response.head.fields)
    return Outcome(
        response.status,
        tuple(each for each in lines if each[0] not in UNCOMPARED),
        response.content,
        upstream,
    )


def compare(ours: Outcome, theirs: Outcome) -> list[Aspect]:
    """Everything in which they differ."""
    found = [
        Aspect(name, getattr(ours, name), getattr(theirs, name))
        for name in ("status", "body")
        if getattr(ours, name) != getattr(theirs, name)
    ]
    found += _compare_fields("field", ours.fields, theirs.fields)
    if len(ours.upstream) != len(theirs.upstream):
        return [*found, Aspect("upstream", ours.upstream, theirs.upstream)]
    for one, other in zip(ours.upstream, theirs.upstream, strict=True):
        found += [
            Aspect(f"upstream.{each.name}", getattr(one, each.name), getattr(other, each.name))
            for each in fields(Upstream)
            if each.name != "fields" and getattr(one, each.name) != getattr(other, each.name)
        ]
        found += _compare_fields("upstream.field", one.fields, other.fields)
    return found


def _compare_fields(prefix: str, ours: FieldLines, theirs: FieldLines) -> list[Aspect]:
    names = sorted({name for name, _ in (*ours, *theirs)})
    pairs = [(name, [v for n, v in ours if n == name], [v for n, v in theirs if n == name]) for name in names]
    return [Aspect(f"{prefix}:{name}", one, other) for name, one, other in pairs if one != other]


def _upstream(service: str, request: ReceivedRequest) -> Upstream:
    return Upstream(
        service,
        request.method,
        request.target,
        _lines(request.head.fields),
        f"{len(request.body.content)} bytes {hashlib.sha256(request.body.content).hexdigest()[:16]}",
        _lines(request.body.trailers),
    )


def _lines(lines: list[tuple[bytes, bytes]]) -> FieldLines:
    """Sorted by name only: the order of the lines of one name counts."""
    texts = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in lines]
    return tuple(sorted(texts, key=lambda line: line[0]))

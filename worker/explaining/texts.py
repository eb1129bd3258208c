"""Requests, responses and their differences as text for people."""

from __future__ import annotations

from typing import NamedTuple

from shared.headers import Headers
from worker.exchange import Exchange
from worker.messages import Response


def shown(text: str | bytes) -> str:
    """A text that may hold anything, safe to print: what is not UTF-8 or not printable is escaped."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    decoded = raw.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in decoded)


def header_lines(headers: Headers) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs, in order."""
    return tuple((shown(name), shown(value)) for name, value in headers)


class RequestPicture(NamedTuple):
    """What steps can change about a request, at one moment."""

    method: str
    host: str
    path: str
    query: str | None
    headers: Headers
    username: str | None
    append_forwarded_for: bool


def picture_of(exchange: Exchange) -> RequestPicture:
    """The request as it is now."""
    request = exchange.request
    return RequestPicture(
        request.method,
        request.host_header,
        request.path,
        request.query,
        request.headers.copy(),
        exchange.username,
        exchange.append_forwarded_for,
    )


def request_changes(before: RequestPicture, after: RequestPicture) -> tuple[str, ...]:
    """What became different, one change each."""
    changes = [
        f"{name} {_value(old)} -> {_value(new)}"
        for name, old, new in (
            ("method", before.method, after.method),
            ("host", before.host, after.host),
            ("path", before.path, after.path),
            ("query", before.query, after.query),
            ("user", before.username, after.username),
        )
        if old != new
    ]
    changes += header_changes(before.headers, after.headers)
    if before.append_forwarded_for and not after.append_forwarded_for:
        changes.append("X-Forwarded-For will not name the client")
    return tuple(changes)


def response_changes(status: int, headers: Headers, response: Response) -> tuple[str, ...]:
    """What a step did to a response that was ``status`` and ``headers`` before."""
    changes = [] if status == response.status else [f"status {status} -> {response.status}"]
    return (*changes, *header_changes(headers, response.headers))


def header_changes(before: Headers, after: Headers) -> list[str]:
    """Added, removed and changed fields, in the order of their names."""
    changes = []
    for name in dict.fromkeys([*before.names(), *after.names()]):
        old, new = before.get_all(name), after.get_all(name)
        if old == new:
            continue
        spelled = next(each for source in (after, before) for each, _ in source if each.lower() == name)
        changes.append(f"header {shown(spelled)} {_values(old)} -> {_values(new)}")
    return changes


def _value(text: str | None) -> str:
    return "none" if text is None else repr(shown(text))


def _values(values: list[bytes]) -> str:
    return ", ".join(repr(shown(each)) for each in values) if values else "none"

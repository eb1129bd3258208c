"""A request as rules see it, made from the few facts a test or a vector gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.hosts import canonical_host
from shared.paths import decoded_path, normalise_escapes, query_values, routing_path, sanitise


@dataclass
class RuleRequest:
    """Satisfies ``shared.rules.conditions.Matchable``."""

    host: str = ""
    method: str = "GET"
    routing_path: str = "/"
    decoded_path: str = "/"
    client_ip: str = "192.0.2.1"
    query: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)

    def header_values(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each.lower() == name and name != "host"]

    def query_values(self, key: str) -> list[str]:
        return query_values(self.query, key)


def request_to(
    target: str,
    *,
    host: str | None = None,
    method: str = "GET",
    fields: Iterable[tuple[str, str]] = (),
    client_ip: str = "192.0.2.1",
    is_sanitised: bool = True,
) -> RuleRequest:
    """What rules see of a request.

    Args:
        target: origin form, or a URL, whose authority then is the host unless ``host`` is given.
        host: the Host field; ``""`` for none.
        is_sanitised: as the entrypoint's ``sanitizePath``.
    """
    if "://" in target:
        authority, target = _split_url(target)
        host = authority if host is None else host
    path, mark, query = target.partition("?")
    path = normalise_escapes(path) or "/"
    path = sanitise(path) if is_sanitised else path
    return RuleRequest(
        host=canonical_host(host or ""),
        method=method,
        routing_path=routing_path(path),
        decoded_path=decoded_path(path),
        client_ip=client_ip,
        query=query if mark else None,
        fields=list(fields),
    )


def request_of_v2_vector(request: dict[str, Any]) -> RuleRequest:
    """The request of a vector in ``v2.json``."""
    address = request.get("remoteAddr", "192.0.2.1:1234").rpartition(":")[0].strip("[]")
    return request_to(
        request["url"],
        host=request.get("host"),
        method=request.get("method", "GET"),
        fields=_fields(request.get("headers", {})),
        client_ip=address,
    )


def request_of_v1_vector(request: dict[str, Any]) -> RuleRequest:
    """The request of a vector in ``v1.json``; an absolute-form target names the host itself."""
    is_absolute = "://" in request["target"]
    return request_to(
        request["target"],
        host=None if is_absolute else request["host"],
        method=request["method"],
        fields=[(name, value) for name, value in request["headers"]],
        is_sanitised=False,
    )


def _fields(headers: dict[str, Any]) -> list[tuple[str, str]]:
    """Fields of a vector: a value, or a list of one value per line."""
    return [
        (name, value)
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]


def _split_url(url: str) -> tuple[str, str]:
    rest = url.partition("://")[2]
    ends = [found for char in "/?" if (found := rest.find(char)) >= 0]
    end = min(ends, default=len(rest))
    return rest[:end], rest[end:]

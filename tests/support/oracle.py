"""The definition of matching: every router of the list in order, every condition read literally.

Slow and obvious on purpose. It shares no code with the index or with the compiled predicates, so that a
mistake in either shows as a difference.
"""

from __future__ import annotations

import ipaddress

import re2

from shared.rules import conditions as c
from shared.table.entries import TableContent


class PlainRequest:
    """A request as rules see it, from plain values."""

    def __init__(
        self, host="", path="/", method="GET", headers=(), query=(), client_ip="127.0.0.1", decoded_path=None
    ):
        self.host = host
        self.method = method
        self.routing_path = path
        self.decoded_path = path if decoded_path is None else decoded_path
        self.client_ip = client_ip
        self.headers = tuple(headers)
        self.query = tuple(query)

    def header_values(self, name):
        return [value for each, value in self.headers if each == name]

    def query_values(self, key):
        return [value for each, value in self.query if each == key]

    def __repr__(self):
        return f"PlainRequest({vars(self)})"


def linear_match(content: TableContent, entrypoint: str, tls: bool, request) -> int | None:
    """The first router of the list whose condition holds."""
    for each in content.lists:
        if (each.entrypoint, each.tls) == (entrypoint, tls):
            for number in each.routers:
                if holds(content.routers[number].condition, request):
                    return number
    return None


def holds(condition, request) -> bool:
    """Whether a request fulfils a condition."""
    match condition:
        case c.Always():
            return True
        case c.All(parts):
            return all(holds(part, request) for part in parts)
        case c.Either(parts):
            return any(holds(part, request) for part in parts)
        case c.Not(part):
            return not holds(part, request)
        case c.HostIs(host, True):
            return request.host == host and host != ""
        case c.HostIs(host, False):
            return request.host in {host, host + ".", _undotted(host)} and request.host != ""
        case c.HostUnder(parent):
            label, dot, rest = _undotted(request.host).partition(".")
            return label != "" and dot == "." and rest == _undotted(parent)
        case c.HostMatches(pattern):
            return _found(pattern, [request.host])
        case c.PathIs(path, decoded):
            return _path(request, decoded) == path
        case c.PathStarts(prefix, decoded):
            return _path(request, decoded).startswith(prefix)
        case c.PathMatches(pattern, decoded):
            return _found(pattern, [_path(request, decoded)])
        case c.MethodIs(method):
            return request.method == method
        case c.HeaderIs(name, value):
            return value in request.header_values(name)
        case c.HeaderMatches(name, pattern):
            return _found(pattern, request.header_values(name))
        case c.QueryIs(key, value, first_only):
            return value in request.query_values(key)[: 1 if first_only else None]
        case c.QueryMatches(key, pattern, first_only):
            return _found(pattern, request.query_values(key)[: 1 if first_only else None])
        case c.ClientIn(network):
            return ipaddress.ip_address(request.client_ip) in ipaddress.ip_network(network)
    raise AssertionError(f"unknown condition {condition!r}")


def _undotted(host: str) -> str:
    return host[:-1] if host.endswith(".") else host


def _path(request, decoded: bool) -> str:
    return request.decoded_path if decoded else request.routing_path


def _found(pattern: str, subjects: list[str]) -> bool:
    return any(re2.search(pattern, _as_go_reads(subject)) is not None for subject in subjects)


def _as_go_reads(subject: str) -> str:
    """Go's expressions see U+FFFD in every byte that is not UTF-8."""
    return "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in subject)

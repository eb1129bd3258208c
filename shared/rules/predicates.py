"""Makes conditions callable: everything is compiled once, a call only compares.

A predicate is a closure over plain values. It never raises, whatever bytes the request carried.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from typing import assert_never

from shared.patterns import compile_pattern
from shared.rules.conditions import (
    All,
    Always,
    AnyCondition,
    ClientIn,
    Either,
    HeaderIs,
    HeaderMatches,
    HostIs,
    HostMatches,
    HostUnder,
    Matchable,
    MethodIs,
    Not,
    PathIs,
    PathMatches,
    PathStarts,
    QueryIs,
    QueryMatches,
)

Predicate = Callable[[Matchable], bool]

_ADDRESS_CACHE_SIZE = 4_096
"""Peers whose parsed address is remembered (about 150 bytes each): parsing takes longer than comparing."""


def compile_predicate(condition: AnyCondition) -> Predicate:
    """The function that says whether a request fulfils ``condition``.

    Raises:
        ConfigError: a pattern in it is not RE2 (conditions of a table have been checked).
    """
    match condition:
        case Always():
            return lambda request: True
        case Not(part):
            inner = compile_predicate(part)
            return lambda request: not inner(request)
        case All(parts):
            return _all([compile_predicate(part) for part in parts])
        case Either(parts):
            return _either([compile_predicate(part) for part in parts])
        case MethodIs(method):
            return lambda request: request.method == method
        case ClientIn(network):
            return _client_in(network)
        case HostIs() | HostUnder() | HostMatches():
            return _on_host(condition)
        case PathIs() | PathStarts() | PathMatches():
            return _on_path(condition)
        case HeaderIs(name, value):
            return lambda request: value in request.header_values(name)
        case HeaderMatches(name, pattern):
            found = compile_pattern(pattern).found_in
            return lambda request: any(found(value) for value in request.header_values(name))
        case QueryIs() | QueryMatches():
            return _on_query(condition)
        case _:
            assert_never(condition)


def _all(parts: list[Predicate]) -> Predicate:
    if len(parts) == 2:  # the usual rule: a host and a path
        first, second = parts
        return lambda request: first(request) and second(request)

    def holds(request: Matchable) -> bool:
        for part in parts:  # noqa: SIM110 - all() over a generator costs twice as much per request
            if not part(request):
                return False
        return True

    return holds


def _either(parts: list[Predicate]) -> Predicate:
    def holds(request: Matchable) -> bool:
        for part in parts:  # noqa: SIM110 - as above
            if part(request):
                return True
        return False

    return holds


def _on_host(condition: HostIs | HostUnder | HostMatches) -> Predicate:
    match condition:
        case HostIs(host, dot_counts):
            accepted = frozenset([host] if dot_counts else [host, host + ".", host.removesuffix(".")]) - {""}
            return lambda request: request.host in accepted
        case HostUnder(parent):
            ending = "." + parent.removesuffix(".")
            return lambda request: _is_one_label_under(request.host, ending)
        case HostMatches(pattern):
            found = compile_pattern(pattern).found_in
            return lambda request: found(request.host)


def _is_one_label_under(host: str, ending: str) -> bool:
    host = host.removesuffix(".")
    label = host[: -len(ending)]
    return host.endswith(ending) and label != "" and "." not in label


def _on_path(condition: PathIs | PathStarts | PathMatches) -> Predicate:
    match condition:
        case PathIs(path, False):
            return lambda request: request.routing_path == path
        case PathIs(path):
            return lambda request: request.decoded_path == path
        case PathStarts(prefix, False):
            return lambda request: request.routing_path.startswith(prefix)
        case PathStarts(prefix):
            return lambda request: request.decoded_path.startswith(prefix)
        case PathMatches(pattern, decoded):
            found = compile_pattern(pattern).found_in
            if decoded:
                return lambda request: found(request.decoded_path)
            return lambda request: found(request.routing_path)


def _on_query(condition: QueryIs | QueryMatches) -> Predicate:
    key = condition.key
    # A slice serves both: [:1] is the first value if there is one, [:None] is all of them.
    end = 1 if condition.first_only else None
    if isinstance(condition, QueryIs):
        value = condition.value
        return lambda request: value in request.query_values(key)[:end]
    found = compile_pattern(condition.pattern).found_in
    return lambda request: any(found(value) for value in request.query_values(key)[:end])


def _client_in(text: str) -> Predicate:
    network = ipaddress.ip_network(text)
    version = network.version
    first, last = int(network.network_address), int(network.broadcast_address)

    def holds(request: Matchable) -> bool:
        address = _address(request.client_ip)
        return address is not None and address[0] == version and first <= address[1] <= last

    return holds


@functools.lru_cache(maxsize=_ADDRESS_CACHE_SIZE)
def _address(text: str) -> tuple[int, int] | None:
    """(version, number), IPv4-mapped IPv6 as IPv4; None if it is no address (a Unix socket's peer)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (4, int(mapped)) if mapped is not None else (address.version, int(address))

"""What can be proved about two rules without a request: that one implies the other, or excludes it.

Used for warnings, so both functions answer True only when it is certain; False means "not proved".
"""

from __future__ import annotations

import ipaddress

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
    MethodIs,
    Not,
    PathIs,
    PathMatches,
    PathStarts,
    QueryIs,
    QueryMatches,
)

MAX_STEPS = 2_000
"""Comparisons of leaves per question; a rule that needs more is not judged."""


def implies(first: AnyCondition, second: AnyCondition) -> bool:
    """Whether every request that fulfils ``first`` certainly fulfils ``second``."""
    try:
        return _implies(first, second, [MAX_STEPS])
    except _TooManySteps:
        return False


def excludes(first: AnyCondition, second: AnyCondition) -> bool:
    """Whether certainly no request fulfils both."""
    try:
        return _excludes(first, second, [MAX_STEPS])
    except _TooManySteps:
        return False


class _TooManySteps(Exception):
    """The rules are too large to judge."""


def _count(steps: list[int]) -> None:
    steps[0] -= 1
    if steps[0] < 0:
        raise _TooManySteps


def _implies(first: AnyCondition, second: AnyCondition, steps: list[int]) -> bool:
    _count(steps)
    if isinstance(second, Always) or first == second:
        return True
    match first, second:
        case Either(parts), _:
            return all(_implies(part, second, steps) for part in parts)
        case _, All(parts):
            return all(_implies(first, part, steps) for part in parts)
        case Not(one), Not(other):
            return _implies(other, one, steps)
        case _, Not(part):
            return _excludes(first, part, steps)
    if isinstance(first, All) and any(_implies(part, second, steps) for part in first.parts):
        return True
    if isinstance(second, Either):
        return any(_implies(first, part, steps) for part in second.parts)
    return _leaf_implies(first, second)


def _leaf_implies(first: AnyCondition, second: AnyCondition) -> bool:
    match first, second:
        case HostIs(), HostIs():
            return _accepted(first) <= _accepted(second)
        case HostIs(), HostUnder(parent):
            return all(_is_under(host, parent) for host in _accepted(first))
        case HostIs(), HostMatches(pattern):
            return all(map(compile_pattern(pattern).found_in, _accepted(first)))
        case PathIs(path, decoded), PathStarts(prefix, other_decoded):
            return decoded == other_decoded and path.startswith(prefix)
        case PathStarts(longer, decoded), PathStarts(prefix, other_decoded):
            return prefix == "/" or (decoded == other_decoded and longer.startswith(prefix))
        case PathIs(path, decoded), PathMatches(pattern, other_decoded):
            return decoded == other_decoded and compile_pattern(pattern).found_in(path)
        case HeaderIs(name, value), HeaderMatches(other_name, pattern):
            return name == other_name and compile_pattern(pattern).found_in(value)
        case QueryIs(key, value, first_only), QueryMatches(other_key, pattern, other_first):
            return key == other_key and first_only >= other_first and compile_pattern(pattern).found_in(value)
        case ClientIn(inner), ClientIn(outer):
            return _within(inner, outer)
        case _:
            return False


def _excludes(first: AnyCondition, second: AnyCondition, steps: list[int]) -> bool:
    _count(steps)
    match first, second:
        case Either(parts), other:
            return all(_excludes(part, other, steps) for part in parts)
        case other, Either(parts):
            return all(_excludes(other, part, steps) for part in parts)
        case All(parts), other:
            return any(_excludes(part, other, steps) for part in parts)
        case other, All(parts):
            return any(_excludes(other, part, steps) for part in parts)
        case Not(part), other:
            return _implies(other, part, steps)
        case other, Not(part):
            return _implies(other, part, steps)
        case _:
            return _leaf_excludes(first, second) or _leaf_excludes(second, first)


def _leaf_excludes(first: AnyCondition, second: AnyCondition) -> bool:
    match first, second:
        case MethodIs(method), MethodIs(other):
            return method != other
        case HostIs(), HostIs():
            return _accepted(first).isdisjoint(_accepted(second))
        case HostIs(), HostUnder(parent):
            return not any(_is_under(host, parent) for host in _accepted(first))
        case HostIs(), HostMatches(pattern):
            return not any(map(compile_pattern(pattern).found_in, _accepted(first)))
        case HostUnder(parent), HostUnder(other):
            return _plain(parent) != _plain(other)
        case PathIs(path, decoded), PathIs(other, other_decoded):
            return decoded == other_decoded and path != other
        case PathIs(path, decoded), PathStarts(prefix, other_decoded):
            return decoded == other_decoded and not path.startswith(prefix)
        case PathIs(path, decoded), PathMatches(pattern, other_decoded):
            return decoded == other_decoded and not compile_pattern(pattern).found_in(path)
        case PathStarts(one, decoded), PathStarts(other, other_decoded):
            return decoded == other_decoded and not one.startswith(other) and not other.startswith(one)
        case ClientIn(one), ClientIn(other):
            return not _within(one, other) and not _within(other, one)
        case QueryIs(key, value, True), QueryIs(other_key, other_value, True):
            return key == other_key and value != other_value
        case _:
            return False


def _accepted(condition: HostIs) -> set[str]:
    """Every host that fulfils it: up to one dot more or less, unless dots count."""
    host = condition.host
    return {host} - {""} if condition.dot_counts else {host, host + ".", _plain(host)} - {""}


def _is_under(host: str, parent: str) -> bool:
    label, dot, rest = _plain(host).partition(".")
    return bool(label and dot) and rest == _plain(parent)


def _plain(host: str) -> str:
    return host.removesuffix(".")


def _within(inner: str, outer: str) -> bool:
    one, other = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.subnet_of(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.subnet_of(other)
    return False

"""From a condition to the keys that a request must have for it to hold.

A *claim* says: in each of these dimensions, the request has one of these keys. A condition has a few claims,
and whenever it holds at least one of them holds too. The other direction is not promised: claims find
candidates, the predicate decides. So everything here may forget, and nothing may invent.

``Not`` is pushed inwards (De Morgan); a negated comparison claims nothing.
"""

from __future__ import annotations

from typing import assert_never

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
from shared.table.keys import Aspect, Dimension, Key, Probe, fold_host, to_key_bytes
from shared.table.literals import literals_of

Claim = dict[Dimension, tuple[Key, ...]]
"""Keys by dimension, each tuple sorted and without repeats; empty claims nothing about the request."""

MAX_CLAIMS = 16
"""Alternatives kept apart per router; more are folded into one weaker claim (not measured)."""

MAX_COPIES = 1024
"""Buckets that one claim may be filed in through several dimensions (not measured)."""

_HOST = Dimension(Aspect.HOST)
_PATH = Dimension(Aspect.PATH)
_METHOD = Dimension(Aspect.METHOD)


def claims_of(condition: AnyCondition) -> tuple[Claim, ...]:
    """The claims of a condition: none if it can never hold, one empty claim if nothing is known."""
    return tuple(_bounded(claim) for claim in _claims(condition, holds=True))


def _claims(condition: AnyCondition, holds: bool) -> list[Claim]:
    match condition:
        case Not(part):
            return _claims(part, not holds)
        case All(parts) if holds:
            return _every([_claims(part, holds) for part in parts])
        case Either(parts) if not holds:
            return _every([_claims(part, holds) for part in parts])
        case All(parts) | Either(parts):
            return _some([claim for part in parts for claim in _claims(part, holds)])
        case Always():
            return [{}] if holds else []
        case _:
            return [_claim(condition) if holds else {}]


def _claim(condition: AnyCondition) -> Claim:
    match condition:
        case HostIs(host):
            return {_HOST: (Key(Probe.EXACT, fold_host(to_key_bytes(host))),)}
        case HostUnder(parent):
            return {_HOST: (Key(Probe.UNDER, fold_host(to_key_bytes(parent))),)}
        case HostMatches(pattern):
            return _pattern(Dimension(Aspect.HOST_PATTERN), pattern) | _literal(_HOST, pattern, decoded=False)
        case PathIs(path, decoded):
            return {_PATH: (Key(Probe.DECODED_EXACT if decoded else Probe.EXACT, to_key_bytes(path)),)}
        case PathStarts("", _):
            return {}
        case PathStarts(prefix, decoded):
            return {_PATH: (Key(Probe.DECODED_PREFIX if decoded else Probe.PREFIX, to_key_bytes(prefix)),)}
        case PathMatches(pattern, decoded):
            aspect = Aspect.DECODED_PATTERN if decoded else Aspect.PATH_PATTERN
            return _pattern(Dimension(aspect), pattern) | _literal(_PATH, pattern, decoded)
        case MethodIs(method):
            return _value(_METHOD, method)
        case HeaderIs(name, value):
            return _value(Dimension(Aspect.HEADER, name), value)
        case HeaderMatches(name, pattern):
            return _pattern(Dimension(Aspect.HEADER_PATTERN, name), pattern)
        case QueryIs(key, value):
            return _value(Dimension(Aspect.QUERY, key), value)
        case QueryMatches(key, pattern):
            return _pattern(Dimension(Aspect.QUERY_PATTERN, key), pattern)
        case ClientIn() | Always() | All() | Either() | Not():
            return {}
        case _:
            assert_never(condition)


def _value(dimension: Dimension, value: str) -> Claim:
    return {dimension: (Key(Probe.VALUE, to_key_bytes(value)),)}


def _pattern(dimension: Dimension, pattern: str) -> Claim:
    return {dimension: (Key(Probe.PATTERN, to_key_bytes(pattern)),)}


def _literal(dimension: Dimension, pattern: str, decoded: bool) -> Claim:
    prefix, suffix = literals_of(pattern)
    if prefix and len(prefix) >= len(suffix):
        probe = Probe.DECODED_PREFIX if decoded else Probe.PREFIX
        return {dimension: (Key(probe, to_key_bytes(prefix)),)}
    if suffix:
        probe = Probe.DECODED_SUFFIX if decoded else Probe.SUFFIX
        return {dimension: (Key(probe, to_key_bytes(suffix)),)}
    return {}


def _every(parts: list[list[Claim]]) -> list[Claim]:
    """Claims of a conjunction: each choice of one claim per part."""
    result: list[Claim] = [{}]
    for claims in parts:
        choices = claims if len(result) * len(claims) <= MAX_CLAIMS else [_common(claims)]
        result = [_both(left, right) for left in result for right in choices]
    return result


def _both(left: Claim, right: Claim) -> Claim:
    result = left | right
    for dimension in left.keys() & right.keys():
        result[dimension] = min(left[dimension], right[dimension], key=_weakness)
    return result


def _weakness(keys: tuple[Key, ...]) -> tuple[int, bool, int]:
    """Few keys before many, whole values before parts, long parts before short ones."""
    partial = any(key.probe not in (Probe.EXACT, Probe.DECODED_EXACT) for key in keys)
    return len(keys), partial, -min(len(key.text) for key in keys)


def _some(claims: list[Claim]) -> list[Claim]:
    """Claims of a disjunction. Those that name the same single dimension (a list of hosts) become one."""
    if not all(claims):
        return [{}]
    merged: list[Claim] = []
    single: dict[Dimension, list[Key]] = {}
    for claim in claims:
        if len(claim) == 1:
            for dimension, keys in claim.items():
                single.setdefault(dimension, []).extend(keys)
        else:
            merged.append(claim)
    merged += ({dimension: tuple(sorted(set(keys)))} for dimension, keys in single.items())
    return merged if len(merged) <= MAX_CLAIMS else [_common(merged)]


def _common(claims: list[Claim]) -> Claim:
    """One claim that holds whenever any of these does: the dimensions that all of them name."""
    shared_dimensions = set.intersection(*(set(claim) for claim in claims))
    return {
        dimension: tuple(sorted({key for claim in claims for key in claim[dimension]}))
        for dimension in sorted(shared_dimensions)
    }


def _bounded(claim: Claim) -> Claim:
    """Leave out dimensions that would multiply the claim's copies beyond ``MAX_COPIES``."""
    copies = 1
    kept: Claim = {}
    for dimension in sorted(claim):
        keys = claim[dimension]
        if not kept or len(keys) == 1 or copies * len(keys) <= MAX_COPIES:
            kept[dimension] = keys
            copies *= len(keys)
    return kept

"""Why a rule holds or does not, in terms of its own conditions.

The walk is over the same tree that predicates are compiled from, and every leaf is asked through its
predicate, so an explanation cannot say anything else than what matching did.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

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
from shared.rules.predicates import compile_predicate


class Evidence(msgspec.Struct, frozen=True):
    """One leaf of a rule and whether it holds."""

    leaf: AnyCondition
    holds: bool


class Verdict(msgspec.Struct, frozen=True):
    """Whether a condition holds, and the leaves that settle it.

    Attributes:
        holds: what matching says.
        evidence: leaves whose truth alone decides the whole: for a conjunction that fails just the first
            failing part, for alternatives that all fail one leaf of each.
    """

    holds: bool
    evidence: tuple[Evidence, ...]


def explain(condition: AnyCondition, request: Matchable) -> Verdict:
    """Evaluate ``condition`` and say what settled it."""
    match condition:
        case Not(part):
            inner = explain(part, request)
            return Verdict(not inner.holds, inner.evidence)
        case All(parts):
            return _until(parts, request, stop_at=False)
        case Either(parts):
            return _until(parts, request, stop_at=True)
        case _:
            holds = compile_predicate(condition)(request)
            return Verdict(holds, (Evidence(condition, holds),))


def _until(parts: tuple[AnyCondition, ...], request: Matchable, *, stop_at: bool) -> Verdict:
    """Left to right as matching goes: the first part with the truth ``stop_at`` decides, else all do."""
    gathered: list[Evidence] = []
    for part in parts:
        verdict = explain(part, request)
        if verdict.holds is stop_at:
            return verdict
        gathered += verdict.evidence
    return Verdict(not stop_at, tuple(gathered))


def reason(evidence: Evidence, request: Matchable, *, with_values: bool = True) -> str:
    """One leaf as a sentence: what it asks, and what the request has (``with_values``; not for logs)."""
    asked, has = _sentence(evidence.leaf, request)
    if not with_values:
        return f"{asked}: {'yes' if evidence.holds else 'no'}"
    return f"{asked}: {'yes' if evidence.holds else 'no'}{f', the request has {has}' if has else ''}"


def _sentence(leaf: AnyCondition, request: Matchable) -> tuple[str, str]:
    match leaf:
        case Always():
            return "any request", ""
        case MethodIs(method):
            return f"method is {method}", request.method
        case ClientIn(network):
            return f"client address is in {network}", request.client_ip
        case HostIs() | HostUnder() | HostMatches():
            return _host_sentence(leaf), repr(request.host)
        case PathIs() | PathStarts() | PathMatches():
            return _path_sentence(leaf), repr(request.decoded_path if leaf.decoded else request.routing_path)
        case HeaderIs(name, value):
            return f"header {name} is {value!r}", _listed(request.header_values(name))
        case HeaderMatches(name, pattern):
            return f"header {name} matches {pattern}", _listed(request.header_values(name))
        case QueryIs(key, value):
            return f"query {key} is {value!r}", _listed(request.query_values(key))
        case QueryMatches(key, pattern):
            return f"query {key} matches {pattern}", _listed(request.query_values(key))
        case All() | Either() | Not():
            raise AssertionError("a leaf has no parts")
        case _:
            assert_never(leaf)


def _host_sentence(leaf: HostIs | HostUnder | HostMatches) -> str:
    match leaf:
        case HostIs(host):
            return f"host is {host!r}"
        case HostUnder(parent):
            return f"host is one label under {parent!r}"
        case HostMatches(pattern):
            return f"host matches {pattern}"


def _path_sentence(leaf: PathIs | PathStarts | PathMatches) -> str:
    match leaf:
        case PathIs(path):
            return f"path is {path!r}"
        case PathStarts(prefix):
            return f"path starts with {prefix!r}"
        case PathMatches(pattern):
            return f"path matches {pattern}"


def _listed(values: list[str]) -> str:
    return ", ".join(map(repr, values)) if values else "none"

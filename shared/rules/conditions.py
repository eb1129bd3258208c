"""What a rule means, free of dialect: a boolean tree over canonical conditions.

All three rule languages are lowered to these few conditions. Predicates, the table's index, ``explain`` and
the linear oracle in the tests all start from this tree, so they cannot disagree about a dialect.

Conditions are plain data (the table stores them); ``shared.rules.predicates`` makes them callable.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Condition(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Root of all conditions."""


class Always(Condition, frozen=True):
    """Holds for every request."""


class All(Condition, frozen=True):
    """Every part holds; evaluated left to right, stops at the first that does not."""

    parts: tuple[AnyCondition, ...]


class Either(Condition, frozen=True):
    """At least one part holds; evaluated left to right, stops at the first that does."""

    parts: tuple[AnyCondition, ...]


class Not(Condition, frozen=True):
    """The part does not hold."""

    part: AnyCondition


class HostIs(Condition, frozen=True):
    """The canonical host equals ``host``.

    ``host`` is lower-case and portless. One trailing dot on either side is ignored, unless ``dot_counts``
    (v1, where ``foo.bar.`` is another name).
    """

    host: str
    dot_counts: bool = False


class HostUnder(Condition, frozen=True):
    """The canonical host is one label, a dot and ``parent`` (``*.x.y``: exactly one label)."""

    parent: str


class HostMatches(Condition, frozen=True):
    """RE2 finds ``pattern`` in the canonical host."""

    pattern: str


class PathIs(Condition, frozen=True):
    """The path equals ``path``; the fully decoded path if ``decoded`` (v1), else the routing path."""

    path: str
    decoded: bool = False


class PathStarts(Condition, frozen=True):
    """The path starts with ``prefix``, by characters and not by segments."""

    prefix: str
    decoded: bool = False


class PathMatches(Condition, frozen=True):
    """RE2 finds ``pattern`` in the path."""

    pattern: str
    decoded: bool = False


class MethodIs(Condition, frozen=True):
    """The method is exactly ``method`` (already upper-case)."""

    method: str


class HeaderIs(Condition, frozen=True):
    """Some line of field ``name`` has exactly this value; ``name`` is lower-case."""

    name: str
    value: str


class HeaderMatches(Condition, frozen=True):
    """RE2 finds ``pattern`` in some line of field ``name``; ``name`` is lower-case."""

    name: str
    pattern: str


class QueryIs(Condition, frozen=True):
    """Parameter ``key`` has the decoded value ``value``: any of its values, or only the first."""

    key: str
    value: str
    first_only: bool = False


class QueryMatches(Condition, frozen=True):
    """RE2 finds ``pattern`` in a decoded value of ``key``: any of its values, or only the first."""

    key: str
    pattern: str
    first_only: bool = False


class ClientIn(Condition, frozen=True):
    """The peer's address is inside ``network`` (CIDR text, already validated)."""

    network: str


AnyCondition = (
    Always
    | All
    | Either
    | Not
    | HostIs
    | HostUnder
    | HostMatches
    | PathIs
    | PathStarts
    | PathMatches
    | MethodIs
    | HeaderIs
    | HeaderMatches
    | QueryIs
    | QueryMatches
    | ClientIn
)


class Matchable(Protocol):
    """What conditions look at: one request, already normalised. All texts may hold surrogate escapes."""

    @property
    def host(self) -> str:
        """Canonical host: no port, lower-case, IPv6 without brackets; empty when there is none."""

    @property
    def method(self) -> str:
        """The method as sent."""

    @property
    def routing_path(self) -> str:
        """The path that v2 and v3 rules see: reserved escapes stay encoded (spec v2 section 2.4)."""

    @property
    def decoded_path(self) -> str:
        """The path that v1 rules see: every escape decoded."""

    @property
    def client_ip(self) -> str:
        """The peer's address as text without zone; from the PROXY protocol if it was trusted."""

    def header_values(self, name: str) -> list[str]:
        """The value of every line of field ``name`` (lower-case), in order; never the Host field."""

    def query_values(self, key: str) -> list[str]:
        """The decoded values of parameter ``key``, in order."""

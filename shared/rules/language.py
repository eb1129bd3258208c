"""Rules as configuration has them: text and the name of a language in, a condition out."""

from __future__ import annotations

from collections.abc import Iterator

from shared.rules import v1, v2, v3
from shared.rules.conditions import All, AnyCondition, Either, HostIs, Not
from shared.rules.grammar import parse_expression


def read_rule(text: str, syntax: str) -> AnyCondition:
    """What a rule means.

    Args:
        text: the rule as written; in v1 the one-string form, where nothing at all matches everything.
        syntax: ``v1`` or ``v2``; any other name means v3 (spec v2 section 2.3).

    Raises:
        ConfigError: it is no rule of that language; the path is empty, for the caller to fill in.
    """
    if syntax == "v1":
        return v1.read_condition(text)
    tree = parse_expression(text)
    return v2.lower(tree) if syntax == "v2" else v3.lower(tree)


def default_priority(text: str) -> int:
    """The priority of a router that sets none: the length of its rule as written, in UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogateescape"))


def hosts_of(condition: AnyCondition) -> list[str]:
    """Every host that a ``HostIs`` anywhere in ``condition`` names, each once, in order."""
    return list(dict.fromkeys(_hosts(condition)))


def _hosts(condition: AnyCondition) -> Iterator[str]:
    match condition:
        case HostIs(host):
            yield host
        case Not(part):
            yield from _hosts(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from _hosts(part)
        case _:
            pass

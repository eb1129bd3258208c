"""The host names that a rule mentions: what TLS goes by before there is a request (spec v2 section 7)."""

from __future__ import annotations

from shared.rules.conditions import All, AnyCondition, Either, HostIs, HostUnder, Not


def domains_of(condition: AnyCondition) -> tuple[str, ...]:
    """The hosts a rule names anywhere, also as one alternative or denied; ``*.x`` for one label below x."""
    found: dict[str, None] = {}
    waiting = [condition]
    while waiting:
        each = waiting.pop()
        match each:
            case All() | Either():
                waiting += reversed(each.parts)
            case Not():
                waiting.append(each.part)
            case HostIs():
                found[each.host.removesuffix(".")] = None
            case HostUnder():
                found[f"*.{each.parent.removesuffix('.')}"] = None
            case _:
                pass
    return tuple(found)

"""The host names that a rule asks for: what TLS goes by before there is a request (spec v2 section 7).

The specification counts denied hosts too. Traefik 3.7.15 does not (observed, tests/differential): a router
with ``!Host(`a.test`)`` alone names no host and so catches all TLS connections that nobody else asks for.
"""

from __future__ import annotations

from shared.rules.conditions import All, AnyCondition, Either, HostIs, HostUnder, Not


def domains_of(condition: AnyCondition) -> tuple[str, ...]:
    """The hosts a rule asks for anywhere, also as one alternative; ``*.x`` for one label below x."""
    found: dict[str, None] = {}
    waiting = [(condition, True)]
    while waiting:
        each, is_asked = waiting.pop()
        match each:
            case All() | Either():
                waiting += ((part, is_asked) for part in reversed(each.parts))
            case Not():
                waiting.append((each.part, not is_asked))
            case HostIs() if is_asked:
                found[each.host.removesuffix(".")] = None
            case HostUnder() if is_asked:
                found[f"*.{each.parent.removesuffix('.')}"] = None
            case _:
                pass
    return tuple(found)

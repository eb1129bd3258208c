"""Content codings: which of them a client is given.

Source: RFC 9110 section 12.5.3; spec v2 section 4.6 for what the RFC leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence

CODINGS = ("gzip", "br", "zstd")
"""What the middleware compress can make."""

_ANY = "*"
_IDENTITY = "identity"


def choose_coding(accepted: Sequence[str], offered: Sequence[str], default: str) -> str | None:
    """The coding for a client that sent Accept-Encoding; None for none.

    The highest weight wins; at the same weight ``*`` comes before the codings in the order of ``offered``,
    and ``identity`` last.

    Args:
        accepted: the lines of Accept-Encoding.
        offered: codings, by preference; at least one.
        default: what ``*`` stands for; empty for the first of ``offered``. A coding that the client refuses
            by name is never meant by it.
    """
    weights = _weights(accepted)
    rank = {_ANY: -1, **{name: number for number, name in enumerate(offered)}, _IDENTITY: len(offered)}
    wanted = [name for name, weight in weights.items() if weight > 0 and name in rank]
    if not wanted:
        return None
    best = min(wanted, key=lambda name: (-weights[name], rank[name]))
    if best == _IDENTITY:
        return None
    if best != _ANY:
        return best
    order = [default, *offered] if default else offered
    return next((name for name in order if weights.get(name) != 0), None)


def _weights(lines: Sequence[str]) -> dict[str, float]:
    """The weight of each member; a coding that is named twice has the higher one."""
    found: dict[str, float] = {}
    for item in ",".join(lines).split(","):
        name, *parameters = (part.strip(" \t") for part in item.split(";"))
        if name:
            name = name.lower()
            found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def _weight(parameters: list[str]) -> float:
    """0 to 1; a weight that is none counts as 1, as if it were missing."""
    for each in parameters:
        key, _, value = each.partition("=")
        if key.lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return weight if 0 <= weight <= 1 else 1.0
    return 1.0

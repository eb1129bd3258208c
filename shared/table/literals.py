"""The literal text that every match of an anchored expression begins or ends with.

``^/app7/v[0-9]+`` can be filed under the prefix ``/app7/v``, ``^[a-z]+\\.example\\.com$`` under the suffix
``.example.com``: most expressions in real rules never reach a combined RE2 set. An expression that holds
anything not understood here has no literals, which is slower and never wrong.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\[^\W_\d]|\\[^\w]|[^\]\\\[])*\])"
    r"|(?P<repeat>[*+?]\??|\{\d+(?:,\d*)?\}\??)"
    r"|(?P<open>\((?:\?:|\?P?<\w+>|(?!\?)))"
    r"|(?P<close>\))"
    r"|(?P<or>\|)"
    r"|(?P<any>\.|\\[dDwWsS])"
    r"|(?P<literal>\\[^\w\s]|[A-Za-z0-9_/\-~@%&=:;,!#<>' ]|\\_)"
    r"|(?P<anchor>[\^$])",
    re.ASCII,
)


class Literals(NamedTuple):
    """Text that a subject must begin and end with; empty where nothing is known."""

    prefix: str
    suffix: str


_NOTHING = Literals("", "")


def literals_of(pattern: str) -> Literals:
    """What every subject that ``pattern`` is found in begins and ends with."""
    tokens = _tokens(pattern)
    if not tokens or _has_alternatives(tokens):
        return _NOTHING
    starts = tokens[0] == ("anchor", "^")
    ends = tokens[-1] == ("anchor", "$")
    inner = tokens[1 if starts else 0 : -1 if ends else None]
    if any(kind == "anchor" for kind, _ in inner):
        return _NOTHING
    prefix = _run(inner) if starts else ""
    suffix = _run_back(inner) if ends else ""
    return Literals(prefix, suffix)


def _tokens(pattern: str) -> list[tuple[str, str]]:
    """The expression in pieces; none if it holds something else, like flags."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(pattern):
        match = _TOKEN.match(pattern, at)
        if match is None or match.lastgroup is None:
            return []
        tokens.append((match.lastgroup, match.group()))
        at = match.end()
    return tokens


def _has_alternatives(tokens: list[tuple[str, str]]) -> bool:
    """Whether the expression as a whole is one of several; inside a group it does no harm."""
    depth = 0
    for kind, _ in tokens:
        depth += (kind == "open") - (kind == "close")
        if kind == "or" and depth == 0:
            return True
    return False


def _run(tokens: list[tuple[str, str]]) -> str:
    """The literals at the start; the last is dropped if it is repeated and so may be absent."""
    run: list[str] = []
    for kind, text in tokens:
        if kind == "repeat" and run:
            run.pop()
        if kind != "literal":
            break
        run.append(text[-1])
    return "".join(run)


def _run_back(tokens: list[tuple[str, str]]) -> str:
    """The literals at the end. A repeat ends the run, so none of its characters can be a repeated one."""
    run: list[str] = []
    for kind, text in reversed(tokens):
        if kind != "literal":
            break
        run.append(text[-1])
    return "".join(reversed(run))

"""What other regular expression languages have and RE2 has not: found in a text that RE2 refused.

RE2 says of a look-behind "invalid perl operator: (?<", which tells nobody what to do. Here the construct is
named. Only for messages: whether an expression is valid is RE2's decision alone.

Source: https://github.com/google/re2/wiki/Syntax, the lines marked "NOT SUPPORTED".
"""

from __future__ import annotations

import re

_GAPS = (
    ("a look-ahead", r"\(\?="),
    ("a negative look-ahead", r"\(\?!"),
    ("a look-behind", r"\(\?<="),
    ("a negative look-behind", r"\(\?<!"),
    ("an atomic group", r"\(\?>"),
    ("a back-reference", r"\\[1-9][0-9]*|\\k[<{'][^>}']*[>}']|\\g(?:\{?-?\w+\}?|<\w+>)|\(\?P=\w+\)"),
    ("a conditional group", r"\(\?\([^)]*\)"),
    ("a comment", r"\(\?#"),
    ("a recursive group", r"\(\?(?:R|[+-]?[0-9]+|&\w+|P>\w+)\)"),
    ("a branch reset", r"\(\?\|"),
    ("a possessive repetition", r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\+"),
    ("this escape", r"\\[GKRXZ]"),
)
_SCANNER = re.compile(
    # What is skipped comes first: \Q..\E and classes hold no constructs.
    r"\\Q.*?(?:\\E|\Z)|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|"
    + "|".join(f"(?P<gap{number}>{pattern})" for number, (_, pattern) in enumerate(_GAPS))
    + r"|\\.",
    re.DOTALL,
)


def missing_construct(text: str) -> str | None:
    """The first construct in an expression that RE2 lacks, with spelling and place; None if there is none.

    Args:
        text: an expression that RE2 refused.
    """
    for found in _SCANNER.finditer(text):
        if found.lastgroup is not None:
            name, _ = _GAPS[int(found.lastgroup.removeprefix("gap"))]
            return f"{name}, {found.group()} at character {found.start() + 1}"
    return None

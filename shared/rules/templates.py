"""Templates of v1 and v2 rules: literal text with ``{name}`` and ``{name:regexp}`` in it.

Variable names mean nothing for matching. Braces may nest inside the expression (``{n:[a-z]{2,3}}``).

Source: spec v1 section 3.3, spec v2 section 2.3.
"""

from __future__ import annotations

import msgspec

from shared.errors import ConfigError
from shared.patterns import quote
from shared.rules.matchers import checked_regex

HOST_DEFAULT = "[^.]+"
PATH_DEFAULT = "[^/]+"
V1_QUERY_DEFAULT = "[^?&]*"
V2_QUERY_DEFAULT = ".*"
"""What ``{name}`` without an expression stands for, by the place it is used in."""


class Template(msgspec.Struct, frozen=True):
    """A parsed template.

    Attributes:
        text: as written.
        body: RE2 text that matches it, without anchors.
        is_literal: there is no variable in it: it matches just ``text``.
    """

    text: str
    body: str
    is_literal: bool


def read_template(text: str, default: str) -> Template:
    """Parse a template; ``default`` is the expression of a variable that has none.

    Raises:
        ConfigError: braces do not balance, a name or an expression is missing, or the expression is not RE2.
    """
    body = ""
    end = 0
    spans = _variables(text)
    for start, stop in spans:
        body += quote(text[end:start]) + _variable_pattern(text[start + 1 : stop], text, default)
        end = stop + 1
    body += quote(text[end:])
    return Template(text, body, not spans)


def _variable_pattern(inner: str, text: str, default: str) -> str:
    name, colon, pattern = inner.partition(":")
    if not name or (colon and not pattern):
        raise ConfigError("", f"missing name or pattern in {{{inner}}} of template {text!r}")
    # Checked alone: "a)(b" is no expression, though in the parentheses around it it would be one.
    return f"(?:{checked_regex(pattern if colon else default)})"


def _variables(text: str) -> list[tuple[int, int]]:
    """The positions of the outermost braces, in pairs."""
    spans: list[tuple[int, int]] = []
    level = start = 0
    for position, char in enumerate(text):
        if char == "{":
            level += 1
            if level == 1:
                start = position
        elif char == "}":
            level -= 1
            if level == 0:
                spans.append((start, position))
            elif level < 0:
                break
    if level != 0:
        raise ConfigError("", f"unbalanced braces in template {text!r}")
    return spans

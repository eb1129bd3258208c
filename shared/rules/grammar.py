"""Reads the v2 and v3 rule expression: text to tokens to tree.

The language is a small part of Go's expressions, so Go's lexical rules hold: two kinds of string, comments,
and a line that ends after ``)``, a string or a name ends the expression. What the names mean is not known
here. Every input gives a tree or a ``ConfigError`` with the place of the fault, counted from 1.

Source: spec v2 section 2.1; Go language specification, lexical elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from shared.errors import ConfigError
from shared.rules.tree import And, Call, Not, Or, Tree

MAX_RULE_CHARS = 65_536
"""A longer rule is refused; generated rules of a thousand hosts stay well below."""

MAX_DEPTH = 100
"""Parentheses and ``!`` inside each other; keeps recursion far from Python's limit."""

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r]+|\A\ufeff)
      | (?P<newline>\n)
      | (?P<comment>/\*(?s:.*?)\*/|//[^\n]*)
      | (?P<name>[^\W\d]\w*)
      | (?P<raw>`[^`\0]*`)
      | (?P<quoted>"(?:[^"\\\n\0]|\\.)*")
      | (?P<sign>&&|\|\||[!(),])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:(?P<char>[abfnrtv\\"]) | x(?P<byte>[0-9a-fA-F]{2}) | (?P<octal>[0-7]{3})
          | u(?P<short>[0-9a-fA-F]{4}) | U(?P<long>[0-9a-fA-F]{8}) | (?P<unknown>))""",
    re.VERBOSE,
)
_ESCAPED_CHARS = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    '"': b'"',
}
_AT_FAULT = {
    "'": "single quotes are not allowed; use `back quotes`",
    "`": "a string is not closed",
    '"': "a string is not closed",
    "/": "a comment is not closed",
    "&": "operator & is unknown; use &&",
    "|": "operator | is unknown; use ||",
}


def parse_expression(text: str) -> Tree:
    """Parse a rule expression.

    Raises:
        ConfigError: it is no expression of this language, or exceeds a limit; the path is empty, the reason
            says where.
    """
    if len(text) > MAX_RULE_CHARS:
        raise ConfigError("", f"rule is longer than {MAX_RULE_CHARS} characters")
    parser = _Parser(list(_tokens(text)))
    if parser.token.kind == "end":
        raise ConfigError("", "rule is empty")
    tree = parser.expression(depth=0)
    parser.accept("newline")
    parser.expect("end", "&& or ||")
    return tree


class _Token(msgspec.Struct, frozen=True):
    """``kind`` is name, string, newline, end, or the sign itself; ``offset`` counts from 1."""

    kind: str
    text: str
    offset: int


class _Parser:
    """Recursive descent over the tokens; ``token`` is the next one."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = iter(tokens)
        self.token = next(self._tokens)

    def expression(self, depth: int) -> Tree:
        parts = [self._conjunction(depth)]
        while self.accept("||"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self, depth: int) -> Tree:
        parts = [self._operand(depth)]
        while self.accept("&&"):
            parts.append(self._operand(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _operand(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise _fault(self.token.offset, f"nested deeper than {MAX_DEPTH}")
        if self.accept("!"):
            return Not(self._operand(depth + 1))
        if self.accept("("):
            group = self.expression(depth + 1)
            self.expect(")", ")")
            return group
        name = self.expect("name", "a matcher")
        return Call(name.text, self._arguments(name))

    def _arguments(self, name: _Token) -> tuple[str, ...]:
        self.expect("(", f"( after {name.text}")
        arguments: list[str] = []
        while self.token.kind != ")":
            arguments.append(self.expect("string", "a quoted string").text)
            if not self.accept(","):
                break
        self.expect(")", ", or )")
        return tuple(arguments)

    def accept(self, kind: str) -> _Token | None:
        """Take the next token if it is of this kind."""
        token = self.token
        if token.kind != kind:
            return None
        self.token = next(self._tokens, token)
        return token

    def expect(self, kind: str, wanted: str) -> _Token:
        """Take the next token, which must be of this kind."""
        token = self.token
        if found := self.accept(kind):
            return found
        if token.kind == "newline":
            raise _fault(token.offset, f"the line ends the expression; expected {wanted} before its end")
        seen = "the end of the rule" if token.kind == "end" else f"{token.text!r}"
        raise _fault(token.offset, f"expected {wanted}, found {seen}")


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    line_may_end = False  # as in Go: after a name, a string or ")" a newline is a token
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _fault(
                position + 1, _AT_FAULT.get(text[position], f"unexpected character {text[position]!r}")
            )
        kind, value, offset = found.lastgroup, found[0], position + 1
        position = found.end()
        if kind == "blank":
            continue
        if kind in ("newline", "comment"):
            if line_may_end and "\n" in value:
                yield _Token("newline", "\n", offset)
                line_may_end = False
            continue
        if kind == "raw":
            yield _Token("string", value[1:-1].replace("\r", ""), offset)
        elif kind == "quoted":
            yield _Token("string", _unquote(value, offset), offset)
        else:
            yield _Token("name" if kind == "name" else value, value, offset)
        line_may_end = kind != "sign" or value == ")"
    yield _Token("end", "", len(text) + 1)


def _unquote(literal: str, offset: int) -> str:
    """The value of a double-quoted Go string; bytes that are not UTF-8 become surrogate escapes."""

    def value(escape: re.Match[str]) -> bytes:
        if escape["char"]:
            return _ESCAPED_CHARS[escape["char"]]
        number = _escape_number(escape)
        if number is None:
            raise _fault(
                offset + escape.start(), f"unknown escape {literal[escape.start() :][:2]} in a string"
            )
        return bytes([number]) if escape["byte"] or escape["octal"] else chr(number).encode()

    parts: list[bytes] = []
    end = 1
    for escape in _ESCAPE.finditer(literal, 1, len(literal) - 1):
        parts += (literal[end : escape.start()].encode("utf-8", "surrogateescape"), value(escape))
        end = escape.end()
    parts.append(literal[end:-1].encode("utf-8", "surrogateescape"))
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _escape_number(escape: re.Match[str]) -> int | None:
    """The byte or code point of a numeric escape, or None if it has none."""
    if escape["octal"]:
        number = int(escape["octal"], 8)
        return number if number <= 0xFF else None
    digits = escape["byte"] or escape["short"] or escape["long"]
    number = int(digits, 16) if digits else -1
    is_character = 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return number if is_character else None


def _fault(offset: int, reason: str) -> ConfigError:
    return ConfigError("", f"bad rule at character {offset}: {reason}")

"""The syntax of a v2 or v3 rule, before its matchers are given a meaning.

``grammar.parse_expression`` makes these trees and ``to_text`` prints them; printing and parsing again gives
the same tree. Chains stay flat (``a && b && c`` is one ``And``), groups that matter keep their own node.
"""

from __future__ import annotations

import msgspec


class Node(msgspec.Struct, frozen=True):
    """Root of all nodes."""


class Call(Node, frozen=True):
    """``Name(`argument`, ...)``; the name as written, the arguments unquoted."""

    name: str
    args: tuple[str, ...]


class And(Node, frozen=True):
    """Two or more parts joined by ``&&``."""

    parts: tuple[Tree, ...]


class Or(Node, frozen=True):
    """Two or more parts joined by ``||``."""

    parts: tuple[Tree, ...]


class Not(Node, frozen=True):
    """``!`` before one part."""

    part: Tree


Tree = Call | And | Or | Not


def to_text(tree: Tree) -> str:
    """Print a tree in the canonical spelling: back quotes where possible, only the parentheses needed."""
    match tree:
        case Call(name, args):
            return f"{name}({', '.join(map(quote_string, args))})"
        case Not(part):
            return "!" + _grouped(part, And, Or)
        case And(parts):
            return " && ".join(_grouped(part, And, Or) for part in parts)
        case Or(parts):
            return " || ".join(_grouped(part, Or) for part in parts)


def quote_string(text: str) -> str:
    """Write a string argument so that it reads back the same (Go string literals)."""
    if text.isprintable() and "`" not in text:
        return f"`{text}`"
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def _grouped(part: Tree, *weaker: type[Node]) -> str:
    text = to_text(part)
    return f"({text})" if isinstance(part, weaker) else text

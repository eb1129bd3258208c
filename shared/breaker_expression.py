"""The language of circuit breakers: when to stop forwarding, as a tree.

::

    condition   = all { ("||" | "OR") all }
    all         = comparison { ("&&" | "AND") comparison }
    comparison  = operand [ operator operand ]        a function on the left, a number on the right
    operator    = "==" "!=" "<" "<=" ">" ">="  or  EQ NEQ LT LE GT GE
    operand     = function "(" [ number { "," number } ] ")" | number | "(" condition ")"

The original reads Go expressions and wants exactly a float beside a ratio and exactly an integer beside a
latency; here either will do (spec v1 section 4.5, advice). The spelled-out operators stand in the oldest
documents, but no version ever read them; they are read here. Function names are case-sensitive.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Final, Literal, NamedTuple

from shared.config.diagnostics import nearest_name
from shared.errors import ConfigError

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
Function = Literal["NetworkErrorRatio", "ResponseCodeRatio", "LatencyAtQuantileMS", "RequestThreshold"]

MAX_CHARS: Final = 4096
MAX_DEPTH: Final = 32
"""Parentheses inside parentheses; nobody reads more, and the parser calls itself."""
PARSED_CACHE_ENTRIES: Final = 1024
MAX_QUANTILE: Final = 100

_ARGUMENTS: Final[dict[str, int]] = {
    "NetworkErrorRatio": 0,
    "ResponseCodeRatio": 4,
    "LatencyAtQuantileMS": 1,
    "RequestThreshold": 0,
}
_WORDS: Final = {
    "AND": "&&", "OR": "||", "EQ": "==", "NEQ": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=",
}  # fmt: skip
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
_TOKEN: Final = re.compile(
    r"""(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
      | (?P<name>[A-Za-z_]\w*)
      | (?P<symbol>&&|\|\||==|!=|<=|>=|[<>(),])""",
    re.VERBOSE | re.ASCII,
)
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class Measure(NamedTuple):
    """A figure of the recent past: a function with its arguments."""

    function: Function
    arguments: tuple[float, ...] = ()


class Comparison(NamedTuple):
    """A figure against a number."""

    measure: Measure
    operator: Operator
    number: float


class AllOf(NamedTuple):
    """Every part holds."""

    parts: tuple[Condition, ...]


class AnyOf(NamedTuple):
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Comparison | AllOf | AnyOf
_Operand = Condition | Measure | float


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


@functools.lru_cache(maxsize=PARSED_CACHE_ENTRIES)
def parse_expression(text: str) -> Condition:
    """The condition that a text means.

    Raises:
        ConfigError: it is none; the reason begins with line and column.
    """
    if len(text) > MAX_CHARS:
        raise ConfigError("", f"an expression has at most {MAX_CHARS} characters")
    return _Parser(text).parse()


def format_expression(condition: Condition) -> str:
    """The shortest usual text of a condition; reading it gives the same condition."""
    match condition:
        case Comparison(measure, operator, number):
            arguments = ", ".join(map(_format_number, measure.arguments))
            return f"{measure.function}({arguments}) {operator} {_format_number(number)}"
        case AllOf(parts):
            return " && ".join(
                f"({format_expression(each)})" if isinstance(each, AnyOf | AllOf) else format_expression(each)
                for each in parts
            )
        case AnyOf(parts):
            return " || ".join(
                f"({format_expression(each)})" if isinstance(each, AnyOf) else format_expression(each)
                for each in parts
            )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0
        self._depth = 0

    def parse(self) -> Condition:
        found = self._condition()
        last = self._tokens[self._at]
        if last.kind != "end":
            raise self._error(last, f"expected 'EOF', found {last.text!r}")
        return self._as_condition(found, self._tokens[0])

    def _condition(self) -> _Operand:
        return self._joined("||")

    def _joined(self, symbol: str) -> _Operand:
        start = self._tokens[self._at]
        first = self._joined("&&") if symbol == "||" else self._comparison()
        if self._tokens[self._at].text != symbol:
            return first
        parts = [self._as_condition(first, start)]
        while self._tokens[self._at].text == symbol:
            self._at += 1
            start = self._tokens[self._at]
            part = self._joined("&&") if symbol == "||" else self._comparison()
            parts.append(self._as_condition(part, start))
        return AnyOf(tuple(parts)) if symbol == "||" else AllOf(tuple(parts))

    def _comparison(self) -> _Operand:
        start = self._tokens[self._at]
        left = self._operand()
        operator = self._tokens[self._at]
        if operator.text not in _COMPARISONS:
            return left
        self._at += 1
        right_start = self._tokens[self._at]
        right = self._operand()
        if not isinstance(left, Measure):
            raise self._error(
                start, f"a function such as NetworkErrorRatio() must stand left of {operator.text}"
            )
        if not isinstance(right, float):
            raise self._error(right_start, f"a number must stand right of {operator.text}")
        behind = self._tokens[self._at]
        if behind.text in _COMPARISONS:
            raise self._error(behind, "comparisons cannot be chained; join them with &&")
        return Comparison(left, operator.text, right)  # type: ignore[arg-type]  # one of _COMPARISONS

    def _operand(self) -> _Operand:
        token = self._next()
        match token.kind:
            case "number":
                return self._number(token)
            case "name":
                return self._measure(token)
        if token.text != "(":
            found = "'EOF'" if token.kind == "end" else repr(token.text)
            raise self._error(token, f"expected operand, found {found}")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(token, f"more than {MAX_DEPTH} parentheses inside each other")
        inside = self._condition()
        self._expect(")")
        self._depth -= 1
        return inside

    def _measure(self, name: _Token) -> Measure:
        count = _ARGUMENTS.get(name.text)
        if count is None:
            hint = nearest_name(name.text, _ARGUMENTS)
            raise self._error(name, f"unsupported function: {name.text}", hint)
        self._expect("(")
        arguments: list[float] = []
        while self._tokens[self._at].text != ")":
            if arguments:
                self._expect(",")
            token = self._next()
            if token.kind != "number":
                raise self._error(token, f"expected a number, found {token.text or 'EOF'!r}")
            arguments.append(self._number(token))
        self._expect(")")
        if len(arguments) != count:
            raise self._error(name, f"{name.text} takes {count} arguments, not {len(arguments)}")
        if name.text == "LatencyAtQuantileMS" and arguments[0] > MAX_QUANTILE:
            raise self._error(name, f"a quantile is 0 to {MAX_QUANTILE}, not {arguments[0]:g}")
        if name.text == "ResponseCodeRatio" and any(each != int(each) for each in arguments):
            raise self._error(name, "status codes are whole numbers")
        return Measure(name.text, tuple(arguments))  # type: ignore[arg-type]  # one of _ARGUMENTS

    def _number(self, token: _Token) -> float:
        number = float(token.text)
        if math.isinf(number):
            raise self._error(token, f"{token.text} is too large")
        return number

    def _as_condition(self, found: _Operand, start: _Token) -> Condition:
        if isinstance(found, Measure | float):
            raise self._error(start, "expected a comparison such as NetworkErrorRatio() > 0.5")
        return found

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _expect(self, symbol: str) -> None:
        token = self._next()
        if token.text != symbol:
            raise self._error(token, f"expected {symbol!r}, found {token.text or 'EOF'!r}")

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = self._after_space(0)
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._error(_Token("bad", self._text[at], at), self._unknown(at))
            kind, text = found.lastgroup or "", found.group()
            is_behind_operand = bool(tokens) and (tokens[-1].kind == "number" or tokens[-1].text == ")")
            if is_behind_operand and text in _WORDS:
                kind, text = "symbol", _WORDS[text]
            tokens.append(_Token(kind, text, at))
            at = self._after_space(found.end())
        return [*tokens, _Token("end", "", at)]

    def _unknown(self, at: int) -> str:
        is_first_too_many = at and self._text[at] == ";"
        return "expected 'EOF', found ';'" if is_first_too_many else f"unexpected {self._text[at]!r}"

    def _after_space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        assert found is not None, "it matches the empty text"
        return found.end()

    def _error(self, token: _Token, reason: str, hint: str | None = None) -> ConfigError:
        line = self._text.count("\n", 0, token.at) + 1
        column = token.at - (self._text.rfind("\n", 0, token.at) + 1) + 1
        return ConfigError("", f"{line}:{column}: {reason}", hint)


def _format_number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)

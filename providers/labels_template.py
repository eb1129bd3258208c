"""Default rules: the part of Go's text/template that people write in them.

``Host(`{{ normalize .Name }}.{{ index .Labels "domain" }}`)`` is text with actions in it. An action is a
pipeline of calls: ``.Field``, ``.Labels.key``, literals, functions of ``labels_template_functions``,
parentheses and ``|``. ``{{ if }} {{ else if }} {{ else }} {{ end }}`` choose, ``{{-`` and ``-}}`` trim,
``{{/* */}}`` says nothing. There are no variables, loops or nested templates: a rule that needs them is
refused by name when the settings are checked, not when a container starts.

A template is compiled once and run for each workload; what it costs is bounded by its own length.

Source: Go package text/template; spec v2 section 8.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from providers.labels_template_functions import FUNCTIONS, TemplateError, to_text
from shared.errors import ConfigError

MAX_TEMPLATE_CHARS = 10_000
"""A longer default rule is refused (not measured)."""
MAX_RESULT_CHARS = 65_536
"""A longer result is refused: a rule's own limit."""
MAX_DEPTH = 50
"""Parentheses and ``if`` inside each other."""

Model = Mapping[str, Any]
"""What the template may name: ``Name``, ``Labels`` and so on."""
Evaluate = Callable[[Model], Any]

_ACTION = re.compile(
    r"\{\{(?:-(?=\s))?(?P<inside>(?:`[^`]*`|\"(?:\\.|[^\"\\])*\"|[^}\"`]|\}(?!\}))*)\}\}", re.DOTALL
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<field>(?:\.\w+)+|\.) | (?P<raw>`[^`]*`) | (?P<quoted>"(?:\\.|[^"\\])*")
      | (?P<number>-?\d+) | (?P<word>\w+) | (?P<sign>[()|]) | (?P<other>\S))""",
    re.VERBOSE,
)
_UNSUPPORTED = frozenset({"range", "with", "define", "template", "block", "break", "continue"})


class Template:
    """A compiled template. Made by ``compile_template``."""

    def __init__(self, parts: tuple[Evaluate, ...]) -> None:
        self._parts = parts

    def render(self, model: Model) -> str:
        """Run the template.

        Raises:
            ConfigError: a function does not fit its arguments, or the result is too long.
        """
        try:
            text = "".join(to_text(part(model)) for part in self._parts)
        except TemplateError as error:
            raise ConfigError("", f"default rule: {error}") from error
        if len(text) > MAX_RESULT_CHARS:
            raise ConfigError("", f"default rule gives more than {MAX_RESULT_CHARS} characters")
        return text


def compile_template(
    path: str, text: str, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS
) -> Template:
    """Compile a default rule.

    Args:
        path: where it stands in the settings, for messages.
        text: the template.
        functions: by name.

    Raises:
        ConfigError: it is malformed, too long, or uses what is not supported.
    """
    if len(text) > MAX_TEMPLATE_CHARS:
        raise ConfigError(path, f"longer than {MAX_TEMPLATE_CHARS} characters")
    try:
        return Template(_Compiler(text, functions).compile())
    except TemplateError as error:
        raise ConfigError(path, f"bad template: {error}") from error


class _Piece(msgspec.Struct, frozen=True):
    """Text, or the inside of an action."""

    text: str
    is_action: bool


def _pieces(text: str) -> Iterator[_Piece]:
    end = 0
    trim_next = False
    for action in _ACTION.finditer(text):
        before = text[end : action.start()]
        before = before.lstrip() if trim_next else before
        yield _Piece(before.rstrip() if action[0][2:3] == "-" and action[0][3:4].isspace() else before, False)
        inside = action["inside"]
        trim_next = bool(re.search(r"\s-$", inside))
        yield _Piece(inside[:-1] if trim_next else inside, True)
        end = action.end()
    rest = text[end:]
    if "{{" in rest:
        raise TemplateError(f"an action is not closed: {rest[rest.index('{{') :][:40]!r}")
    yield _Piece(rest.lstrip() if trim_next else rest, False)


class _Compiler:
    """Walks the pieces; ``if`` recurses."""

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._pieces = _pieces(text)
        self._functions = functions

    def compile(self) -> tuple[Evaluate, ...]:
        parts, ended_by = self._until_end(0)
        if ended_by is not None:
            raise TemplateError(f"unexpected {{{{{ended_by}}}}}")
        return parts

    def _until_end(self, depth: int) -> tuple[tuple[Evaluate, ...], str | None]:
        if depth > MAX_DEPTH:
            raise TemplateError(f"nested deeper than {MAX_DEPTH}")
        parts: list[Evaluate] = []
        for piece in self._pieces:
            if not piece.is_action:
                parts.append(_constant(piece.text))
                continue
            inside = piece.text.strip()
            word = inside.split(maxsplit=1)[0] if inside else ""
            if inside.startswith("/*"):
                continue
            if word in ("end", "else"):
                return tuple(parts), inside
            if word in _UNSUPPORTED or "$" in inside or ":=" in inside:
                raise TemplateError(f"{inside[:40]!r} is not supported in a default rule")
            parts.append(self._if(inside[2:], depth) if word == "if" else self._pipeline(inside))
        return tuple(parts), None

    def _if(self, condition: str, depth: int) -> Evaluate:
        test = self._pipeline(condition)
        then, ended_by = self._until_end(depth + 1)
        otherwise: tuple[Evaluate, ...] = ()
        if ended_by is not None and ended_by.startswith("else"):
            rest = ended_by.removeprefix("else").strip()
            if rest.startswith("if"):
                otherwise, ended_by = (self._if(rest[2:], depth + 1),), "end"
            else:
                otherwise, ended_by = self._until_end(depth + 1)
        if ended_by != "end":
            raise TemplateError("an if is not closed by {{end}}")
        return lambda model: "".join(to_text(part(model)) for part in (then if test(model) else otherwise))

    def _pipeline(self, text: str) -> Evaluate:
        return _PipelineParser(text, self._functions).parse()


class _PipelineParser:
    """Recursive descent over the tokens of one action."""

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._text = text.strip()
        self._functions = functions
        self._tokens = [
            (str(each.lastgroup), each[each.lastgroup or 0]) for each in _TOKEN.finditer(self._text)
        ]
        self._at = 0

    def parse(self) -> Evaluate:
        value = self._pipe(0)
        if self._at < len(self._tokens):
            raise TemplateError(f"unexpected {self._tokens[self._at][1]!r} in {self._text[:40]!r}")
        return value

    def _pipe(self, depth: int) -> Evaluate:
        if depth > MAX_DEPTH:
            raise TemplateError(f"nested deeper than {MAX_DEPTH}")
        value = self._command(None, depth)
        while self._take("|"):
            value = self._command(value, depth)
        return value

    def _command(self, piped: Evaluate | None, depth: int) -> Evaluate:
        kind, text = self._peek()
        if kind != "word" or text in ("true", "false", "nil"):
            if piped is not None:
                raise TemplateError(f"only a function can stand behind | in {self._text[:40]!r}")
            return self._operand(depth)
        self._at += 1
        if text not in self._functions:
            raise TemplateError(
                f'function "{text}" is not known (known: {", ".join(sorted(self._functions))})'
            )
        arguments: list[Evaluate] = []
        while self._peek() not in (("end", ""), ("sign", "|"), ("sign", ")")):
            arguments.append(self._operand(depth))
        if piped is not None:
            arguments.append(piped)
        return _call(text, self._functions[text], tuple(arguments))

    def _operand(self, depth: int) -> Evaluate:
        kind, text = self._peek()
        self._at += 1
        match kind:
            case "field":
                return _field(tuple(text.strip(".").split(".")) if text != "." else ())
            case "raw":
                return _constant(text[1:-1])
            case "quoted":
                return _constant(_unquote(text))
            case "number":
                return _constant(int(text[:20]))
            case "word" if text in ("true", "false"):
                return _constant(text == "true")
            case "word" if text in self._functions:
                return _call(text, self._functions[text], ())
            case "sign" if text == "(":
                value = self._pipe(depth + 1)
                if not self._take(")"):
                    raise TemplateError(f"a parenthesis is not closed in {self._text[:40]!r}")
                return value
        raise TemplateError(f"unexpected {text or 'end'!r} in {self._text[:40]!r}")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, sign: str) -> bool:
        if self._peek() != ("sign", sign):
            return False
        self._at += 1
        return True


def _constant(value: object) -> Evaluate:
    return lambda model: value


def _field(names: tuple[str, ...]) -> Evaluate:
    def evaluate(model: Model) -> Any:  # noqa: ANN401  # as the model holds it
        value: Any = model
        for name in names:
            if not isinstance(value, Mapping):
                raise TemplateError(f".{'.'.join(names)} does not exist")
            if value is model and name not in model:
                raise TemplateError(
                    f".{name} is not known (known: {', '.join(f'.{each}' for each in model)})"
                )
            value = value.get(name)
        return value

    return evaluate


def _call(name: str, function: Callable[..., Any], arguments: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(model: Model) -> Any:  # noqa: ANN401  # as the function gives it
        values = [argument(model) for argument in arguments]
        try:
            return function(*values)
        except (TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError) as error:
            raise TemplateError(f"{name}: {error}") from error

    return evaluate


def _unquote(literal: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[0]), literal[1:-1], flags=re.DOTALL)

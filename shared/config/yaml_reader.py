"""YAML texts as plain mappings, lists and scalars; safe for texts from anywhere.

PyYAML's own composer recurses in C (deep nesting ends the process: seen with 50,000 brackets), keeps the
last of two equal keys, and resolves YAML 1.1's surprises (``on`` is true, ``1:30`` is 90). So only libyaml's
event stream is used, and the tree is built here: iteratively, in linear time, with limits (2026-11: 20,000
routers, 2.3 MB: 3.0 s with the stock loader, 0.97 s with this one).

Scalars follow YAML 1.2's core schema, as the configuration's usual readers do; nulls mean "not written".
Aliases share what they name; what they add up to is bounded.

Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from shared.config.diagnostics import Path
from shared.config.positions import PositionIndex

MAX_NESTING = 64
"""Deepest nesting of tables and lists, in every format; configuration needs about ten levels."""
MAX_ALIAS_NODES = 100_000
"""Nodes that aliases may add in all: merge keys are for people, not for compression (not measured)."""

Scalar = str | int | float | bool | None
Container = dict[str, Any] | list[Any]

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_STARTS = frozenset("0123456789+-.")
_MAX_DIGITS = 30
_TAG = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


class SyntaxProblem(Exception):
    """A text that cannot be read.

    Args:
        reason: what is wrong.
        line: from 1; 0 when not known.
        column: from 1; 0 when not known.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


def read_yaml(text: str, index: PositionIndex | None = None) -> object:
    """Parse the one document of a YAML text.

    Args:
        text: YAML, or JSON without surrogate escapes.
        index: if given, gets the place of every key and item.

    Raises:
        SyntaxProblem: not YAML, more than one document, equal keys, or a limit is exceeded.
    """
    loader = yaml.CSafeLoader(text)
    builder = _Builder(index)
    try:
        while True:
            event = loader.get_event()
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return builder.root
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        reason = error.problem or "not YAML"
        if error.context:
            reason = f"{reason} {error.context}"
        mark = error.problem_mark or error.context_mark
        raise SyntaxProblem(reason, *((mark.line + 1, mark.column + 1) if mark else ())) from error
    except yaml.YAMLError as error:
        raise SyntaxProblem(f"not YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


class _Frame:
    """One open mapping or list."""

    __slots__ = ("anchor", "container", "key", "key_next", "merged", "nodes_before", "path")

    def __init__(self, container: Container, anchor: str | None, path: Path, nodes_before: int) -> None:
        self.container: Any = container  # ``key`` and ``key_next`` say which of the two it is
        self.anchor = anchor
        self.path = path
        self.nodes_before = nodes_before
        self.key_next = isinstance(container, dict)
        self.key: str | None = None
        self.merged: list[dict[str, Any]] = []


class _Builder:
    """Takes events, keeps a stack of open containers; an anchor remembers its value and its size."""

    def __init__(self, index: PositionIndex | None) -> None:
        self.root: object = None
        self._index = index
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open_anchors: set[str] = set()
        self._nodes = 0
        self._alias_nodes = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._open({}, event)
            case yaml.SequenceStartEvent():
                self._open([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _problem("a second document starts here; one file holds one document", event)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._nodes += 1
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key_next:
            self._key(frame, event)
            return
        value = _scalar_value(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._place(value, event)

    def _key(self, frame: _Frame, event: yaml.ScalarEvent) -> None:
        key: str = event.value
        if event.anchor:
            self._anchors[event.anchor] = (key, 1)
        is_merge = key == "<<" and event.implicit[0]
        if key in frame.container and not is_merge:
            raise _problem(f'the key "{key}" is written twice', event)
        frame.key = key
        frame.key_next = False
        if self._index is not None:
            self._index.add((*frame.path, key), *_position(event))
        if not is_merge:
            frame.container[key] = None  # holds the place, so that a second one is noticed even for nulls

    def _open(self, container: Container, event: yaml.CollectionStartEvent) -> None:
        self._nodes += 1
        if len(self._stack) >= MAX_NESTING:
            raise _problem(f"nested more than {MAX_NESTING} levels deep", event)
        path: Path = ()
        if self._stack:
            frame = self._stack[-1]
            if frame.key_next:
                raise _problem("a key must be a plain value", event)
            path = (*frame.path, len(frame.container) if frame.key is None else frame.key)
            self._mark_item(frame, event)
        if event.anchor:
            self._open_anchors.add(event.anchor)
        _check_tag(event, "map" if isinstance(container, dict) else "seq")
        self._stack.append(_Frame(container, event.anchor, path, self._nodes - 1))

    def _close(self, event: yaml.Event) -> None:
        frame = self._stack.pop()
        value = frame.container
        if isinstance(value, dict):
            for merged in frame.merged:
                for key, each in merged.items():
                    if value.get(key) is None:
                        value[key] = each
            for key in [key for key, each in value.items() if each is None]:
                del value[key]
        if frame.anchor:
            self._open_anchors.discard(frame.anchor)
            self._anchors[frame.anchor] = (value, self._nodes - frame.nodes_before)
        self._place(value, event, marked=True)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor in self._open_anchors:
            raise _problem(f'the alias "{event.anchor}" stands inside what it names', event)
        if event.anchor not in self._anchors:
            raise _problem(f'the alias "{event.anchor}" names nothing', event)
        value, size = self._anchors[event.anchor]
        self._nodes += size
        self._alias_nodes += size
        if self._alias_nodes > MAX_ALIAS_NODES:
            raise _problem(f"aliases stand for more than {MAX_ALIAS_NODES} nodes", event)
        if self._stack and self._stack[-1].key_next:
            raise _problem("an alias cannot be a key here", event)
        self._place(value, event)

    def _place(self, value: object, event: yaml.Event, marked: bool = False) -> None:
        """Put a finished value where it belongs."""
        if not self._stack:
            self.root = value
            return
        frame = self._stack[-1]
        if frame.key is None:
            if not marked:
                self._mark_item(frame, event)
            frame.container.append(value)
            return
        if frame.key == "<<" and "<<" not in frame.container:
            frame.merged += _merged_mappings(value, event)
        else:
            frame.container[frame.key] = value
        frame.key = None
        frame.key_next = True

    def _mark_item(self, frame: _Frame, event: yaml.Event) -> None:
        if self._index is not None and frame.key is None:
            self._index.add((*frame.path, len(frame.container)), *_position(event))


def _merged_mappings(value: object, event: yaml.Event) -> list[dict[str, Any]]:
    parts = value if isinstance(value, list) else [value]
    mappings = [part for part in parts if isinstance(part, dict)]
    if len(mappings) < len(parts):
        raise _problem('"<<" merges mappings only', event)
    return mappings


def _scalar_value(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    tag: str | None = event.tag
    if tag is None or tag == "!":
        return _plain_value(text) if event.implicit[0] else text
    kind = tag.removeprefix(_TAG)
    if kind == "str":
        return text
    value = _plain_value(text)
    fits = _KINDS.get(kind)
    if tag == kind or fits is None:
        raise _problem(f"the tag {tag} is not supported", event)
    if not isinstance(value, fits):
        raise _problem(f'"{text}" is not a {kind}', event)
    return value


def _plain_value(text: str) -> Scalar:
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in _NUMBER_STARTS or len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def _check_tag(event: yaml.CollectionStartEvent, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        raise _problem(f"the tag {event.tag} is not supported", event)


def _problem(reason: str, event: yaml.Event) -> SyntaxProblem:
    return SyntaxProblem(reason, *_position(event))


def _position(event: yaml.Event) -> tuple[int, int]:
    """Line and column from 1; zeros where the parser does not say."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)

"""Plain mappings to frozen structs: the one edge where configuration stops being ``Any``.

A struct's fields are compiled once into a plan (folded key -> how to convert); decoding walks the mapping,
not the fields, so that its cost follows what is written. Everything wrong is collected, each with its path;
an object that holds an error comes out as None, its neighbours are not touched.

What is accepted where (spec v2 sections 1.2 to 1.4 and 8.2; the same for files, flags, labels and keys):

=============  =======================================================================================
bool           true, false, and the texts of Go's ParseBool
int, float     numbers and their texts
Duration       ``1m30s`` or a number of seconds
tuple          a list, comma-separated text, or a mapping with indexes as keys (kept in written order:
               translators of labels and keys decide what order means for them)
Section        a mapping; never a bare value (``retry: true``)
EmptySection   also ``true``; any other bare value means absent (``--providers.docker=false``)
null           absent, everywhere
=============  =======================================================================================

An empty mapping is a section with its defaults, except as the kind of a ``OneKind`` object: a middleware
``retry: {}`` says nothing, and is refused as the original refuses it.
"""

from __future__ import annotations

import functools
import math
import re
import types
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from shared import units
from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.kinds import EmptySection, OneKind, Section

T = TypeVar("T")
Unknown = Literal["error", "warning", "ignore"]
"""What a key that no section has means."""

MAX_INT = 2**63 - 1
"""Integers beyond 64 bits are refused, as the original does."""
PEM_MARK = "-----BEGIN"
"""In every PEM text; such a value is never shown."""
MAX_SHOWN_CHARS = 60
"""Longer values are cut in messages."""

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"[+-]?[0-9]+")


class _Outcome(Enum):
    ABSENT = "absent"
    BROKEN = "broken"


ABSENT = _Outcome.ABSENT
BROKEN = _Outcome.BROKEN


class _Run(NamedTuple):
    """What one call of ``decode`` carries through the converters."""

    found: Diagnostics
    unknown: Unknown

    def fail(self, path: Path, reason: str) -> _Outcome:
        self.found.error(path, reason)
        return BROKEN


Convert = Callable[[object, Path, _Run], object]


class _Field(NamedTuple):
    name: str
    convert: Convert


class _Plan(NamedTuple):
    """How a struct is decoded: written and folded keys to fields, and the names worth suggesting."""

    fields: dict[str, _Field]
    names: tuple[str, ...]


def decode(
    kind: type[T], raw: object, path: Path, found: Diagnostics, *, unknown: Unknown = "error"
) -> T | None:
    """Decode one object.

    Args:
        kind: the struct to build.
        raw: what stands in the document; None gives the defaults.
        path: where it stands, for messages.
        found: collects what is wrong.
        unknown: what to do about keys that the struct does not have, at any depth.

    Returns:
        The object, or None if there was any error in it.
    """
    value = _converter(kind)({} if raw is None else raw, path, _Run(found, unknown))
    if value is ABSENT:
        return kind()
    return None if value is BROKEN else value  # type: ignore[return-value]  # built by kind's own plan


def decode_each(
    kind: type[T], raw: object, path: Path, found: Diagnostics, *, unknown: Unknown = "error"
) -> tuple[dict[str, T], set[str]]:
    """Decode a map whose entries fail one by one.

    Returns:
        The good entries, and the names of the broken ones. If ``raw`` is not a mapping, that is one error
        and there are neither.
    """
    run = _Run(found, unknown)
    good: dict[str, T] = {}
    broken: set[str] = set()
    if raw is None:
        return good, broken
    if not isinstance(raw, Mapping):
        run.fail(path, f"expected a table, got {show(raw)}")
        return good, broken
    convert = _converter(kind)
    for key, entry in raw.items():
        name = str(key)
        value = ABSENT if entry is None else convert(entry, (*path, name), run)
        if value is BROKEN:
            broken.add(name)
        elif value is not ABSENT:
            good[name] = value  # type: ignore[assignment]  # built by kind's own plan
    return good, broken


def written_names(kind: type[Section]) -> tuple[str, ...]:
    """The keys that documents may use in this section, as they are usually written."""
    return _plan(kind).names


def list_items(raw: object) -> list[tuple[str | int, object]] | None:
    """The items of a list, each with its place in paths; also of a table of indexes, in written order."""
    if isinstance(raw, list | tuple):
        return list(enumerate(raw))
    if isinstance(raw, Mapping) and all(str(key).isdecimal() for key in raw):
        return [(str(key), each) for key, each in raw.items()]
    return None


def show(raw: object) -> str:
    """A value in a message: scalars as written and cut, containers by their kind only."""
    if isinstance(raw, Mapping):
        return "a table"
    if isinstance(raw, list | tuple):
        return "a list"
    if raw is None:
        return "nothing"
    if isinstance(raw, bytes):  # what a store of keys holds and is not UTF-8; it may be a secret
        return f"{len(raw)} bytes that are not text"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    text = str(raw)
    if PEM_MARK in text:  # it may be a private key
        return "PEM text"
    text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."
    return f'"{text}"' if isinstance(raw, str) else text


# ------------------------------------------------------------------------------------------------ plans


@functools.cache
def _plan(kind: type[Section]) -> _Plan:
    fields: dict[str, _Field] = {}
    names: list[str] = []
    for info in msgspec.structs.fields(kind):
        if _meta_kind(info.type) == "internal":
            continue
        convert = _converter(info.type)
        if issubclass(kind, OneKind):
            convert = _refuse_empty(convert, info.type)
        names.append(info.encode_name)
        # The usual spelling is entered too, which saves folding it each time.
        fields[info.encode_name] = fields[info.encode_name.lower()] = _Field(info.name, convert)
    return _Plan(fields, tuple(names))


def _converter(kind: object) -> Convert:
    """The converter of a type; made once per type."""
    return _make_converter(kind)


@functools.cache
def _make_converter(kind: object) -> Convert:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _to_duration if _meta_kind(kind) == "duration" else _converter(arguments[0])
    if origin in (Union, types.UnionType):
        inner = [each for each in arguments if each is not types.NoneType]
        assert len(inner) == 1, f"{kind} is not an optional"
        return _converter(inner[0])
    if origin is tuple:
        return _list_converter(arguments[0])
    if origin is dict:
        return _map_converter(arguments[1])
    if isinstance(kind, type) and issubclass(kind, Section):
        return _empty_section_converter(kind) if issubclass(kind, EmptySection) else _section_converter(kind)
    return _SCALARS[kind]


def _meta_kind(kind: object) -> str | None:
    if get_origin(kind) is not Annotated:
        return None
    for each in get_args(kind)[1:]:
        if isinstance(each, msgspec.Meta) and each.extra:
            return str(each.extra.get("kind"))
    return None


# ------------------------------------------------------------------------------------------- containers


def _section_converter(kind: type[Section]) -> Convert:
    def convert(raw: object, path: Path, run: _Run) -> object:
        if isinstance(raw, Mapping):
            return _fill(kind, raw, path, run)
        if isinstance(raw, list | tuple) or not path or isinstance(path[-1], int):
            return run.fail(path, f"expected a table, got {show(raw)}")
        return run.fail(path, f"{path[-1]} cannot be a standalone element")

    return convert


def _empty_section_converter(kind: type[Section]) -> Convert:
    def convert(raw: object, path: Path, run: _Run) -> object:
        if isinstance(raw, Mapping):
            return _fill(kind, raw, path, run)
        if isinstance(raw, list | tuple | bytes):
            return run.fail(path, f"expected a table, got {show(raw)}")
        enabled = raw is True or (isinstance(raw, str) and raw.lower() == "true")
        return kind() if enabled else ABSENT

    return convert


def _fill(kind: type[Section], raw: Mapping[Any, object], path: Path, run: _Run) -> object:
    plan = _plan(kind)
    fields = plan.fields
    values: dict[str, object] = {}
    broken = False
    for key, entry in raw.items():
        field = fields.get(key) or fields.get(str(key).lower())
        if field is None:
            broken |= _report_unknown(str(key), plan.names, path, run)
        elif field.name in values:
            run.fail((*path, key), f'"{key}" is written twice, in different spellings')
            broken = True
        elif entry is not None:
            value = field.convert(entry, (*path, key), run)
            if value is BROKEN:
                broken = True
            elif value is not ABSENT:
                values[field.name] = value
    return BROKEN if broken else kind(**values)


def _report_unknown(key: str, names: tuple[str, ...], path: Path, run: _Run) -> bool:
    """Say what is to be said about an unknown key; whether it breaks the object."""
    if run.unknown == "ignore":
        return False
    report = run.found.error if run.unknown == "error" else run.found.warning
    report((*path, key), f'unknown key "{key}"', nearest_name(key, names))
    return run.unknown == "error"


def _refuse_empty(convert: Convert, kind: object) -> Convert:
    """For kinds of a ``OneKind`` object: an empty mapping is as good as nothing."""
    sections = [each for each in get_args(kind) if isinstance(each, type) and issubclass(each, Section)]
    if not sections or issubclass(sections[0], EmptySection):
        return convert

    def convert_filled(raw: object, path: Path, run: _Run) -> object:
        if isinstance(raw, Mapping) and not raw:
            return run.fail(path, f"{path[-1]} cannot be a standalone element")
        return convert(raw, path, run)

    return convert_filled


def _list_converter(element: object) -> Convert:
    convert_one = _converter(element)
    holds_sections = isinstance(element, type) and issubclass(element, Section)

    def convert(raw: object, path: Path, run: _Run) -> object:
        if element is str and isinstance(raw, list) and all(isinstance(each, str) for each in raw):
            return tuple(raw)  # nearly every list there is
        items = list_items(raw)
        if items is not None:
            pass
        elif isinstance(raw, Mapping):
            return run.fail(path, "expected a list, got a table")
        elif holds_sections:
            return run.fail(path, f"expected a list of tables, got {show(raw)}")
        else:
            texts = raw.split(",") if isinstance(raw, str) else [raw]
            items = list(enumerate(each.strip() if isinstance(each, str) else each for each in texts))
            if raw == "":
                items = []
        values = [convert_one(each, (*path, at), run) for at, each in items if each is not None]
        if BROKEN in values:
            return BROKEN
        return tuple(value for value in values if value is not ABSENT)

    return convert


def _map_converter(element: object) -> Convert:
    convert_one = _converter(element)

    def convert(raw: object, path: Path, run: _Run) -> object:
        if not isinstance(raw, Mapping):
            return run.fail(path, f"expected a table, got {show(raw)}")
        values: dict[str, object] = {}
        broken = False
        for key, entry in raw.items():
            value = ABSENT if entry is None else convert_one(entry, (*path, key), run)
            if value is BROKEN:
                broken = True
            elif value is not ABSENT:
                values[str(key)] = value
        return BROKEN if broken else values

    return convert


# ---------------------------------------------------------------------------------------------- scalars


def _to_text(raw: object, path: Path, run: _Run) -> object:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, Mapping | list | tuple | bytes):
        return run.fail(path, f"expected text, got {show(raw)}")
    return str(raw)


def _to_bool(raw: object, path: Path, run: _Run) -> object:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str | int):
        text = str(raw)
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    return run.fail(path, f"expected true or false, got {show(raw)}")


def _to_int(raw: object, path: Path, run: _Run) -> object:
    value: int | None = None
    if isinstance(raw, int) and not isinstance(raw, bool):
        value = raw
    elif isinstance(raw, float) and raw.is_integer():
        value = int(raw)  # YAML and JSON writers turn large counts into 1e6
    elif isinstance(raw, str) and len(raw) <= MAX_SHOWN_CHARS and _INTEGER.fullmatch(raw):
        value = int(raw)
    if value is None:
        return run.fail(path, f"expected a whole number, got {show(raw)}")
    if not -MAX_INT - 1 <= value <= MAX_INT:
        return run.fail(path, f"{show(raw)} does not fit into 64 bits")
    return value


def _to_float(raw: object, path: Path, run: _Run) -> object:
    if isinstance(raw, int | float | str) and not isinstance(raw, bool):
        try:
            value = float(raw)
        except (ValueError, OverflowError):
            value = math.nan
        if math.isfinite(value):
            return value
    return run.fail(path, f"expected a number, got {show(raw)}")


def _to_duration(raw: object, path: Path, run: _Run) -> object:
    reason = f"expected a duration such as 10s or 1m30s, got {show(raw)}"
    if isinstance(raw, float):
        in_range = abs(raw) <= units.MAX_NANOSECONDS / units.NANOSECONDS  # false for nan and infinity
        return raw if in_range else run.fail(path, reason)
    if isinstance(raw, str | int) and not isinstance(raw, bool):
        try:
            return units.parse_duration(str(raw))
        except ValueError:
            return run.fail(path, reason)
    return run.fail(path, reason)


def _as_is(raw: object, path: Path, run: _Run) -> object:
    return run.fail(path, f"expected text, got {show(raw)}") if isinstance(raw, bytes) else raw


_SCALARS: dict[object, Convert] = {str: _to_text, bool: _to_bool, int: _to_int, float: _to_float, Any: _as_is}

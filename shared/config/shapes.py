"""What stands where in a struct: questions about a path that come before any value is decoded.

Flags need to know whether ``--ping`` may take the next argument, and every source needs the usual spelling
of a key that may be written in any case.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec

from shared.config.kinds import Section


class Shape(Enum):
    """What a place holds."""

    BOOL = "bool"
    SCALAR = "scalar"
    LIST = "list of scalars"
    SECTIONS = "list of sections"
    MAP = "map"
    SECTION = "section"
    UNKNOWN = "unknown"


class Place(NamedTuple):
    """The end of a path.

    Attributes:
        shape: what it holds.
        in_map: whether a name of somebody's own stands on the way (``entryPoints.<name>``).
    """

    shape: Shape
    in_map: bool


def find_place(root: type[Section], path: Sequence[str]) -> Place:
    """Follow ``path``, in any case, from ``root``; list items are given by their index."""
    kind: Any = root
    in_map = False
    for part in path:
        shape = _shape(kind)
        if shape is Shape.SECTION:
            field = _fields(kind).get(part.lower())
            if field is None:
                return Place(Shape.UNKNOWN, in_map)
            kind = field.kind
        elif shape is Shape.MAP:
            kind, in_map = _plain(get_args(kind)[1]), True
        elif shape is Shape.SECTIONS and part.isdecimal():
            kind = _plain(get_args(kind)[0])
        elif shape is Shape.LIST and part.isdecimal():
            kind = str
        elif kind is Any:
            return Place(Shape.SCALAR, in_map)
        else:
            return Place(Shape.UNKNOWN, in_map)
    return Place(_shape(kind), in_map)


def spell(root: type[Section], tree: Mapping[Any, object], *, keep_unknown: bool = True) -> dict[str, Any]:
    """A copy of ``tree`` with the keys of sections in their usual spelling.

    Args:
        root: what the tree is.
        tree: keys in any case.
        keep_unknown: whether keys that no section has stay, as they are written, or go.
    """
    spelled = _spelled(root, tree, keep_unknown)
    assert isinstance(spelled, dict)
    return {key: value for key, value in spelled.items() if value is not None}


class _Field(NamedTuple):
    name: str
    kind: Any


@functools.cache
def _fields(kind: type[Section]) -> dict[str, _Field]:
    """Folded key -> usual spelling and type, for what documents may name."""
    return {
        info.encode_name.lower(): _Field(info.encode_name, _plain(info.type))
        for info in msgspec.structs.fields(kind)
        if not _is_internal(info.type)
    }


def _is_internal(kind: object) -> bool:
    if get_origin(kind) is not Annotated:
        return False
    metas = [each for each in get_args(kind)[1:] if isinstance(each, msgspec.Meta)]
    return any((each.extra or {}).get("kind") == "internal" for each in metas)


def _plain(kind: object) -> object:
    """The type without annotations and None."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _plain(next(each for each in get_args(kind) if each is not types.NoneType))
    return kind


def _shape(kind: object) -> Shape:
    origin = get_origin(kind)
    if origin is dict:
        return Shape.MAP
    if origin is tuple:
        element = get_args(kind)[0]
        is_section = isinstance(element, type) and issubclass(element, Section)
        return Shape.SECTIONS if is_section else Shape.LIST
    if isinstance(kind, type) and issubclass(kind, Section):
        return Shape.SECTION
    return Shape.BOOL if kind is bool else Shape.SCALAR


def _spelled(kind: object, raw: object, keep_unknown: bool) -> object:
    shape = _shape(kind)
    if isinstance(kind, type) and issubclass(kind, Section) and isinstance(raw, Mapping):
        fields = _fields(kind)
        spelled: dict[str, object] = {}
        for key, value in raw.items():
            field = fields.get(str(key).lower())
            if field is not None:
                spelled[field.name] = _spelled(field.kind, value, keep_unknown)
            elif keep_unknown:
                spelled[str(key)] = value
        return spelled
    if shape is Shape.MAP and isinstance(raw, Mapping):
        element = _plain(get_args(kind)[1])
        return {str(key): _spelled(element, value, keep_unknown) for key, value in raw.items()}
    if shape is Shape.SECTIONS and isinstance(raw, list):
        return [_spelled(get_args(kind)[0], each, keep_unknown) for each in raw]
    return raw

"""The functions of default rules: Go's own, ``normalize``, and the few of sprig that people use for names.

Argument order is sprig's: the subject comes last, so that it can be piped in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from providers.labels import normalize

MAX_REPEATED_CHARS = 65_536
"""The longest text that a function may make."""


class TemplateError(Exception):
    """The template cannot be compiled or run."""


def to_text(value: object) -> str:
    """A value as the template prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(to_text, value))}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{to_text(value[key])}' for key in sorted(value))}]"
    return str(value)


def _index(subject: Any, *keys: Any) -> Any:  # noqa: ANN401  # whatever the model holds
    for key in keys:
        subject = subject.get(key, "") if isinstance(subject, Mapping) else subject[int(key)]
    return subject


def _replace(old: str, new: str, subject: str) -> str:
    if len(subject) * max(1, len(new)) > MAX_REPEATED_CHARS * 16:
        raise ValueError("the result would be too long")
    return str(subject).replace(old, new)


def _substr(start: int, end: int, subject: str) -> str:
    return subject[start:] if end < 0 else subject[max(start, 0) : end]


def _trunc(length: int, subject: str) -> str:
    return subject[:length] if length >= 0 else subject[length:]


def _printf(form: str, *values: object) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not rest:
            raise ValueError(f"no value for {found[0]}")
        value = to_text(rest.pop(0))
        return f'"{value}"' if found[1] == "q" else value

    return re.sub(r"%(?:([svdq])|%)", one, form)


def _ternary(yes: object, no: object, test: object) -> object:
    return yes if test else no


def _and(first: object, *others: object) -> object:
    for other in others:
        if not first:
            return first
        first = other
    return first


def _or(first: object, *others: object) -> object:
    for other in others:
        if first:
            return first
        first = other
    return first


def _get(subject: Mapping[str, Any], key: str) -> object:
    return subject.get(key, "")


def _coalesce(*values: object) -> object:
    return next((value for value in values if value), None)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    # Go's own
    "index": _index,
    "printf": _printf,
    "print": lambda *values: "".join(map(to_text, values)),
    "len": len,
    "eq": lambda first, *others: first in others,
    "ne": lambda one, other: one != other,
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    # the product's
    "normalize": lambda subject: normalize(to_text(subject)),
    # sprig's
    "lower": lambda subject: to_text(subject).lower(),
    "upper": lambda subject: to_text(subject).upper(),
    "title": lambda subject: to_text(subject).title(),
    "trim": lambda subject: to_text(subject).strip(),
    "trimAll": lambda cut, subject: to_text(subject).strip(cut),
    "trimPrefix": lambda prefix, subject: to_text(subject).removeprefix(prefix),
    "trimSuffix": lambda suffix, subject: to_text(subject).removesuffix(suffix),
    "hasPrefix": lambda prefix, subject: to_text(subject).startswith(prefix),
    "hasSuffix": lambda suffix, subject: to_text(subject).endswith(suffix),
    "contains": lambda part, subject: part in to_text(subject),
    "replace": _replace,
    "substr": _substr,
    "trunc": _trunc,
    "quote": lambda *values: " ".join(f'"{to_text(value)}"' for value in values),
    "squote": lambda *values: " ".join(f"'{to_text(value)}'" for value in values),
    "default": lambda fallback, value=None: value or fallback,
    "coalesce": _coalesce,
    "ternary": _ternary,
    "empty": lambda value: not value,
    "get": _get,
    "hasKey": lambda subject, key: key in subject,
    "splitList": lambda separator, subject: to_text(subject).split(separator),
    "join": lambda separator, parts: separator.join(map(to_text, parts)),
    "first": lambda parts: parts[0],
    "last": lambda parts: parts[-1],
}
"""By name; docs/providers/docker.md lists them, a test compares."""

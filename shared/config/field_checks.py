"""Checks of single values that end up in messages: field names and values, status codes, expressions.

What is refused here could otherwise split a header or a response, so the compiler asks before a table is
made and the worker need not ask again.

Source: RFC 9110 section 5.1 (names) and 5.5 (values).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shared.errors import ConfigError
from shared.patterns import compile_pattern
from shared.status_texts import status_text

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(r"[^\x00-\x20\x7f/?#@\\]+")
_FRAMING_FIELDS = frozenset({"content-length", "transfer-encoding"})
_FIRST_FINAL_STATUS = 200


def check_field_name(path: str, name: str) -> None:
    """Refuse what is not a token.

    Raises:
        ConfigError: at ``path``.
    """
    if not _TOKEN.fullmatch(name):
        raise ConfigError(path, f"{name!r} is not a header name")


def check_field_value(path: str, value: str) -> None:
    """Refuse line ends, NUL and other control characters; a tab may stand inside.

    Raises:
        ConfigError: at ``path``.
    """
    found = _CONTROL.search(value)
    if found:
        raise ConfigError(path, f"a header value must not hold the control character {found.group()!r}")


def check_field_values(path: str, values: Iterable[str]) -> None:
    """``check_field_value`` for a list; the path gets the index."""
    for index, value in enumerate(values):
        check_field_value(f"{path}[{index}]", value)


def check_fields(path: str, fields: Mapping[str, str]) -> None:
    """Check configured fields; an empty value removes the field and is always right.

    Raises:
        ConfigError: a name or value is impossible, or the field frames the message (its body is ours to
            frame: a wrong length would let one message be read as two).
    """
    for name, value in fields.items():
        where = f"{path}.{name}"
        check_field_name(where, name)
        check_field_value(where, value)
        if value and name.lower() in _FRAMING_FIELDS:
            raise ConfigError(where, "this header frames the message and cannot be set")
        if value and name.lower() == "host" and not _HOST.fullmatch(value.strip(" \t")):
            raise ConfigError(where, f"{value!r} is not a host")


def check_patterns(path: str, texts: Iterable[str]) -> None:
    """``check_pattern`` for a list; the path gets the index."""
    for index, text in enumerate(texts):
        check_pattern(f"{path}[{index}]", text)


def check_pattern(path: str, text: str) -> None:
    """Refuse what RE2 cannot compile.

    Raises:
        ConfigError: at ``path``.
    """
    try:
        compile_pattern(text)
    except ConfigError as error:
        raise ConfigError(path, error.reason) from error


def check_reply_status(path: str, status: int) -> None:
    """Refuse a status that cannot be an answer of ours: not registered, or not final (1xx).

    Raises:
        ConfigError: at ``path``.
    """
    if status < _FIRST_FINAL_STATUS or not status_text(status):
        raise ConfigError(path, f"invalid HTTP status code {status}")

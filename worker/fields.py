"""The grammar of one header section, exact, for both sides: requests, responses and trailers.

Stricter than any lenient parser, so that what we pass on has only one reading: lines end in CRLF, no control
byte stands in a value, no line is folded, no blank stands before the colon. Nothing is repaired.

Source: RFC 9110 sections 5.1, 5.5 and 5.6.2; RFC 9112 sections 2.2 and 5.
"""

from __future__ import annotations

import re

from shared.headers import Field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*"
    rb"((?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")
"""A line end that is not CRLF; on a partial head the last byte may be a CR that is not bare yet."""


class MalformedFields(ValueError):
    """A header section that has no single reading; the text says why and quotes nothing."""


def parse_fields(lines: list[bytes]) -> list[Field]:
    """The fields of a section, spelled as received.

    Args:
        lines: without their line ends.

    Raises:
        MalformedFields: a line is not ``name: value``.
    """
    fields: list[Field] = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise MalformedFields(_describe(line))
        fields.append((found[1], found[2]))
    return fields


def check_fields(fields: list[Field]) -> None:
    """Apply the same grammar to fields that another parser has split (trailers).

    Raises:
        MalformedFields: a name or a value breaks it.
    """
    for name, value in fields:
        if TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise MalformedFields("a trailer field is malformed")


def parse_length(value: bytes) -> int:
    """A Content-Length: digits only, no sign, no list.

    Raises:
        MalformedFields: it is anything else, or absurdly long.
    """
    if _DIGITS.fullmatch(value) is None:
        raise MalformedFields("Content-Length is not a number")
    return int(value)


def _describe(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a folded header line"
    name, colon, _ = line.partition(b":")
    if not colon:
        return "a header line without a colon"
    if TOKEN.fullmatch(name) is None:
        return "a malformed header name"
    return "a control byte in a header value"

"""Entity tags of answers that are compressed here.

A strong tag stands for exact bytes, so the compressed answer must not keep the one of the server: with it, a
client could put a range of the one behind a part of the other. It gets a mark (``"v1"`` becomes
``"v1~gzip"``), and the mark goes when a client sends the tag back, so that If-None-Match and If-Match work as
without compression. If-Range keeps it: the server does not know such a tag and sends all. Weak tags promise
no bytes and stay.

Source: RFC 9110 sections 8.8.1 and 8.8.3.3.
"""

from __future__ import annotations

import re

from shared.content_codings import CODINGS
from shared.headers import Headers

_STRONG_TAG = re.compile(rb'"[^"]*"')
_MARKED_TAG = re.compile(rb'(?<!W/)("[^"]*)~(%b)"' % "|".join(CODINGS).encode("ascii"))


def mark_tag(headers: Headers, coding: str) -> None:
    """Say in the ETag of an answer, if it is strong, that it is of the compressed one."""
    tag = headers.get(b"ETag")
    if tag is not None and _STRONG_TAG.fullmatch(tag):
        headers.set(b"ETag", b'%b~%b"' % (tag[:-1], coding.encode("ascii")))


def unmark_tags(headers: Headers) -> dict[bytes, str]:
    """Give the conditions of a request the tags that the server knows; the coding of each that was marked."""
    marked: dict[bytes, str] = {}
    for name in (b"If-None-Match", b"If-Match"):
        condition = b", ".join(headers.get_all(name))
        if found := _MARKED_TAG.findall(condition):
            marked |= {begin + b'"': coding.decode("ascii") for begin, coding in found}
            headers.set(name, _MARKED_TAG.sub(rb'\1"', condition))
    return marked


def mark_known_tag(headers: Headers, marked: dict[bytes, str]) -> None:
    """Name a 304 by the tag that its client holds, if ``unmark_tags`` found that one marked."""
    coding = marked.get(headers.get(b"ETag") or b"")
    if coding is not None:
        mark_tag(headers, coding)

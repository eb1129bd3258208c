"""encodedCharacters: refuses paths that hold an escape which servers are known to read in two ways.

As a middleware everything is refused that is not allowed, unlike on an entrypoint, where everything is
allowed unless told otherwise (spec v2 section 4.4). Only the path counts, not the query.
"""

from __future__ import annotations

import re

from shared.config.middlewares import EncodedCharacters
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.pipeline import SyncStep

# Scanned escape by escape, so that %252F is %25 and text, never %2F.
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


class EncodedCharactersStep(SyncStep):
    """Answers 400 with an empty body."""

    __slots__ = ("_denied",)
    is_pure = True

    def __init__(self, options: EncodedCharacters) -> None:
        self._denied = denied_escapes(options)

    def on_request(self, exchange: Exchange) -> Response | None:
        """Refuse a path with a denied escape."""
        return replies.empty(400) if has_escape_of(exchange.request.path, self._denied) else None


def denied_escapes(options: EncodedCharacters) -> frozenset[str]:
    """The escapes that are not allowed, in upper case."""
    allowed = {
        "%2F": options.allow_encoded_slash,
        "%5C": options.allow_encoded_back_slash,
        "%00": options.allow_encoded_null_character,
        "%3B": options.allow_encoded_semicolon,
        "%25": options.allow_encoded_percent,
        "%3F": options.allow_encoded_question_mark,
        "%23": options.allow_encoded_hash,
    }
    return frozenset(escape for escape, is_allowed in allowed.items() if not is_allowed)


def has_escape_of(path: str, denied: frozenset[str]) -> bool:
    """Whether an escaped path holds one of these escapes."""
    if "%" not in path:
        return False
    return any(escape.upper() in denied for escape in _ESCAPE.findall(path))

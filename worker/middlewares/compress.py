"""compress: send answers in a content coding that the client accepts (spec v2 section 4.6).

Which answers: those with content, of at least ``minResponseBodyBytes``, of a type that is wanted, that may be
transformed (RFC 9111 section 5.2.2.6) and are whole (no 206). One whose length is not announced is looked at
as far as it is here already: if it ends below the minimum it goes as it is, if it has to be waited for it is
compressed, so that nothing is held back.
"""

from __future__ import annotations

from shared.config.middlewares import Compress
from shared.content_codings import choose_coding
from shared.errors import ConfigError
from shared.headers import Headers
from shared.media_types import media_type
from worker.bodies import LiveBody
from worker.exchange import Exchange
from worker.messages import Request, Response
from worker.middlewares.compressed_body import CompressedBody
from worker.middlewares.encoders import make_encoder
from worker.middlewares.entity_tags import mark_known_tag, mark_tag, unmark_tags
from worker.pipeline import Handler
from worker.replay import ContinuedBody

_SWITCHING_PROTOCOLS = 101
_NOT_MODIFIED = 304
_NOT_COMPRESSED = frozenset({204, 205, 206, _NOT_MODIFIED})
"""Without content, or a part of it: its bytes are counted in the whole as the server has it."""
_ALWAYS_EXCLUDED = "application/grpc"
_UNTRUE_WHEN_COMPRESSED = (b"Accept-Ranges", b"Content-MD5", b"Digest", b"Content-Digest", b"Repr-Digest")
"""Ranges and digests are of the bytes that are sent, which the server does not know (RFC 9530 section 2)."""


class CompressStep:
    """An ``AsyncStep``: what it does to an answer depends on the request as it came here."""

    __slots__ = ("_excluded", "_included", "_options")

    def __init__(self, options: Compress) -> None:
        self._options = options
        # Only the types count: parameters in the lists, and of answers, do not, as in the original.
        self._included = frozenset(map(media_type, options.included_content_types))
        self._excluded = frozenset(map(media_type, options.excluded_content_types)) | {_ALWAYS_EXCLUDED}

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """The answer from behind, compressed if that is wanted and possible."""
        coding = self._coding_for(exchange.request)
        marked = unmark_tags(exchange.request.headers)
        response = await call_next(exchange)
        if response.status == _SWITCHING_PROTOCOLS:
            return response
        if response.status == _NOT_MODIFIED:
            mark_known_tag(response.headers, marked)
        if coding is not None:
            _add_vary(response.headers)
            if self._may_compress(response):
                self._compress_unless_small(response, coding)
        return response

    def _coding_for(self, request: Request) -> str | None:
        """What is agreed with the client; None if it gets the answer as it comes."""
        if request.method == "HEAD" or b"no-transform" in request.headers.tokens(b"Cache-Control"):
            return None
        if _type_of(request.headers) in self._excluded:
            return None
        lines = [line.decode("latin-1") for line in request.headers.get_all(b"Accept-Encoding")]
        if not lines:
            return self._options.default_encoding or None
        return choose_coding(lines, self._options.encodings, self._options.default_encoding)

    def _may_compress(self, response: Response) -> bool:
        headers = response.headers
        return (
            response.status not in _NOT_COMPRESSED
            and b"Content-Range" not in headers
            and not headers.get(b"Content-Encoding")
            and b"no-transform" not in headers.tokens(b"Cache-Control")
            and self._is_wanted(headers)
        )

    def _is_wanted(self, headers: Headers) -> bool:
        if not headers.get(b"Content-Type"):
            return True
        found = _type_of(headers)
        if found is None:
            return False
        return found in self._included if self._included else found not in self._excluded

    def _compress_unless_small(self, response: Response, coding: str) -> None:
        """Compress if the minimum is reached, or if whether it is cannot be known without a wait."""
        body, least = response.body, self._options.min_response_body_bytes
        beginning = bytearray()
        if body.length is not None or not isinstance(body, LiveBody):
            if (body.length or 0) < least:
                return
        else:
            while len(beginning) < least and (chunk := body.receive_ready()) is not None:
                beginning += chunk
                if not chunk:
                    # An empty one stays what it was: HTTP/2 ends it with its head.
                    response.body = ContinuedBody(bytes(beginning), body) if beginning else body
                    return
        _change_head(response.headers, coding)
        response.body = CompressedBody(body, make_encoder(coding), bytes(beginning))


def _type_of(headers: Headers) -> str | None:
    """The type that Content-Type names; None if there is none or it cannot be read."""
    try:
        return media_type((headers.get(b"Content-Type") or b"").decode("latin-1"))
    except ConfigError:
        return None


def _add_vary(headers: Headers) -> None:
    """Caches must keep an answer for those who accept the same (RFC 9110 section 12.5.5)."""
    if not {b"accept-encoding", b"*"} & set(headers.tokens(b"Vary")):
        headers.add(b"Vary", b"Accept-Encoding")


def _change_head(headers: Headers, coding: str) -> None:
    headers.remove(*_UNTRUE_WHEN_COMPRESSED)
    headers.set(b"Content-Encoding", coding.encode("ascii"))
    mark_tag(headers, coding)

"""headers: configured fields, CORS and security in one step.

Order (spec v2 section 4.7): preflight; request fields; allowed hosts; the rest of the chain; security
fields; response fields and CORS. A refused host is an answer of this very step, so the response fields are
put on it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.config.middlewares import Headers as HeadersOptions
from shared.headers import Headers
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.middlewares.cors import Cors, wants_cors
from worker.middlewares.security import Security
from worker.pipeline import SyncStep


class HeadersStep(SyncStep):
    """Changes fields both ways."""

    __slots__ = ("_cors", "_drops_forwarded_for", "_host", "_request", "_response", "_security")

    def __init__(self, options: HeadersOptions) -> None:
        self._cors = Cors(options) if wants_cors(options) else None
        self._security = Security(options)
        wanted = _encoded_fields(options.custom_request_headers)
        self._request = tuple(field for field in wanted if field[0].lower() != b"host")
        hosts = [value for name, value in wanted if name.lower() == b"host"]
        self._host = hosts[-1].decode("utf-8", "surrogateescape") if hosts else ""
        self._response = _encoded_fields(options.custom_response_headers)
        self._drops_forwarded_for = any(
            name.lower() == b"x-forwarded-for" and not value for name, value in self._request
        )

    @property
    def is_pure(self) -> bool:  # type: ignore[override]  # a nonce is chance
        """Whether no policy holds a nonce."""
        return not self._security.uses_nonce

    def on_request(self, exchange: Exchange) -> Response | None:
        """Answer a preflight or a refused host, else change the request's fields."""
        request = exchange.request
        if self._cors is not None:
            preflight = self._cors.preflight(request)
            if preflight is not None:
                return preflight
        if self._host:
            request.host_header = self._host
        _apply(self._request, request.headers)
        if self._drops_forwarded_for:
            exchange.append_forwarded_for = False
        if self._security.allows_host(request):
            return None
        refusal = replies.http_error(500, "Bad Host")
        self._finish(exchange, refusal)
        return refusal

    def on_response(self, exchange: Exchange, response: Response) -> None:
        """Change the response's fields."""
        self._security.on_response(exchange.request, response)
        self._finish(exchange, response)

    def _finish(self, exchange: Exchange, response: Response) -> None:
        _apply(self._response, response.headers)
        if self._cors is not None:
            self._cors.on_response(exchange.request, response)


def _apply(changes: Iterable[tuple[bytes, bytes]], headers: Headers) -> None:
    """Set each field; an empty value removes it."""
    for name, value in changes:
        if value:
            headers.set(name, value)
        else:
            headers.remove(name)


def _encoded_fields(configured: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    # White space around a value is no part of it (RFC 9110 section 5.5), and h11 refuses to send it.
    return tuple(
        (name.encode("ascii"), value.encode("utf-8", "surrogateescape").strip(b" \t"))
        for name, value in configured.items()
    )

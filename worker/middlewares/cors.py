"""The CORS half of the headers middleware: preflight answers and the fields of actual answers.

A preflight is answered here whatever its origin; an origin that is not allowed just gets no Allow-Origin,
and the browser refuses. ``*`` together with credentials is forbidden by the Fetch standard, so the
request's own origin, method and headers are sent back instead (spec v2 section 4.7).
"""

from __future__ import annotations

from shared.config.middlewares import Headers as HeadersOptions
from shared.headers import Headers
from shared.patterns import compile_pattern
from worker.messages import Request, Response

_ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
_ANY = "*"


def wants_cors(options: HeadersOptions) -> bool:
    """Whether any CORS option is set; without one, OPTIONS requests go to the server."""
    return bool(
        options.access_control_allow_credentials
        or options.access_control_allow_headers
        or options.access_control_allow_methods
        or options.access_control_allow_origin_list
        or options.access_control_allow_origin_list_regex
        or options.access_control_expose_headers
        or options.access_control_max_age is not None
        or options.add_vary_header
    )


class Cors:
    """CORS for one headers middleware; everything is encoded once."""

    __slots__ = ("_add_vary", "_any_origin", "_credentials", "_expose", "_headers", "_max_age", "_methods",
                 "_origins", "_patterns")  # fmt: skip

    def __init__(self, options: HeadersOptions) -> None:
        self._credentials = options.access_control_allow_credentials
        self._any_origin = _ANY in options.access_control_allow_origin_list
        self._origins = frozenset(_encoded(origin) for origin in options.access_control_allow_origin_list)
        self._patterns = tuple(
            compile_pattern(text) for text in options.access_control_allow_origin_list_regex
        )
        self._methods = options.access_control_allow_methods
        self._headers = options.access_control_allow_headers
        self._expose = _encoded(",".join(options.access_control_expose_headers))
        age = options.access_control_max_age
        self._max_age = None if age is None else str(age).encode("ascii")
        self._add_vary = options.add_vary_header

    def preflight(self, request: Request) -> Response | None:
        """The answer if the request is a preflight (Fetch standard section 3.2.2)."""
        if request.method != "OPTIONS":
            return None
        origin = request.headers.get(b"Origin")
        method = request.headers.get(b"Access-Control-Request-Method")
        if not origin or not method:
            return None
        headers = Headers()
        if self._credentials:
            headers.add(b"Access-Control-Allow-Credentials", b"true")
        asked = request.headers.get(b"Access-Control-Request-Headers") or b""
        _add_if_any(headers, b"Access-Control-Allow-Headers", self._list_or_echo(self._headers, asked))
        _add_if_any(headers, b"Access-Control-Allow-Methods", self._list_or_echo(self._methods, method))
        _add_if_any(headers, _ALLOW_ORIGIN, self._allowed_origin(origin))
        _add_if_any(headers, b"Access-Control-Expose-Headers", self._expose)  # observed in Traefik 3.7.15
        if self._max_age is not None:
            headers.add(b"Access-Control-Max-Age", self._max_age)
        return Response(200, headers)

    def on_response(self, request: Request, response: Response) -> None:
        """Add the fields of an answer that is not a preflight's."""
        headers = response.headers
        allowed = self._allowed_origin(request.headers.get(b"Origin") or b"")
        if allowed:
            headers.set(_ALLOW_ORIGIN, allowed)
        if self._credentials:
            headers.set(b"Access-Control-Allow-Credentials", b"true")
        if self._expose:
            headers.set(b"Access-Control-Expose-Headers", self._expose)
        if self._add_vary and b"origin" not in headers.tokens(b"Vary"):
            # All lines are kept; the original drops all but the first.
            headers.set(b"Vary", b",".join([*headers.get_all(b"Vary"), b"Origin"]))

    def _allowed_origin(self, origin: bytes) -> bytes:
        """The value of Allow-Origin for a request from ``origin``; empty when it is not allowed."""
        if self._any_origin:
            return origin if self._credentials else _ANY.encode("ascii")
        if origin in self._origins:
            return origin
        text = origin.decode("utf-8", "surrogateescape")
        return origin if origin and any(pattern.found_in(text) for pattern in self._patterns) else b""

    def _list_or_echo(self, configured: tuple[str, ...], asked: bytes) -> bytes:
        return asked if self._credentials and _ANY in configured else _encoded(",".join(configured))


def _add_if_any(headers: Headers, name: bytes, value: bytes) -> None:
    if value:
        headers.add(name, value)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

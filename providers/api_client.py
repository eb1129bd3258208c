"""One client for the HTTP APIs that providers ask: bounded answers, named deadlines, errors without secrets.

An endpoint may hold credentials (``http://user:secret@host``); they are taken out and sent as basic
authentication, so that no message, which names the endpoint, ever shows them.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
import msgspec
import trio

from providers.client_tls import make_client_context
from shared.config.static_providers import ProviderTls
from shared.errors import ConfigError, ProviderError

CONNECT_TIMEOUT_S = 10.0
"""To connect, TLS included."""
ANSWER_TIMEOUT_S = 30.0
"""For an answer that does not wait for anything, where no setting says otherwise."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A larger answer is refused; 10,000 containers take about 20 MB."""
MAX_LINE_BYTES = 1024 * 1024
"""A longer line of a stream is refused; events take some hundred bytes."""
MAX_SHOWN_CHARS = 200
"""An error's text is cut after this many characters in messages."""

Params = Mapping[str, str] | Sequence[tuple[str, str]]
"""A query: names and values, in pairs where a name comes twice."""

_ASK = {"Accept-Encoding": "identity", "User-Agent": "penstock"}
"""Compressed answers are not asked for: what a few bytes expand to has no bound known beforehand."""
_SOCKET_HOST = "localhost"
"""What requests over a Unix socket call their host; nobody looks it up."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where an API answers.

    Attributes:
        url: ``http(s)://host:port/path``, without credentials.
        socket: path of a Unix socket, instead of host and port.
        user: for basic authentication, with ``password``; empty for none.
    """

    url: str
    socket: str = ""
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else self.url

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine for certain."""
        return bool(self.socket)


def parse_endpoint(path: str, text: str, has_tls: bool = False) -> Endpoint:
    """Read an endpoint: ``unix:///path``, ``tcp://host:port``, ``http(s)://...`` or ``host:port``.

    Args:
        path: of the setting, for messages.
        text: as written.
        has_tls: whether TLS settings stand beside it, which make ``tcp://`` and a bare host speak TLS.

    Raises:
        ConfigError: it is none of these.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", text.strip()
    scheme = scheme.lower()
    if scheme == "unix":
        if not rest.startswith("/"):
            raise ConfigError(
                path, "a unix endpoint needs an absolute path, as in unix:///var/run/docker.sock"
            )
        return Endpoint(f"http://{_SOCKET_HOST}", socket=rest)
    if scheme not in ("tcp", "http", "https"):
        raise ConfigError(
            path, f"endpoints of the kind {scheme}:// are not supported (unix, tcp, http, https)"
        )
    if scheme == "tcp":
        scheme = "https" if has_tls else "http"
    wanted = "not an endpoint such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        usable = parts.hostname is not None and parts.port != 0
    except ValueError as error:
        raise ConfigError(path, wanted) from error
    if not usable:
        raise ConfigError(path, wanted)
    place = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    return Endpoint(url, user=unquote(parts.username or ""), password=unquote(parts.password or ""))


class ApiClient:
    """Asks one endpoint. Made by ``open_client``."""

    def __init__(
        self, provider: str, endpoint: Endpoint, client: httpx.AsyncClient, timeout_s: float
    ) -> None:
        self.endpoint = endpoint
        self._provider = provider
        self._client = client
        self._timeout_s = timeout_s

    async def probe(self, path: str) -> None:
        """GET something for its status alone.

        Raises:
            ProviderError: no answer, or not 200.
        """
        await self._get(path, None, None)

    async def get(
        self, path: str, params: Params | None = None, timeout_s: float | None = None
    ) -> tuple[httpx.Headers, Any]:
        """GET a JSON document.

        Args:
            path: behind the endpoint's URL.
            params: the query.
            timeout_s: for the whole answer; the client's own if not given.

        Returns:
            The answer's header fields, and the document.

        Raises:
            ProviderError: no answer, not 200, too large, or not JSON.
        """
        headers, body = await self._get(path, params, timeout_s)
        try:
            return headers, json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._error(path, "the answer is not JSON") from error

    async def _get(
        self, path: str, params: Params | None, timeout_s: float | None
    ) -> tuple[httpx.Headers, bytes]:
        url = self.endpoint.url + path
        query = httpx.QueryParams(params if params is None or isinstance(params, Mapping) else list(params))
        with self._mapped(path):
            with trio.fail_after(self._timeout_s if timeout_s is None else timeout_s):
                async with self._client.stream("GET", url, params=query) as answer:
                    body = await self._read(answer, path)
            self._require_ok(answer, body, path)
            return answer.headers, body

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET a stream that has no end; gives its pieces as they come.

        The connection and the head have the client's time limit; how long silence may last is the caller's
        business.

        Raises:
            ProviderError: no answer, not 200, or (from the pieces) the stream broke.
        """
        with self._mapped(path):
            query = httpx.QueryParams(
                params if params is None or isinstance(params, Mapping) else list(params)
            )
            url = self.endpoint.url + path
            request = self._client.build_request("GET", url, params=query, headers=headers)
            with trio.fail_after(self._timeout_s):
                answer = await self._client.send(request, stream=True)
                if answer.status_code != httpx.codes.OK:
                    self._require_ok(answer, await self._read(answer, path), path)
        try:
            yield self._pieces(answer, path)
        finally:
            with trio.move_on_after(CONNECT_TIMEOUT_S, shield=True):
                await answer.aclose()

    async def _pieces(self, answer: httpx.Response, path: str) -> AsyncIterator[bytes]:
        with self._mapped(path):
            async for piece in answer.aiter_raw():
                yield piece
        raise self._error(path, "the stream ended")

    async def _read(self, answer: httpx.Response, path: str) -> bytes:
        body = bytearray()
        with trio.CancelScope() as scope:
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    scope.cancel()  # the next read ends the client's nested generators from the inside
        if len(body) > MAX_ANSWER_BYTES:
            raise self._error(path, f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def _require_ok(self, answer: httpx.Response, body: bytes, path: str) -> None:
        status = answer.status_code
        if status == httpx.codes.OK:
            return
        # Servers do not repeat credentials in their errors; we show little of them all the same.
        text = " ".join(body.decode("utf-8", "replace").split())
        if text.startswith("<"):
            text = "(a page)"
        error = self._error(path, f"answered {status} {text[:MAX_SHOWN_CHARS]}".rstrip(), status)
        error.location = answer.headers.get("Location", "") if 300 <= status < 400 else ""
        raise error

    @contextlib.contextmanager
    def _mapped(self, path: str) -> Iterator[None]:
        try:
            yield
        except trio.TooSlowError as error:
            raise self._error(path, "no answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._error(path, f"cannot be reached: {_reason(error)}") from error
        except OSError as error:
            raise self._error(path, f"cannot be reached: {error.strerror or error}") from error

    def _error(self, path: str, reason: str, status: int = 0) -> ApiError:
        return ApiError(self._provider, f"{self.endpoint}{path}: {reason}", status)


class ApiError(ProviderError):
    """The API could not be asked, or said no.

    Attributes:
        status: the answer's status, 0 if there was none.
        location: where a redirect leads; redirects are not followed by themselves.
    """

    def __init__(self, provider: str, reason: str, status: int = 0) -> None:
        super().__init__(provider, reason)
        self.status = status
        self.location = ""


@contextlib.asynccontextmanager
async def open_client(
    provider: str,
    endpoint: Endpoint,
    *,
    tls: ProviderTls | None = None,
    user: str = "",
    password: str = "",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 0.0,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    socket_options: Sequence[tuple[int, int, int]] = (),
) -> AsyncIterator[ApiClient]:
    """A client for one endpoint, closed at the end.

    Args:
        provider: its name, for errors.
        endpoint: where to ask.
        tls: how to speak TLS, if the endpoint does.
        user: for basic authentication; wins over the endpoint's own.
        password: with it.
        headers: sent with each request.
        timeout_s: for an answer; 0 for ``ANSWER_TIMEOUT_S``.
        connect_timeout_s: to connect; an answer's limit holds as well.
        socket_options: level, option and value of each.

    Raises:
        ProviderError: the TLS settings cannot be used.
    """
    verify: ssl.SSLContext | bool = False
    if endpoint.url.startswith("https:"):
        verify = await trio.to_thread.run_sync(make_client_context, provider, tls)
    timeout_s = timeout_s or ANSWER_TIMEOUT_S
    auth = (user, password) if user else (endpoint.user, endpoint.password) if endpoint.user else None
    transport = httpx.AsyncHTTPTransport(
        verify=verify, uds=endpoint.socket or None, trust_env=False, socket_options=socket_options or None
    )
    client = httpx.AsyncClient(
        transport=transport,
        auth=auth,
        headers={**_ASK, **(headers or {})},
        timeout=httpx.Timeout(None, connect=connect_timeout_s or None),
        trust_env=False,
    )
    async with client:
        yield ApiClient(provider, endpoint, client, timeout_s)


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, without their ends (LF, CR LF or CR), as they become whole.

    Raises:
        ValueError: a line is longer than ``MAX_LINE_BYTES``.
    """
    rest = b""
    async for piece in pieces:
        rest += piece
        if len(rest) > MAX_LINE_BYTES and b"\n" not in rest:
            raise ValueError(f"a line is longer than {MAX_LINE_BYTES} bytes")
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text[:MAX_SHOWN_CHARS] if text else type(error).__name__

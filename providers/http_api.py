"""Requests to a store's HTTP API: bounded in time and size, and failures in words that hold no secret.

The words are ours or the server's, never the client library's: those quote URLs, which may hold passwords.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import httpx
import msgspec
import trio

from providers.client_tls import make_client_context
from shared.config.static_providers import ProviderTls
from shared.errors import ConfigError, ProviderError

ANSWER_S = 30.0
"""How long a server may take for a whole answer; the same as v1's time to connect."""
MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""Of one answer; a tree of the largest size, in base64 and JSON."""
MAX_REASON_CHARS = 200
"""A server's own words are cut here in messages."""

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "penstock"}


class Answer(msgspec.Struct, frozen=True):
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def words(self) -> str:
        """What the server says in the body, on one line, for messages."""
        text = " ".join(self.body[: 4 * MAX_REASON_CHARS].decode("utf-8", "replace").split())
        return text[:MAX_REASON_CHARS]


class _Body(httpx.AsyncByteStream):
    """A request's body, sent once.

    The client's own is a generator, and one that is left halfway, as when a connection breaks off, is
    complained about when it is collected.
    """

    def __init__(self, content: bytes) -> None:
        self._chunks = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._chunks:
            raise StopAsyncIteration
        return self._chunks.pop()


class HttpApi:
    """One endpoint. Made by ``open_api``.

    Args:
        provider: its name, for errors.
        client: made for this endpoint.
        shown: the endpoint as messages name it.
        secrets: never part of a message, even if the server quotes them.
    """

    def __init__(self, provider: str, client: httpx.AsyncClient, shown: str, secrets: Iterable[str]) -> None:
        self.provider = provider
        self.shown = shown
        self._client = client
        self._secrets = list(secrets)

    def set_secret(self, name: str, value: str) -> None:
        """Send a header that holds a secret with every request from now on."""
        self._client.headers[name] = value
        self.hide(value)

    def drop_header(self, name: str) -> None:
        """Do not send this header any more."""
        self._client.headers.pop(name, None)

    def hide(self, secret: str) -> None:
        """Keep a text out of messages."""
        self._secrets.append(secret)

    def failed(self, reason: str) -> ProviderError:
        """An error that names the endpoint."""
        return ProviderError(self.provider, f"{self.shown}: {without_secrets(reason, self._secrets)}")

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        Args:
            path: as it is sent, percent-encoded.
            params: the query.
            content: a JSON body.
            timeout_s: for everything together.

        Raises:
            ProviderError: there was no whole answer.
        """
        try:
            with trio.fail_after(timeout_s):
                async with self.stream(method, path, params=params, content=content) as response:
                    body = await self._body(response)
                return Answer(response.status_code, response.headers, body)
        except trio.TooSlowError as error:
            raise self.failed(f"no whole answer within {timeout_s:g} s") from error

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body the caller reads, with no limit of time.

        Raises:
            ProviderError: the connection failed, also while the body is read.
        """
        length = {"Content-Length": str(len(content))} if content is not None else {}
        try:
            request = self._client.build_request(method, path, params=params, headers=length)
            request.stream = _Body(content or b"")
            response = await self._client.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise self.failed(reason_of(error)) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self.failed("the address or a header cannot be used") from error

    async def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self.failed("the answer is compressed, although that was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise self.failed(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)


@asynccontextmanager
async def open_api(
    provider: str, endpoint: str, tls: ProviderTls | None, *, user: tuple[str, str] | None = None
) -> AsyncIterator[HttpApi]:
    """Make a client for an endpoint. Connects to nobody yet.

    Args:
        provider: its name.
        endpoint: ``host:port``, or a URL; with a ``tls`` section the first is spoken to over TLS.
        user: name and password for basic authentication.

    Raises:
        ProviderError: a file of the ``tls`` section cannot be used.
    """
    url = parse_endpoint(provider, endpoint, is_tls=tls is not None)
    verify: ssl.SSLContext = await trio.to_thread.run_sync(make_client_context, provider, tls)
    if url.username and user is None:
        user = (url.username, url.password)
    auth = httpx.BasicAuth(*user) if user is not None else None
    secrets = [user[1], base64.b64encode(":".join(user).encode()).decode()] if user is not None else []
    url = url.copy_with(userinfo=b"")  # the client logs URLs
    async with httpx.AsyncClient(
        base_url=url,
        verify=verify,
        trust_env=False,
        timeout=None,
        headers=_HEADERS,
        auth=auth,
        follow_redirects=False,
    ) as client:
        yield HttpApi(provider, client, show_endpoint(url), secrets)


def parse_endpoint(provider: str, endpoint: str, *, is_tls: bool) -> httpx.URL:
    """An endpoint as a URL.

    Raises:
        ConfigError: it is neither ``host:port`` nor an HTTP URL. The endpoint is not quoted: what cannot be
            read may hold a password at any place.
    """
    text = endpoint if "://" in endpoint else f"{'https' if is_tls else 'http'}://{endpoint}"
    reason = "expected HOST:PORT, http://HOST:PORT or https://HOST:PORT"
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(f"providers.{provider}.endpoints", reason) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"providers.{provider}.endpoints", reason)
    return url


def check_endpoints(provider: str, endpoints: Iterable[str], *, is_tls: bool) -> None:
    """Check that every endpoint can be read.

    Raises:
        ConfigError: one cannot.
    """
    for each in endpoints:
        parse_endpoint(provider, each, is_tls=is_tls)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """A text with every secret that a server has quoted in it taken out."""
    for each in secrets:
        if each:
            text = text.replace(each, "***")
    return text


def show_endpoint(url: httpx.URL) -> str:
    """Host and port, without what may be secret."""
    return url.netloc.decode("ascii", "replace")


def reason_of(error: httpx.HTTPError) -> str:
    """What went wrong, in words that cannot hold a URL or a header."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "cannot connect"
    if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError | httpx.CloseError | httpx.WriteError):
        return "the connection broke off"
    return f"the request failed ({type(error).__name__})"

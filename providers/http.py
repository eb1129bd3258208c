"""The HTTP provider: one document fetched from a URL, again and again (spec v2 section 8.7).

Every poll ends in one of three ways:

- 200 and a document that can be read: it is published. The same bytes as before are the same ``Document``
  object, which nobody reads again.
- 200 and nonsense (not YAML or JSON, empty, too large): the last good document is published again, with the
  problem beside it.
- Anything else is a failure of the source: the run ends, the feed starts it again with growing delays, and
  what was said before stays.

Credentials (the URL's user and query, the headers) are never part of a message: reasons are our own words,
not those of the client library. Redirects are followed, but the settings' headers go to the endpoint's own
origin only. Compressed answers are not asked for: what a few bytes expand to has no bound known beforehand.
"""

from __future__ import annotations

import base64
import hashlib
import ssl

import httpx
import msgspec
import trio

from providers.base import Provider, Publish, Snapshot
from providers.client_tls import make_client_context
from providers.http_api import reason_of
from shared.config.diagnostics import Position
from shared.config.documents import MAX_DOCUMENT_BYTES, Document, DocumentError, parse_document
from shared.config.static import StaticConfig
from shared.config.static_providers import HttpProviderSettings
from shared.errors import ConfigError, ProviderError

MAX_REDIRECTS = 10
"""As Go's client, which the original uses."""
LONGEST_POLL_S = 300.0
"""Stands for ``pollTimeout: 0``, which the original does not limit."""

_ASK = {"Accept-Encoding": "identity", "User-Agent": "penstock"}
_CONTROLS = frozenset(map(chr, range(32))) - {"\t"} | {"\x7f"}


class HttpProvider:
    """Publishes what a URL serves.

    Args:
        settings: where, how often, and what to send.
    """

    name = "http"

    def __init__(self, settings: HttpProviderSettings) -> None:
        self._settings = settings
        self._poll_timeout_s = settings.poll_timeout or LONGEST_POLL_S
        limit = settings.max_response_body_size
        self._most_bytes = min(limit, MAX_DOCUMENT_BYTES) if limit >= 0 else MAX_DOCUMENT_BYTES
        self._origin = ""
        self._own_headers: dict[str, str] = {}
        self._digest = b""
        self._document: Document | None = None
        self._said: Snapshot | None = None
        self._wake = trio.Event()

    def validate(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: there is no endpoint, it is no HTTP URL, or a number or header cannot be used.
        """
        where = "providers.http"
        if not self._settings.endpoint:
            raise ConfigError(f"{where}.endpoint", "non-empty endpoint is required")
        try:
            url = httpx.URL(self._settings.endpoint)
        except httpx.InvalidURL as error:
            raise ConfigError(f"{where}.endpoint", "not a URL") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"{where}.endpoint", "expected http://HOST[:PORT]/PATH or https://...")
        self._origin = _shown(url)
        self._own_headers = _with_user(self._settings.headers, url)
        if self._settings.poll_interval <= 0:
            raise ConfigError(f"{where}.pollInterval", "poll interval must be greater than 0")
        if self._settings.poll_timeout < 0:
            raise ConfigError(f"{where}.pollTimeout", "may not be negative")
        for name, value in self._settings.headers.items():
            if _CONTROLS.intersection(name + value):
                # Not the value: it may well be a token with a line break from a careless copy.
                raise ConfigError(f"{where}.headers", f"{name!r}: control characters are not allowed")

    async def run(self, publish: Publish) -> None:
        """Poll until cancelled, publishing after every answer.

        Raises:
            ProviderError: the source did not answer, or not with 200.
        """
        verify = await trio.to_thread.run_sync(make_client_context, self.name, self._settings.tls)
        async with self._client(verify) as client:
            while True:
                self._wake = trio.Event()
                publish(await trio.to_thread.run_sync(self._read, await self._poll(client)))
                with trio.move_on_after(self._settings.poll_interval):
                    await self._wake.wait()

    def reread(self) -> None:
        """Poll now."""
        self._wake.set()

    def _client(self, verify: ssl.SSLContext) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=verify, trust_env=False, timeout=None)

    async def _poll(self, client: httpx.AsyncClient) -> bytes:
        """The body of one good answer.

        Raises:
            ProviderError: there was none.
        """
        try:
            with trio.fail_after(self._poll_timeout_s):
                return await self._fetch(client)
        except trio.TooSlowError as error:
            raise self._failed(f"no whole answer within {self._poll_timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise self._failed(reason_of(error)) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self._failed("the redirect or a header cannot be used") from error

    async def _fetch(self, client: httpx.AsyncClient) -> bytes:
        home = url = httpx.URL(self._settings.endpoint).copy_with(userinfo=b"")
        for _ in range(MAX_REDIRECTS + 1):
            at_home = (url.scheme, url.host, url.port) == (home.scheme, home.host, home.port)
            headers = {**_ASK, **(self._own_headers if at_home else {})}
            async with client.stream("GET", url, headers=headers, follow_redirects=False) as response:
                if response.is_redirect and response.next_request is not None:
                    url = response.next_request.url
                    continue
                if response.status_code != httpx.codes.OK:
                    raise self._failed(f"received non-ok response code: {response.status_code}")
                return await self._body(response)
        raise self._failed(f"more than {MAX_REDIRECTS} redirects")

    async def _body(self, response: httpx.Response) -> bytes:
        """The whole body; memory holds the limit and one chunk at most."""
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise self._failed("the answer is compressed, although that was not asked for")
        body = bytearray()
        with trio.CancelScope() as scope:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._most_bytes:
                    scope.cancel()  # the next read ends the client's nested generators from the inside
        if len(body) > self._most_bytes:
            raise self._failed(f"response body exceeds the limit of {self._most_bytes} bytes")
        return bytes(body)

    def _read(self, body: bytes) -> Snapshot:
        """What the body says. Runs in a thread: a large document takes seconds."""
        digest = hashlib.blake2b(body).digest()
        if self._said is None or digest != self._digest:
            try:
                self._document = self._parse(body)
                self._said = Snapshot(self.name, (self._document,))
            except DocumentError as error:
                self._said = self._spoiled(error)
            self._digest = digest
        return self._said

    def _parse(self, body: bytes) -> Document:
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DocumentError("not UTF-8 text", Position(self._origin)) from error
        if not text.strip():
            raise DocumentError("the document is empty (an empty table clears it)", Position(self._origin))
        if not text.lstrip().startswith("{"):
            return parse_document(text, self._origin, "yaml")
        try:
            return parse_document(text, self._origin, "json")  # ten times faster than the YAML reader
        except DocumentError:
            return parse_document(text, self._origin, "yaml")  # {flow: style}

    def _spoiled(self, error: DocumentError) -> Snapshot:
        stays = "what it said before stays" if self._document is not None else "it says nothing"
        problem = msgspec.structs.replace(error.diagnostic, reason=f"{error.diagnostic.reason}; {stays}")
        return Snapshot(self.name, (self._document,) if self._document is not None else (), (problem,))

    def _failed(self, reason: str) -> ProviderError:
        return ProviderError(self.name, f"{self._origin}: {reason}")


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.http``."""
    return [HttpProvider(config.providers.http)] if config.providers.http is not None else []


def _with_user(headers: dict[str, str], url: httpx.URL) -> dict[str, str]:
    """The headers, and the URL's user if they hold none (RFC 7617): a URL without secrets may be logged."""
    if not url.userinfo or "authorization" in {name.lower() for name in headers}:
        return headers
    pair = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {**headers, "Authorization": f"Basic {pair}"}


def _shown(url: httpx.URL) -> str:
    """The URL without what may be secret: user, password and query."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))

"""One health check: a request to a server, and why its answer is no sign of health.

Each check opens a connection of its own: one from a pool could have died unseen, and would make a healthy
server look ill. The body of an answer is not read. The whole check, redirects included, has one deadline.
Checks of mode grpc: ``grpc_probe``.

Source: spec v2 section 3.5, spec v1 section 4.7.
"""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx
import trio
from h2.exceptions import ProtocolError

from master.grpc_probe import ask_health, grpc_address, judge
from shared.client_tls import make_client_context, names_uri
from shared.config.dynamic import HealthCheck
from shared.errors import ConfigError
from shared.health import GRPC
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry

MAX_REDIRECTS = 10
"""As in Go's client."""
USER_AGENT = "Penstock"
CLOSE_LIMIT_S = 1.0
"""For closing connections while being cancelled."""

_NO_KEEP_ALIVE = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_LOWEST_HEALTHY, _LOWEST_ILL = 200, 400


class Probe:
    """Checks servers, each as its transport says. Close it at the end."""

    def __init__(self) -> None:
        self._clients: dict[ClientTlsEntry | None, httpx.AsyncClient] = {}

    async def check(self, url: str, check: HealthCheck, tls: ClientTlsEntry = DEFAULT_TLS) -> str:
        """Check one server.

        Args:
            url: of the server.
            check: how; its timeout is positive.
            tls: how to speak it, where the URL asks for it.

        Returns:
            Why the server is not healthy; empty if it is.
        """
        failure = f"no answer within {check.timeout:g} s"
        with trio.move_on_after(check.timeout):
            try:
                if check.mode == GRPC:
                    failure = await _ask_grpc(url, check, tls)
                else:
                    failure = _judge(await self._ask(check_url(url, check), check, tls), check)
            except httpx.TooManyRedirects:
                failure = f"more than {MAX_REDIRECTS} redirects"
            except (
                httpx.HTTPError,
                httpx.InvalidURL,
                ProtocolError,
                OSError,
                ValueError,
                ConfigError,
            ) as error:
                failure = describe_failure(error)
        return failure

    async def aclose(self) -> None:
        """Close what is open."""
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
            for client in self._clients.values():
                await client.aclose()

    async def _ask(self, url: str, check: HealthCheck, tls: ClientTlsEntry) -> int:
        """The status of the answer, behind redirects if they are to be followed."""
        request = httpx.Request(check.method or "GET", url, headers=_fields(check))
        for _ in range(MAX_REDIRECTS + 1):
            is_secure = request.url.scheme == "https"
            client = await self._client(tls if is_secure else None)
            if is_secure and tls.server_name:
                request.extensions = {**request.extensions, "sni_hostname": tls.server_name}
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if is_secure and tls.peer_cert_uri:
                    _check_uri(response, tls.peer_cert_uri)
            finally:
                await response.aclose()
            if not check.follow_redirects or response.next_request is None:
                return response.status_code
            request = response.next_request
        raise httpx.TooManyRedirects("", request=request)

    async def _client(self, tls: ClientTlsEntry | None) -> httpx.AsyncClient:
        """The client for a way to speak TLS; one for everything without it."""
        if tls not in self._clients:
            verify: ssl.SSLContext | bool = False
            if tls is not None:  # in a thread, as the system's authorities take 20 ms to load
                verify = await trio.to_thread.run_sync(make_client_context, tls)
            made = httpx.AsyncHTTPTransport(verify=verify, limits=_NO_KEEP_ALIVE, trust_env=False)
            self._clients[tls] = httpx.AsyncClient(transport=made, trust_env=False, timeout=None)
        return self._clients[tls]


async def _ask_grpc(url: str, check: HealthCheck, tls: ClientTlsEntry) -> str:
    host, port, is_secure = grpc_address(url, check)
    return judge(await ask_health(host, port, tls if is_secure else None))


def check_url(server_url: str, check: HealthCheck) -> str:
    """Where a check goes.

    Raises:
        ValueError: there is no such place.
    """
    if server_url.startswith("h2c:"):
        server_url = server_url.replace("h2c:", "http:", 1)  # asked in HTTP/1.1, which such servers speak too
    if check.is_v1:
        url = urlsplit(server_url + check.path)
    else:
        path = urlsplit(check.path)
        if path.scheme or path.netloc:
            raise ValueError(f"the path {check.path!r} must be relative to the server's URL")
        url = urlsplit(urljoin(server_url, check.path))
    scheme = "http" if check.scheme == "h2c" else check.scheme
    return _with_port(url, check.port)._replace(scheme=scheme or url.scheme).geturl()


def describe_failure(error: BaseException) -> str:
    """The words of the operating system, where it has some: they are behind a library's general ones."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        group = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else None
        inner = group or inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__


def _with_port(url: SplitResult, port: int) -> SplitResult:
    if not port:
        return url
    user, at, _ = url.netloc.rpartition("@")
    host = url.hostname or ""
    return url._replace(netloc=f"{user}{at}[{host}]:{port}" if ":" in host else f"{user}{at}{host}:{port}")


def _fields(check: HealthCheck) -> list[tuple[bytes, bytes]]:
    """Host only from ``hostname``: a header of that name had no effect in the original."""
    given = {name: value for name, value in check.headers.items() if name.lower() != "host"}
    if check.hostname:
        given = {"Host": check.hostname, **given}
    if not any(name.lower() == "user-agent" for name in given):
        given["User-Agent"] = USER_AGENT
    given["Connection"] = "close"
    return [(name.encode("utf-8"), value.encode("utf-8")) for name, value in given.items()]


def _judge(status: int, check: HealthCheck) -> str:
    if check.status:
        return "" if status == check.status else f"status {status}, expected {check.status}"
    return "" if _LOWEST_HEALTHY <= status < _LOWEST_ILL else f"status {status}"


def _check_uri(response: httpx.Response, uri: str) -> None:
    """Look for the URI in the certificate that the server showed.

    Raises:
        ValueError: it is not there.
    """
    secure = response.extensions["network_stream"].get_extra_info("ssl_object")
    if not names_uri(secure.getpeercert(), uri):
        raise ValueError(f"the certificate does not name {uri}")

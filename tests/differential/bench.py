"""Both proxies over the same origins, and one request through both."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from master.admin_client import AdminClient
from master.runtime_directory import RuntimeDirectory
from tests.differential.configurations import (
    ENTRY_POINTS,
    KEPT_PATH,
    MARKER_FIELD,
    MARKER_HOST,
    OWN_HOST,
    SERVICES,
    Configuration,
    static_settings,
)
from tests.differential.outcomes import Outcome, outcome_of
from tests.differential.requests import Case
from tests.support.clients import Address, ClientConnection, get
from tests.support.origins import Origin, OriginConnection, ReceivedRequest, Serve, answer
from tests.support.ports import reserve_port
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.traefik import RunningTraefik, running_traefik
from tests.support.wire import Head, WireClosedError

ANSWER_TIMEOUT_S = 10.0
LIVE_TIMEOUT_S = 30.0
PAUSE_S = 0.01


class _Witness:
    """The requests that arrived at any origin since the last look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived: list[tuple[str, ReceivedRequest]] = []

    def note(self, service: str, request: ReceivedRequest) -> None:
        """Add one."""
        with self._lock:
            self._arrived.append((service, request))

    def take(self) -> list[tuple[str, ReceivedRequest]]:
        """All of them, forgetting them."""
        with self._lock:
            taken, self._arrived = self._arrived, []
        return taken


class _QuietOrigin(Origin):
    """Keeps no list of its own: a long run would fill the memory. Nor does it ever end a connection first: a
    request that is on its way at that moment is lost, and one proxy would have the bad luck."""

    idle_timeout_s = 3_600.0

    def record(self, request: ReceivedRequest) -> None:
        """Nothing: the witness has it."""


class Bench:
    """Both proxies. Made by ``running_bench``.

    Attributes:
        origins: URL by service name.
        dead_url: where nobody listens.
    """

    def __init__(
        self,
        ours: RunningProxy,
        theirs: RunningTraefik,
        witness: _Witness,
        origins: dict[str, str],
        dead_url: str,
    ) -> None:
        self.ours = ours
        self.theirs = theirs
        self.origins = origins
        self.dead_url = dead_url
        self._witness = witness
        self._open: dict[tuple[Address, str], ClientConnection] = {}

    def install(self, configuration: Configuration) -> None:
        """Swap the configuration of both, and wait until both serve it."""
        self.close()
        self.ours.write("dynamic.yml", configuration.text)
        self.theirs.write("dynamic.yml", configuration.text)
        for proxy in (self.theirs, self.ours):
            for name in ENTRY_POINTS:
                self._wait_for_marker(proxy.address(name), configuration.number)
        self._witness.take()

    def run(self, case: Case) -> tuple[Outcome, Outcome]:
        """The same bytes through ours, then through theirs."""
        return (
            self._outcome(self.ours.address(case.entrypoint), case),
            self._outcome(self.theirs.address(case.entrypoint), case),
        )

    def served_routers(self) -> tuple[set[str], set[str]]:
        """The names of the routers that ours serves, and those that Traefik serves."""
        ours = AdminClient(RuntimeDirectory(self.ours.runtime_dir)).ask("/routes").json()["routers"]
        return _served(ours), _served(self.theirs.routers().values())

    def close(self) -> None:
        """Close all client connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _wait_for_marker(self, address: Address, number: int) -> None:
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while get(address, f"/{number}", host=MARKER_HOST).header(MARKER_FIELD) != str(number):
            if time.monotonic() > deadline or self.theirs.ends_within(PAUSE_S):
                raise AssertionError(
                    f"configuration {number} is not live at {address} within {LIVE_TIMEOUT_S:g} s;"
                    f" Traefik's log ends with\n{self.theirs.log[-2000:]}"
                )

    def _outcome(self, address: Address, case: Case) -> Outcome:
        """One exchange; a reused connection that turns out closed is replaced once."""
        key = (address, case.source)
        for connection in (self._open.pop(key, None), None):
            link = connection or ClientConnection(address, ANSWER_TIMEOUT_S, case.source)
            try:
                link.send(case.raw)
                response = link.receive(method=case.method)
            except (WireClosedError, BrokenPipeError, ConnectionResetError) as closed:
                link.close()
                if connection is not None and not getattr(closed, "received", b""):
                    self._witness.take()
                    continue
                return outcome_of(None, self._witness.take())
            if not _stays_open(response.head):
                link.close()
            else:
                self._open[key] = link
            return outcome_of(response, self._witness.take())
        raise AssertionError("unreachable: the second connection is always new")


def _served(routers: Iterable[Mapping[str, Any]]) -> set[str]:
    """The bare names of the file provider's routers that are not disabled.

    Where an entrypoint has settings for its routers, Traefik lists them as ENTRYPOINT-NAME.
    """
    names = [each["name"].removesuffix("@file") for each in routers if each["status"] != "disabled"]
    return {name.rpartition("-")[2] for name in names if "@" not in name}


def _stays_open(head: Head) -> bool:
    """Whether the connection is good for another request after this answer."""
    is_framed = head.get_all(b"content-length") or head.get_all(b"transfer-encoding")
    is_bodiless = head.start_line.split(b" ")[1] in (b"204", b"304")
    return (
        head.start_line.startswith(b"HTTP/1.1")
        and bool(is_framed or is_bodiless)
        and b"close" not in b",".join(head.get_all(b"connection")).lower()
    )


@contextmanager
def running_bench(folder: Path) -> Iterator[Bench]:
    """Origins and both proxies for the length of a with block; no configuration is installed yet.

    Args:
        folder: an empty one.
    """
    witness = _Witness()
    with ExitStack() as stack:
        origins = stack.enter_context(_running_origins(witness))
        dead_port = stack.enter_context(reserve_port()).number
        theirs = stack.enter_context(
            running_traefik(folder / "traefik", static_settings, _NOTHING_YET, entrypoints=ENTRY_POINTS)
        )
        (folder / "ours").mkdir()
        ours = stack.enter_context(
            running_proxy(
                folder / "ours",
                static=lambda ports: json.dumps(static_settings(ports)),
                dynamic=_NOTHING_YET,
                workers=1,
                entrypoints=ENTRY_POINTS,
            )
        )
        bench = Bench(ours, theirs, witness, origins, f"http://127.0.0.1:{dead_port}")
        stack.callback(bench.close)
        yield bench


@contextmanager
def _running_origins(witness: _Witness) -> Iterator[dict[str, str]]:
    """One origin per service that has one; their URLs by service name."""
    with ExitStack() as stack:
        urls = {}
        for name in (*SERVICES, OWN_HOST, KEPT_PATH):
            origin = _QuietOrigin(_answering(name, witness))
            stack.callback(origin.stop)
            urls[name] = origin.url
        yield urls


def _answering(service: str, witness: _Witness) -> Serve:
    """Notes every request and answers as its field X-Want asks."""

    def serve(connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            witness.note(service, request)
            wanted = (request.head.get_all(b"x-want") or [b""])[0].decode("latin-1")
            connection.send(_ANSWERS.get(wanted, _PLAIN)(request.method == "HEAD"))
            ends_with_close = wanted == "until-close" and request.method != "HEAD"
            if ends_with_close or b"close" in b",".join(request.head.get_all(b"connection")).lower():
                return

    return serve


def _whole(status: int, *lines: tuple[str, str]) -> Callable[[bool], bytes]:
    def make(is_head: bool) -> bytes:
        return answer(status, b"" if is_head else _CONTENT, fields=lines, size=len(_CONTENT))

    return make


def _raw(head: bytes, body: bytes = b"") -> Callable[[bool], bytes]:
    return lambda is_head: head + (b"" if is_head else body)


_CONTENT = b"from an origin\n"
_NOTHING_YET = json.dumps({"http": {"services": {"none": {"loadBalancer": {"passHostHeader": True}}}}})
_PLAIN = _whole(200, ("Content-Type", "text/plain"))
_ANSWERS: dict[str, Callable[[bool], bytes]] = {
    "204": _raw(b"HTTP/1.1 204 No Content\r\nX-Up: u\r\n\r\n"),
    "304": _raw(b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n'),
    "500": _whole(500, ("X-Up", "u")),
    "chunked": _raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    ),
    "trailers": _raw(
        b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-T: t\r\n\r\n",
    ),
    "hop": _whole(
        200, ("Connection", "x-hop"), ("X-Hop", "h"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "x")
    ),
    "cookies": _whole(201, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "A"), ("Vary", "B")),
    "cors": _whole(200, ("Access-Control-Allow-Origin", "http://up.test"), ("Vary", "Origin"), ("X-Up", "u")),
    "until-close": _raw(b"HTTP/1.1 200 OK\r\nServer: up\r\n\r\n", _CONTENT),
    "bare": _raw(b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n"),
}
"""Answers by the value of X-Want; the argument says whether it was a HEAD."""

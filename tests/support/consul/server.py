"""The HTTP API of the stand-in: keys, services, transactions, tokens, blocking queries, faults on demand."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.consul.catalog import Catalog
from tests.support.consul.catalog_api import PREFIXES, answer_catalog
from tests.support.consul.store import RollbackError, Table, describe

MAX_VALUE_BYTES = 512 * 1024
MAX_OPERATIONS = 64
MAX_REMEMBERED = 1_000
DEFAULT_WAIT_S = 300.0
MAX_WAIT_S = 600.0
JITTER = 16
"""A wait takes up to one sixteenth longer."""
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Refusal(Exception):
    """An answer that is not 200, in Consul's plain words."""

    def __init__(self, status: int, words: str, index: int | None = None) -> None:
        self.status, self.words, self.index = status, words, index


class ConsulStandIn:
    """A server. What it holds outlives its stops.

    Args:
        port: where it listens.

    Attributes:
        tokens: token to the prefixes that it may read and write; None switches tokens off. Services may be
            read with any token that is there.
        has_leader: without one every request is refused, after ``no_leader_s``.
        requests: how many were answered.
        asked: targets and bodies of the last of them.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.table = Table()
        self.catalog = Catalog(self.table)
        self.tokens: dict[str, tuple[str, ...]] | None = None
        self.readers: set[str] = set()
        self.has_leader = True
        self.no_leader_s = 0.05
        self.requests = 0
        self.asked: deque[tuple[str, bytes]] = deque(maxlen=MAX_REMEMBERED)
        self.stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[socket.socket] = set()

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def start(self) -> None:
        """Listen."""
        self.stopping.clear()
        standing = self

        class Handler(_Handler):
            stand_in = standing

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self, *, gracefully: bool = True) -> None:
        """Stop listening. Gracefully: open queries are answered first; otherwise cut without a byte."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        self._thread.join()
        if not gracefully:
            self._cut()
        self.stopping.set()
        with self.table.changed:
            self.table.changed.notify_all()
        server.server_close()
        self._cut()

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, so that it can be cut."""
        self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def _cut(self) -> None:
        for each in list(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def allow_write(self, token: str, key: str) -> bool:
        """Whether a token may change a key.

        Raises:
            Refusal: there is no such token.
        """
        return self.allow(token, key) and token not in self.readers

    def allow(self, token: str, key: str) -> bool:
        """Whether a token may read a key.

        Raises:
            Refusal: there is no such token.
        """
        if self.tokens is None:
            return True
        if token and token not in self.tokens:
            raise Refusal(403, "ACL not found")
        return any(key.startswith(each) for each in self.tokens.get(token, ()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: ConsulStandIn

    def setup(self) -> None:
        super().setup()
        self.stand_in.opened(self.connection)

    def finish(self) -> None:
        self.stand_in.closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests look at answers."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        params = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.stand_in.requests += 1
        self.stand_in.asked.append((self.path, body))
        try:
            if not self.stand_in.has_leader:
                time.sleep(self.stand_in.no_leader_s)
                raise Refusal(500, "No cluster leader")
            path = unquote(parts.path)
            if path.startswith("/v1/kv/"):
                status, found, index = self._keys(method, path.removeprefix("/v1/kv/"), params, body)
            elif path == "/v1/txn" and method == "PUT":
                status, found, index = self._transact(body)
            elif path.startswith(PREFIXES):
                status, found, index = self._catalog(method, path, params, body)
            elif path == "/v1/status/leader":
                status, found, index = 200, "127.0.0.1:8300", None
            else:
                raise Refusal(404, "")
        except Refusal as refusal:
            self._send(refusal.status, refusal.words.encode(), "text/plain; charset=utf-8", refusal.index)
            return
        except OSError:
            return  # the client is gone
        if isinstance(found, bytes):
            self._send(status, found, "application/octet-stream", index)
        else:
            self._send(status, json.dumps(found).encode(), "application/json", index)

    def _send(self, status: int, body: bytes, kind: str, index: int | None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            if body:
                self.send_header("Content-Type", kind)
            if index is not None:
                self.send_header("X-Consul-Index", str(index))
                self.send_header("X-Consul-Knownleader", "true")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    @property
    def _token(self) -> str:
        bearer = self.headers.get("Authorization", "")
        return self.headers.get("X-Consul-Token") or bearer.removeprefix("Bearer ")

    # ------------------------------------------------------------------------------------------ keys

    def _keys(
        self, method: str, key: str, params: dict[str, str], body: bytes
    ) -> tuple[int, Any, int | None]:
        if not key and "recurse" not in params and "keys" not in params:
            raise Refusal(400, "Missing key name")
        match method:
            case "GET":
                return self._read(key, params)
            case "PUT":
                return self._write(key, params, body)
            case "DELETE":
                return self._delete(key, params)
        raise Refusal(405, f"method {method} not allowed")

    def _read(self, key: str, params: dict[str, str]) -> tuple[int, Any, int]:
        if "stale" in params and "consistent" in params:
            raise Refusal(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        table, token = self.stand_in.table, self._token
        many = "recurse" in params or "keys" in params
        may_read = self.stand_in.allow(token, key)
        if not many and not may_read:
            raise Refusal(403, "Permission denied")
        with table.changed:
            index = self._block(key, params, recurse=many)
            if not many:
                entry = table.entries.get(key)
                if entry is None:
                    raise Refusal(404, "", index)
                if "raw" in params:
                    return 200, entry.value, index
                return 200, [describe(key, entry)], index
            names = [each for each in table.keys_below(key) if self.stand_in.allow(token, each)]
            if "keys" in params:
                names = _cut_at(names, key, params.get("separator", ""))
            if not names:
                raise Refusal(404, "", index)
            if "keys" in params:
                return 200, names, index
            return 200, [describe(each, table.entries[each]) for each in names], index

    def _catalog(
        self, method: str, path: str, params: dict[str, str], body: bytes
    ) -> tuple[int, Any, int | None]:
        tokens = self.stand_in.tokens
        if tokens is not None and self._token and self._token not in tokens:
            raise Refusal(403, "ACL not found", 1)
        may_read = tokens is None or bool(self._token)
        answer = answer_catalog(
            self.stand_in.catalog,
            method,
            path,
            params,
            body,
            lambda index_of: self._wait(params, index_of),
            may_read,
        )
        if answer is None:
            raise Refusal(404, "")
        return answer

    def _block(self, key: str, params: dict[str, str], *, recurse: bool) -> int:
        """Wait as asked, holding the table; returns the index."""
        return self._wait(params, lambda: self.stand_in.table.index_of(key, recurse=recurse))

    def _wait(self, params: dict[str, str], index_of: Callable[[], int]) -> int:
        table = self.stand_in.table
        text = params.get("index", "0")
        if not text.isdecimal():
            raise Refusal(400, "Invalid index")
        wait_s = DEFAULT_WAIT_S
        if "wait" in params:
            match = DURATION.fullmatch(params["wait"])
            if match is None:
                raise Refusal(400, "Invalid wait time")
            wait_s = min(float(match[1]) * SECONDS[match[2]], MAX_WAIT_S)
        if int(text) > 0:
            wait_s += random.uniform(0, wait_s / JITTER)
            table.changed.wait_for(
                lambda: index_of() > int(text) or self.stand_in.stopping.is_set(),
                wait_s,
            )
        return index_of()

    def _write(self, key: str, params: dict[str, str], body: bytes) -> tuple[int, Any, None]:
        if len(body) > MAX_VALUE_BYTES:
            words = f"Request body({len(body)} bytes) too large, max size: {MAX_VALUE_BYTES} bytes."
            raise Refusal(413, words)
        if not self.stand_in.allow_write(self._token, key):
            raise Refusal(403, "Permission denied")
        table = self.stand_in.table
        with table.changed:
            if "cas" in params and not self._is_current(key, params["cas"]):
                return 200, False, None
            table.put(key, body, int(params.get("flags", "0")))
        return 200, True, None

    def _delete(self, key: str, params: dict[str, str]) -> tuple[int, Any, None]:
        if not self.stand_in.allow_write(self._token, key):
            raise Refusal(403, "Permission denied")
        table = self.stand_in.table
        with table.changed:
            if "cas" in params and not self._is_current(key, params["cas"]):
                return 200, False, None
            table.delete(table.keys_below(key) if "recurse" in params else [key])
        return 200, True, None

    def _is_current(self, key: str, cas: str) -> bool:
        if not cas.isdecimal():
            raise Refusal(500, f'strconv.ParseUint: parsing "{cas}": invalid syntax')
        entry = self.stand_in.table.entries.get(key)
        return (entry.modified if entry is not None else 0) == int(cas)

    def _transact(self, body: bytes) -> tuple[int, Any, None]:
        try:
            operations = json.loads(body)
        except ValueError as error:
            raise Refusal(400, f"Failed to parse body: {error}") from error
        if len(operations) > MAX_OPERATIONS:
            words = f"Transaction contains too many operations ({len(operations)} > {MAX_OPERATIONS})"
            raise Refusal(413, words)
        for position, each in enumerate(operations):
            reads = each["KV"]["Verb"] in ("get", "get-tree", "check-not-exists")
            may = self.stand_in.allow if reads else self.stand_in.allow_write
            if not may(self._token, each["KV"]["Key"]):
                what = {"OpIndex": position, "What": "Permission denied"}
                return 409, {"Results": None, "Errors": [what]}, None
        try:
            results = self.stand_in.table.transact(operations)
        except RollbackError as error:
            what = {"OpIndex": error.position, "What": error.what}
            return 409, {"Results": None, "Errors": [what]}, None
        return 200, {"Results": results, "Errors": None}, None


def _cut_at(names: list[str], prefix: str, separator: str) -> list[str]:
    """Names up to the first separator after the prefix, each once."""
    if not separator:
        return names
    cut = []
    for name in names:
        end = name.find(separator, len(prefix))
        cut.append(name if end < 0 else name[: end + len(separator)])
    return list(dict.fromkeys(cut))

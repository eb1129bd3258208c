"""A two-sided ledger: every byte a proxy said to a server, and every byte it said to a client.

The origin records what arrives per connection and reads it with the strict reader, apart from all parsers
under test. The client sends raw bytes and records the answers until the connection ends. What one side saw
must be accounted for on the other.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.clients import Address
from tests.support.origins import OriginConnection, Serve
from tests.support.strict_reader import MalformedError, Message, UnfinishedError, read_request, read_response
from tests.support.wire import READ_BYTES

ANSWER_TIMEOUT_S = 20.0
PROBE = b"GET /probe HTTP/1.1\r\nHost: corpus.example\r\nConnection: close\r\n\r\n"


@dataclass
class Account:
    """What one connection to the origin carried."""

    received: bytearray = field(default_factory=bytearray)
    requests: list[Message] = field(default_factory=list)
    problem: str = ""


class RecordingOrigin:
    """What a recording origin saw; ``serve`` is its function.

    Args:
        answer: makes the answer to a request.
    """

    def __init__(self, answer: Callable[[Message], bytes] | None = None) -> None:
        self._answer = answer or plain_answer
        self._lock = threading.Lock()
        self._accounts: list[Account] = []

    @property
    def serve(self) -> Serve:
        """For ``running_origin``."""
        return self._serve

    def requests(self) -> list[Message]:
        """Every complete request so far, in order of connections."""
        with self._lock:
            return [request for account in self._accounts for request in account.requests]

    def problems(self) -> list[str]:
        """What arrived that a strict server refuses."""
        with self._lock:
            return [account.problem for account in self._accounts if account.problem]

    def received(self) -> bytes:
        """Every byte that arrived, connection after connection."""
        with self._lock:
            return b"".join(bytes(account.received) for account in self._accounts)

    def clear(self) -> None:
        """Forget what was seen; connections stay."""
        with self._lock:
            for account in self._accounts:
                del account.received[:]
                account.requests.clear()
                account.problem = ""

    def _serve(self, connection: OriginConnection) -> None:
        account = Account()
        with self._lock:
            self._accounts.append(account)
        pending, has_continued = b"", False
        while data := connection.socket.recv(READ_BYTES):
            pending += data
            with self._lock:
                account.received += data
            while pending:
                try:
                    request, end = read_request(pending)
                except UnfinishedError:
                    if not has_continued and b"100-continue" in pending and b"\r\n\r\n" in pending:
                        has_continued = True
                        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                    break
                except MalformedError as error:
                    with self._lock:
                        account.problem = f"{error} in {pending[:200]!r}"
                    return
                pending, has_continued = pending[end:], False
                with self._lock:
                    account.requests.append(request)
                connection.send(self._answer(request))
                if b"close" in request.tokens(b"connection"):
                    return


def plain_answer(request: Message) -> bytes:
    """A 200 that names the request it answers."""
    content = b"%b %b" % (request.method, request.target)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(content)
    return head if request.method == b"HEAD" else head + content


@dataclass
class Answers:
    """What a client got on one connection.

    Attributes:
        received: every byte.
        responses: the complete final answers.
        problem: why what is left is no complete answer; empty when nothing is left.
        is_reset: the end was a reset.
    """

    received: bytes
    responses: list[Message]
    problem: str
    is_reset: bool

    @property
    def statuses(self) -> list[int]:
        """Of the final answers."""
        return [response.status for response in self.responses]


class RawClient:
    """One connection of a client that writes what it is told and keeps every byte of the answers.

    Args:
        address: of the proxy.
        methods: of the requests that will be answered, in order; GET for all behind the last.
        timeout_s: longest wait for the next bytes.
    """

    def __init__(
        self, address: Address, methods: list[bytes] | None = None, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._methods = methods or []
        self._received = b""
        self._is_reset = False
        self._socket = socket.create_connection(address, timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes, piece_bytes: int = READ_BYTES) -> None:
        """Send ``data`` in pieces. A peer that stops to listen has answered, or answers never."""
        try:
            for at in range(0, len(data), piece_bytes):
                self._socket.sendall(data[at : at + piece_bytes])
        except (BrokenPipeError, ConnectionResetError):
            self._is_reset = True

    def finish_sending(self) -> None:
        """Half-close."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._is_reset = True

    def read_answers(self, count: int) -> Answers:
        """Read until so many answers are complete, one says that it is the last, or the connection ends."""
        while True:
            answers = self._account(ended=False)
            last = answers.responses[-1] if answers.responses else None
            closes = last is not None and b"close" in last.tokens(b"connection")
            if len(answers.responses) >= count or closes or not self._receive():
                return answers

    def read_to_end(self) -> Answers:
        """Read until the connection ends.

        Raises:
            TimeoutError: it does not.
        """
        while self._receive():
            pass
        return self._account(ended=True)

    def read_until_quiet(self, count: int) -> Answers:
        """Read until so many answers are complete, the connection ends, or nothing comes for the timeout."""
        try:
            while len(self._account(ended=False).responses) < count:
                if not self._receive():
                    return self._account(ended=True)
        except TimeoutError:
            pass
        return self._account(ended=False)

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionResetError:
            self._is_reset = True
            return False
        self._received += data
        return bool(data)

    def _account(self, *, ended: bool) -> Answers:
        responses: list[Message] = []
        at, problem = 0, ""
        while at < len(self._received):
            number = len(responses)
            method = self._methods[number] if number < len(self._methods) else b"GET"
            try:
                response, at = read_response(self._received, at, method, ended=ended and not self._is_reset)
            except (MalformedError, UnfinishedError) as error:
                problem = f"{type(error).__name__}: {error}"
                break
            responses.append(response)
        return Answers(self._received, responses, problem, self._is_reset)


def read_intent(raw: bytes) -> list[Message]:
    """The requests that a strict reader finds in what a client sends, up to the first it cannot read."""
    requests: list[Message] = []
    at = 0
    while at < len(raw):
        try:
            request, at = read_request(raw, at)
        except (MalformedError, UnfinishedError):
            break
        requests.append(request)
    return requests

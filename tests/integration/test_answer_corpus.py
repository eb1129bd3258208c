"""Every answer of the response corpus, from a server behind the running program.

The client gets what a strict reader of the server's bytes reads, our own 502, or an answer that cannot look
complete. The exchanges that follow get their own answers: nothing is left over in a pooled connection.
"""

import itertools
import threading

import pytest

from tests.support.clients import get
from tests.support.corpus import Entry, read_corpus
from tests.support.ledger import RawClient
from tests.support.origins import OriginConnection, answer, running_origin
from tests.support.proxy import running_proxy
from tests.support.strict_reader import Message, read_response

DYNAMIC = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""
PATIENCE_S = 20
PROBES = 3
"""One more than idle connections are kept per server."""
NEVER_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"set-cookie", b"connection"})
NOT_END_TO_END = frozenset({b"date", b"content-length", b"transfer-encoding", b"connection"})

ENTRIES = read_corpus("responses")


class ScriptedOrigin:
    """Answers ``/case`` with the bytes of the entry on stage, and everything else with its target."""

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.piece_bytes = 65_536
        self.has_said_all = threading.Event()

    def serve(self, connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            if request.target != "/case":
                connection.send(answer(200, request.target.encode()))
                continue
            entry = self.entry
            try:
                for at in range(0, len(entry.raw), self.piece_bytes):
                    connection.send(entry.raw[at : at + self.piece_bytes])
            finally:
                self.has_said_all.set()
            if "close" in entry.words:
                return


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One proxy with one worker, so that all exchanges share a pool."""
    origin = ScriptedOrigin()
    with running_origin(origin.serve) as server:
        rules = DYNAMIC.format(url=server.url)
        with running_proxy(tmp_path_factory.mktemp("answers"), dynamic=rules, workers=1) as proxy:
            yield proxy, origin, itertools.count()


def test_the_corpus_is_large_enough():
    assert len(ENTRIES) >= 120


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_whole(stage, entry):
    check(stage, entry, piece_bytes=65_536)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_split(stage, entry):
    check(stage, entry, piece_bytes=1 if len(entry.raw) <= 300 else len(entry.raw) // 100)


def check(stage, entry: Entry, piece_bytes: int) -> None:
    """One answer, then probes on new exchanges."""
    proxy, origin, numbers = stage
    origin.entry, origin.piece_bytes = entry, piece_bytes
    origin.has_said_all.clear()
    method = b"HEAD" if "HEAD" in entry.words else b"GET"
    with RawClient(proxy.address(), [method]) as client:
        client.send(method + b" /case HTTP/1.1\r\nHost: corpus.example\r\nConnection: close\r\n\r\n")
        answers = client.read_to_end()
    # What a server says after the next request has gone out is its answer to that: nobody can tell.
    assert origin.has_said_all.wait(PATIENCE_S)
    for _ in range(PROBES):
        target = f"/probe/{next(numbers)}"
        probe = get(proxy.address(), target, host="corpus.example")
        assert (probe.status, probe.content) == (200, target.encode())
    if entry.expected == "cut":
        assert answers.responses == [], answers
        assert answers.is_reset or answers.problem, answers
        return
    assert answers.problem == "", answers
    assert len(answers.responses) == 1, answers
    if entry.expected == "502":
        assert answers.responses[0].status == 502
        assert answers.responses[0].body == b"Bad Gateway"
        return
    meant, _ = read_response(entry.raw, 0, method, ended="close" in entry.words)
    compare(answers.responses[0], meant)


def compare(got: Message, meant: Message) -> None:
    """The client must read what a strict reader of the server's bytes reads."""
    assert got.status == meant.status
    assert got.body == meant.body
    assert got.interim == [status for status in meant.interim if status != 100]
    assert end_to_end(got) == end_to_end(meant)
    assert got.trailers == [(n, v) for n, v in meant.trailers if n not in NEVER_IN_TRAILERS]


def end_to_end(message: Message) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in message.fields if name not in NOT_END_TO_END]

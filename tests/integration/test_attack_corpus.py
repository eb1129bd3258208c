"""Every message of the request corpus through the running program, with a ledger of both sides.

Per message: exactly the strict answer, and behind the proxy nothing, or exactly what a strict reader of the
message says. Over all: as many requests arrived as answers say so.
"""

import re

import pytest

from tests.support.corpus import Entry, read_corpus
from tests.support.ledger import PROBE, RawClient, RecordingOrigin, read_intent
from tests.support.origins import running_origin
from tests.support.proxy import running_proxy
from tests.support.strict_reader import Message

STATIC = """
entryPoints:
  web:
    address: "127.0.0.1:{web}"
    http:
      encodedCharacters:
        allowEncodedSlash: false
        allowEncodedBackSlash: false
        allowEncodedNullCharacter: false
        allowEncodedSemicolon: false
        allowEncodedPercent: false
        allowEncodedQuestionMark: false
        allowEncodedHash: false
providers:
  file: {directory: dynamic}
"""
# The hash is of no password that anyone sends.
DYNAMIC = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
    guarded: {{rule: "PathPrefix(`/admin`)", middlewares: [password], service: origin}}
    stripped: {{rule: "PathPrefix(`/api`)", middlewares: [strip], service: origin}}
  middlewares:
    password: {{basicAuth: {{users: ["admin:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]}}}}
    strip: {{stripPrefix: {{prefixes: ["/api"]}}}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""

BYTE_BY_BYTE_MAX_BYTES = 400
"""Longer messages are split into a hundred pieces instead: a write for each byte of a megabyte takes long."""

CLOSING = frozenset({"400", "414", "431", "501", "505", "silent", "200+400"})
HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive proxy-authenticate proxy-authorization te trailer"
    b" transfer-encoding upgrade content-length host".split()
)
OURS = {
    b"x-forwarded-for": b"127.0.0.1",
    b"x-real-ip": b"127.0.0.1",
    b"x-forwarded-proto": None,
    b"x-forwarded-port": None,
    b"x-forwarded-host": None,
    b"x-forwarded-server": None,
}
FORBIDDEN_TRAILERS = HOP_BY_HOP | {b"authorization", b"cookie", b"set-cookie", b"content-encoding"}
MANAGED = re.compile(
    rb"x[-_.]forwarded[-_.](for|host|port|proto|server|uri|method|prefix|tls[-_.]client[-_.]cert([-_.]info)?)"
    rb"|x[-_.]real[-_.]ip"
)

ENTRIES = read_corpus("requests")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One proxy and one origin for all messages."""
    origin = RecordingOrigin()
    with running_origin(origin.serve) as server:
        rules = DYNAMIC.format(url=server.url)
        folder = tmp_path_factory.mktemp("corpus")
        with running_proxy(folder, static=STATIC, dynamic=rules, workers=1) as proxy:
            yield proxy, origin
        assert origin.problems() == []


def test_the_corpus_is_large_enough():
    assert len(ENTRIES) >= 300
    assert len({entry.group for entry in ENTRIES}) >= 18


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_whole(stage, entry):
    check(stage, entry, piece_bytes=65_536)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_split(stage, entry):
    short = len(entry.raw) <= BYTE_BY_BYTE_MAX_BYTES
    check(stage, entry, piece_bytes=1 if short else len(entry.raw) // 100)


def check(stage, entry: Entry, piece_bytes: int) -> None:
    """Send one message on a connection of its own and compare both sides with what is expected."""
    proxy, origin = stage
    origin.clear()
    expected = expected_statuses(entry)
    intended = read_intent(entry.raw)[: expected.count(200)]
    with RawClient(proxy.address(), [request.method for request in intended]) as client:
        client.send(entry.raw, piece_bytes)
        if entry.expected == "silent":
            client.finish_sending()
        answers = client.read_answers(len(expected))
        closes = not answers.responses or b"close" in answers.responses[-1].tokens(b"connection")
        assert closes == (entry.expected in CLOSING or wants_close(intended)), answers
        if not closes:  # the connection goes on, and is in step
            client.send(PROBE)
            expected = [*expected, 200]
        answers = client.read_to_end()
    if entry.expected == "silent":
        assert 200 not in answers.statuses, answers
    else:
        assert answers.statuses == expected, answers
        assert answers.problem == "", answers
    arrived = origin.requests()
    assert origin.problems() == []
    assert len(arrived) == answers.statuses.count(200), "requests that arrived, against answers"
    for seen, meant in zip(arrived, intended, strict=False):
        compare(seen, meant, entry.target)
    if not closes:
        assert arrived[-1].target == b"/probe"


def expected_statuses(entry: Entry) -> list[int]:
    if entry.expected.startswith("ok"):
        return [200] * int(entry.expected.partition("*")[2] or 1)
    if entry.expected == "silent":
        return []
    return [int(status) for status in entry.expected.split("+")]


def wants_close(intended: list[Message]) -> bool:
    if not intended:
        return False
    tokens = intended[-1].tokens(b"connection")
    return b"close" in tokens or (intended[-1].start[2] == b"HTTP/1.0" and b"keep-alive" not in tokens)


def compare(seen: Message, meant: Message, target: bytes | None) -> None:
    """The server must read what the client said, and what we say about the client."""
    assert seen.method == meant.method
    assert seen.target == (target if target is not None else meant.target)
    assert seen.body == meant.body
    assert seen.get_all(b"host")[0] or not meant.get_all(b"host")[:1] or not meant.get_all(b"host")[0]
    assert end_to_end(seen) == end_to_end(meant)
    for name, value in OURS.items():
        lines = seen.get_all(name)
        if name == b"x-forwarded-host" and not (meant.get_all(b"host") or [b""])[0]:
            continue
        assert len(lines) == 1, name
        assert value is None or lines == [value], name
    claims = [(name, value) for name, value in seen.fields if MANAGED.fullmatch(name) and name not in OURS]
    assert claims in ([], [(b"x-forwarded-prefix", b"/api")]), "stripPrefix says what it took; nobody else"
    assert b"1.2.3.4" not in b" ".join(value for _, value in [*seen.fields, *seen.trailers])
    allowed = [(n, v) for n, v in meant.trailers if n not in FORBIDDEN_TRAILERS and not MANAGED.fullmatch(n)]
    assert seen.trailers == allowed


def end_to_end(message: Message) -> list[tuple[bytes, bytes]]:
    """The fields that are between client and server, in order."""
    named = {name for name in message.tokens(b"connection") if not MANAGED.fullmatch(name)}
    return [
        (name, value)
        for name, value in message.fields
        if name not in HOP_BY_HOP and name not in named and not MANAGED.fullmatch(name)
    ]

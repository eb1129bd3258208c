"""Messages mean the same whole, byte by byte and split anywhere; any input ends in a message or our errors.

Generated and mutated requests and responses go through the real connections.
"""

import itertools
import re

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from tests.support.corpus import CORPUS, read_corpus
from tests.support.readings import (
    END,
    lowered,
    requests_in,
    requests_read_strictly,
    response_in,
    response_read_strictly,
)
from worker.upstream import MAX_HEAD_BYTES

MAX_SEED_BYTES = 600
SEEDS = {
    kind: [entry.raw for entry in read_corpus(kind) if len(entry.raw) <= MAX_SEED_BYTES]
    + [path.read_bytes() for path in sorted((CORPUS / "seeds" / kind).glob("*.bin"))]
    for kind in ("requests", "responses")
}
LINE_ENDS = re.compile(rb"\r|\n|:|;")
SPLIT_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)

tokens = st.sampled_from([b"X-A", b"Accept", b"content-type", b"Cookie", b"x_y", b"Keep-Alive", b"TE"])
values = st.binary(max_size=12).map(lambda raw: re.sub(rb"[\x00-\x20\x7f]", b"", raw))
fields = st.lists(st.tuples(tokens, values), max_size=4).map(
    lambda pairs: b"".join(b"%b: %b\r\n" % pair for pair in pairs)
)
chunks = st.lists(st.binary(min_size=1, max_size=20), max_size=4)
trailers = st.sampled_from([b"", b"", b"X-Sum: 1\r\n", b"Host: a\r\n", b"X-A:\r\nX-B: b\r\n"])
extensions = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"', b";a=b;c"])


@st.composite
def framed(draw, bodyless=b""):
    """Fields that end a head, and the body they announce."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return bodyless + b"\r\n"
    parts = draw(chunks)
    if kind == "length":
        content = b"".join(parts)
        return b"Content-Length: %d\r\n\r\n" % len(content) + content
    framing = b"".join(b"%x%b\r\n%b\r\n" % (len(part), draw(extensions), part) for part in parts)
    return b"Transfer-Encoding: chunked\r\n\r\n" + framing + b"0\r\n" + draw(trailers) + b"\r\n"


@st.composite
def valid_requests(draw):
    one = st.tuples(
        st.sampled_from(
            [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD /%41 HTTP/1.1", b"PUT /x HTTP/1.1"]
        ),
        fields,
        st.sampled_from([b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n"]),
        framed(),
    ).map(lambda parts: parts[0] + b"\r\nHost: a.example\r\n" + b"".join(parts[1:]))
    return b"".join(draw(st.lists(one, min_size=1, max_size=3)))


@st.composite
def valid_responses(draw):
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]))
    status = draw(st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404", b"HTTP/1.1 204 None"]))
    return interim + status + b"\r\n" + draw(fields) + draw(framed(bodyless=b"Content-Length: 0\r\n"))


@st.composite
def mutated(draw, messages):
    """A message with some bytes put in, taken out or changed, mostly where the grammar is decided."""
    data = bytearray(draw(messages))
    marks = [found.start() for found in LINE_ENDS.finditer(data)] or [0]
    alien = st.sampled_from(
        [b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"\r\n", b"0", b"\x0b", b"\xff", b'"', b";"]
    )
    for _ in range(draw(st.integers(0, 3))):
        at = min(draw(st.one_of(st.sampled_from(marks), st.integers(0, len(data)))), len(data))
        width = draw(st.integers(0, 2))
        data[at : at + width] = draw(alien) if draw(st.booleans()) else b""
    return bytes(data)


def inputs(kind, valid):
    return mutated(st.one_of(valid, valid, st.sampled_from(SEEDS[kind])))


def bytes_of(data):
    return [bytes([byte]) for byte in data]


def split(data, cuts):
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@SPLIT_SETTINGS
@given(inputs("requests", valid_requests()), st.lists(st.integers(0, 400), max_size=6))
def test_requests(data, cuts):
    whole = requests_in([data])
    assert requests_in(split(data, cuts)) == whole
    assert requests_in(bytes_of(data)) == whole


@SPLIT_SETTINGS
@given(
    inputs("responses", valid_responses()),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from(["GET", "HEAD"]),
)
def test_responses(data, cuts, method):
    whole = response_in([data], method)
    assert response_in(split(data, cuts), method) == whole
    assert response_in(bytes_of(data), method) == whole


@SPLIT_SETTINGS
@given(valid_requests())
def test_valid_requests_are_read(data):
    *requests, outcome = requests_in([data])
    assert outcome == "ClientGone", (requests, outcome)
    assert requests


@SPLIT_SETTINGS
@given(valid_responses())
def test_valid_responses_are_read(data):
    assert response_in([data])[-1] == END


@SPLIT_SETTINGS
@given(inputs("requests", valid_requests()))
def test_what_we_read_a_strict_reader_reads(data):
    read = [(each[0], each[5], lowered(each[6])) for each in requests_in([data])[:-1]]
    assert read == requests_read_strictly(data)[: len(read)]


@SPLIT_SETTINGS
@given(inputs("responses", valid_responses()), st.sampled_from(["GET", "HEAD"]))
def test_what_we_pass_a_strict_reader_reads(data, method):
    seen = response_in([data], method)
    if seen[-1] == END:
        (status, *_), body, trailers, _ = seen[-4:]
        assert response_read_strictly(data, method) == (status, body, lowered(trailers))


def test_seeds():
    """Every message of the corpus and everything a campaign found, whole and byte by byte."""
    for data in SEEDS["requests"]:
        assert requests_in([data]) == requests_in(bytes_of(data)), data
    for data in SEEDS["responses"]:
        for method in ("GET", "HEAD"):
            whole = response_in([data], method)
            assert response_in(bytes_of(data), method) == whole, data


def test_the_limit_of_a_response_head_does_not_depend_on_the_split():
    field = b"X-A: " + b"a" * MAX_HEAD_BYTES + b"\r\n"
    data = b"HTTP/1.1 200 OK\r\n" + field + b"Content-Length: 0\r\n\r\n"
    for size in (1_000, 100_000, len(data)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert response_in(pieces) == ["UpstreamProtocolError"]

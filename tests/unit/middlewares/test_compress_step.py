"""compress: who gets which coding, what is left alone, what arrives and when."""

from __future__ import annotations

import zlib

import brotli
import msgspec
import pytest
import trio
import zstandard

from shared.config.checks import check_middleware
from shared.config.middlewares import Middleware
from shared.errors import ConfigError, UpstreamGone
from shared.headers import Headers
from tests.support.chains import make_exchange, no_file
from tests.support.vectors import vectors
from worker.bodies import LiveBody
from worker.messages import BytesBody, Response
from worker.middlewares.compressed_body import TURN_BYTES, CompressedBody
from worker.middlewares.encoders import make_encoder
from worker.middlewares.registry import build_step
from worker.pipeline import compose

LARGE = b"all work and no play makes a proxy dull\n" * 100


class StagedBody(LiveBody):
    """Chunks that are here, and, where a chunk is None, a wait for the next one."""

    def __init__(self, *chunks, length=None, error=None):
        super().__init__(length)
        self._chunks = list(chunks)
        self._error = error
        self.was_closed = False

    async def receive(self):
        await trio.lowlevel.checkpoint()
        if self._chunks and self._chunks[0] is None:
            self._chunks.pop(0)
        return self.receive_ready()

    def receive_ready(self):
        if self._chunks and self._chunks[0] is None:
            return None
        if self._chunks:
            return self._chunks.pop(0)
        if self._error is not None:
            raise self._error
        self.is_finished = True
        self.trailers = Headers([(b"X-Sum", b"1")])
        return b""

    async def aclose(self):
        self.was_closed = True


def decoder(coding):
    """What takes pieces of a coded body and returns all that they hold so far."""
    if coding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS + 16).decompress
    return (
        brotli.Decompressor().process
        if coding == "br"
        else zstandard.ZstdDecompressor().decompressobj().decompress
    )


async def read_all(body):
    parts = []
    while part := await body.receive():
        parts.append(part)
    return b"".join(parts)


def ready(body):
    """All that is given out before the next wait."""
    parts = []
    while part := body.receive_ready():
        parts.append(part)
    assert part is None
    return b"".join(parts)


def run(config, *, request=(), method="GET", status=200, fields=(), body=None):
    """The response, its content, and the request as the server got it."""
    step = build_step(check_middleware(msgspec.convert({"compress": config}, Middleware), no_file))
    exchange = make_exchange("/", method=method, headers=request)
    pairs = fields.items() if isinstance(fields, dict) else fields
    reply = Response(
        status, Headers((name.encode(), value.encode()) for name, value in pairs), body or BytesBody(LARGE)
    )

    async def endpoint(_):
        return reply

    async def main():
        response = await compose([step], endpoint)(exchange)
        return response, await read_all(response.body)

    response, content = trio.run(main)
    return response, content, exchange.request


def coding_of(response):
    value = response.headers.get(b"Content-Encoding")
    return None if value is None else value.decode()


def gzip_of(**options):
    """Whether a client of gzip gets gzip."""
    return coding_of(run(options.pop("config", {}), request={"Accept-Encoding": "gzip"}, **options)[0])


@pytest.mark.parametrize("vector", vectors("v2", "middleware.compress"))
def test_vector(vector):
    request, expect = vector["request"], vector["expect"]
    reply = request["upstreamResponse"]
    body = BytesBody(b"x" * reply["bodyBytes"])
    response, content, _ = run(
        vector["config"]["compress"],
        request=request["headers"],
        method=request["method"],
        fields=reply.get("headers", {}),
        body=body,
    )
    wanted, _, of_server = (expect["contentEncoding"] or "").partition("(")
    assert (coding_of(response) or "") in {wanted, *expect.get("alsoAccepted", [])}
    if coding_of(response) and not of_server:
        content = decoder(coding_of(response))(content)
    assert content == b"x" * reply["bodyBytes"]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_what_arrives_is_what_was_sent(coding):
    chunks = [LARGE * 40, None, b"end", None]
    response, content, _ = run(
        {}, request={"Accept-Encoding": coding}, fields={"Vary": "Cookie"}, body=StagedBody(*chunks)
    )
    assert coding_of(response) == coding
    assert decoder(coding)(content) == LARGE * 40 + b"end"
    assert len(content) < len(LARGE)
    assert response.headers.get_all(b"Vary") == [b"Cookie", b"Accept-Encoding"]
    assert response.body.length is None
    assert response.body.trailers == Headers([(b"X-Sum", b"1")])


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_what_came_is_given_out_before_the_next_chunk_is_waited_for(coding):
    body = CompressedBody(StagedBody(b"event 1\n", None, b"event 2\n", None), make_encoder(coding))
    decode = decoder(coding)
    assert decode(ready(body)) == b"event 1\n"
    assert decode(trio.run(body.receive) + ready(body)) == b"event 2\n"
    decode(trio.run(body.receive))
    assert (body.is_finished, body.receive_ready(), trio.run(body.receive)) == (True, b"", b"")


def test_others_have_their_turn_while_a_large_chunk_is_compressed():
    body = CompressedBody(StagedBody(LARGE * 100), make_encoder("gzip"))
    turns = []

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await read_all(body)
            nursery.cancel_scope.cancel()

    async def count():
        while True:
            turns.append(None)
            await trio.lowlevel.checkpoint()

    trio.run(main)
    assert len(turns) >= len(LARGE) * 100 // TURN_BYTES


def test_a_body_that_breaks_off_does_not_look_complete():
    body = StagedBody(LARGE, None, error=UpstreamGone("gone"))
    with pytest.raises(UpstreamGone):
        run({}, request={"Accept-Encoding": "gzip"}, body=body)


def test_closing_gives_up_the_source():
    source = StagedBody(LARGE, None)
    trio.run(CompressedBody(source, make_encoder("br")).aclose)
    assert source.was_closed


@pytest.mark.parametrize(
    ("chunks", "is_compressed"),
    [
        ([b"x" * 1023], False),
        ([b"x" * 1000, b"x" * 24], True),
        ([b"x", None], True),  # nothing is held back to see how much will come
        ([None], True),
        ([], False),
    ],
)
def test_the_minimum_and_bodies_of_unknown_length(chunks, is_compressed):
    response, content, _ = run({}, request={"Accept-Encoding": "br"}, body=StagedBody(*chunks))
    assert (coding_of(response) == "br") is is_compressed
    assert (decoder("br")(content) if is_compressed else content) == b"".join(each or b"" for each in chunks)
    assert response.body.trailers == Headers([(b"X-Sum", b"1")])
    assert response.headers.get(b"Vary") == b"Accept-Encoding"


@pytest.mark.parametrize(("size", "least", "coding"), [(99, 100, None), (100, 100, "gzip"), (1023, -1, None)])
def test_the_minimum_and_bodies_of_known_length(size, least, coding):
    config = {"minResponseBodyBytes": least}
    for body in (BytesBody(b"x" * size), StagedBody(b"x" * size, length=size)):
        assert gzip_of(config=config, body=body) == coding


@pytest.mark.parametrize(
    ("status", "fields", "is_compressed"),
    [
        (200, {}, True),
        (404, {}, True),
        (206, {"Content-Range": "bytes 0-3999/9000"}, False),
        (200, {"Content-Range": "bytes 0-3999/9000"}, False),
        (204, {}, False),
        (304, {}, False),
        (200, {"Cache-Control": "public, No-Transform"}, False),
        (200, {"Content-Encoding": "identity"}, False),
        (200, {"Content-Type": "application/grpc"}, False),
        (200, {"Content-Type": "text/event-stream"}, True),
        (200, {"Content-Type": "text/html; charset"}, False),
        (200, {"Content-Type": "a b"}, False),
    ],
)
def test_answers_that_are_left_alone(status, fields, is_compressed):
    assert (gzip_of(status=status, fields=fields) == "gzip") is is_compressed


def test_a_change_of_protocol_is_left_alone():
    response, _, _ = run({}, request={"Accept-Encoding": "gzip"}, status=101)
    assert list(response.headers) == []


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("HEAD", {"Accept-Encoding": "gzip"}),
        ("POST", {"Accept-Encoding": "gzip", "Content-Type": "application/grpc; x=y"}),
        ("GET", {"Accept-Encoding": "gzip", "Cache-Control": "no-transform"}),
        ("GET", {}),
        ("GET", {"Accept-Encoding": ""}),
    ],
)
def test_requests_whose_answers_are_left_alone(method, fields):
    response, content, _ = run({}, method=method, request=fields)
    assert (list(response.headers), content) == ([], LARGE)


@pytest.mark.parametrize(
    ("config", "sent", "is_compressed"),
    [
        ({"excludedContentTypes": ["text/plain"]}, "Text/Plain; charset=utf-8", False),
        ({"excludedContentTypes": ["text/plain"]}, "text/html", True),
        ({"excludedContentTypes": ['text/plain; charset="utf-8"']}, "text/plain;charset=utf-8", False),
        ({"excludedContentTypes": ["text/plain; charset=utf-8"]}, "text/plain", False),
        ({"includedContentTypes": ["text/plain;charset=utf-8"]}, "text/plain", True),
        ({"includedContentTypes": ["text/plain"]}, "text/plain; charset=utf-8", True),
        ({"includedContentTypes": ["text/plain"]}, "text/html", False),
        ({"includedContentTypes": ["application/grpc"]}, "application/grpc", True),
    ],
)
def test_types(config, sent, is_compressed):
    assert (gzip_of(config=config, fields={"Content-Type": sent}) == "gzip") is is_compressed


def test_without_accept_encoding_the_default_holds_but_not_against_an_empty_one():
    config = {"defaultEncoding": "zstd"}
    assert coding_of(run(config)[0]) == "zstd"
    assert coding_of(run(config, request={"Accept-Encoding": ""})[0]) is None


def test_fields_that_no_longer_hold_go():
    fields = {"Accept-Ranges": "bytes", "Content-MD5": "x", "Repr-Digest": "x", "X-Kept": "x"}
    response, _, _ = run({}, request={"Accept-Encoding": "br"}, fields=fields)
    assert [name for name, _ in response.headers] == [b"X-Kept", b"Vary", b"Content-Encoding"]


@pytest.mark.parametrize(
    ("sent", "marked"), [('"v1"', '"v1~br"'), ('W/"v1"', 'W/"v1"'), ("v1", "v1"), ('""', '"~br"')]
)
def test_a_strong_tag_is_not_that_of_other_bytes(sent, marked):
    response, _, _ = run({}, request={"Accept-Encoding": "br"}, fields={"ETag": sent})
    assert response.headers.get(b"ETag").decode() == marked


def test_a_small_answer_keeps_its_tag():
    small = run({}, request={"Accept-Encoding": "br"}, fields={"ETag": '"v1"'}, body=BytesBody(b"x"))[0]
    assert small.headers.get(b"ETag") == b'"v1"'


@pytest.mark.parametrize(
    ("field", "sent", "arrives"),
    [
        ("If-None-Match", '"a~br", W/"b~br", "c~x", "d~zstd"', '"a", W/"b~br", "c~x", "d"'),
        ("If-Match", '"a~gzip"', '"a"'),
        ("If-Range", '"a~gzip"', '"a~gzip"'),
    ],
)
def test_a_server_is_asked_for_tags_that_it_knows(field, sent, arrives):
    _, _, request = run({}, request={field: sent})
    assert request.headers.get(field.encode()).decode() == arrives


@pytest.mark.parametrize(("held", "told"), [('"v1~br"', b'"v1~br"'), ('"v1"', b'"v1"'), ('"v0~br"', b'"v1"')])
def test_not_modified_names_the_tag_that_the_client_holds(held, told):
    response, _, _ = run(
        {},
        request={"Accept-Encoding": "br", "If-None-Match": held},
        status=304,
        fields={"ETag": '"v1"'},
        body=BytesBody(),
    )
    assert (response.headers.get(b"ETag"), response.headers.get(b"Vary")) == (told, b"Accept-Encoding")


@pytest.mark.parametrize(
    ("config", "path", "reason"),
    [
        (
            {"excludedContentTypes": ["a/b"], "includedContentTypes": ["a/b"]},
            "compress.excludedContentTypes",
            "excludedContentTypes and includedContentTypes options are mutually exclusive",
        ),
        ({"encodings": []}, "compress.encodings", "at least one encoding must be specified"),
        ({"encodings": ["gzip", "bz"]}, "compress.encodings[1]", "unsupported encoding: bz"),
        (
            {"encodings": ["br"], "defaultEncoding": "gzip"},
            "compress.defaultEncoding",
            "unsupported default encoding: gzip",
        ),
        (
            {"includedContentTypes": ["a/b", "a/b;"], "excludedContentTypes": []},
            None,
            None,
        ),
        (
            {"excludedContentTypes": ["text/*x y"]},
            "compress.excludedContentTypes[0]",
            "parsing excluded media type: 'text/*x y' is not a media type",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(config, path, reason):
    options = msgspec.convert({"compress": config}, Middleware)
    if path is None:
        assert check_middleware(options, no_file) == options
        return
    with pytest.raises(ConfigError) as caught:
        check_middleware(options, no_file)
    assert (caught.value.path, caught.value.reason) == (path, reason)

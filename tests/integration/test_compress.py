"""compress through the installed program: large, endless and cut bodies, HTTP/2, v1's entrypoints."""

from __future__ import annotations

import contextlib
import json
import threading
import zlib

import pytest

from tests.support.clients import ClientConnection, get, request_bytes
from tests.support.http2 import H2Client
from tests.support.origins import answer, running_origin, scripted, streaming
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

HOST = "same.test"
GZIP = (("Accept-Encoding", "gzip"),)
PATIENCE_S = 30
TEXT = b"".join(b"line %d of many\n" % number for number in range(100_000))


def dynamic(url):
    return json.dumps(
        {
            "http": {
                "routers": {"r": {"rule": "PathPrefix(`/`)", "service": "s", "middlewares": ["m"]}},
                "middlewares": {"m": {"compress": {}}},
                "services": {"s": {"loadBalancer": {"servers": [{"url": url}]}}},
            }
        }
    )


def gunzip(content):
    decoder = zlib.decompressobj(zlib.MAX_WBITS + 16)
    plain = decoder.decompress(content)
    assert decoder.eof
    return plain


def test_a_large_body_over_both_versions(tmp_path):
    with (
        running_origin(scripted(*[answer(200, TEXT)] * 2)) as origin,
        running_proxy(tmp_path, dynamic=dynamic(origin.url), workers=1) as proxy,
    ):
        response = get(proxy.address(), "/", host=HOST, fields=GZIP)
        assert gunzip(response.content) == TEXT
        assert len(response.content) * 4 < len(TEXT)
        assert response.header("Vary") == "Accept-Encoding"
        with H2Client.connect(proxy.address()) as client:
            second = client.get("/", fields=[(b"accept-encoding", b"gzip")])
        assert second.header("content-encoding") == "gzip"
        assert gunzip(second.content) == TEXT


def test_an_event_arrives_before_the_next_one_is_made(tmp_path):
    seen = [threading.Event() for _ in range(3)]

    def chunks(_):
        for number, each in enumerate(seen):
            yield b"data: %d\n\n" % number
            assert each.wait(PATIENCE_S)

    with (
        running_origin(streaming(chunks)) as origin,
        running_proxy(tmp_path, dynamic=dynamic(origin.url), workers=1) as proxy,
        ClientConnection(proxy.address()) as client,
    ):
        client.send(request_bytes("GET", "/", host=HOST, fields=GZIP))
        client.socket.settimeout(PATIENCE_S)
        received, plain = b"", b""
        for number, each in enumerate(seen):
            wanted = b"data: %d\n\n" % number
            while not plain.endswith(wanted):
                received += client.socket.recv(65536)
                plain = plain_so_far(received)
            each.set()
        assert b"Content-Encoding: gzip" in received


def plain_so_far(received):
    """What can be decoded of the beginning of a chunked, compressed answer."""
    _, _, rest = received.partition(b"\r\n\r\n")
    decoder, plain = zlib.decompressobj(zlib.MAX_WBITS + 16), b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        plain += decoder.decompress(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return plain


def test_a_cut_body_does_not_look_complete(tmp_path):
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + TEXT[:500_000]

    def serve(connection):
        connection.receive_request()
        connection.send(cut)

    with (
        running_origin(serve) as origin,
        running_proxy(tmp_path, dynamic=dynamic(origin.url), workers=1) as proxy,
        ClientConnection(proxy.address()) as client,
    ):
        client.send(request_bytes("GET", "/", host=HOST, fields=GZIP))
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.socket.recv(65536):
                received += data
        assert b"Content-Encoding: gzip" in received
        assert not received.endswith(b"0\r\n\r\n")


V1 = """
defaultEntryPoints = ["http"]
[entryPoints.http]
address = "127.0.0.1:{{http}}"
{compress}
[file]
[backends.b.servers.s]
url = "{url}"
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "PathPrefix:/"
"""


@pytest.mark.parametrize("as_flag", [False, True])
def test_an_entrypoint_of_v1(tmp_path, as_flag):
    flags = ["--entryPoints=Name:http Address:127.0.0.1:{http} Compress:true"] if as_flag else []
    with running_origin(scripted(*[answer(200, b"x" * size) for size in (511, 512, 512)])) as origin:
        text = V1.format(compress="" if as_flag else "compress = true", url=origin.url)
        options = {"static_name": "traefik.toml", "entrypoints": ("http",), "workers": 1, "flags": flags}
        with running_proxy(tmp_path, static=text, **options) as proxy:
            small = get(proxy.address("http"), "/", host=HOST, fields=GZIP)
            large = get(proxy.address("http"), "/", host=HOST, fields=GZIP)
            other = get(proxy.address("http"), "/", host=HOST, fields=[("Accept-Encoding", "br, zstd")])
    assert small.header("Content-Encoding") is None
    assert gunzip(large.content) == b"x" * 512
    assert (other.header("Content-Encoding"), other.content) == (None, b"x" * 512)

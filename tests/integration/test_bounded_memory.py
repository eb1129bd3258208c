"""Large bodies through the installed program, with the other side not reading: memory stays where it was.

64 MB by default, 1 GB with ``--long``. What the kernel buffers is not the worker's; what the worker holds is
its resident size, looked at while nothing moves any more and again after everything has passed.
"""

import threading

import pytest

from tests.support.clients import ClientConnection, get, request_bytes
from tests.support.origins import running_origin
from tests.support.proxy import running_proxy

RULES = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""
MEGABYTE = 1_048_576
GROWTH_BYTES = 6 * MEGABYTE
"""One chunk each way is 512 KiB; the rest is what the allocator keeps."""
PIECE = bytes(65_536)
STALL_S = 0.5
"""A sender that cannot send for so long is stalled: every buffer between the two ends is full."""
PATIENCE_S = 120.0


@pytest.fixture
def size(request):
    return 1024 * MEGABYTE if request.config.getoption("--long") else 64 * MEGABYTE


def serve_bodies(go_on, stalled, size):
    """``PUT``: read the body only once told to. ``GET``: send ``size`` bytes and tell when that stalls."""

    def serve(connection):
        while (head := connection.reader.read_head()) is not None:
            if head.start_line.startswith(b"PUT"):
                assert go_on.wait(PATIENCE_S)
                left = size
                while left:
                    left -= len(connection.reader.read_exactly(min(left, MEGABYTE)))
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            elif b"/large" in head.start_line:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                send_slowly(connection.socket, size, stalled)
            else:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return serve


def send_slowly(sock, size, stalled):
    """Send so many bytes; tells when they do not move, and then waits for them to."""
    sent = 0
    while sent < size:
        sock.settimeout(STALL_S)
        try:
            sent += sock.send(PIECE[: size - sent])
        except TimeoutError:
            stalled.set()
            sock.settimeout(PATIENCE_S)
            sent += sock.send(PIECE[: size - sent])
    sock.settimeout(PATIENCE_S)


def resident(proxy):
    """Bytes of the largest process but the master: the worker."""
    return max(each.memory_info().rss for each in proxy.processes() if each.pid != proxy.pid)


@pytest.fixture
def bodies(tmp_path, size):
    go_on, stalled = threading.Event(), threading.Event()
    with (
        running_origin(serve_bodies(go_on, stalled, size)) as origin,
        running_proxy(tmp_path, dynamic=RULES.format(url=origin.url), workers=1) as proxy,
    ):
        for _ in range(3):
            assert get(proxy.address(), "/", host="a").content == b"ok"
        yield proxy, go_on, stalled


def test_an_upload_that_the_server_does_not_read(bodies, size):
    proxy, go_on, stalled = bodies
    before = resident(proxy)
    with ClientConnection(proxy.address(), PATIENCE_S) as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        sender = threading.Thread(target=send_slowly, args=(client.socket, size, stalled), daemon=True)
        sender.start()
        assert stalled.wait(PATIENCE_S)
        assert resident(proxy) - before < GROWTH_BYTES
        assert get(proxy.address(), "/", host="a").content == b"ok"  # others are served
        go_on.set()
        sender.join(PATIENCE_S)
        assert client.receive().content == b"ok"
    assert resident(proxy) - before < GROWTH_BYTES


def test_a_download_that_the_client_does_not_read(bodies, size):
    proxy, _, stalled = bodies
    before = resident(proxy)
    with ClientConnection(proxy.address(), PATIENCE_S) as client:
        client.send(request_bytes("GET", "/large", host="a"))
        assert stalled.wait(PATIENCE_S)
        assert resident(proxy) - before < GROWTH_BYTES
        assert get(proxy.address(), "/", host="a").content == b"ok"
        head = client.reader.read_head()
        assert head.get(b"content-length") == b"%d" % size
        left = size
        while left:
            left -= len(client.reader.read_exactly(min(left, MEGABYTE)))
    assert resident(proxy) - before < GROWTH_BYTES

"""The client of providers: endpoints, limits, and errors that never show credentials."""

import contextlib
import socket
import threading

import pytest
import trio

from providers import api_client
from providers.api_client import lines, open_client, parse_endpoint
from shared.errors import ConfigError, ProviderError

SECRET = "s3cret-Passw0rd"


@pytest.mark.parametrize(
    ("text", "has_tls", "url"),
    [
        ("tcp://127.0.0.1:2375", False, "http://127.0.0.1:2375"),
        ("tcp://127.0.0.1:2376", True, "https://127.0.0.1:2376"),
        ("http://h:1/base/", False, "http://h:1/base"),
        ("HTTPS://h", False, "https://h"),
        ("127.0.0.1:8500", False, "http://127.0.0.1:8500"),
        ("http://[::1]:80", False, "http://[::1]:80"),
    ],
)
def test_endpoints(text, has_tls, url):
    assert parse_endpoint("x", text, has_tls).url == url


def test_a_unix_endpoint():
    endpoint = parse_endpoint("x", "unix:///run/docker.sock")
    assert (endpoint.socket, str(endpoint), endpoint.is_local) == (
        "/run/docker.sock",
        "unix:///run/docker.sock",
        True,
    )


@pytest.mark.parametrize(
    "text", ["ssh://h", "unix://relative", "http://", "http://h:x", "http://h:99999", "npipe:x"]
)
def test_what_is_no_endpoint_is_refused(text):
    with pytest.raises(ConfigError, match=r"^providers\.docker\.endpoint: "):
        parse_endpoint("providers.docker.endpoint", text)


def test_credentials_are_taken_out_of_an_endpoint():
    endpoint = parse_endpoint("x", f"http://us%40er:{SECRET}@h:80")
    assert (endpoint.user, endpoint.password, str(endpoint)) == ("us@er", SECRET, "http://h:80")


@contextlib.contextmanager
def server(answer):
    """Answers one request with these bytes, in a thread; gives the URL and what it got."""
    got = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    got.append(connection.recv(65_536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", got
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def ask(place, path="/x", **options):
    async def main():
        endpoint = parse_endpoint("x", f"http://user:{SECRET}@{place}")
        async with open_client("p", endpoint, **options) as client:
            return (await client.get(path))[1]

    return trio.run(main)


def http(status, body, more=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


def test_a_document_is_fetched_with_credentials():
    with server(http("200 OK", '{"a": 1}')) as (place, got):
        assert ask(place) == {"a": 1}
    assert b"Authorization: Basic " in got[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("403 Forbidden", "ACL\n  not found"), "answered 403 ACL not found"),
        (http("502 Bad Gateway", "<html>x</html>"), "answered 502 (a page)"),
        (http("200 OK", "<html>"), "the answer is not JSON"),
        (http("302 Found", "", "Location: http://elsewhere/\r\n"), "answered 302"),
        (b"", "cannot be reached: "),
        (b"nonsense\r\n\r\n", "cannot be reached: "),
        (http("200 OK", "x" * 200), "the answer is larger than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "cannot be reached: "),
    ],
)
def test_failures_name_the_endpoint_and_no_credentials(monkeypatch, answer, said):
    monkeypatch.setattr(api_client, "MAX_ANSWER_BYTES", 100)
    with server(answer) as (place, _), pytest.raises(ProviderError) as caught:
        ask(place)
    assert f"http://{place}/x: {said}" in caught.value.reason
    assert SECRET not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ProviderError, match="no answer in time"):
            ask(place, timeout_s=0.1)


def test_lines_are_the_same_wherever_they_are_cut():
    text = b"one\r\ntwo\n\nthree\nrest"

    async def read(*pieces):
        async def stream():
            for piece in pieces:
                yield piece

        return [line async for line in lines(stream())]

    for at in range(len(text)):
        assert trio.run(read, text[:at], text[at:]) == [b"one", b"two", b"", b"three"]


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(api_client, "MAX_LINE_BYTES", 10)

    async def main():
        async def stream():
            while True:
                yield b"xxxx"

        return [line async for line in lines(stream())]

    with pytest.raises(ValueError, match="longer than 10 bytes"):
        trio.run(main)

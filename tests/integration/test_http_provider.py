"""The HTTP provider against real servers: what it sends, what it makes of answers, what it never tells."""

import contextlib
import http.server
import ssl
import threading

import pytest
import trio

from providers.http import HttpProvider
from providers.registry import make_providers
from shared.config.static import StaticConfig
from shared.config.static_providers import HttpProviderSettings, Providers, ProviderTls
from shared.errors import ConfigError
from tests.support.certificates import make_authority, make_pair
from tests.support.origins import answer, running_origin, scripted
from tests.support.snapshots import condition_met, heard

SECRET = "s3cr3t-token"


class Page(contextlib.AbstractContextManager):
    """A server whose answer the test changes at any time."""

    def __init__(self, text, status=200):
        self.text, self.status = text, status
        self.origin = running_origin(self.serve)

    def serve(self, connection):
        while connection.receive_request() is not None:
            connection.send(answer(self.status, self.text.encode()))

    def __enter__(self):
        self.server = self.origin.__enter__()
        return self

    def __exit__(self, *problem):
        return self.origin.__exit__(*problem)

    @property
    def url(self):
        return f"{self.server.url}/rules"


def rules(host):
    return f"http:\n  routers:\n    r: {{rule: 'Host(`{host}`)', service: s}}\n"


def hosts(snapshot):
    return [router["rule"] for each in snapshot.documents for router in each.tree["http"]["routers"].values()]


def settings(url, **more):
    return HttpProviderSettings(endpoint=url, poll_interval=0.02, **more)


def test_every_change_is_published_and_nothing_else():
    async def main():
        with Page(rules("a")) as page:
            async with heard(HttpProvider(settings(page.url))) as listener:
                assert hosts(await listener.next()) == ["Host(`a`)"]
                seen = len(page.server.requests)
                await condition_met(lambda: len(page.server.requests) > seen + 2)
                assert listener.nothing_waits()
                page.text = '{"http": {"routers": {"r": {"rule": "Host(`b`)"}}}}'
                assert hosts(await listener.next()) == ["Host(`b`)"]

    trio.run(main)


def test_headers_of_the_settings_are_sent():
    async def main():
        with Page(rules("a")) as page:
            headers = {"Authorization": f"Bearer {SECRET}", "X-Site": "lab"}
            async with heard(HttpProvider(settings(page.url, headers=headers))) as listener:
                await listener.next()
            request = page.server.requests[0]
            assert request.header("authorization") == f"Bearer {SECRET}"
            assert request.header("x-site") == "lab"

    trio.run(main)


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (200, "http: [", "what it said before stays"),
        (200, "  \n", "the document is empty (an empty table clears it); what it said before stays"),
        (200, "just words", "expected a table at the top; what it said before stays"),
    ],
)
def test_nonsense_is_a_problem_beside_what_stays(status, text, reason):
    async def main():
        with Page(rules("a")) as page:
            async with heard(HttpProvider(settings(page.url))) as listener:
                before = await listener.next()
                page.text = text
                spoiled = await listener.next()
                assert spoiled.documents[0] is before.documents[0]
                assert reason in str(spoiled.problems[0])
                assert str(spoiled.problems[0]).startswith(page.url)
                page.text = rules("b")
                mended = await listener.next()
                assert (hosts(mended), mended.problems) == (["Host(`b`)"], ())

    trio.run(main)


def test_nonsense_at_the_start_says_nothing_about_routes():
    async def main():
        with Page("http: [") as page:
            async with heard(HttpProvider(settings(page.url))) as listener:
                first = await listener.next()
                assert first.documents == ()
                assert not listener.feed.is_heard

    trio.run(main)


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
def test_other_answers_are_failures_and_are_tried_again(status):
    async def main():
        with Page(rules("a"), status) as page:
            provider = HttpProvider(settings(page.url))
            async with heard(provider) as listener:
                await condition_met(lambda: listener.feed.failure)
                assert listener.feed.failure == f"{page.url}: received non-ok response code: {status}"
                page.status = 200
                assert hosts(await listener.next()) == ["Host(`a`)"]
                assert listener.feed.failure == ""

    trio.run(main)


def test_a_server_that_goes_and_comes_back_takes_no_routes_along(caplog):
    async def main():
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + rules("half").encode()
        whole = answer(200, rules("a").encode())
        with running_origin(scripted(whole, cut, answer(200, rules("b").encode()))) as origin:
            async with heard(HttpProvider(settings(f"{origin.url}/r"))) as listener:
                assert hosts(await listener.next()) == ["Host(`a`)"]
                assert hosts(await listener.next()) == ["Host(`b`)"]
        assert "the connection broke off" in caplog.text

    trio.run(main)


def test_a_poll_has_a_deadline():
    async def main():
        release = threading.Event()

        def silent(connection):
            connection.receive_request()
            release.wait(30)

        with running_origin(scripted(silent, answer(200, rules("a").encode()))) as origin:
            async with heard(HttpProvider(settings(origin.url, poll_timeout=0.2))) as listener:
                assert hosts(await listener.next()) == ["Host(`a`)"]
                assert listener.feed.restarts == 1
            release.set()

    trio.run(main)


def test_a_body_over_the_limit_is_refused():
    async def main():
        with Page(rules("a")) as page:
            limit = len(rules("a"))
            async with heard(HttpProvider(settings(page.url, max_response_body_size=limit))) as listener:
                assert hosts(await listener.next()) == ["Host(`a`)"]
                page.text += " "
                await condition_met(lambda: listener.feed.failure)
                assert f"exceeds the limit of {limit} bytes" in listener.feed.failure

    trio.run(main)


def test_credentials_are_in_no_message(caplog):
    async def main():
        with Page("http: [") as page:
            url = page.url.replace("http://", f"http://admin:{SECRET}@") + f"?key={SECRET}"
            provider = HttpProvider(settings(url, headers={"X-Token": SECRET}))
            async with heard(provider) as listener:
                spoiled = await listener.next()
                page.status = 500
                await condition_met(lambda: listener.feed.failure)
                assert SECRET not in f"{spoiled.problems} {listener.feed.failure} {caplog.text}"
                sent = page.server.requests[0]
                assert SECRET in sent.target
                assert sent.header("authorization").startswith("Basic ")

    trio.run(main)


def test_headers_do_not_follow_a_redirect_to_another_origin():
    async def main():
        with Page(rules("a")) as page:
            moved = answer(302, fields=(("Location", page.url),))
            with running_origin(scripted(moved)) as origin:
                provider = HttpProvider(settings(f"{origin.url}/r", headers={"X-Token": SECRET}))
                async with heard(provider) as listener:
                    assert hosts(await listener.next()) == ["Host(`a`)"]
                assert origin.requests[0].header("x-token") == SECRET
                assert page.server.requests[0].header("x-token") is None

    trio.run(main)


def test_rereading_asks_at_once():
    async def main():
        with Page(rules("a")) as page:
            provider = HttpProvider(HttpProviderSettings(endpoint=page.url, poll_interval=3600.0))
            async with heard(provider) as listener:
                await listener.next()
                page.text = rules("b")
                await listener.feed.reread()
                assert hosts(await listener.next()) == ["Host(`b`)"]

    trio.run(main)


@contextlib.contextmanager
def tls_server(pair, authority):
    """HTTPS that asks for a client certificate of the authority."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = rules("tls").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that refuses us is what a test looks at
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_tls_with_own_authority_and_client_certificate(tmp_path):
    async def main():
        authority = make_authority(tmp_path)
        pair, client = make_pair(tmp_path, authority), make_pair(tmp_path, authority, "client")
        with tls_server(pair, authority) as url:
            as_files = ProviderTls(
                ca=str(authority.certificate), cert=str(client.certificate), key=str(client.key)
            )
            as_texts = ProviderTls(
                ca=authority.certificate.read_text(),
                cert=client.certificate.read_text(),
                key=client.key.read_text(),
            )
            for tls in (as_files, as_texts):
                async with heard(HttpProvider(settings(url, tls=tls))) as listener:
                    assert hosts(await listener.next()) == ["Host(`tls`)"]

    trio.run(main)


def test_tls_that_does_not_fit_is_said(tmp_path):
    async def main():
        authority = make_authority(tmp_path)
        other = make_authority(tmp_path, "other")
        pair = make_pair(tmp_path, authority)
        refused = {
            "its certificate was refused": ProviderTls(ca=str(other.certificate)),
            "tls.ca: cannot be used: No such file": ProviderTls(ca=str(tmp_path / "none.pem")),
            "tls.key is missing": ProviderTls(cert=str(pair.certificate)),
            "tls.cert and tls.key: cannot be used": ProviderTls(
                cert=str(pair.certificate), key=str(other.key)
            ),
        }
        with tls_server(pair, authority) as url:
            for reason, tls in refused.items():
                async with heard(HttpProvider(settings(url, tls=tls))) as listener:
                    await condition_met(lambda: listener.feed.failure)
                    assert reason in listener.feed.failure

    trio.run(main)


@pytest.mark.parametrize(
    ("wrong", "path", "reason"),
    [
        ({"endpoint": ""}, "endpoint", "non-empty endpoint is required"),
        ({"endpoint": "ftp://host/x"}, "endpoint", "expected http://"),
        ({"endpoint": "127.0.0.1:80"}, "endpoint", "expected http://"),
        ({"poll_interval": 0.0}, "pollInterval", "greater than 0"),
        ({"headers": {"X-Token": f"{SECRET}\n"}}, "headers", "control characters"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(wrong, path, reason):
    chosen = HttpProviderSettings(**{"endpoint": "http://127.0.0.1/", **wrong})
    with pytest.raises(ConfigError, match=reason) as raised:
        make_providers(StaticConfig(providers=Providers(http=chosen)))
    assert raised.value.path == f"providers.http.{path}"
    assert SECRET not in str(raised.value)

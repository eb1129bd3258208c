"""Stores behind TLS: every option of a ``tls`` section acts, in both dialects, and failures are clear.

The stores are real (or stand-ins); TLS is ended before them, by a relay that asks for client certificates.
"""

import contextlib

import pytest
import trio

from tests.support.authority import Authority
from tests.support.following import LIMIT_S, following
from tests.support.kits import kit_class
from tests.support.kits.base import Route

A = Route("a", "a.test", "http://127.0.0.1:8001")
STORES = ("consul", "consul-v1", "etcd-v2", "etcd-v3", "redis")


@pytest.fixture(params=STORES)
def store(request, tmp_path_factory):
    kind = kit_class(request.param)
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    kit = kind(tmp_path_factory.mktemp(request.param))
    kit.start()
    try:
        kit.write([A])
        yield kit
    finally:
        kit.close()


@contextlib.asynccontextmanager
async def relay(context, target):
    """Ends TLS and passes the bytes on. Yields its port."""

    async def pump(source, sink, scope):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)
        scope.cancel()

    async def serve(plain):
        secured = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(plain)
            return
        async with await trio.open_tcp_stream(*target) as inner, trio.open_nursery() as nursery:
            nursery.start_soon(pump, secured, inner, nursery.cancel_scope)
            nursery.start_soon(pump, inner, secured, nursery.cancel_scope)
        await trio.aclose_forcefully(plain)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def with_tls(settings, options):
    """The settings with a tls section."""
    section = settings.partition("]")[0].removeprefix("[")
    lines = "".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(str(value))}\n"
        for name, value in options.items()
    )
    return f"{settings}[{section}.tls]\n{lines}"


def test_authority_and_client_certificate(store, tmp_path):
    ours, strangers = Authority(tmp_path, "ours"), Authority(tmp_path, "strangers")
    server = ours.issue("127.0.0.1", file="server")
    client, stranger = ours.issue("client"), strangers.issue("stranger")
    good = {"ca": ours.certificate, "cert": client.certificate, "key": client.key}

    async def outcome(port, options):
        settings = with_tls(store.settings("127.0.0.1", port), options)
        async with following(settings, tmp_path) as provider:
            with trio.fail_after(LIMIT_S):
                while not provider.feed.failure and not provider.history:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
            return provider.feed.failure or await provider.routes()

    async def main():
        context = server.server_context(clients=ours)
        async with relay(context, store.address) as port:
            assert await outcome(port, good) == {A.host: [A.url]}
            assert await outcome(port, {**good, "ca": strangers.certificate, "insecureSkipVerify": True}) == {
                A.host: [A.url]
            }
            assert "certificate was refused" in await outcome(port, {**good, "ca": strangers.certificate})
            alien = {**good, "cert": stranger.certificate, "key": stranger.key}
            assert isinstance(await outcome(port, alien), str)
            assert "tls.key is missing" in await outcome(port, {"ca": good["ca"], "cert": good["cert"]})
            assert "cannot be used" in await outcome(port, {**good, "key": tmp_path / "nothing.key"})

    trio.run(main)

"""A connection that is open but silent when draining begins may still turn out to be TLS, and is served."""

import os

import pytest
import trio
import trio.testing

from master.compiler.default_certificate import default_certificate, ticket_secret
from shared import control
from shared.table.entries import RouterList
from shared.table.streams import Streams, TlsContent, TlsOptionsEntry
from tests.support.lanes import Wire, answering, lane, run, status, table
from tests.support.tls import client_context
from worker.app import GENERAL_LANE_ONLY
from worker.secure_stream import SecureStream
from worker.tls.stream import TlsSession, TlsStream


def content(port):
    plain = table(f"http://127.0.0.1:{port}")
    tls = TlsContent((default_certificate(),), (), 0, (TlsOptionsEntry("default"),), (), ticket_secret())
    lists = (*plain.lists, RouterList("web", True, plain.lists[0].routers))
    return type(plain)(plain.routers, (), plain.services, plain.transports, lists, Streams(tls=tls))


@pytest.mark.parametrize("general_only", [False, True])
def test_a_silent_connection_can_become_tls_while_the_worker_drains(monkeypatch, general_only):
    async def scenario():
        if general_only:
            monkeypatch.setitem(os.environ, GENERAL_LANE_ONLY, "1")
        async with lane() as running:
            port = await running.origin(answering())
            assert isinstance(await running.install(1, content(port)), control.Installed)
            assert (await running.master.receive())[0] == control.Ready(1)
            stream = await trio.open_tcp_stream(*running.slot.getsockname())
            await trio.testing.wait_all_tasks_blocked()
            await running.master.send(control.Drain(20.0))
            await trio.testing.wait_all_tasks_blocked()
            sock = stream.socket._sock  # of trio; the handshake is between this socket and the worker
            tls = client_context().wrap_socket(sock, do_handshake_on_connect=False)
            running.open.append(tls)
            await SecureStream(tls).do_handshake()
            client = Wire(TlsStream(tls, TlsSession()))
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body = await client.message()
            assert (status(head), body) == (200, b"ok")
            assert b"Connection: close" in head

    run(scenario)

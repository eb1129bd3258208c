"""TLS and workers that leave: what is open but silent may still become TLS, and no handshake is lost."""

import os
import re
import signal
import threading
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from master.compiler.default_certificate import default_certificate, ticket_secret
from shared import control
from shared.table.entries import RouterList
from shared.table.streams import Streams, TlsContent, TlsOptionsEntry
from tests.integration.test_tls import routers
from tests.support.lanes import Wire, answering, lane, run, status, table
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import TlsConnection, client_context
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


def wait_for_workers_to_go(proxy, count):
    """Until so many have drained since the start."""
    while True:
        seen = proxy.log_length
        if len(re.findall(r"gone: \d+ exchanges", proxy.log)) >= count:
            return
        proxy.wait_for_log(r"gone: \d+ exchanges", after=seen)


def test_no_handshake_is_lost_while_workers_are_replaced(tmp_path):
    """Rolls by a static change, under clients that open a connection for every two requests."""
    problems, served, over = [], [0], threading.Event()

    def load(address):
        while not over.is_set():
            try:
                with TlsConnection(address, "a.test") as client:
                    for _ in range(2):
                        answer = client.request("GET", "/", host="a.test")
                        if answer.status != 200:
                            problems.append(answer.status)
                        if answer.header("Connection") == "close":
                            break
                    served[0] += 1
            except Exception as error:
                problems.append(repr(error))

    with ExitStack() as stack:
        origin = stack.enter_context(running_origin(echo()))
        rules = routers(origin.url, a="Host(`a.test`)")
        proxy = stack.enter_context(running_proxy(tmp_path, dynamic=rules))
        text = proxy.static_file.read_text()
        threads = [threading.Thread(target=load, args=(proxy.address(),)) for _ in range(3)]
        for each in threads:
            each.start()
        try:
            for turn, level in enumerate(("DEBUG", "INFO", "DEBUG"), 1):
                proxy.static_file.write_text(text.replace("level: INFO", f"level: {level}"))
                proxy.signal(signal.SIGHUP)
                wait_for_workers_to_go(proxy, 2 * turn)
        finally:
            over.set()
            for each in threads:
                each.join()
    assert problems == []
    assert served[0] > 20

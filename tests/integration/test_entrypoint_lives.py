"""Settings of an entrypoint about the lives of its connections, in the installed program."""

import signal
import threading

import pytest

from tests.support.clients import ClientConnection, request_bytes
from tests.support.origins import answer, running_origin
from tests.support.proxy import running_proxy
from tests.support.wire import WireClosedError

pytestmark = pytest.mark.integration

STATIC = """
entryPoints:
  short:
    address: "127.0.0.1:{short}"
    transport: {lifeCycle: {graceTimeOut: 500ms}}
  long:
    address: "127.0.0.1:{long}"
    transport: {lifeCycle: {graceTimeOut: 60s}}
providers: {file: {directory: dynamic}}
log: {level: INFO}
"""
RULES = """
http:
  routers:
    all: {rule: "PathPrefix(`/`)", service: s}
  services:
    s: {loadBalancer: {servers: [{url: "%s"}]}}
"""


@pytest.mark.parametrize("lane", ["plain", "general"])
def test_each_entrypoint_has_its_own_grace(tmp_path, lane):
    """Both have an exchange when the proxy stops: the short one is cut, the long one has its answer."""
    environment = {"PENSTOCK_GENERAL_LANE_ONLY": "1"} if lane == "general" else {}
    release = threading.Event()
    with (
        running_origin(lambda connection: slow_after_warming(connection, release)) as origin,
        running_proxy(
            tmp_path,
            static=STATIC,
            dynamic=RULES % origin.url,
            entrypoints=("short", "long"),
            workers=1,
            environment=environment,
        ) as proxy,
        ClientConnection(proxy.address("short")) as short,
        ClientConnection(proxy.address("long")) as long,
    ):
        for each in (short, long):  # leaves an idle connection to the server, so that the next may be plain
            assert each.request("GET", "/warm", host="a").content == b"warm"
        for each in (short, long):
            each.send(request_bytes("GET", "/slow", host="a"))
        origin.wait_for_requests(4)
        proxy.signal(signal.SIGTERM)
        with pytest.raises(WireClosedError):
            short.receive()
        release.set()
        assert long.receive().content == b"slow"
        assert proxy.wait() == 0


def slow_after_warming(connection, release):
    while (request := connection.receive_request()) is not None:
        if request.target == "/warm":
            connection.send(answer(200, b"warm"))
        else:
            release.wait(60)
            connection.send(answer(200, b"slow"))

"""Requests of HTTP/2, to servers of both versions: Penstock and Traefik 3.7.15 make the same of them.

What differs by name only stands in ``OTHERWISE``; fields that differ for every request are in
``docs/differences.md``, as for HTTP/1.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest

from tests.support import traefik
from tests.support.http2 import H2Client, http2_echo
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.traefik import running_traefik

LIVE_TIMEOUT_S = 20.0
PAUSE_S = 0.05
RESET = "reset"

METHOD, SCHEME, AUTHORITY, PATH = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"a.test"),
    (b":path", b"/"),
)
HEAD = [METHOD, SCHEME, AUTHORITY, PATH]
POST = [(b":method", b"POST"), SCHEME, AUTHORITY, PATH]
CASES = {
    "plain": HEAD,
    "trailers are welcome": [*HEAD, (b"te", b"trailers")],
    "cookies in crumbs": [*HEAD, (b"cookie", b"a=1"), (b"cookie", b"b=2")],
    "Host alone": [METHOD, SCHEME, PATH, (b"host", b"a.test")],
    "a port": [METHOD, SCHEME, (b":authority", b"a.test:8443"), PATH],
    "another scheme than the connection's": [METHOD, (b":scheme", b"https"), AUTHORITY, PATH],
    "a query": [METHOD, SCHEME, AUTHORITY, (b":path", b"/a;b?c;d&e=%zz")],
    "dots": [METHOD, SCHEME, AUTHORITY, (b":path", b"/a/../b//c/./%2e%2e/d")],
    "statements of a stranger": [*HEAD, (b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-proto", b"https")],
    "a POST without content": POST,
    "a POST with none announced": [*POST, (b"content-length", b"0")],
    "CONNECT": [(b":method", b"CONNECT"), AUTHORITY],
    "a connection field": [*HEAD, (b"connection", b"close")],
    "two hosts": [*HEAD, (b"host", b"b.test")],
    "no host": [METHOD, SCHEME, PATH],
    "a name in capitals": [*HEAD, (b"X-A", b"1")],
    "a strange scheme": [METHOD, (b":scheme", b"ftp"), AUTHORITY, PATH],
    "an asterisk": [METHOD, SCHEME, AUTHORITY, (b":path", b"*")],
    "OPTIONS *": [(b":method", b"OPTIONS"), SCHEME, AUTHORITY, (b":path", b"*")],
}
OTHERWISE = {
    "two hosts": (400, 200, "takes the authority; two hosts are how checks by host are passed"),
    "no host": (400, 200, "makes one of the server's address; a request must name its host"),
    "a name in capitals": (400, RESET, "resets; a client that is told what is wrong can be mended"),
    "a strange scheme": (400, RESET, "the same"),
    "an asterisk": (400, 404, "looks for a router; it is no target of a GET (as in HTTP/1)"),
    "OPTIONS *": (404, 200, "answers by itself, whatever its routers say"),
}
"""By case: our answer, Traefik's, and what it does."""
NOT_COMPARED = frozenset({"x-forwarded-server", "accept-encoding"})

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def ask(address, fields):
    """The status, and what the server saw with this proxy's port taken out."""
    with H2Client.connect(address) as client:
        response = client.finish(client.start_with(fields))
    if not response.fields:
        return RESET, None
    if not response.header("x-origin"):
        return response.status, None
    seen = json.loads(response.content.replace(b":%d" % address[1], b""))
    kept = sorted((name.lower(), value) for name, value in seen["headers"])
    return response.status, (seen.get("target"), [each for each in kept if each[0] not in NOT_COMPARED])


def test_requests_of_http2(tmp_path):
    def static(ports):
        points = {name: {"address": f"127.0.0.1:{ports[name]}"} for name in ("one", "two")}
        folder = str(tmp_path / "traefik" / "dynamic")
        return {"entryPoints": points, "providers": {"file": {"directory": folder}}}

    with ExitStack() as stack:
        one = stack.enter_context(running_origin(echo("one"))).url
        two = stack.enter_context(running_origin(http2_echo("two"))).url.replace("http:", "h2c:")
        servers = {"one": one, "two": two}
        http = {
            "routers": {
                name: {"rule": "PathPrefix(`/`)", "service": name, "entryPoints": [name]} for name in servers
            },
            "services": {
                name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in servers.items()
            },
        }
        document = json.dumps({"http": http})
        (tmp_path / "penstock").mkdir()
        ours = stack.enter_context(
            running_proxy(tmp_path / "penstock", dynamic=document, workers=1, entrypoints=tuple(servers))
        )
        theirs = stack.enter_context(
            running_traefik(tmp_path / "traefik", static, document, entrypoints=tuple(servers))
        )
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while ask(theirs.address("two"), HEAD)[0] == 404 and time.monotonic() < deadline:
            time.sleep(PAUSE_S)  # nothing else tells when its routes are in force
        found = {
            (case, name): (ask(ours.address(name), fields), ask(theirs.address(name), fields))
            for case, fields in CASES.items()
            for name in servers
        }
    for (case, name), (our_answer, their_answer) in found.items():
        if case in OTHERWISE:
            assert (our_answer[0], their_answer[0]) == OTHERWISE[case][:2], (case, name)
        else:
            assert our_answer == their_answer, (case, name)

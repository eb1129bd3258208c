"""Transports towards servers: Penstock and Traefik 3.7.15 answer the same, but for what stands here."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.support import traefik
from tests.support.authority import Authority
from tests.support.clients import exchange
from tests.support.proxy import running_proxy
from tests.support.traefik import running_traefik
from tests.support.transports import rules, transport_cases

LIVE_TIMEOUT_S = 20.0
PAUSE_S = 0.05

OTHERWISE = {
    "nokeys": (404, 200, "shows no certificate, where one was asked for"),
    "mismatch": (404, 200, "the same"),
    "noca": (404, 500, "trusts the system's authorities instead of the one that was named"),
    "spiffe": (404, 500, "keeps the router, which can only answer 500"),
    "both": (404, 500, "the same"),
    "version": (404, 500, "goes on with default options, which do not trust the server"),
}
"""By case: our status, as a broken transport disables what needs it; Traefik's; and what it does."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def ask(address, name):
    return exchange(address, f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode()).status


def test_transports(tmp_path):
    def static(ports):
        return {
            "entryPoints": {"web": {"address": f"127.0.0.1:{ports['web']}"}},
            "providers": {"file": {"directory": str(tmp_path / "traefik" / "dynamic")}},
        }

    with ExitStack() as stack:
        cases = transport_cases(stack, Authority(tmp_path))
        document = rules(**cases)
        (tmp_path / "penstock").mkdir()
        ours = stack.enter_context(running_proxy(tmp_path / "penstock", dynamic=document, workers=1))
        theirs = stack.enter_context(
            running_traefik(tmp_path / "traefik", static, document, entrypoints=("web",))
        )
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while ask(theirs.address("web"), "path") == 404 and time.monotonic() < deadline:
            time.sleep(PAUSE_S)  # nothing else tells when its routes are in force
        found = {name: (ask(ours.address(), name), ask(theirs.address("web"), name)) for name in cases}
    differing = {name: each for name, each in found.items() if each[0] != each[1]}
    assert differing == {name: each[:2] for name, each in OTHERWISE.items()}

"""The harness around the program under test: it serves, and what goes wrong with the program is seen."""

import re
import signal

import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import ProxyFailedError, running_proxy

RULES = """
http:
  routers:
    all: {{rule: "PathPrefix(`{prefix}`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


def test_a_proxy_serves_reloads_and_tells_its_status(tmp_path):
    with running_origin(echo("a")) as origin:
        rules = RULES.format(prefix="/one", url=origin.url)
        with running_proxy(tmp_path, dynamic=rules) as proxy:
            assert get(proxy.address(), "/one?x=1", host="any.example").json()["target"] == "/one?x=1"
            before = proxy.status()
            assert before["workers_ready"] == 2

            proxy.write("dynamic.yml", RULES.format(prefix="/two", url=origin.url))
            proxy.reload()
            assert get(proxy.address(), "/one", host="any.example").status == 404
            assert get(proxy.address(), "/two", host="any.example").status == 200
            assert proxy.status()["generation"] > before["generation"]

            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0


def test_a_proxy_that_cannot_start_fails_the_test_with_its_log(tmp_path):
    static = 'entryPoints: {web: {adress: ":{web}"}}\n'
    with pytest.raises(ProxyFailedError, match=re.compile(r"it ended before.*adress", re.DOTALL)):  # noqa: SIM117
        with running_proxy(tmp_path, static=static):
            pytest.fail("it started")


def test_a_master_that_dies_fails_the_test(tmp_path):
    with pytest.raises(ProxyFailedError, match="died with exit code -9"):  # noqa: PT012, SIM117
        with running_proxy(tmp_path) as proxy:
            proxy.signal(signal.SIGKILL)
            proxy._process.wait(10)

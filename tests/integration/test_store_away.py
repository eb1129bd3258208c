"""The installed program while its store is away: routes stay, a restart serves the last good table."""

import signal
import time

import pytest

from tests.support.clients import get
from tests.support.kits.base import Route
from tests.support.kits.etcd import EtcdV3Kit
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

LIMIT_S = 60.0
PAUSE_S = 0.05


@pytest.fixture
def etcd(tmp_path_factory):
    missing = EtcdV3Kit.missing()
    if missing:
        pytest.skip(missing)
    kit = EtcdV3Kit(tmp_path_factory.mktemp("etcd"))
    kit.start()
    try:
        yield kit
    finally:
        kit.close()


def wait_for(fits, what):
    deadline = time.monotonic() + LIMIT_S
    while not fits():
        if time.monotonic() > deadline:
            pytest.fail(f"never: {what}")
        time.sleep(PAUSE_S)


def test_routes_outlive_the_store_and_a_restart(etcd, tmp_path):
    static = (
        "providers:\n  providersThrottleDuration: 20ms\n  firstSyncWait: 500ms\n"
        f'  etcd:\n    endpoints: ["127.0.0.1:{etcd.address[1]}"]\n'
        'entryPoints:\n  web:\n    address: "127.0.0.1:{web}"\n'
    )
    with running_origin(echo("one")) as origin:
        a, b = (Route(name, f"{name}.test", origin.url) for name in "ab")
        etcd.write([a])
        with running_proxy(tmp_path, static=static) as proxy:

            def status_of(route):
                return get(proxy.address(), "/", host=route.host).status

            wait_for(lambda: status_of(a) == 200, "the first route")
            assert "provider etcd: ok" in proxy.command("status").stdout

            etcd.stop()
            wait_for(lambda: proxy.status()["providers"][0]["failure"], "a failure in the status")
            assert "its last routes stay" in proxy.command("status").stdout
            assert status_of(a) == 200

            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0
            proxy.start()
            assert status_of(a) == 200
            said = proxy.command("status").stdout
            assert "it has said nothing yet" in said
            assert "waiting for provider etcd; serving the last good table" in said

            etcd.start()
            etcd.write([b])
            wait_for(lambda: status_of(b) == 200, "the route written after all that")
            assert status_of(a) == 200
            assert "provider etcd: ok" in proxy.command("status").stdout

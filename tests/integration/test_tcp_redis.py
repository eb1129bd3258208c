"""A real Redis behind TCP routers: plain, TLS ended here, TLS passed through, and TLS to the server."""

from __future__ import annotations

import json

import pytest

from tests.support import redis
from tests.support.proxy import running_proxy
from tests.support.redis import redis_cli, running_redis
from tests.support.tls import Authority

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(redis.missing()), reason=f"needs {redis.missing()}"),
]


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    with running_redis(tmp_path_factory.mktemp("redis"), authority, "pass.test", "127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, authority, server):
    folder = tmp_path_factory.mktemp("proxy")
    own = authority.issue("ended.test", "ended.test", "again.test")
    plain, secure = ({"address": f"127.0.0.1:{port}"} for port in (server.plain, server.secure))
    config = {
        "tcp": {
            "routers": {
                "plain": {"entryPoints": ["plain"], "rule": "HostSNI(`*`)", "service": "plain"},
                "ended": {
                    "entryPoints": ["tls"],
                    "rule": "HostSNI(`ended.test`)",
                    "service": "plain",
                    "tls": {},
                },
                "passed": {
                    "entryPoints": ["tls"],
                    "rule": "HostSNI(`pass.test`)",
                    "service": "secure",
                    "tls": {"passthrough": True},
                },
                "again": {
                    "entryPoints": ["tls"],
                    "rule": "HostSNI(`again.test`)",
                    "service": "over-tls",
                    "tls": {},
                },
                "encrypting": {"entryPoints": ["encrypt"], "rule": "HostSNI(`*`)", "service": "over-tls"},
            },
            "services": {
                "plain": {"loadBalancer": {"servers": [plain]}},
                "secure": {"loadBalancer": {"servers": [secure]}},
                "over-tls": {
                    "loadBalancer": {"servers": [{**secure, "tls": True}], "serversTransport": "checked"}
                },
            },
            "serversTransports": {
                "checked": {"tls": {"serverName": "pass.test", "rootCAs": [authority.pem]}}
            },
        },
        "tls": {"certificates": [{"certFile": own.certificate, "keyFile": own.key}]},
    }
    entrypoints = ("plain", "tls", "encrypt")
    with running_proxy(folder, dynamic=json.dumps(config), entrypoints=entrypoints) as running:
        yield running


@pytest.mark.parametrize(
    ("entrypoint", "server_name"),
    [("plain", ""), ("encrypt", ""), ("tls", "ended.test"), ("tls", "pass.test"), ("tls", "again.test")],
)
def test_a_client_works_through_the_router(proxy, server, entrypoint, server_name):
    def run(*command):
        return redis_cli(
            proxy.address(entrypoint),
            *command,
            server_name=server_name,
            authority_file=server.authority_file,
        )

    key = f"{entrypoint}-{server_name}"
    value = "0123456789abcdef" * 8192
    assert run("PING") == "PONG"
    assert run("SET", key, value[:65_536]) == "OK"  # the longest word that a command line may have is 128 KiB
    assert run("APPEND", key, value[65_536:]) == str(len(value))
    assert run("GET", key) == value
    assert redis_cli(("127.0.0.1", server.plain), "GET", key) == value


def test_a_name_that_nobody_wants_ends_in_https(proxy, server):
    """Not at Redis: the handshake shows a certificate that the client does not know."""
    with pytest.raises(AssertionError, match="redis-cli"):
        redis_cli(
            proxy.address("tls"), "PING", server_name="other.test", authority_file=server.authority_file
        )

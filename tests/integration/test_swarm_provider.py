"""The swarm provider against a real swarm of one node: services in the host's network, and an overlay."""

import shlex
from contextlib import ExitStack

import pytest
import trio

from tests.support.docker_engine import IMAGE, docker_engine, missing_part
from tests.support.following import following
from tests.support.pages import example, proxied, until_served
from tests.support.ports import reserve_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(missing_part()), reason=missing_part()),
]

PROGRAM = ("tiny:1", "/bin/busybox", "sleep", "3600")


@pytest.fixture(scope="module")
def swarm():
    with reserve_port() as port, docker_engine(live_restore=False) as engine:
        listen = f"--listen-addr=127.0.0.1:{port.number}"
        engine("swarm", "init", "--advertise-addr=127.0.0.1", listen)
        try:
            yield engine
        finally:
            engine("swarm", "leave", "--force")


@pytest.fixture(autouse=True)
def no_services(swarm):
    yield
    services = swarm("service", "ls", "--quiet").split()
    if services:
        swarm("service", "rm", *services)


def create(swarm, name, *options, network="host"):
    options = (
        "--detach",
        "--stop-grace-period=1s",
        "--no-resolve-image",
        f"--network={network}",
        f"--name={name}",
        *options,
    )
    swarm("service", "create", *options, *PROGRAM)


def do(swarm, *arguments):
    return trio.to_thread.run_sync(swarm, *arguments)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (
            '[providers.swarm]\nendpoint = "{}"\ndefaultRule = "Host(`{{{{ .Name }}}}.test`)"\n',
            "--label=traefik.http.services.s-{0}.loadbalancer.server.port={1}",
        ),
        ('[docker]\nendpoint = "{}"\nswarmMode = true\ndomain = "test"\n', "--label=traefik.port={1}"),
    ],
    ids=["v2", "v1"],
)
def test_services_come_change_and_go(swarm, tmp_path, settings, label):
    async def main():
        create(swarm, "one", label.format("one", 8001))
        async with following(settings.format(swarm.endpoint), tmp_path) as provider:
            await provider.until_routes({"one.test": ["http://127.0.0.1:8001"]})
            await trio.to_thread.run_sync(create, swarm, "two", label.format("two", 8002))
            both = {"one.test": ["http://127.0.0.1:8001"], "two.test": ["http://127.0.0.1:8002"]}
            await provider.until_routes(both)
            await do(swarm, "service", "scale", "--detach", "one=0")
            await provider.until_routes({"two.test": ["http://127.0.0.1:8002"]})
            await do(swarm, "service", "scale", "--detach", "one=1")
            await provider.until_routes(both)
            await do(swarm, "service", "rm", "one", "two")
            await provider.until_routes({})

    trio.run(main)


def test_an_overlay_that_the_proxy_is_not_in_is_said(swarm, tmp_path):
    async def main():
        await do(swarm, "network", "create", "--driver=overlay", "over")
        create(swarm, "far", "--label=traefik.http.services.s.loadbalancer.server.port=80", network="over")
        settings = f'[providers.swarm]\nendpoint = "{swarm.endpoint}"\nrefreshSeconds = 1\n'
        async with following(settings, tmp_path) as provider:
            await provider.until_problem("of network over: this host is not in its network")
            assert await provider.routes() == {}

    trio.run(main)


def test_the_example_of_the_page(swarm, tmp_path):
    static, commands = example("swarm")
    with ExitStack() as stack:
        port = stack.enter_context(reserve_port())
        proxy = proxied(stack, tmp_path, static.replace("unix:///var/run/docker.sock", swarm.endpoint))
        words = shlex.split(commands.replace("9001", str(port.number)))[1:]
        assert words[:2] == ["service", "create"]
        words[2:2] = ["--detach", "--no-resolve-image", "--stop-grace-period=1s"]
        words[-1:] = [IMAGE, "/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{port.number}", "-h", "/www"]
        swarm(*words)
        until_served(proxy, "/api/index.html", (lambda reply: reply.body.content, {b"hello\n"}))
        assert proxy.status()["problems"] == []

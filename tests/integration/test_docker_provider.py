"""The Docker provider against a real engine: labels of both eras, events, restarts, TLS, the whole proxy."""

import shlex
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from providers.docker import make_providers
from shared.config.dynamic_reading import read_dynamic
from shared.config.sources import load_static
from tests.support.certificates import make_authority, make_pair
from tests.support.clients import get
from tests.support.docker_engine import IMAGE, docker_engine, missing_part
from tests.support.pages import example, proxied, until_served
from tests.support.ports import reserve_port
from tests.support.snapshots import condition_met, heard

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(missing_part()), reason=missing_part()),
]


@pytest.fixture(scope="module")
def certificates():
    folder = Path(tempfile.mkdtemp(prefix="pdc-"))
    authority = make_authority(folder)
    yield authority, make_pair(folder, authority), make_pair(folder, authority, "client")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engine(certificates):
    authority, server, _ = certificates
    with (
        reserve_port() as port,
        docker_engine(
            f"--host=tcp://127.0.0.1:{port.number}",
            "--tlsverify",
            f"--tlscacert={authority.certificate}",
            f"--tlscert={server.certificate}",
            f"--tlskey={server.key}",
        ) as engine,
    ):
        engine.tls_endpoint = f"tcp://127.0.0.1:{port.number}"
        yield engine


@pytest.fixture(autouse=True)
def no_containers(engine):
    yield
    engine.remove_all()


def provider(tmp_path, *flags):
    config = load_static(flags, {}, tmp_path, system_directory=tmp_path / "etc").config
    (made,) = make_providers(config, None)
    return made


def v2(engine, tmp_path, *more):
    return provider(tmp_path, f"--providers.docker.endpoint={engine.endpoint}", *more)


def rules(snapshot):
    """Rules of all routers, and the servers of all services, by name."""
    config = read_dynamic(snapshot.documents[0]).config.http
    servers = {
        name: [server.url for server in service.load_balancer.servers]
        for name, service in config.services.items()
    }
    return {name: router.rule for name, router in config.routers.items()}, servers


def on_host(port, **more):
    """Labels of a container in the host's network."""
    return {"traefik.http.services.web.loadbalancer.server.port": str(port), **more}


def test_containers_come_change_and_go(engine, tmp_path):
    async def main():
        engine.run("one", on_host(8001), "--network=host")
        async with heard(v2(engine, tmp_path)) as listener:
            first = rules(await listener.next())
            assert first == ({"one": "Host(`one`)"}, {"web": ["http://127.0.0.1:8001"]})
            two = {**on_host(8002), "traefik.http.routers.r.rule": "Host(`two.test`)"}
            await trio.to_thread.run_sync(lambda: engine.run("two", two, "--network=host"))
            both = await listener.until(lambda said: len(rules(said)[0]) == 2)
            assert rules(both) == (
                {"one": "Host(`one`)", "r": "Host(`two.test`)"},
                {"web": ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]},
            )
            await trio.to_thread.run_sync(engine, "rename", "one", "uno")
            await listener.until(lambda said: "uno" in rules(said)[0])
            await trio.to_thread.run_sync(engine, "stop", "--time=0", "uno")
            left = await listener.until(lambda said: len(rules(said)[0]) == 1)
            assert rules(left) == ({"r": "Host(`two.test`)"}, {"web": ["http://127.0.0.1:8002"]})
            await trio.to_thread.run_sync(engine.remove, "two")
            assert rules(await listener.until(lambda said: not rules(said)[0])) == ({}, {})

    trio.run(main)


def test_networks_and_published_ports(engine, tmp_path):
    engine("network", "create", "n1", "--subnet=172.30.99.0/24")
    engine("network", "create", "n2", "--subnet=172.30.98.0/24")
    with reserve_port() as port:
        publish = f"--publish=127.0.0.1:{port.number}:80"
        engine.run("aa", {"traefik.docker.network": "n2"}, "--network=n1", "--ip=172.30.99.9", publish)
        engine("network", "connect", "--ip=172.30.98.9", "n2", "aa")
        engine.run("bb", on_host(90), "--network=container:aa")
        engine.run("cc", {"traefik.docker.network": "n3"}, "--network=n1", "--ip=172.30.99.7", "--expose=70")
        engine.run("dd", on_host(70), "--network=none")

        async def main():
            async with heard(v2(engine, tmp_path)) as listener:
                said = await listener.next()
                assert rules(said)[1] == {
                    "aa": ["http://172.30.98.9:80"],
                    "web": ["http://172.30.99.9:90"],
                    "cc": ["http://172.30.99.7:70"],
                }
                problems = [str(each) for each in said.problems]
                assert any(
                    "container cc: label traefik.docker.network: it is not in" in each for each in problems
                )
                assert any("container dd" in each and "unable to find the IP" in each for each in problems)
            bound = v2(engine, tmp_path, "--providers.docker.useBindPortIP=true")
            async with heard(bound) as listener:
                assert rules(await listener.next())[1]["aa"] == [f"http://127.0.0.1:{port.number}"]

        trio.run(main)


def test_only_healthy_containers_are_served(engine, tmp_path):
    check = ("--health-cmd=test -f /tmp/fine", "--health-interval=1s", "--health-retries=1")

    async def main():
        engine.run("sick", on_host(8001), "--network=host", *check)
        async with heard(v2(engine, tmp_path)) as listener:
            assert rules(await listener.next()) == ({}, {})
            await trio.to_thread.run_sync(engine, "exec", "sick", "/bin/busybox", "touch", "/tmp/fine")
            await listener.until(lambda said: rules(said)[1] == {"web": ["http://127.0.0.1:8001"]})
            await trio.to_thread.run_sync(engine, "exec", "sick", "/bin/busybox", "rm", "/tmp/fine")
            await listener.until(lambda said: rules(said) == ({}, {}))
        kept = v2(engine, tmp_path, "--providers.docker.allowEmptyServices=true")
        async with heard(kept) as listener:
            assert rules(await listener.next()) == ({"sick": "Host(`sick`)"}, {"web": []})

    trio.run(main)


def test_an_engine_that_goes_and_comes_back(engine, tmp_path):
    async def main():
        async with heard(v2(engine, tmp_path)) as listener:
            engine.run("one", on_host(8001), "--network=host", "--restart=always")
            await listener.until(lambda said: rules(said)[1])
            await trio.to_thread.run_sync(engine.stop)
            await condition_met(lambda: listener.feed.failure)
            assert rules(listener.feed.latest)[1] == {"web": ["http://127.0.0.1:8001"]}, "what was said stays"
            await condition_met(lambda: "cannot be reached" in listener.feed.failure)
            await trio.to_thread.run_sync(engine.start)
            await condition_met(lambda: not listener.feed.failure)
            await trio.to_thread.run_sync(lambda: engine.run("two", on_host(8002), "--network=host"))
            both = {"web": ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]}
            await listener.until(lambda said: rules(said)[1] == both)

    trio.run(main)


def test_tls_with_client_certificate(engine, tmp_path, certificates):
    authority, _, client = certificates
    endpoint = f"--providers.docker.endpoint={engine.tls_endpoint}"
    tls = [
        f"--providers.docker.tls.{key}={path}"
        for key, path in (("ca", authority.certificate), ("cert", client.certificate), ("key", client.key))
    ]
    engine.run("one", on_host(8001), "--network=host")

    async def main():
        async with heard(provider(tmp_path, endpoint, *tls)) as listener:
            assert rules(await listener.next())[1] == {"web": ["http://127.0.0.1:8001"]}
        async with heard(provider(tmp_path, endpoint, tls[0])) as listener:
            await condition_met(lambda: listener.feed.failure)
            assert listener.feed.latest is None, "without a certificate nothing is said"

    trio.run(main)


def test_without_watching_only_a_reread_looks_again(engine, tmp_path):
    async def main():
        async with heard(v2(engine, tmp_path, "--providers.docker.watch=false")) as listener:
            assert rules(await listener.next()) == ({}, {})
            engine.run("one", on_host(8001), "--network=host")
            listener.feed.provider.reread()
            assert rules(await listener.next())[1] == {"web": ["http://127.0.0.1:8001"]}

    trio.run(main)


@pytest.mark.parametrize("number", [0, 1], ids=["v2", "v1"])
def test_the_example_of_the_page(engine, tmp_path, number):
    static, commands = example("docker", number)
    with ExitStack() as stack:
        for port in ("9001", "9002"):
            commands = commands.replace(f":{port}:", f":{stack.enter_context(reserve_port()).number}:")
        proxy = proxied(stack, tmp_path, static.replace("unix:///var/run/docker.sock", engine.endpoint))
        for line in commands.splitlines():
            words = shlex.split(line)[1:]
            if words[-1] == "nginx":
                words[-1:] = [IMAGE, "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]
            engine(*words)
        engine("exec", "shop-2", "/bin/sh", "-c", "echo two >/www/index.html")
        until_served(proxy, "/api/index.html", (lambda reply: reply.body.content, {b"hello\n", b"two\n"}))
        assert proxy.status()["problems"] == []
        engine.remove("shop-1", "shop-2")
        proxy.reload()
        assert get(proxy.address(), "/api/index.html", host="shop.example").status == 404

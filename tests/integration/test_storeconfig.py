"""``penstock storeconfig`` into real stores, and a proxy that starts from what they hold."""

import contextlib
import shutil
import subprocess

import pytest

from tests.support.clients import get
from tests.support.kits.consul import ConsulKit
from tests.support.kits.etcd import EtcdV2Kit, EtcdV3Kit
from tests.support.kits.zookeeper import ZooKeeperKit
from tests.support.origins import echo, running_origin
from tests.support.ports import reserve_port
from tests.support.proxy import PENSTOCK, running_proxy

KITS = {"consul": ConsulKit, "etcd": EtcdV2Kit, "etcd-v3": EtcdV3Kit, "zookeeper": ZooKeeperKit}
RULES = """
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "Host:a.test"
[backends.b.servers.s]
url = "{url}"
"""


def run(*arguments):
    return subprocess.run(
        [str(PENSTOCK), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def section(name, address):
    extra = "useAPIV3 = true\n" if name == "etcd-v3" else ""
    return f"[{name.partition('-')[0]}]\nendpoint = '{address[0]}:{address[1]}'\nprefix = 'traefik'\n{extra}"


@contextlib.contextmanager
def started(name, folder):
    kind = KITS[name]
    if kind.missing():
        pytest.skip(kind.missing())
    kit = kind(folder)
    try:
        kit.start()
        yield kit
    finally:
        kit.close()


@pytest.mark.parametrize("name", sorted(KITS))
def test_stored_then_read_at_the_start(tmp_path, name):
    """The proxy is told the store only; entrypoints and rules come out of it, also when it is away later."""
    (tmp_path / "store").mkdir()
    with (
        reserve_port() as port,
        running_origin(echo("one")) as origin,
        started(name, tmp_path / "store") as kit,
    ):
        rules = tmp_path / "rules.toml"
        rules.write_text(RULES.replace("{url}", origin.url))
        stored = (
            f"defaultEntryPoints = ['http']\n[entryPoints.http]\naddress = '127.0.0.1:{port.number}'\n"
            f"[file]\nfilename = '{rules}'\n"
        )
        whole = tmp_path / "whole.toml"
        whole.write_text(stored + section(name, kit.address))
        static = section(name, kit.address)
        assert run("storeconfig", f"--configFile={whole}").stdout.startswith("stored ")
        with running_proxy(tmp_path, static=static, static_name="traefik.toml", entrypoints=()) as proxy:
            assert get(("127.0.0.1", port.number), "/", host="a.test").json()["name"] == "one"
            if name == "consul":
                state = tmp_path / "state"
                state.mkdir()
                shutil.copy(proxy.runtime_dir / "settings.last", state)
        if name == "consul":
            kit.stop()
            flags = [f"--stateDir={state}"]
            with running_proxy(
                tmp_path, static=static, static_name="traefik.toml", entrypoints=(), flags=flags
            ) as proxy:
                assert get(("127.0.0.1", port.number), "/", host="a.test").json()["name"] == "one"
                assert "those read last count" in proxy.log


def test_without_a_store_it_says_what_is_missing(tmp_path):
    file = tmp_path / "traefik.toml"
    file.write_text("[entryPoints.http]\naddress = ':80'\n[boltdb]\nendpoint = '/none.db'\n")
    for flag, reason in (
        (f"--configFile={file}", "boltdb is only read; other programs write its file"),
        ("--entryPoints.web.address=:80", "storeconfig needs v1's settings with a key-value store"),
    ):
        done = run("storeconfig", flag)
        assert done.returncode != 0
        assert reason in done.stderr

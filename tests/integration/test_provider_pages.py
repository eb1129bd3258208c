"""The worked examples of docs/providers/, as they stand there: only addresses and ports are ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import get
from tests.support.kits import kit_class
from tests.support.kits.boltdb import build_go, missing_go
from tests.support.origins import echo, running_origin
from tests.support.ports import reserve_port
from tests.support.proxy import PENSTOCK, running_proxy

PAGES = Path(__file__).resolve().parents[2] / "docs" / "providers"
BLOCK = re.compile(r"```(yaml|toml|sh)\n(.*?)```", re.DOTALL)
DEFAULT_ENDPOINTS = ("127.0.0.1:2379", "127.0.0.1:6379", "127.0.0.1:8500", "127.0.0.1:2181")
REQUESTS = 8
LIMIT_S = 60.0
PAUSE_S = 0.05


def examples(page):
    """Each static configuration with the commands that follow it."""
    blocks = BLOCK.findall((PAGES / f"{page}.md").read_text())
    assert [language for language, _ in blocks[1::2]] == ["sh"] * (len(blocks) // 2)
    return [(static, commands) for (_, static), (_, commands) in zip(blocks[::2], blocks[1::2], strict=True)]


def pairs_of(commands):
    """Keys and values of commands that end with both."""
    words = [shlex.split(line) for line in commands.splitlines()]
    return {line[-2]: line[-1] for line in words if "config" not in line}


@pytest.mark.parametrize(
    ("page", "kit", "number"),
    [
        ("consul", "consul", 0),
        ("consul", "consul-v1", 1),
        ("etcd", "etcd-v3", 0),
        ("etcd", "etcd-v2", 1),
        ("redis", "redis", 0),
        ("zookeeper", "zookeeper", 0),
        ("zookeeper", "zookeeper", 1),
    ],
)
def test_example(page, kit, number, tmp_path, tmp_path_factory):
    kind = kit_class(kit)
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    static, commands = examples(page)[number]
    with ExitStack() as stack:
        store = kind(tmp_path_factory.mktemp(kit))
        stack.callback(store.close)
        store.start()
        for each in DEFAULT_ENDPOINTS:
            static = static.replace(each, "{}:{}".format(*store.address))
        for port in ("9001", "9002"):
            origin = stack.enter_context(running_origin(echo(port)))
            assert f"http://127.0.0.1:{port}" in commands
            commands = commands.replace(f"http://127.0.0.1:{port}", origin.url)
        text = static.replace('":8000"', '"127.0.0.1:{web}"')
        assert "{web}" in text
        throttle = f"--{'' if number else 'providers.'}providersThrottleDuration=50ms"
        name = text.splitlines()[0].removeprefix("# ")
        proxy = stack.enter_context(running_proxy(tmp_path, static=text, static_name=name, flags=[throttle]))
        store.put(pairs_of(commands))
        wait_until_served(proxy)
        answers = [get(proxy.address(), "/api/cart", host="shop.example").json() for _ in range(REQUESTS)]
        assert {each["target"] for each in answers} == {"/cart"}
        assert {each["name"] for each in answers} == {"9001", "9002"}
        assert proxy.status()["problems"] == []


def wait_until_served(proxy):
    """Wait until both servers answer: keys come one by one, and are published in between."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        replies = [get(proxy.address(), "/api/cart", host="shop.example") for _ in range(2)]
        names = {each.json()["name"] for each in replies if each.status == 200}
        if names == {"9001", "9002"}:
            return
        time.sleep(PAUSE_S)
    pytest.fail(f"the example is not served: {proxy.status()}")


# ------------------------------------------------------------------- pages of providers without a store


def blocks_of(page, language):
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)


@pytest.fixture
def moved():
    """Puts our own servers and ports into an example."""
    with ExitStack() as stack:
        urls = {
            f"http://127.0.0.1:{port}": stack.enter_context(running_origin(echo(port))).url
            for port in ("9001", "9002")
        }

        def move(text):
            for written, ours in urls.items():
                text = text.replace(written, ours)
            return text.replace('":8000"', '"127.0.0.1:{web}"').replace(
                '"127.0.0.1:8080"', '"127.0.0.1:{traefik}"'
            )

        yield move


def check_shop(proxy):
    answers = [get(proxy.address(), "/api/cart", host="shop.example").json() for _ in range(REQUESTS)]
    assert {each["target"] for each in answers} == {"/cart"}
    assert {each["name"] for each in answers} == {"9001", "9002"}


def test_file_page(tmp_path, moved):
    static, rules = blocks_of("file", "yaml")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "shop.yml").write_text(moved(rules))
    with running_proxy(tmp_path, static=moved(static), static_name="penstock.yml") as proxy:
        check_shop(proxy)


def test_http_page(tmp_path, moved):
    static, rules = blocks_of("http", "yaml")
    (commands,) = blocks_of("http", "sh")
    serve, start = commands.splitlines()
    assert start == "penstock start --configFile=penstock.yml"
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "rules.yml").write_text(moved(rules))
    with reserve_port() as port:
        command = [sys.executable, *shlex.split(serve.replace("9000", str(port.number)))[1:]]
        with subprocess.Popen(
            command, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as server:
            try:
                text = moved(static).replace("127.0.0.1:9000", f"127.0.0.1:{port.number}")
                with running_proxy(tmp_path, static=text, static_name="penstock.yml") as proxy:
                    wait_until_served(proxy)
                    check_shop(proxy)
            finally:
                server.kill()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl (apt install curl)")
def test_rest_page(tmp_path, moved):
    static, own_router = blocks_of("rest", "yaml")
    (rules,) = blocks_of("rest", "json")
    (command,) = blocks_of("rest", "sh")
    assert "rest@internal" in own_router
    (tmp_path / "rules.json").write_text(moved(rules))
    entrypoints = ("web", "traefik")
    with running_proxy(
        tmp_path, static=moved(static), static_name="penstock.yml", entrypoints=entrypoints
    ) as proxy:
        host, port = proxy.address("traefik")
        words = shlex.split(command.replace("127.0.0.1:8080", f"{host}:{port}"))
        done = subprocess.run(
            [*words, "--fail", "--silent"], cwd=tmp_path, capture_output=True, timeout=60, check=True
        )
        assert done.stdout
        check_shop(proxy)


@pytest.mark.skipif(bool(missing_go()), reason=missing_go() or "there")
def test_boltdb_page(tmp_path, moved):
    (static,), (program,), (commands,) = (blocks_of("boltdb", each) for each in ("toml", "go", "sh"))
    (tmp_path / "put.go").write_text(program)
    (built := build_go(tmp_path / "put.go")).rename(tmp_path / "put")
    assert not built.exists()
    for line in moved(commands).splitlines():
        subprocess.run(shlex.split(line), cwd=tmp_path, timeout=60, check=True)
    with running_proxy(tmp_path, static=moved(static), static_name="traefik.toml") as proxy:
        check_shop(proxy)


def test_storeconfig_page(tmp_path):
    (static,), (commands,) = (blocks_of("storeconfig", each) for each in ("toml", "sh"))
    store_settings, start = commands.splitlines()
    kit = kit_class("consul-v1")(tmp_path / "consul")
    try:
        kit.start()
        address = "{}:{}".format(*kit.address)
        with reserve_port() as port:
            text = static.replace('":8000"', f'"127.0.0.1:{port.number}"').replace("127.0.0.1:8500", address)
            (tmp_path / "traefik.toml").write_text(text)
            words = shlex.split(store_settings)
            assert words.pop(0) == "penstock"
            subprocess.run([str(PENSTOCK), *words], cwd=tmp_path, timeout=60, check=True, capture_output=True)
            flag = start.removeprefix("penstock start ").replace("127.0.0.1:8500", address)
            (tmp_path / "other").mkdir()
            with running_proxy(tmp_path / "other", static="", flags=[flag], entrypoints=()) as proxy:
                assert get(("127.0.0.1", port.number), "/", host="x").status == 404
                assert " INFO " in proxy.log
    finally:
        kit.close()

"""The worked examples of docs/providers/, as they stand there: only addresses and ports are ours."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import get
from tests.support.kits import kit_class
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

PAGES = Path(__file__).resolve().parents[2] / "docs" / "providers"
BLOCK = re.compile(r"```(yaml|toml|sh)\n(.*?)```", re.DOTALL)
DEFAULT_ENDPOINTS = ("127.0.0.1:2379", "127.0.0.1:6379", "127.0.0.1:8500")
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

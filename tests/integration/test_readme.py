"""The README's examples, as they stand there, serve requests; only addresses and ports are ours."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
REQUESTS = 8


def block(language, first_line):
    """The code block that begins so."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (wanted,) = (each for each in found if each.startswith(first_line))
    return wanted


@pytest.fixture
def servers():
    """What the examples forward to, by port."""
    with ExitStack() as stack:
        yield {port: stack.enter_context(running_origin(echo(port))) for port in ("9001", "9002")}


def moved(text, servers):
    for port, origin in servers.items():
        assert f"http://127.0.0.1:{port}" in text or "entryPoints" in text
        text = text.replace(f"http://127.0.0.1:{port}", origin.url)
    return text.replace('":8000"', '"127.0.0.1:{web}"')


def check_shop(proxy):
    """A host and a prefix that is taken off, over two servers in turns."""
    answers = [get(proxy.address(), "/api/cart?x=1", host="shop.example").json() for _ in range(REQUESTS)]
    assert {each["target"] for each in answers} == {"/cart?x=1"}
    assert {each["name"] for each in answers} == {"9001", "9002"}
    assert get(proxy.address(), "/api", host="other.example").status == 404
    assert get(proxy.address(), "/cart", host="shop.example").status == 404


def test_the_v2_example(tmp_path, servers):
    static = block("yaml", "# penstock.yml")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "shop.yml").write_text(moved(block("yaml", "# rules/shop.yml"), servers))
    with running_proxy(tmp_path, static=moved(static, servers), static_name="penstock.yml") as proxy:
        check_shop(proxy)


def test_the_v1_example(tmp_path, servers):
    static = moved(block("toml", "# penstock.toml"), servers)
    with running_proxy(tmp_path, static=static, static_name="penstock.toml") as proxy:
        check_shop(proxy)


def test_every_file_and_command_that_it_names_exists():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert linked
    assert [each for each in linked if not (PROJECT / each).exists()] == []
    tables = re.findall(r"^\| (`[^|]*) \|", README, re.MULTILINE)
    named = [name for cell in tables for name in re.findall(r"`([\w./]+)`", cell)]
    assert len(named) > 10
    assert [
        each for each in named if not any((PROJECT / folder / each).exists() for folder in ("", "worker"))
    ] == []
    for script in re.findall(r"^    (scripts/\w+)", README, re.MULTILINE):
        assert (PROJECT / script).exists()

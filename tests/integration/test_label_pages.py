"""Worked examples of docs/providers/ with stand-ins, as they stand there: only ports are ours."""

import json
import re
import shlex
from contextlib import ExitStack

import pytest

from providers.labels_template_functions import FUNCTIONS
from tests.support.consul.server import ConsulStandIn
from tests.support.marathon import MarathonStandIn, make_app
from tests.support.mesos import MesosStandIn
from tests.support.origins import echo, running_origin
from tests.support.pages import PAGES, example, proxied, until_served
from tests.support.ports import reserve_port

pytestmark = pytest.mark.integration


def told_by_name(*names):
    return lambda reply: (reply.json()["name"], reply.json()["target"]), {(name, "/cart") for name in names}


def with_origins(stack, text, *ports):
    """The example with its servers, which say the port that the page gave them."""
    for port in ports:
        origin = stack.enter_context(running_origin(echo(port)))
        assert port in text
        text = text.replace(port, origin.url.rpartition(":")[2])
    return text


def bodies_of(commands):
    """What the page's commands send."""
    words = [shlex.split(line) for line in commands.splitlines()]
    return [json.loads(line[line.index("--data") + 1]) for line in words]


@pytest.mark.parametrize("number", [0, 1], ids=["v2", "v1"])
def test_consul_catalog(tmp_path, number):
    static, commands = example("consul-catalog", number)
    with ExitStack() as stack:
        commands = with_origins(stack, commands, "9001", "9002")
        server = ConsulStandIn(stack.enter_context(reserve_port()).number)
        stack.callback(server.stop, gracefully=False)
        server.start()
        proxy = proxied(stack, tmp_path, static.replace("127.0.0.1:8500", f"127.0.0.1:{server.port}"))
        for body in bodies_of(commands):
            server.catalog.register(body)
        until_served(proxy, "/api/cart", told_by_name("9001", "9002"))
        assert proxy.status()["problems"] == []


def test_marathon(tmp_path):
    static, commands = example("marathon")
    with ExitStack() as stack:
        commands = with_origins(stack, commands, "9001")
        server = MarathonStandIn(stack.enter_context(reserve_port()).number)
        stack.callback(server.stop)
        server.start()
        proxy = proxied(stack, tmp_path, static.replace("http://127.0.0.1:8080", server.url))
        (app,) = bodies_of(commands)
        server.put(make_app(app["id"], app["labels"], *(each["port"] for each in app["portDefinitions"])))
        until_served(proxy, "/api/cart", told_by_name("9001"))
        assert proxy.status()["problems"] == []


def test_mesos(tmp_path):
    static, task = example("mesos")
    with ExitStack() as stack:
        server = MesosStandIn(stack.enter_context(reserve_port()).number)
        stack.callback(server.stop)
        server.tasks["shop"] = json.loads(with_origins(stack, task, "9001"))
        server.start()
        proxy = proxied(stack, tmp_path, static.replace("http://127.0.0.1:5050", server.url))
        until_served(proxy, "/api/cart", told_by_name("9001"))
        assert proxy.status()["problems"] == []


def test_the_page_lists_every_function_of_default_rules():
    section = (PAGES / "docker.md").read_text().partition("## Default rules")[2].partition("## ")[0]
    listed = re.findall(r"`(\w+)`", section.partition("Functions:")[2])
    assert sorted(listed) == sorted(FUNCTIONS)

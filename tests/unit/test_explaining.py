"""What is told about a request beyond its winner: steps, services, entrypoints, odd texts."""

from __future__ import annotations

import gc
import os

import msgspec
import pytest

from master.aggregator import Aggregator
from providers.base import Snapshot
from shared.config.documents import parse_document
from shared.config.static import EntryPoint, Ping, StaticConfig
from shared.errors import UsageError
from shared.explanation import Explanation, Question
from worker.explaining import watching
from worker.explaining.texts import shown
from worker.main import explain_request

RULES = """
http:
  routers:
    shop: {rule: "Host(`shop.test`)", service: composite, middlewares: [fields, prefix]}
    secure: {rule: "Host(`shop.test`)", service: plain, tls: {}}
    redirected: {rule: "Host(`old.test`)", service: plain, middlewares: [to-new, prefix]}
    twin: {rule: "Host(`shop.test`)", service: plain}
    nothing: {rule: "Host(`fenced.test`)", service: fenced}
  middlewares:
    fields: {headers: {customRequestHeaders: {X-New: "1", X-Old: ""}, customResponseHeaders: {X-B: "2"}}}
    prefix: {addPrefix: {prefix: /p}}
    to-new: {redirectRegex: {regex: "^http://old", replacement: "http://new"}}
  services:
    composite: {weighted: {services: [{name: plain, weight: 1}, {name: heavy, weight: 3}]}}
    plain: {loadBalancer: {servers: [{url: "http://10.0.0.1"}]}}
    heavy:
      loadBalancer:
        passHostHeader: false
        servers: [{url: "http://10.0.0.1"}, {url: "http://10.0.0.2", weight: 0}]
    fenced: {loadBalancer: {servers: [{url: "http://10.0.0.1", fenced: true}]}}
"""
STATIC = StaticConfig(
    entry_points={
        "web": EntryPoint(address=":80"),
        "alt": EntryPoint(address="127.0.0.1:8000"),
        "traefik": EntryPoint(address=":8080"),
    },
    ping=Ping(),
)


@pytest.fixture(scope="module")
def table() -> bytes:
    aggregator = Aggregator(STATIC)
    aggregator.take(Snapshot("file", (parse_document(RULES, "rules.yml", "yaml"),)))
    compiled = aggregator.compile(3)
    assert not compiled.found
    return compiled.table


def ask(table: bytes, url: str, **question) -> Explanation:
    return explain_request(table, STATIC, Question(url, **question))


def test_what_steps_do_to_the_request_and_to_the_response(table):
    found = ask(table, "http://shop.test/x", headers=(("x-old", "a"),), entrypoint="web")
    fields, prefix = found.chain
    assert fields.request_changes == ("header x-old 'a' -> none", "header X-New none -> '1'")
    assert fields.response_changes == ("header X-B none -> '2'",)
    assert prefix.request_changes == ("path '/x' -> '/p/x'",)
    assert found.upstream.request_line == "GET /p/x HTTP/1.1"


def test_explanations_leave_no_descriptor_open(table):
    ask(table, "http://shop.test/x")
    gc.collect()
    before = os.listdir("/proc/self/fd")
    for _ in range(20):
        ask(table, "http://shop.test/x")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_the_way_through_services_of_services(table):
    found = ask(table, "http://shop.test/x")
    assert [each.name for each in found.services] == ["composite@file", "heavy@file"]
    outer, inner = found.services
    assert [(each.share, each.picked) for each in outer.members] == [(0.25, False), (0.75, True)]
    assert [(each.share, each.picked) for each in inner.members] == [(1.0, True), (0.0, False)]
    assert found.upstream.headers[0] == ("Host", "10.0.0.1")


def test_a_tie_is_settled_by_name(table):
    found = ask(table, "http://shop.test/x")
    assert found.router.name == "shop@file"
    twin = next(each for each in found.others if each.name == "twin@file")
    assert twin.fate == "outranked"
    assert twin.outranked_by == "shop@file has the same priority, 17, and comes first by its name"


def test_a_step_that_answers_ends_the_chain(table):
    found = ask(table, "http://old.test/x")
    assert [each.outcome for each in found.chain] == ["answered", "not reached"]
    assert found.chain[0].answer == "302 Found, Location: http://new.test/x"
    assert (found.answer.status, found.answer.by) == (302, "to-new@file")
    assert found.upstream is None
    assert found.services == ()


def test_a_service_whose_servers_are_all_fenced(table):
    found = ask(table, "http://fenced.test/x")
    assert (found.answer.status, found.answer.body) == (503, "no available server\n")
    assert [each.note for each in found.services[0].members] == ["fenced"]


def test_our_own_services_answer(table):
    found = ask(table, "http://anything:8080/ping")
    assert found.router.name == "ping@internal"
    assert (found.answer.status, found.answer.body, found.answer.by) == (200, "OK", "ping@internal")


@pytest.mark.parametrize(
    ("url", "entrypoint", "expected"),
    [
        ("http://a.test/", "", "web"),
        ("http://a.test:8000/", "", "alt"),
        ("http://a.test:8080/", "", "traefik"),
        ("HTTP://a.test:8000/", "web", "web"),
    ],
)
def test_the_entrypoint_is_the_one_at_the_port_unless_named(table, url, entrypoint, expected):
    assert ask(table, url, entrypoint=entrypoint).received.entrypoint == expected


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (Question("shop.test"), "expected a URL"),
        (Question("http://shop.test:1/"), r"which entrypoint .* web \(:80\), alt \(127.0.0.1:8000\)"),
        (Question("http://bob:pw@shop.test/"), "password"),
        (Question("http://shop.test/", entrypoint="wbe"), 'did you mean "web"'),
        (Question("http://shop.test/", client_ip="x"), "IP address"),
        (Question("http://shop.test/", method="GET\r\nX: y"), "line end"),
    ],
)
def test_questions_without_sense(table, question, reason):
    with pytest.raises(UsageError, match=reason):
        explain_request(table, STATIC, question)


def test_tls_sees_other_routers_and_says_that_the_entrypoint_does_not_speak_it(table):
    found = ask(table, "http://shop.test/x", tls=True)
    assert found.router.name == "secure@file"
    assert any("speaks plain HTTP" in each for each in found.notes)
    assert dict(found.upstream.headers)["X-Forwarded-Proto"] == "https"
    assert ask(table, "https://shop.test/x", entrypoint="web").received.tls


def test_the_host_field_replaces_the_urls(table):
    assert ask(table, "http://x:80/", headers=(("HOST", "old.test"),)).received.host == "old.test"


def test_rules_are_judged_by_the_request_that_came_and_not_by_what_steps_made_of_it(table, monkeypatch):
    before = ask(table, "http://shop.test/x", headers=(("X-Old", "a"),))
    monkeypatch.setattr(watching, "build_step", lambda options: _Eraser())
    after = ask(table, "http://shop.test/x", headers=(("X-Old", "a"),))
    assert after.others == before.others
    assert after.received == before.received


class _Eraser(watching.SyncStep):
    def on_request(self, exchange):
        exchange.request.headers.remove(*exchange.request.headers.names())
        exchange.request.query = "erased"


class _Waiting:
    async def __call__(self, exchange, call_next):
        raise AssertionError("would wait for others")


def test_steps_that_wait_for_others_are_named_and_not_run(table, monkeypatch):
    monkeypatch.setattr(watching, "build_step", lambda options: _Waiting())
    found = ask(table, "http://shop.test/x")
    assert {each.outcome for each in found.chain} == {"not run"}
    assert found.upstream is not None
    assert len([each for each in found.notes if "was not run" in each]) == len(found.chain)


def test_an_explanation_travels_as_json(table):
    found = ask(table, "http://shop.test/\xff%FF?\x80", headers=(("X-Old", "\udcff\x07"),), show_all=True)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


def test_texts_from_strangers_are_shown_escaped():
    assert shown("a\x1b[31m\udcff\n") == "a\\x1b[31m\\xff\\n"
    assert shown(b"\xc3\xbc\xff") == "ü\\xff"

"""The compiler: what is linked, what is refused, what stays live."""

from __future__ import annotations

import msgspec
import pytest

from master.aggregator import Aggregator
from master.compiler.compiler import Compiled
from providers.base import Snapshot
from shared.config.documents import Document, parse_document
from shared.config.dynamic import Domain
from shared.config.static import EntryPoint, EntryPointHttp, EntryPointTls, Ping, StaticConfig
from shared.table.reader import Table, open_table


class Bench:
    """An aggregator with one file provider."""

    def __init__(self, **entry_points: EntryPoint) -> None:
        points = entry_points or {"web": EntryPoint(address=":80")}
        self.aggregator = Aggregator(StaticConfig(entry_points=points))
        self.generation = 0

    def compile(self, *texts: str, origin: str = "rules.yml") -> Compiled:
        documents = tuple(
            each if isinstance(each, Document) else parse_document(each, f"{number}-{origin}", "yaml")
            for number, each in enumerate(texts)
        )
        self.aggregator.take(Snapshot("file", documents))
        self.generation += 1
        return self.aggregator.compile(self.generation)


def states(compiled: Compiled) -> dict[str, str]:
    return {router.name: router.status for router in compiled.routers}


def messages(compiled: Compiled) -> str:
    return "\n".join(str(each) for each in compiled.found)


def table(compiled: Compiled) -> Table:
    return open_table(memoryview(compiled.table))


GOOD = """
http:
  routers:
    web: {rule: "Host(`a.test`)", service: api, middlewares: [add]}
    other: {rule: "Host(`b.test`)", service: api}
  middlewares:
    add: {addPrefix: {prefix: /p}}
  services:
    api: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}
"""


def test_a_good_configuration_enables_everything() -> None:
    compiled = Bench().compile(GOOD)
    assert states(compiled) == {"web@file": "enabled", "other@file": "enabled"}
    assert compiled.found == ()


def test_equal_input_gives_an_equal_digest_whatever_the_generation() -> None:
    bench = Bench()
    first, second = bench.compile(GOOD), bench.compile(GOOD)
    assert first.digest == second.digest
    assert Bench().compile(GOOD).table == first.table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Host(`a.test`)", "Host(`a.test`"), "rule"),
        (
            ("service: api, middlewares", "service: apis, middlewares"),
            'the service "apis@file" does not exist',
        ),
        (
            ("middlewares: [add]", "middlewares: [ad]"),
            'middleware "ad@file" does not exist; the router is disabled',
        ),
        (("prefix: /p", 'prefix: ""'), "prefix cannot be empty"),
        (
            ("service: api, middlewares", "entryPoints: [wep], service: api, middlewares"),
            "no valid entryPoint",
        ),
        (
            ("service: api, middlewares", "priority: 9223372036854775000, service: api, middlewares"),
            "exceeds the max",
        ),
        (("service: api, middlewares", "servce: api, middlewares"), 'did you mean "service"'),
    ],
)
def test_an_error_disables_just_its_router(change: tuple[str, str], message: str) -> None:
    compiled = Bench().compile(GOOD.replace(*change, 1))
    assert states(compiled).get("web@file") == "disabled"
    assert states(compiled)["other@file"] == "enabled"
    assert message in messages(compiled)
    assert "0-rules.yml:" in messages(compiled)


@pytest.mark.parametrize(
    "change",
    [
        ("Host(`a.test`)", "Host(`a.test`"),
        ("service: api, middlewares", "service: apis, middlewares"),
        ("prefix: /p", 'prefix: ""'),
        ("service: api, middlewares", "servce: api, middlewares"),
        ("api: {loadBalancer", "gone: {loadBalancer"),
    ],
)
def test_the_last_good_version_of_a_broken_router_stays_live(change: tuple[str, str]) -> None:
    bench = Bench()
    bench.compile(GOOD)
    broken = bench.compile(GOOD.replace(*change, 1))
    assert states(broken)["web@file"] == "kept"
    held = table(broken)
    web = next(
        held.router(index) for index in range(len(broken.routers)) if held.router(index).name == "web@file"
    )
    assert web.rule == "Host(`a.test`)"
    assert held.service(web.service).name == "api@file"
    assert [held.middleware(index).name for index in web.middlewares] == ["add@file"]
    mended = bench.compile(GOOD)
    assert states(mended)["web@file"] == "enabled"


def test_a_removed_router_is_gone() -> None:
    bench = Bench()
    bench.compile(GOOD)
    left = bench.compile(GOOD.replace('    other: {rule: "Host(`b.test`)", service: api}\n', ""))
    assert states(left) == {"web@file": "enabled"}


def test_the_first_file_wins_and_the_later_one_is_named() -> None:
    compiled = Bench().compile(GOOD, GOOD.replace("a.test", "z.test"))
    assert [router.rule for router in compiled.routers if router.name == "web@file"] == ["Host(`a.test`)"]
    assert "1-rules.yml:4" in messages(compiled)
    assert "already defined in 0-rules.yml" in messages(compiled)


def test_chains_expand_and_circles_are_refused() -> None:
    text = GOOD.replace("add: {", "all: {chain: {middlewares: [add, add]}}\n    add: {").replace(
        "[add],", "[all],"
    )
    compiled = Bench().compile(text.replace("middlewares: [add]}", "middlewares: [all]}"))
    assert [router.middlewares for router in compiled.routers if router.name == "web@file"] == [
        ("add@file", "add@file")
    ]
    circle = text.replace("[add, add]", "[all]").replace("middlewares: [add]}", "middlewares: [all]}")
    assert "in a circle: all@file -> all@file" in messages(Bench().compile(circle))


def test_services_that_refer_to_each_other_are_refused() -> None:
    circle = GOOD.replace(
        'api: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}',
        "api: {weighted: {services: [{name: api}]}}",
    )
    assert "in a circle: api@file -> api@file" in messages(Bench().compile(circle))


def test_a_broken_server_disables_just_itself() -> None:
    text = GOOD.replace('[{url: "http://127.0.0.1:1"}]', '[{url: "http://127.0.0.1:1"}, {url: "ftp://x"}]')
    compiled = Bench().compile(text)
    assert "servers[1].url: bad server URL 'ftp://x'" in messages(compiled)
    options = table(compiled).service(0).options
    assert options.load_balancer is not None
    assert [server.url for server in options.load_balancer.servers] == ["http://127.0.0.1:1"]


def test_what_was_wrong_before_is_said_again_while_it_is() -> None:
    bench = Bench()
    bad = parse_document(GOOD.replace("[{url:", '[{url: "ftp://x"}, {url:'), "0-rules.yml", "yaml")
    first = bench.compile(bad)
    second = bench.compile(bad, "http: {routers: {new: {rule: 'Host(`c.test`)', service: api}}}")
    assert "this server is left out" in messages(first)
    assert messages(second) == messages(first)
    assert "new@file" in states(second)


def test_priority_then_provider_then_name_decide() -> None:
    bench = Bench()
    bench.aggregator.take(Snapshot("rest", (parse_document(GOOD, "rest.yml", "yaml"),)))
    compiled = bench.compile(GOOD.replace("Host(`b.test`)", "Host(`a.test`)"))
    names = [table(compiled).router(index).name for index in range(4)]
    assert names == ["other@file", "web@file", "other@rest", "web@rest"]


def test_entry_point_steps_split_a_router_that_is_on_several() -> None:
    with_steps = EntryPoint(address=":81", http=EntryPointHttp(middlewares=("add@file",)))
    compiled = Bench(web=EntryPoint(address=":80"), other=with_steps).compile(GOOD)
    names = {table(compiled).router(index).name for index in range(4)}
    assert names == {"web@file", "other-web@file", "other@file", "other-other@file"}


def test_a_tls_entry_point_gives_its_routers_tls() -> None:
    secure = EntryPoint(address=":443", http=EntryPointHttp(tls=EntryPointTls(domains=(Domain(main="a"),))))
    compiled = Bench(secure=secure).compile(GOOD)
    content = msgspec.structs.asdict(compiled)
    assert content["summary" if "summary" in content else "digest"]
    assert {(each.entrypoint, each.tls) for each in table(compiled).lists()} == {("secure", True)}


def test_ping_is_reachable_before_everything_else() -> None:
    static = StaticConfig(entry_points={"traefik": EntryPoint(address=":8080")}, ping=Ping())
    aggregator = Aggregator(static)
    compiled = aggregator.compile(1)
    assert [(router.name, router.service) for router in compiled.routers] == [
        ("ping@internal", "ping@internal")
    ]

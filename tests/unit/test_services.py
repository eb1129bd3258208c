"""Services of every kind, nested, with servers that are functions."""

import pytest
import trio
import trio.testing

from shared.arena import Arena
from shared.cells import ServerCell, ServiceCell
from shared.config.dynamic import (
    ChildHealthCheck,
    Cookie,
    Failover,
    FailoverErrors,
    HighestRandomWeight,
    LoadBalancer,
    Mirror,
    Mirroring,
    Server,
    ServersTransport,
    Service,
    Sticky,
    Weighted,
    WeightedChild,
)
from shared.errors import BadRequest, ClientGone, ConnectFailed, NoServerAvailable
from shared.headers import Headers
from shared.table.entries import ServiceEntry, TableContent, TransportEntry
from shared.table.reader import open_table
from shared.table.writer import TableWriter
from tests.support.chains import make_exchange
from tests.support.vectors import vectors
from worker.balancing.base import Member
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.rebalancer import Rebalancer
from worker.first_bytes import FirstBytes
from worker.messages import BytesBody, Response
from worker.mirroring import Counter
from worker.pool import Pools
from worker.rebalancing import DynamicRoundRobin
from worker.services import Services
from worker.sticky import value_of


class Switchboard:
    """Health by hand: URLs of servers that are down or drain."""

    def __init__(self):
        self.down = set()
        self.draining = set()
        self.blocks = {}

    def is_up(self, block):
        return self.blocks.get(block.number) not in self.down

    def is_draining(self, block):
        return self.blocks.get(block.number) in self.draining

    def note_outcome(self, block, url, *, is_failure):
        pass


class Rig(Services):
    """Services whose servers answer at once; ``said`` is what each got."""

    def __init__(self, arena=None):
        self.health = Switchboard()
        super().__init__(Pools(), {}, self.health)
        self.answers = {}
        self.said = []
        if arena is not None:
            self.use_arena(arena)

    async def _send(self, exchange, server):
        exchange.server_url = server.url
        exchange.attempts += 1
        body = b""
        while chunk := await exchange.request.body.receive():
            body += chunk
        self.said.append((server.url, body))
        answer = self.answers.get(server.url, 200)
        if isinstance(answer, Exception):
            raise answer
        return Response(answer, Headers([(b"Set-Cookie", b"theirs=1")]), BytesBody(server.url.encode()))

    def serve(self, services, name):
        """The endpoint of a service among these."""
        ordered = sorted(services)
        entries = tuple(
            ServiceEntry(each, services[each], tuple(map(ordered.index, _children(services[each]))), 0)
            for each in ordered
        )
        content = TableContent((), (), entries, (TransportEntry("default@internal", ServersTransport()),), ())
        table = open_table(TableWriter().write(content, 1))
        for each in ordered:
            balancer = services[each].load_balancer
            for server in balancer.servers if balancer is not None else ():
                block = self.blocks.get("server", f"{each} {server.url}")
                self.health.blocks[block.number] = server.url
        return self.endpoint_maker(table)(table.service(ordered.index(name)))


def _children(service):
    if service.mirroring is not None:
        return [service.mirroring.service, *(each.name for each in service.mirroring.mirrors)]
    if service.failover is not None:
        return [service.failover.service, service.failover.fallback]
    balanced = service.weighted or service.highest_random_weight
    return [each.name for each in balanced.services] if balanced is not None else []


def servers(*urls, **options):
    made = tuple(url if isinstance(url, Server) else Server(url=url) for url in urls)
    return Service(load_balancer=LoadBalancer(servers=made, **options))


def ask(endpoint, count=1, body=b"", cookie="", **options):
    """Bodies of answers, or the last response when only one is asked for."""

    async def run():
        responses = []
        for _ in range(count):
            headers = {"Cookie": cookie} if cookie else {}
            exchange = make_exchange(headers=headers, **options)
            exchange.request.body = BytesBody(body)
            response = await endpoint(exchange)
            exchange.leave_server()
            responses.append((response, await response.body.receive(), exchange))
        return responses

    responses = trio.run(run)
    return responses[0] if count == 1 else [content.decode() for _, content, _ in responses]


def cookies(response):
    return [value.decode() for value in response.headers.get_all(b"Set-Cookie")]


A, B, C = "http://a:1", "http://b:1", "http://c:1"


def test_servers_take_turns_and_outcomes_are_recorded_in_one_place():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A, B)}, "s@file")
    rig.answers[B] = 503
    assert ask(endpoint, 4) == [A, B, A, B]
    good, bad = (rig.blocks.get("server", f"s@file {url}") for url in (A, B))
    assert (good.sum(ServerCell.REQUESTS), good.sum(ServerCell.STATUS_2XX)) == (2, 2)
    assert (bad.sum(ServerCell.STATUS_5XX), bad.sum(ServerCell.RATED_BAD)) == (2, 2)
    assert good.sum(ServerCell.IN_FLIGHT) == bad.sum(ServerCell.IN_FLIGHT) == 0
    assert rig.blocks.get("service", "s@file").sum(ServiceCell.REQUESTS) == 4


def test_a_failed_exchange_becomes_an_answer_that_keeps_its_cause():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A)}, "s@file")
    rig.answers[A] = ConnectFailed("refused")
    response, content, exchange = ask(endpoint)
    assert (response.status, content) == (502, b"Bad Gateway")
    assert isinstance(exchange.error, ConnectFailed)
    block = rig.blocks.get("server", f"s@file {A}")
    assert (block.sum(ServerCell.NETWORK_ERRORS), block.sum(ServerCell.IN_FLIGHT)) == (1, 0)


def test_a_client_that_is_gone_gets_no_answer():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A)}, "s@file")
    rig.answers[A] = ClientGone("gone")
    with pytest.raises(ClientGone):
        ask(endpoint)


def test_an_attempt_that_succeeds_forgets_the_error_of_the_one_before():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A, B)}, "s@file")
    rig.answers[A] = ConnectFailed("refused")

    async def run():
        exchange = make_exchange()
        statuses = [(await endpoint(exchange)).status for _ in range(2)]
        return statuses, exchange

    statuses, exchange = trio.run(run)
    assert statuses == [502, 200]
    assert exchange.error is None
    assert [url for url, _ in rig.said] == [A, B], "never the one that just failed while another is up"


def test_the_only_server_is_tried_again():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A)}, "s@file")
    rig.answers[A] = ConnectFailed("refused")

    async def run():
        exchange = make_exchange()
        for _ in range(2):
            await endpoint(exchange)

    trio.run(run)
    assert [url for url, _ in rig.said] == [A, A]


@pytest.mark.parametrize("vector", vectors("v2", "lb.error"))
def test_no_server(vector):
    state = vector["config"]["state"]
    rig = Rig()
    weight = 0 if state == "all weights 0" else None
    urls = [] if state.startswith("no servers") else [Server(url=A, weight=weight)]
    if "down" in state:
        rig.health.down.add(A)
    elif urls and weight is None:
        pytest.fail(f"unknown state {state}")
    response, content, exchange = ask(rig.serve({"s@file": servers(*urls)}, "s@file"))
    assert (response.status, content.decode()) == (vector["expect"]["status"], vector["expect"]["body"])
    assert isinstance(exchange.error, NoServerAvailable)


def test_sticky_clients_stay_also_with_fenced_and_draining_servers():
    rig = Rig()
    options = servers(A, Server(url=B, fenced=True), C, sticky=Sticky(Cookie(name="s")))
    endpoint = rig.serve({"s@file": options}, "s@file")
    response, content, _ = ask(endpoint)
    assert content.decode() == A
    assert cookies(response) == [f"s={value_of(A)}; Path=/", "theirs=1"]
    assert set(ask(endpoint, 6)) == {A, C}, "no new clients for a fenced server"
    for url in (A, B, C):
        response, content, _ = ask(endpoint, cookie=f"s={value_of(url)}")
        assert (content.decode(), cookies(response)) == (url, ["theirs=1"])
    rig.health.draining.add(A)
    assert set(ask(endpoint, 4)) == {C}
    assert ask(endpoint, cookie=f"s={value_of(A)}")[1].decode() == A


def test_a_sticky_client_of_a_dead_server_moves_and_gets_a_new_cookie():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A, B, sticky=Sticky(Cookie(name="s")))}, "s@file")
    rig.health.down.add(B)
    response, content, _ = ask(endpoint, cookie=f"s={value_of(B)}")
    assert content.decode() == A
    assert cookies(response)[0].startswith(f"s={value_of(A)}")


def test_an_old_cookie_is_honoured_and_replaced():
    rig = Rig()
    endpoint = rig.serve({"s@file": servers(A, B, sticky=Sticky(Cookie(name="s")))}, "s@file")
    response, content, _ = ask(endpoint, cookie=f"s={B}")
    assert content.decode() == B
    assert cookies(response)[0] == f"s={value_of(B)}; Path=/"


def test_the_cookie_of_v1_is_the_url():
    rig = Rig()
    options = servers(A, B, sticky=Sticky(Cookie(name="_TRAEFIK_BACKEND")), v1_method="wrr")
    endpoint = rig.serve({"s@file": options}, "s@file")
    assert cookies(ask(endpoint)[0])[0] == f"_TRAEFIK_BACKEND={A}; Path=/"
    assert ask(endpoint, cookie=f"_TRAEFIK_BACKEND={B}")[1].decode() == B


NESTED = {
    "one@file": servers(A, sticky=Sticky(Cookie(name="inner"))),
    "two@file": servers(B),
    "all@file": Service(
        weighted=Weighted(
            services=(
                WeightedChild("one@file", 3),
                WeightedChild("two@file", None),
                WeightedChild("two@file", 0),
            ),
            sticky=Sticky(Cookie(name="outer")),
        )
    ),
}


def test_weighted_services_keep_shares_and_nested_stickiness_has_two_cookies():
    rig = Rig()
    endpoint = rig.serve(NESTED, "all@file")
    assert ask(endpoint, 8).count(A) == 6
    response, _, _ = ask(endpoint, cookie=f"outer={value_of('one')}")
    assert cookies(response) == [f"inner={value_of(A)}; Path=/", "theirs=1"]
    assert ask(endpoint, cookie=f"outer={value_of('two')}")[1].decode() == B


@pytest.mark.parametrize("minds", [True, False])
def test_a_parent_minds_its_childrens_health_only_if_told_to(minds):
    rig = Rig()
    check = ChildHealthCheck() if minds else None
    children = (WeightedChild("one@file"), WeightedChild("two@file"))
    services = {
        "one@file": servers(A),
        "two@file": servers(B),
        "all@file": Service(weighted=Weighted(services=children, health_check=check)),
    }
    endpoint = rig.serve(services, "all@file")
    rig.health.down.add(A)
    answers = ask(endpoint, 4)
    assert answers == [B] * 4 if minds else answers.count("no available server\n") == 2
    rig.health.down.add(B)
    assert ask(endpoint)[0].status == 503


def test_hashing_over_services_goes_by_the_client():
    rig = Rig()
    children = (WeightedChild("one@file"), WeightedChild("two@file"))
    services = {
        "one@file": servers(A),
        "two@file": servers(B),
        "all@file": Service(highest_random_weight=HighestRandomWeight(services=children)),
    }
    endpoint = rig.serve(services, "all@file")
    for number in range(20):
        answers = ask(endpoint, 3, client_ip=f"10.1.{number}.9")
        assert len(set(answers)) == 1


def failover(**options):
    return {
        "main@file": servers(A),
        "other@file": servers(B),
        "both@file": Service(failover=Failover(service="main@file", fallback="other@file", **options)),
    }


def test_failover_goes_by_health():
    rig = Rig()
    endpoint = rig.serve(failover(), "both@file")
    assert ask(endpoint)[1].decode() == A
    rig.health.down.add(A)
    assert ask(endpoint)[1].decode() == B
    rig.health.down.add(B)
    response, content, exchange = ask(endpoint)
    assert (response.status, content) == (503, b"Service Unavailable\n")
    assert isinstance(exchange.error, NoServerAvailable)


@pytest.mark.parametrize("answer", [503, ConnectFailed("refused")])
def test_failover_by_status_replays_the_request(answer):
    rig = Rig()
    endpoint = rig.serve(failover(errors=FailoverErrors(status=("500-599",))), "both@file")
    assert ask(endpoint, body=b"hello")[1].decode() == A
    rig.answers[A] = answer
    response, content, exchange = ask(endpoint, body=b"hello")
    assert (response.status, content.decode()) == (200, B)
    assert exchange.error is None
    assert rig.said[-2:] == [(A, b"hello"), (B, b"hello")]
    rig.answers[A] = 404
    assert ask(endpoint)[0].status == 404


def test_failover_refuses_bodies_that_it_could_not_replay():
    rig = Rig()
    errors = FailoverErrors(status=("500",), max_request_body_bytes=4)
    endpoint = rig.serve(failover(errors=errors), "both@file")
    response, content, _ = ask(endpoint, body=b"hello")
    assert (response.status, content) == (413, b"Request body too large\n")
    assert ask(endpoint, body=b"hell")[0].status == 200
    assert rig.said == [(A, b"hell")]


@pytest.mark.parametrize("vector", vectors("v2", "lb.mirror"))
def test_shares_of_mirrors(vector):
    if "percent" not in vector["config"]:
        pytest.skip("not about counting")
    counter = Counter([vector["config"]["percent"]])
    mirrored = [number for number in range(1, vector["request"]["requests"] + 1) if counter.next_mirrors()]
    assert mirrored == vector["expect"]["mirroredRequestNumbers"]


def mirroring(**options):
    mirrors = (Mirror("copy@file", 50), Mirror("all@file", 100))
    return {
        "main@file": servers(A),
        "copy@file": servers(B),
        "all@file": servers(C),
        "m@file": Service(mirroring=Mirroring(service="main@file", mirrors=mirrors, **options)),
    }


def mirrored(rig, endpoint, count, body=b""):
    async def run():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.copies.run)
            for _ in range(count):
                exchange = make_exchange()
                exchange.request.body = BytesBody(body)
                response = await endpoint(exchange)
                assert await response.body.receive() == A.encode()
                exchange.leave_server()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(run)
    return sorted((url, content) for url, content in rig.said if url != A)


def test_mirrors_get_copies_in_the_background():
    rig = Rig()
    endpoint = rig.serve(mirroring(), "m@file")
    copies = mirrored(rig, endpoint, 4, b"hello")
    assert copies.count((B, b"hello")) == 2
    assert copies.count((C, b"hello")) == 4
    assert [content for url, content in rig.said if url == A] == [b"hello"] * 4
    assert rig.blocks.get("service", "m@file").sum(ServiceCell.COPIES) == 6


def test_a_mirror_that_fails_harms_nobody():
    rig = Rig()
    endpoint = rig.serve(mirroring(), "m@file")
    rig.answers[C] = ConnectFailed("refused")
    rig.answers[B] = BadRequest("odd")
    assert len(mirrored(rig, endpoint, 2)) == 3


def test_mirrors_without_bodies_and_bodies_that_are_too_large():
    rig = Rig()
    assert mirrored(rig, rig.serve(mirroring(mirror_body=False), "m@file"), 1, b"hello") == [
        (B, b""),
        (C, b""),
    ]
    rig = Rig()
    assert mirrored(rig, rig.serve(mirroring(max_body_size=4), "m@file"), 1, b"hello") == []
    assert rig.said == [(A, b"hello")], "the main service gets all of it"


def test_one_service_is_one_endpoint_however_often_it_is_named():
    rig = Rig()
    made = []
    original = rig._balance_servers
    rig._balance_servers = lambda entry, *rest: made.append(entry.name) or original(entry, *rest)
    services = {"leaf@file": servers(A)}
    name = "leaf@file"
    for level in range(14):
        children = (WeightedChild(name), WeightedChild(name))
        name = f"level{level}@file"
        services[name] = Service(weighted=Weighted(services=children))
    assert ask(rig.serve(services, name))[1].decode() == A
    assert made == ["leaf@file"]


@pytest.mark.parametrize("method", ["", "wrr"])
def test_four_workers_keep_the_shares_of_the_proxy_when_one_gets_nearly_everything(method):
    weights = {A: 60, B: 30, C: 10}
    listed = [Server(url=url, weight=weight) for url, weight in weights.items()]
    services = {"s@file": servers(*listed, v1_method=method)}
    master = Arena.create(8)
    blocks = {url: master.claim("server", f"s@file {url}") for url in weights}
    master.claim("service", "s@file")
    columns = [master.take_column() for _ in range(4)]
    rigs = [Rig(Arena.attach(master.fd, column)) for column in columns]
    streams = [9000, 900, 90, 10]

    async def run():
        for position, (rig, count) in enumerate(zip(rigs, streams, strict=True)):
            endpoint = rig.serve(services, "s@file")
            for number in range(count):
                if number % 97 == position:  # reloads in between, each of its own moment
                    endpoint = rig.serve(services, "s@file")
                exchange = make_exchange()
                await endpoint(exchange)
                exchange.leave_server()

    trio.run(run)
    assert sum(block.sum(ServerCell.REQUESTS) for block in blocks.values()) == 10_000
    for url, weight in weights.items():
        assert blocks[url].sum(ServerCell.REQUESTS) == pytest.approx(100 * weight, abs=100)


def test_workers_share_least_time_and_in_flight():
    master = Arena.create(4)
    master.claim("service", "s@file")
    for url in (A, B):
        master.claim("server", f"s@file {url}")
    one, other = (Rig(Arena.attach(master.fd, master.take_column())) for _ in range(2))
    endpoints = [rig.serve({"s@file": servers(A, B, strategy="p2c")}, "s@file") for rig in (one, other)]

    async def run():
        busy = make_exchange()
        first = await (await endpoints[0](busy)).body.receive()
        seconds = {await (await endpoints[1](exchange := make_exchange())).body.receive() for _ in range(1)}
        exchange.leave_server()
        busy.leave_server()
        return first, seconds

    first, seconds = trio.run(run)
    assert first not in seconds, "the other worker sees that this server is busy"


def test_workers_rebalance_as_one_and_a_newcomer_adopts():
    master = Arena.create(5)
    blocks = [master.claim("server", url) for url in (A, B)]
    now = 1000.0

    def worker():
        arena = Arena.attach(master.fd, master.take_column())
        own = [arena.find("server", url) for url in (A, B)]
        rounds = InterleavedRoundRobin([Member(A, 1), Member(B, 1)])
        return DynamicRoundRobin(rounds, Rebalancer((1, 1), now), own, lambda: now), own

    workers = [worker() for _ in range(2)]
    for step in range(240):  # 12 s: all of B's answers are bad, and nearly all requests are at one worker
        now = 1000.0 + step * 0.05
        dynamic, own = workers[0 if step % 8 else 1]
        position = dynamic.pick()
        own[position].add(ServerCell.RATED_BAD if position else ServerCell.RATED_GOOD)
        dynamic.note_answer()
    newcomer, _ = worker()
    newcomer.note_answer()
    for dynamic in (workers[0][0], workers[1][0], newcomer):
        assert [dynamic.pick() for _ in range(10)].count(0) == 8, "weights 4 and 1"
    assert blocks[0].sum(ServerCell.RATED_GOOD) + blocks[1].sum(ServerCell.RATED_BAD) == 240


def test_averages_are_those_of_all_workers_and_outlive_a_reload():
    master = Arena.create(4)
    master.claim("server", A)
    one, other = (Arena.attach(master.fd, master.take_column()).find("server", A) for _ in range(2))
    for block, first_byte_s in ((one, 0.010), (other, 0.030)):
        meter = FirstBytes(block)
        meter.note(5.0)  # nobody asked yet
        meter.average_ms()
        meter.note(first_byte_s)
    assert FirstBytes(one).average_ms() == pytest.approx(20)
    again = FirstBytes(one)
    again.average_ms()
    for _ in range(200):
        again.note(0.030)
    assert FirstBytes(other).average_ms() == pytest.approx(30)


def test_a_reload_that_changes_nothing_goes_on_in_the_round():
    rig = Rig()
    services = {"s@file": servers(A, B, C)}
    whole = Rig()
    expected = ask(whole.serve(services, "s@file"), 9)
    got = [ask(rig.serve(services, "s@file"))[1].decode() for _ in range(9)]
    assert got == expected

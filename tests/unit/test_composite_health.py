"""Services over services whose children are down, or drain: who gets new clients and who keeps its own."""

from __future__ import annotations

import pytest
import trio

from shared.arena import Arena
from shared.config.dynamic import Failover
from shared.errors import NoServerAvailable, ServersDown
from tests.support.chains import make_exchange
from worker import replies
from worker.balancing.base import Member
from worker.balancing.weighted_round_robin import WeightedRoundRobin
from worker.composite_services import Endpoint, FailoverService, ServiceBalancer


@pytest.fixture
def block():
    arena = Arena.create(1)
    yield arena.claim("service", "s")
    arena.close()


def endpoint(text: str, *, up: bool = True, takes_new: bool = True, serves: bool = True) -> Endpoint:
    async def handle(_):
        if not serves:
            raise NoServerAvailable("no server takes new clients")
        return replies.http_error(200, text)

    return Endpoint(handle, lambda: up, lambda: takes_new)


def answer(service) -> bytes:
    async def run() -> bytes:
        response = await service.handle(make_exchange())
        return (await response.body.receive()).strip()

    return trio.run(run)


def balancer(block, *children: Endpoint, minds: bool = True) -> ServiceBalancer:
    strategy = WeightedRoundRobin([Member(str(number), 1) for number in range(len(children))])
    return ServiceBalancer("s", children, strategy, None, block, minds)


def test_a_child_that_drains_gets_no_new_clients(block):
    service = balancer(block, endpoint("a", takes_new=False), endpoint("b"))
    assert {answer(service) for _ in range(4)} == {b"b"}
    assert service.is_up()
    assert service.takes_new()


def test_it_is_not_looked_at_unless_asked_for(block):
    service = balancer(block, endpoint("a", takes_new=False), endpoint("b"), minds=False)
    assert {answer(service) for _ in range(4)} == {b"a", b"b"}


def test_down_is_told_from_draining(block):
    with pytest.raises(ServersDown):
        answer(balancer(block, endpoint("a", up=False, takes_new=False)))
    with pytest.raises(NoServerAvailable) as failure:
        answer(balancer(block, endpoint("a", takes_new=False)))
    assert not isinstance(failure.value, ServersDown)


def test_failover_asks_a_main_service_that_drains_only_for_the_clients_it_has(block):
    keeps = FailoverService("s", Failover(), endpoint("main", takes_new=False), endpoint("other"), block)
    assert answer(keeps) == b"main"
    drained = endpoint("main", takes_new=False, serves=False)
    moves = FailoverService("s", Failover(), drained, endpoint("other"), block)
    assert answer(moves) == b"other"
    assert moves.takes_new()

"""Identities of a table, and what the arena is told about them."""

import pytest
import trio

from master.arena_identities import IdentityPlanner, identities_of_table
from master.arena_ledger import ArenaLedger
from shared import arena_layout as layout
from shared.arena import Arena
from shared.cells import Kept
from shared.config.dynamic import LoadBalancer, Server, ServersTransport, Service
from shared.config.middlewares import CircuitBreaker, Middleware, RateLimit
from shared.errors import ArenaError
from shared.identities import Identity
from shared.rules.conditions import Always
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry, TableContent, TransportEntry
from shared.table.reader import open_table
from shared.table.writer import TableWriter

CONTENT = TableContent(
    routers=(RouterEntry("web@file", "PathPrefix(`/`)", Always(), 1, (0, 1, 2), 0),),
    middlewares=(
        MiddlewareEntry(
            "breaker@file", Middleware(circuit_breaker=CircuitBreaker(expression="NetworkErrorRatio() > 0.5"))
        ),
        MiddlewareEntry("limit@file", Middleware(rate_limit=RateLimit(average=5))),
        MiddlewareEntry("plain@file", Middleware()),
    ),
    services=(
        ServiceEntry(
            "shop@file",
            Service(load_balancer=LoadBalancer(servers=(Server(url="http://a"), Server(url="http://b")))),
            (),
            0,
        ),
    ),
    transports=(TransportEntry("default@internal", ServersTransport()),),
    lists=(),
)
EXPECTED = {
    Identity("service", "shop@file"),
    Identity("server", "shop@file http://a"),
    Identity("server", "shop@file http://b"),
    Identity("middleware", "web@file breaker@file", kept=Kept.SHARE),
    Identity("window", "web@file breaker@file 0", kept=Kept.WINDOW),
    Identity("window", "web@file breaker@file 1", kept=Kept.WINDOW),
    Identity("middleware", "web@file limit@file", keyed=True, kept=Kept.RATES),
}


def test_services_servers_and_stateful_middlewares_have_identities():
    planner = IdentityPlanner()
    assert planner.plan(CONTENT) == EXPECTED
    assert planner.plan(CONTENT) == EXPECTED


def test_a_table_that_is_read_back_has_the_same():
    table = open_table(TableWriter().write(CONTENT, 1))
    assert identities_of_table(table) == EXPECTED


def test_the_ledger_claims_and_releases():
    arena = Arena.create(2)
    ledger = ArenaLedger(arena)
    a, b, c = (Identity("service", name) for name in "abc")

    async def scenario():
        await ledger.claim(frozenset({a, b}))
        ledger.keep_only(frozenset({a, b}))
        await ledger.claim(frozenset({b, c}))
        assert arena.find("service", "a") is not None, "live until the offer is accepted"
        ledger.keep_only(frozenset({b, c}))

    trio.run(scenario)
    assert arena.find("service", "a") is None
    assert arena.find("service", "b") is not None
    assert arena.find("service", "c") is not None


def test_one_name_with_and_without_keys_is_one_object():
    arena = Arena.create(2)
    ledger = ArenaLedger(arena)
    plain, keyed = Identity("middleware", "m"), Identity("middleware", "m", True)
    trio.run(ledger.claim, frozenset({plain}))
    trio.run(ledger.claim, frozenset({keyed}))
    ledger.keep_only(frozenset({keyed}))
    assert arena.keyed("middleware", "m") is not None


def test_what_was_claimed_before_the_arena_was_full_can_be_released(monkeypatch):
    arena = Arena.create(2)
    ledger = ArenaLedger(arena)
    monkeypatch.setattr(layout, "MAX_BLOCKS", 2)
    names = [Identity("service", name) for name in "abc"]
    with pytest.raises(ArenaError, match="full"):
        trio.run(ledger.claim, frozenset(names))
    ledger.keep_only(frozenset())
    assert all(arena.find("service", name) is None for name in "abc")
    trio.run(ledger.claim, frozenset(names[:2]))

from __future__ import annotations

import msgspec

from shared.rules import conditions as c
from shared.table.entries import RouterList
from shared.table.reader import open_table
from shared.table.writer import write_table
from tests.support.oracle import PlainRequest
from tests.support.tables import ENTRYPOINT, service_entry, table_of
from worker.matching import match
from worker.pipeline import SyncStep
from worker.routes import Routes


class Tagged(SyncStep):
    def __init__(self, name):
        self.name = name


class Table:
    def candidates(self, entrypoint, tls, request):
        return [4, 2, 7]


def test_first_candidate_that_holds_wins():
    asked = []

    def predicate_of(number):
        asked.append(number)
        return lambda request: number != 4

    assert match(Table(), predicate_of, "web", False, PlainRequest()) == 2
    assert asked == [4, 2]


def test_none_when_no_candidate_holds():
    assert match(Table(), lambda number: lambda request: False, "web", False, PlainRequest()) is None


def routes_of(content):
    made = []

    def make_endpoint(service):
        made.append(service.name)
        return lambda exchange: None

    routes = Routes(
        open_table(write_table(content, 1)),
        make_endpoint,
        lambda middleware, router: Tagged(f"{middleware.name} of {router.name}"),
    )
    return routes, made


def test_routes_are_made_once_and_only_when_needed():
    routes, made = routes_of(table_of([c.HostIs("a"), c.HostIs("b")]))
    assert made == []
    route = routes.match(ENTRYPOINT, False, PlainRequest("b"))
    assert (route.name, route.service_name, route.is_internal) == ("r1@file", "app@file", False)
    assert [step.name for step in route.steps] == ["add@file of r1@file"]
    assert route.predicate(PlainRequest("b"))
    assert routes.match(ENTRYPOINT, False, PlainRequest("b")) is route
    routes.match(ENTRYPOINT, False, PlainRequest("a"))
    assert made == ["app@file"]


def test_lists_are_kept_apart():
    lists = (RouterList("web", False, (0,)), RouterList("web", True, (1,)))
    routes, _ = routes_of(table_of([c.Always(), c.Always()], lists))
    assert routes.match("web", False, PlainRequest()).name == "r0@file"
    assert routes.match("web", True, PlainRequest()).name == "r1@file"
    assert routes.match("other", False, PlainRequest()) is None


def test_own_services_are_internal():
    content = msgspec.structs.replace(table_of([c.Always()]), services=(service_entry("api@internal"),))
    routes, _ = routes_of(content)
    assert routes.match(ENTRYPOINT, False, PlainRequest()).is_internal

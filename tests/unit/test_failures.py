"""Failed exchanges: an id for the client, the cause under that id in the log, and only so many lines."""

from __future__ import annotations

import logging
import re

import pytest

from shared.config.static import EntryPoint
from shared.errors import BadRequest, ConnectFailed, NoRoute, NoServerAvailable
from shared.rules import conditions as c
from shared.table.reader import open_table
from shared.table.writer import write_table
from tests.support.chains import make_exchange
from tests.support.tables import ENTRYPOINT, table_of
from worker import failures
from worker.access_log import Record, format_json
from worker.failures import MAX_LINES_PER_S, MAX_SHOWN_CHARS, Failures, LineBudget
from worker.routes import Routes
from worker.state import make_entrance

ID = re.compile(r"[0-9a-f]{10}")
ENTRANCE = make_entrance(ENTRYPOINT, EntryPoint(address=":80"), "proxy.test")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(failures.time, "monotonic", lambda: now[0])
    return now


def routes_of(*conditions) -> Routes:
    return Routes(open_table(write_table(table_of(conditions), 1)), None, None)


def shop_routes() -> Routes:
    host = c.HostIs("shop.test")
    return routes_of(
        c.All((host, c.PathStarts("/api"))),
        c.HostIs("other.test"),
        c.All((host, c.HeaderIs("x-secret", "1"))),
    )


def test_a_client_gets_an_id_and_the_log_the_cause_under_it(caplog):
    caplog.set_level(logging.INFO)
    exchange = make_exchange("/a/b?token=hidden", host="shop.test")
    exchange.server_url = "http://10.0.0.1:80"
    error = ConnectFailed("connection refused")
    response = Failures().answer(error, exchange, ENTRANCE, None)
    shown_id = response.headers.get(b"X-Penstock-Error").decode()
    assert ID.fullmatch(shown_id)
    assert exchange.error is error
    assert exchange.error_id == shown_id
    assert response.status == 502
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"error {shown_id}: 502 at entrypoint web for GET shop.test/a/b: ConnectFailed: connection refused,"
        " server http://10.0.0.1:80"
    )


def test_the_line_of_a_404_names_the_nearest_routers_and_no_values(caplog):
    caplog.set_level(logging.INFO)
    exchange = make_exchange("/x?token=hidden", host="shop.test", headers={"X-Secret": "my secret"})
    response = Failures().answer(NoRoute("no router matches"), exchange, ENTRANCE, shop_routes())
    assert response.status == 404
    [record] = caplog.records
    assert record.levelno == logging.INFO
    said = record.getMessage()
    assert said.endswith(
        "no router matches; nearest: r0@file (path starts with '/api': no),"
        " r2@file (header x-secret is '1': no), r1@file (host is 'other.test': no)"
    )
    assert "hidden" not in said
    assert "my secret" not in said


@pytest.mark.parametrize(
    ("routes", "ending"),
    [(None, "there is no table yet"), (routes_of(), "this entrypoint has no routers")],
    ids=["no table", "empty table"],
)
def test_a_404_without_routers_says_so(routes, ending, caplog):
    caplog.set_level(logging.INFO)
    Failures().answer(NoRoute(""), make_exchange(), ENTRANCE, routes)
    assert caplog.messages[0].endswith(ending)


def test_the_nearest_are_found_among_many_without_looking_at_all(caplog, monkeypatch):
    monkeypatch.setattr(failures, "MAX_ROUTERS_LOOKED_AT", 10)
    caplog.set_level(logging.INFO)
    many = [c.HostIs(f"h{number}.test") for number in range(1_000)]
    routes = routes_of(*many, c.All((c.HostIs("shop.test"), c.HeaderIs("x-a", "1"))))
    looked_at = []
    router = routes.table.router
    monkeypatch.setattr(routes.table, "router", lambda number: looked_at.append(number) or router(number))
    Failures().answer(NoRoute(""), make_exchange(host="shop.test"), ENTRANCE, routes)
    assert len(looked_at) == 10
    assert "nearest: r1000@file (header x-a is '1': no)" in caplog.messages[0]


def test_a_flood_is_counted_and_not_written(caplog, clock, monkeypatch):
    caplog.set_level(logging.INFO)
    calls = []
    monkeypatch.setattr(failures, "_nearest_routers", lambda *given: calls.append(given) or "")
    answers = Failures()
    ids = set()
    for _ in range(1_000):
        response = answers.answer(NoRoute(""), make_exchange(), ENTRANCE, None)
        ids.add(response.headers.get(b"X-Penstock-Error"))
    assert len(ids) == 1_000
    assert len(caplog.messages) == len(calls) == MAX_LINES_PER_S
    # Failures of servers are not hidden by those of strangers.
    answers.answer(NoServerAvailable("none"), make_exchange(), ENTRANCE, None)
    assert len(caplog.messages) == MAX_LINES_PER_S + 1
    clock[0] += 1
    answers.answer(NoRoute(""), make_exchange(), ENTRANCE, None)
    assert caplog.messages[-1].endswith(f"({1_000 - MAX_LINES_PER_S} more failures were not logged)")


def test_nothing_is_worked_out_for_a_level_that_is_off(caplog, monkeypatch):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(failures, "_nearest_routers", lambda *given: pytest.fail("worked out"))
    Failures().answer(NoRoute(""), make_exchange(), ENTRANCE, None)
    assert not caplog.records


def test_a_defect_is_a_500_with_its_traceback_in_the_log(caplog):
    exchange = make_exchange()
    try:
        raise ValueError("our mistake")
    except ValueError as error:
        response = Failures().answer_defect(error, exchange)
    assert response.status == 500
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert exchange.error_id in record.getMessage()
    assert record.exc_info[0] is ValueError


def test_a_refused_head_gets_an_id_too(caplog):
    caplog.set_level(logging.INFO)
    response = Failures().refuse(BadRequest("no Host"), ENTRANCE, "192.0.2.1")
    shown_id = response.headers.get(b"X-Penstock-Error").decode()
    assert caplog.messages == [
        f"error {shown_id}: 400 at entrypoint web: refused a request head from 192.0.2.1: no Host"
    ]


def test_what_a_stranger_sends_cannot_start_a_line_or_fill_one(caplog):
    caplog.set_level(logging.INFO)
    exchange = make_exchange("/" + "x" * 5_000, host="a\x1b[31m\nerror 0000000000: 500")
    Failures().answer(NoRoute(""), exchange, ENTRANCE, None)
    [said] = caplog.messages
    assert said.isprintable()
    assert len(said) < MAX_SHOWN_CHARS * 3


def test_the_id_stands_in_the_access_log():
    record = Record(
        0.0, 0.1, b"c", "", "GET", "/", "HTTP/1.1", 404, 1, b"", b"", 1, "", "", error_id="00ff00ff00"
    )
    assert b'"errorId": "00ff00ff00"' in format_json(record)


def test_a_budget_starts_anew_each_second():
    budget = LineBudget(2)
    assert [budget.spend(now) for now in (5.0, 5.1, 5.2, 5.9)] == [0, 0, None, None]
    assert [budget.spend(now) for now in (6.0, 6.5, 6.9, 9.0)] == [2, 0, None, 1]

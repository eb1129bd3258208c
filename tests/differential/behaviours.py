"""Scenarios with servers that misbehave: a configuration, what happens, and what has to come of it.

A scenario plays against one proxy and its own servers, and returns what was seen as plain data. What Traefik
leaves to chance or to time (which server is first, how often a breaker looks) is not in that data: sets,
counts, and sequences without repetitions are.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.support.clients import Address, ClientConnection, request_bytes
from tests.support.grpc_health import NOT_SERVING, SERVING, GrpcHealth
from tests.support.scripted_upstream import (
    NEVER,
    ScriptedUpstream,
    answering,
    closing,
    held,
    one_by_one,
    resetting,
    slow,
)
from tests.support.wire import WireClosedError

PATIENCE_S = 30.0
PACE_S = 0.012
"""Between requests where a breaker has to look at each answer; it looks every 5 ms."""
INTERVAL = "150ms"
CHECK = {"healthCheck": {"path": "/health", "interval": INTERVAL, "timeout": "2s"}}
FAIL, GOOD = answering(500, b"failed"), answering()
GRPC_PORT = "port of the gRPC server"
"""Stands for its number."""
DEAD = "dead"
"""The name of a server where nobody listens."""
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
CHUNKED_PART = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


@dataclass(frozen=True)
class Reply:
    """What a client got; ``is_cut`` if the answer did not come whole."""

    status: int
    content: bytes = b""
    server: str | None = None
    cookies: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()
    is_cut: bool = False


class Side:
    """One proxy with the servers of one scenario.

    Attributes:
        servers: by name.
        grpc: a gRPC server beside them, for the scenarios that name its port.
    """

    def __init__(
        self, address: Address, host: str, servers: Mapping[str, ScriptedUpstream], grpc: GrpcHealth
    ) -> None:
        self.servers = servers
        self.grpc = grpc
        self._address = address
        self._host = host
        self._stack = ExitStack()
        self._client: ClientConnection | None = None

    def __getitem__(self, name: str) -> ScriptedUpstream:
        return self.servers[name]

    def connect(self) -> ClientConnection:
        """A connection that is closed at the end."""
        return self._stack.enter_context(ClientConnection(self._address, PATIENCE_S))

    def close(self) -> None:
        """Close all connections."""
        self._stack.close()

    def ask(
        self,
        method: str = "GET",
        *,
        body: bytes | None = None,
        fields: Iterable[tuple[str, str]] = (),
        client: ClientConnection | None = None,
    ) -> Reply:
        """One request, on a connection that is kept for as long as it lasts."""
        link = client or self._client or self.connect()
        self._client = self._client or link
        link.send(request_bytes(method, "/", host=self._host, fields=fields, body=body))
        try:
            head = link.reader.read_head()
        except WireClosedError:
            self._client = None
            return Reply(0, is_cut=True)
        status = int(head.start_line.split(b" ")[1])
        if b"close" in (head.get(b"connection") or b""):
            self._client = None
        try:
            content = b"" if status == 204 else link.reader.read_body(head, to_end=True).content
        except WireClosedError:
            self._client = None
            return Reply(status, is_cut=True)
        return Reply(
            status,
            content,
            (head.get(b"x-server") or b"").decode() or None,
            tuple(value.decode() for value in head.get_all(b"set-cookie")),
            frozenset(name.decode().lower() for name, _ in head.fields),
        )

    def send(self) -> ClientConnection:
        """Ask on a new connection, and leave the answer for later."""
        link = self.connect()
        link.send(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        return link

    def statuses(self, count: int, method: str = "GET", **options: Any) -> list[int]:
        """Of so many requests."""
        return [self.ask(method, **options).status for _ in range(count)]

    def servers_of(self, count: int) -> set[str | None]:
        """Who answered so many requests."""
        return {self.ask().server for _ in range(count)}

    def until(self, wanted: Callable[[Reply], bool], *, pace_s: float = PACE_S) -> list[Reply]:
        """Ask until an answer fits; all of them."""
        found: list[Reply] = []
        for _ in range(int(PATIENCE_S / pace_s)):
            found.append(self.ask())
            if wanted(found[-1]):
                return found
            NEVER.wait(pace_s)
        raise AssertionError(f"no such answer in {len(found)}: {Counter(each.status for each in found)}")

    def set_health(self, name: str, status: int) -> None:
        """Change what a server's checks get, and wait until that is known: the second check comes an interval
        after the first one was answered."""
        self[name].health = answering(status)
        self[name].wait_for_checks(2, PATIENCE_S)

    def received(self) -> dict[str, int]:
        """Requests by server."""
        return {name: len(each.requests) for name, each in self.servers.items()}


Urls = Mapping[str, str]
Play = Callable[[Side], object]


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        name: unique; its routers, services and middlewares are named after it.
        servers: names of its servers.
        http: from their URLs to ``services`` and ``middlewares`` and the like; the service ``main`` is asked.
        play: what happens.
        expected: what has to come of it.
        theirs: what comes of it with Traefik, where a known difference says that it is something else.
        difference: the name of that one.
    """

    name: str
    servers: tuple[str, ...]
    http: Callable[[Urls], dict[str, Any]]
    play: Play
    expected: object
    middlewares: tuple[dict[str, Any], ...] = field(default=())
    theirs: object = None
    difference: str = ""


def balancer(urls: Urls, *names: str, **options: Any) -> dict[str, Any]:
    """A loadBalancer over servers."""
    return {"loadBalancer": {"servers": [{"url": urls[name]} for name in names], **options}}


def over(*names: str, **options: Any) -> Callable[[Urls], dict[str, Any]]:
    """One loadBalancer, the service ``main``."""
    return lambda urls: {"services": {"main": balancer(urls, *names, **options)}}


def runs(values: Iterable[object]) -> list[object]:
    """The values without immediate repetitions."""
    return [value for value, _ in groupby(values)]


# --- health


def _flap(side: Side) -> object:
    before = side.servers_of(9)
    side.set_health("b", 500)
    without = side.servers_of(9)
    side.set_health("b", 200)
    again = side.servers_of(9)
    for name in "abc":
        side[name].health = answering(503)
    for name in "abc":
        side[name].wait_for_checks(2, PATIENCE_S)
    none = side.ask()
    side.set_health("c", 204)
    return before, without, again, (none.status, none.content), side.servers_of(3)


def _grpc(side: Side) -> object:
    seen = [side.ask().status]
    for state, grpc_status in ((NOT_SERVING, 0), (SERVING, 0), (None, 12), (SERVING, 0), (SERVING, 13)):
        side.grpc.state, side.grpc.grpc_status = state, grpc_status
        side.grpc.wait_for_calls(2, PATIENCE_S)
        seen.append(side.ask().status)
    return seen


def _slow_and_reset_checks(side: Side) -> object:
    before = side.servers_of(6)
    side["a"].health = slow(3.0, GOOD)
    side["b"].health = resetting()
    side["b"].wait_for_checks(3, PATIENCE_S)
    found = side.until(lambda reply: reply.server == "c" and side.servers_of(6) == {"c"})
    return before, found[-1].status


def _passive(side: Side) -> object:
    side["a"].act = FAIL
    first = Counter(side.statuses(12))
    received = side["a"].requests
    side["a"].act = GOOD
    back = side.until(lambda reply: reply.server == "a")
    return first, len(received), {each.status for each in back}, side.servers_of(4)


def _passive_reset(side: Side) -> object:
    side["a"].act = one_by_one(*[FAIL, GOOD] * 6)
    return Counter(side.statuses(12)), side.received()


def _passive_and_active(side: Side) -> object:
    """A server that passes its checks is back long before the failure window ends."""
    side["a"].act = FAIL
    failures = [side.until(lambda reply: reply.status == 500)[-1].content for _ in range(3)]
    side["a"].health = FAIL
    side["a"].wait_for_checks(2, PATIENCE_S)
    return failures, side.servers_of(6)


def _passive_dead(side: Side) -> object:
    return Counter(side.statuses(12))


# --- retry


def _tries(method: str, *acts: Any, body: bytes | None = None) -> Play:
    def play(side: Side) -> object:
        if acts:
            side["a"].act = one_by_one(*acts)
        reply = side.ask(method, body=body)
        bodies = {bytes(each.body.content) for each in side["a"].requests}
        return reply.status, len(side["a"].requests), bodies == {body or b""}

    return play


def _connections_of_tries(side: Side) -> object:
    """Answers that are tried again are read over: their connection serves the next try."""
    before = side.statuses(4), side["a"].connections
    side["a"].act = FAIL
    return *before, side.ask().status, side["a"].connections


def _on_a_kept_connection(method: str, *acts: Any, **options: Any) -> Play:
    """The first exchange is a good one; what the second one meets, it meets on the same connection."""

    def play(side: Side) -> object:
        side["a"].act = one_by_one(GOOD, *acts)
        first = side.ask()
        return first.status, side.ask(method, **options).status, len(side["a"].requests)

    return play


def _retry(**options: Any) -> tuple[dict[str, Any], ...]:
    return ({"retry": options},)


# --- breaker


def _breaker(expression: str, **options: Any) -> tuple[dict[str, Any], ...]:
    return (
        {
            "circuitBreaker": {
                "expression": expression,
                "checkPeriod": "5ms",
                "fallbackDuration": "1s",
                "recoveryDuration": "1s",
                **options,
            }
        },
    )


def _paced(side: Side, count: int) -> list[int]:
    statuses = []
    for _ in range(count):
        statuses.append(side.ask().status)
        NEVER.wait(PACE_S)
    return statuses


def _burst(side: Side) -> object:
    """4 of 10 good ones and 4 bad ones are not over 0.3; the fifth bad one is."""
    good = _paced(side, 10)
    side["a"].act = FAIL
    opening = _paced(side, 8)
    opened = side.ask()
    reached = len(side["a"].requests)
    side["a"].act = GOOD
    recovering = side.until(lambda reply: reply.status == 200)
    # Until a row of answers is longer than any that half the requests could make by chance.
    side.until(lambda reply: all(status == 200 for status in side.statuses(30)))
    return good, opening, opened.content, reached, runs(each.status for each in recovering)


def _trips_again(side: Side) -> object:
    side["a"].act = FAIL
    seen = side.until(lambda reply: reply.status == 500)
    seen += side.until(lambda reply: reply.status == 503)
    seen += side.until(lambda reply: reply.status == 500)
    seen += side.until(lambda reply: reply.status == 503)
    return runs(each.status for each in seen), len(side["a"].requests)


def _opens_after(act: Any) -> Play:
    def play(side: Side) -> object:
        if act is not None:
            side["a"].act = act
        return _paced(side, 4)

    return play


# --- sticky


def _sticky(side: Side) -> object:
    first = side.ask()
    cookie = first.cookies[0]
    home = first.server or ""
    value = cookie.partition(";")[0].partition("=")[2]
    named = hashlib.sha256(side[home].url.encode()).hexdigest()[:16] == value
    kept = [side.ask(fields=[("Cookie", f"lb={value}")]) for _ in range(6)]
    side.set_health(home, 500)
    moved = side.ask(fields=[("Cookie", f"lb={value}")])
    second = moved.cookies[0].partition(";")[0].partition("=")[2]
    side.set_health(home, 200)
    stays = [side.ask(fields=[("Cookie", f"lb={second}")]).server for _ in range(6)]
    old = side.ask(fields=[("Cookie", f"lb={value}")])
    unknown = side.ask(fields=[("Cookie", "lb=nobody")])
    return (
        cookie.replace(value, "VALUE"),
        named,
        {(each.server == home, each.cookies) for each in kept},
        moved.server != home,
        len(moved.cookies),
        set(stays) == {moved.server},
        (old.server == home, old.cookies),
        len(unknown.cookies),
    )


def _sticky_levels(side: Side) -> object:
    first = side.ask()
    pairs = [each.partition(";")[0] for each in first.cookies]
    same = {side.ask(fields=[("Cookie", "; ".join(pairs))]).server for _ in range(8)}
    return sorted(pair.partition("=")[0] for pair in pairs), same == {first.server}


# --- services over services


def _failover(side: Side) -> object:
    seen = [side.servers_of(3)]
    side.set_health("a", 500)
    seen.append(side.servers_of(3))
    side.set_health("b", 500)
    down = side.ask()
    side.set_health("b", 200)
    seen.append(side.servers_of(3))
    side.set_health("a", 200)
    seen.append(side.servers_of(3))
    return seen, (down.status, down.content)


def _failover_by_status(side: Side) -> object:
    good = side.ask()
    side["a"].act = FAIL
    failed = side.ask("POST", body=b"order")
    too_large = side.ask("POST", body=b"x" * 200)
    return good.server, (failed.status, failed.server), (too_large.status, too_large.content), side.received()


def _weighted(side: Side) -> object:
    before = Counter(side.ask().server for _ in range(40))
    side.set_health("a", 500)
    without = Counter(side.ask().server for _ in range(8))
    side.set_health("b", 500)
    none = side.ask()
    side.set_health("a", 200)
    return before, without, (none.status, none.content), side.servers_of(4)


def _mirroring(side: Side) -> object:
    got = Counter(side.ask().server for _ in range(20))
    side["always"].wait_for_requests(20)
    posted = side.ask("POST", body=b"12345")
    side["always"].wait_for_requests(21)
    side["always"].act = FAIL
    large = side.ask("POST", body=b"123456")
    last = side.ask()
    requests = side["always"].wait_for_requests(22)
    half = side["half"].wait_for_requests(12)
    return (
        got,
        [(each.method, bytes(each.body.content)) for each in requests[19:]],
        len(half),
        [posted.status, large.status, last.status],
    )


def _mirrored_failure(side: Side) -> object:
    side["a"].act = one_by_one(FAIL, resetting(), GOOD)
    statuses = side.statuses(3, "PUT", body=b"x")
    return statuses, [each.method for each in side["copy"].wait_for_requests(3)]


def _highest_random_weight(side: Side) -> object:
    (home,) = side.servers_of(6)
    side.set_health(home or "", 500)
    (other,) = side.servers_of(6)
    side.set_health(home or "", 200)
    return other != home, side.servers_of(6) == {home}


def _least_time(side: Side) -> object:
    side["a"].act = slow(0.1, GOOD)
    return Counter(side.statuses(20)), side.received()["a"] <= 2


def _by_weight(side: Side) -> object:
    return Counter(side.ask().server for _ in range(60))


# --- single exchanges


def _cut(data: bytes, *, ending: Callable[[bytes], Any]) -> Play:
    def play(side: Side) -> object:
        side["a"].act = one_by_one(ending(data), GOOD)
        cut = side.ask()
        is_head_there = cut.status == 200
        return cut.is_cut, is_head_there, side.ask().status, side.received()

    return play


def _errors_pass(side: Side) -> object:
    statuses = (500, 502, 503, 504, 599, 200)
    side["a"].act = one_by_one(*(answering(status, b"mine") for status in statuses))
    return [(reply.status, reply.content) for reply in (side.ask() for _ in statuses)]


def _one_answer(act: Any = None) -> Play:
    def play(side: Side) -> object:
        if act is not None:
            side["a"].act = act
        reply = side.ask()
        return reply.status, reply.content

    return play


# --- limits


def _in_flight(side: Side) -> object:
    release = threading.Event()
    side["a"].act = held(release)
    try:
        waiting = [side.send() for _ in range(2)]
        side["a"].wait_for_requests(2)
        refused = side.ask()
    finally:
        release.set()
    served = [link.receive().status for link in waiting]
    after = side.until(lambda reply: reply.status == 200)
    return (refused.status, refused.content), served, after[-1].status


def _rate(side: Side) -> object:
    statuses = side.statuses(8)
    refused = side.ask()
    other = side.statuses(6, fields=[("X-Client", "other")])
    return (
        statuses,
        (refused.status, refused.content, {"retry-after", "x-retry-in"} <= refused.fields),
        other,
        side.received(),
    )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "flapping",
        ("a", "b", "c"),
        over("a", "b", "c", **CHECK),
        _flap,
        ({"a", "b", "c"}, {"a", "c"}, {"a", "b", "c"}, (503, b"no available server\n"), {"c"}),
    ),
    Scenario(
        "grpc-checks",
        ("a",),
        over("a", healthCheck={"mode": "grpc", "interval": INTERVAL, "timeout": "2s", "port": GRPC_PORT}),
        _grpc,
        [200, 503, 200, 503, 200, 503],
    ),
    Scenario(
        "odd-checks",
        ("a", "b", "c"),
        over("a", "b", "c", healthCheck={"path": "/health", "interval": INTERVAL, "timeout": "500ms"}),
        _slow_and_reset_checks,
        ({"a", "b", "c"}, 200),
    ),
    Scenario(
        "passive",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "2s"}),
        _passive,
        (Counter({200: 10, 500: 2}), 2, {200}, {"a", "b"}),
    ),
    Scenario(
        "passive-forgets",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "5s"}),
        _passive_reset,
        (Counter({200: 9, 500: 3}), {"a": 6, "b": 6}),
    ),
    Scenario(
        "passive-and-active",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 1, "failureWindow": "60s"}, **CHECK),
        _passive_and_active,
        ([b"failed"] * 3, {"b"}),
    ),
    Scenario(
        "passive-dead",
        ("a",),
        over("a", DEAD, passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "20s"}),
        _passive_dead,
        Counter({200: 10, 502: 2}),
    ),
    Scenario(
        "retry-dead",
        ("a",),
        over("a", DEAD),
        lambda side: (side.statuses(10, "POST", body=b"x"), side.received()),
        ([200] * 10, {"a": 10}),
        _retry(attempts=2),
    ),
    Scenario(
        "retry-dead-disabled",
        ("a",),
        over("a", DEAD),
        lambda side: Counter(side.statuses(10)),
        Counter({404: 10}),  # nothing is left to retry: that disables the router
        _retry(attempts=2, disableRetryOnNetworkError=True),
    ),
    Scenario("retry-all-dead", (), over(DEAD), lambda side: side.statuses(2), [502, 502], _retry(attempts=3)),
    Scenario(
        "retry-status",
        ("a",),
        over("a"),
        _tries("GET", FAIL, FAIL, GOOD),
        (200, 3, True),
        _retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-status-last",
        ("a",),
        over("a"),
        _tries("PUT", FAIL, body=b"order"),
        (500, 3, True),
        _retry(attempts=3, status=["500"]),
    ),
    Scenario(
        "retry-status-other",
        ("a",),
        over("a"),
        _tries("GET", FAIL),
        (500, 1, True),
        _retry(attempts=3, status=["501-599"]),
    ),
    Scenario(
        "retry-status-post",
        ("a",),
        over("a"),
        _tries("POST", FAIL, body=b"order"),
        (500, 1, True),
        _retry(attempts=3, status=["500"]),
    ),
    Scenario(
        "retry-status-post-too",
        ("a",),
        over("a"),
        _tries("POST", FAIL, FAIL, GOOD, body=b"order"),
        (200, 3, True),
        _retry(attempts=3, status=["500"], retryNonIdempotentMethod=True),
    ),
    Scenario(
        "retry-large-body",
        ("a",),
        over("a"),
        _tries("PUT", FAIL, GOOD, body=b"x" * 20),
        (500, 1, True),
        _retry(attempts=3, status=["500"], maxRequestBodyBytes=10),
    ),
    Scenario(
        "retry-reset",
        ("a",),
        over("a"),
        _tries("POST", resetting(), GOOD, body=b"order"),
        (502, 1, True),
        _retry(attempts=3),
    ),
    Scenario(
        "retry-reset-status",
        ("a",),
        over("a"),
        _tries("GET", resetting(), closing(), GOOD),
        (200, 3, True),
        _retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-reset-status-post",
        ("a",),
        over("a"),
        _tries("POST", resetting(), GOOD, body=b"order"),
        (502, 1, True),
        _retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-connections",
        ("a",),
        over("a"),
        _connections_of_tries,
        ([200] * 4, 1, 500, 1),
        _retry(attempts=3, status=["500"]),
    ),
    Scenario("kept-get", ("a",), over("a"), _on_a_kept_connection("GET", resetting(), GOOD), (200, 200, 3)),
    Scenario(
        "kept-get-twice", ("a",), over("a"), _on_a_kept_connection("GET", closing(), closing()), (200, 502, 3)
    ),
    Scenario(
        "kept-post",
        ("a",),
        over("a"),
        _on_a_kept_connection("POST", resetting(), GOOD, body=b"order"),
        (200, 502, 2),
    ),
    Scenario(
        "kept-put",
        ("a",),
        over("a"),
        _on_a_kept_connection("PUT", closing(), GOOD, body=b"order"),
        (200, 502, 2),
    ),
    Scenario(
        "kept-post-key",
        ("a",),
        over("a"),
        _on_a_kept_connection("POST", closing(), GOOD, fields=[("Idempotency-Key", "1")]),
        (200, 502, 2),
        theirs=(200, 200, 3),
        difference="idempotency-key",
    ),
    Scenario(
        "retry-another",
        ("a", "b"),
        over("a", "b"),
        lambda side: (setattr(side["a"], "act", FAIL), side.statuses(10))[1],
        [200] * 10,
        _retry(attempts=2, status=["500"]),
    ),
    Scenario(
        "breaker-burst",
        ("a",),
        over("a"),
        _burst,
        (
            [200] * 10,
            [500] * 5 + [503] * 3,
            b"Service Unavailable",
            15,
            [503, 200],
        ),
        _breaker("ResponseCodeRatio(500, 600, 0, 600) > 0.3"),
    ),
    Scenario(
        "breaker-again",
        ("a",),
        over("a"),
        _trips_again,
        ([500, 503, 500, 503], 2),
        _breaker("ResponseCodeRatio(500, 600, 0, 600) > 0.3", recoveryDuration="5s"),
    ),
    Scenario(
        "breaker-network",
        ("a",),
        over("a"),
        _opens_after(resetting()),
        [502, 429, 429, 429],
        _breaker("NetworkErrorRatio() > 0.5", fallbackDuration="20s", responseCode=429),
    ),
    Scenario(
        "breaker-dead",
        (),
        over(DEAD),
        _opens_after(None),
        [502, 503, 503, 503],
        _breaker("NetworkErrorRatio() > 0.5", fallbackDuration="20s"),
    ),
    Scenario(
        "breaker-latency",
        ("a",),
        over("a"),
        _opens_after(slow(0.15, GOOD)),
        [200, 503, 503, 503],
        _breaker("LatencyAtQuantileMS(50.0) > 50", fallbackDuration="20s"),
    ),
    Scenario(
        "sticky",
        ("a", "b", "c"),
        over("a", "b", "c", sticky={"cookie": {"name": "lb", "httpOnly": True, "sameSite": "lax"}}, **CHECK),
        _sticky,
        (
            "lb=VALUE; Path=/; HttpOnly; SameSite=Lax",
            True,
            {(True, ())},
            True,
            1,
            True,
            (True, ()),
            1,
        ),
    ),
    Scenario(
        "sticky-levels",
        ("a", "b", "c", "d"),
        lambda urls: {
            "services": {
                "main": {
                    "weighted": {
                        "services": [{"name": "one", "weight": 1}, {"name": "two", "weight": 1}],
                        "sticky": {"cookie": {"name": "outer"}},
                    }
                },
                "one": balancer(urls, "a", "b", sticky={"cookie": {"name": "inner"}}),
                "two": balancer(urls, "c", "d", sticky={"cookie": {"name": "inner"}}),
            }
        },
        _sticky_levels,
        (["inner", "outer"], True),
    ),
    Scenario(
        "failover",
        ("a", "b"),
        lambda urls: {
            "services": {
                "main": {"failover": {"service": "one", "fallback": "two", "healthCheck": {}}},
                "one": balancer(urls, "a", **CHECK),
                "two": balancer(urls, "b", **CHECK),
            }
        },
        _failover,
        ([{"a"}, {"b"}, {"b"}, {"a"}], (503, b"Service Unavailable\n")),
    ),
    Scenario(
        "failover-status",
        ("a", "b"),
        lambda urls: {
            "services": {
                "main": {
                    "failover": {
                        "service": "one",
                        "fallback": "two",
                        "errors": {"status": ["500-504"], "maxRequestBodyBytes": 100},
                    }
                },
                "one": balancer(urls, "a"),
                "two": balancer(urls, "b"),
            }
        },
        _failover_by_status,
        ("a", (200, "b"), (413, b"Request body too large\n"), {"a": 2, "b": 1}),
    ),
    Scenario(
        "weighted",
        ("a", "b"),
        lambda urls: {
            "services": {
                "main": {
                    "weighted": {
                        "services": [{"name": "one", "weight": 3}, {"name": "two", "weight": 1}],
                        "healthCheck": {},
                    }
                },
                "one": balancer(urls, "a", **CHECK),
                "two": balancer(urls, "b", **CHECK),
            }
        },
        _weighted,
        (Counter({"a": 30, "b": 10}), Counter({"b": 8}), (503, b"no available server\n"), {"a"}),
    ),
    Scenario(
        "mirroring",
        ("a", "half", "always"),
        lambda urls: {
            "services": {
                "main": {
                    "mirroring": {
                        "service": "one",
                        "maxBodySize": 5,
                        "mirrors": [{"name": "two", "percent": 50}, {"name": "three", "percent": 100}],
                    }
                },
                "one": balancer(urls, "a"),
                "two": balancer(urls, "half"),
                "three": balancer(urls, "always"),
            }
        },
        _mirroring,
        (
            Counter({"a": 20}),
            [("GET", b""), ("POST", b"12345"), ("GET", b"")],
            12,
            [200, 200, 200],
        ),
    ),
    Scenario(
        "mirrored-failure",
        ("a", "copy"),
        lambda urls: {
            "services": {
                "main": {"mirroring": {"service": "one", "mirrors": [{"name": "two", "percent": 100}]}},
                "one": balancer(urls, "a"),
                "two": balancer(urls, "copy"),
            }
        },
        _mirrored_failure,
        ([500, 502, 200], ["PUT"] * 3),
    ),
    Scenario(
        "two-choices",
        ("a", "b"),
        over("a", "b", strategy="p2c"),
        lambda side: side.servers_of(40),
        {"a", "b"},
    ),
    Scenario(
        "highest-random-weight",
        ("a", "b", "c"),
        over("a", "b", "c", strategy="hrw", **CHECK),
        _highest_random_weight,
        (True, True),
    ),
    Scenario(
        "least-time",
        ("a", "b"),
        over("a", "b", strategy="leasttime"),
        _least_time,
        (Counter({200: 20}), True),
    ),
    Scenario(
        "server-weights",
        ("a", "b", "c"),
        lambda urls: {
            "services": {
                "main": {
                    "loadBalancer": {
                        "servers": [
                            {"url": urls["a"], "weight": 3},
                            {"url": urls["b"], "weight": 2},
                            {"url": urls["c"], "weight": 1},
                        ]
                    }
                }
            }
        },
        _by_weight,
        Counter({"a": 30, "b": 20, "c": 10}),
    ),
    Scenario(
        "errors-pass", ("a",), over("a"), _errors_pass, [(s, b"mine") for s in (500, 502, 503, 504, 599, 200)]
    ),
    Scenario("dead", (), over(DEAD), _one_answer(), (502, b"Bad Gateway")),
    Scenario("no-server", (), over(), _one_answer(), (503, b"no available server\n")),
    Scenario("reset", ("a",), over("a"), _one_answer(resetting()), (502, b"Bad Gateway")),
    Scenario("closed", ("a",), over("a"), _one_answer(closing()), (502, b"Bad Gateway")),
    Scenario(
        "garbage",
        ("a",),
        over("a"),
        _one_answer(closing(b"not http\r\n\r\n")),
        (502, b"Bad Gateway"),
        theirs=(500, b"Internal Server Error"),
        difference="malformed-answer",
    ),
    Scenario(
        "half-head",
        ("a",),
        over("a"),
        _one_answer(closing(b"HTTP/1.1 200 OK\r\nX-A: ")),
        (502, b"Bad Gateway"),
        theirs=(500, b"Internal Server Error"),
        difference="malformed-answer",
    ),
    Scenario("slow", ("a",), over("a"), _one_answer(slow(0.3, GOOD)), (200, b"ok")),
    Scenario(
        "too-slow",
        ("a",),
        lambda urls: {
            "services": {"main": balancer(urls, "a", serversTransport="impatient")},
            "serversTransports": {"impatient": {"forwardingTimeouts": {"responseHeaderTimeout": "200ms"}}},
        },
        _one_answer(slow(2.0, GOOD)),
        (504, b"Gateway Timeout"),
    ),
    Scenario(
        "cut-by-reset",
        ("a",),
        over("a"),
        _cut(PART, ending=resetting),
        (True, True, 200, {"a": 2}),
        theirs=(True, False, 200, {"a": 2}),
        difference="cut-head",
    ),
    Scenario(
        "cut-by-close",
        ("a",),
        over("a"),
        _cut(PART, ending=closing),
        (True, True, 200, {"a": 2}),
        theirs=(True, False, 200, {"a": 2}),
        difference="cut-head",
    ),
    Scenario(
        "cut-chunks", ("a",), over("a"), _cut(CHUNKED_PART, ending=resetting), (True, True, 200, {"a": 2})
    ),
    Scenario(
        "chunks-without-end",
        ("a",),
        over("a"),
        _cut(CHUNKED_PART, ending=closing),
        (True, True, 200, {"a": 2}),
    ),
    Scenario(
        "in-flight",
        ("a",),
        over("a"),
        _in_flight,
        ((429, b"max connections reached: 2"), [200, 200], 200),
        ({"inFlightReq": {"amount": 2}},),
    ),
    Scenario(
        "rate",
        ("a",),
        over("a"),
        _rate,
        (
            [200] * 5 + [429] * 3,
            (429, b"Too Many Requests", True),
            [200] * 5 + [429],
            {"a": 10},
        ),
        (
            {
                "rateLimit": {
                    "average": 1,
                    "period": "1m",
                    "burst": 5,
                    "sourceCriterion": {"requestHeaderName": "X-Client"},
                }
            },
        ),
    ),
)

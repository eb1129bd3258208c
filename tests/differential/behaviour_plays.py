"""What happens in the scenarios of ``behaviours``, step by step, and what of it is worth comparing."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.differential.behaviour_side import (
    FAIL,
    GOOD,
    PACE_S,
    PATIENCE_S,
    Play,
    Side,
    runs,
)
from tests.support.grpc_health import NOT_SERVING, SERVING
from tests.support.scripted_upstream import (
    NEVER,
    answering,
    held,
    one_by_one,
    resetting,
    slow,
)

# --- health


def flap(side: Side) -> object:
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


def grpc_checks(side: Side) -> object:
    seen = [side.ask().status]
    for state, grpc_status in ((NOT_SERVING, 0), (SERVING, 0), (None, 12), (SERVING, 0), (SERVING, 13)):
        side.grpc.state, side.grpc.grpc_status = state, grpc_status
        side.grpc.wait_for_calls(2, PATIENCE_S)
        seen.append(side.ask().status)
    return seen


def slow_and_reset_checks(side: Side) -> object:
    before = side.servers_of(6)
    side["a"].health = slow(3.0, GOOD)
    side["b"].health = resetting()
    side["b"].wait_for_checks(3, PATIENCE_S)
    found = side.until(lambda reply: reply.server == "c" and side.servers_of(6) == {"c"})
    return before, found[-1].status


def passive(side: Side) -> object:
    side["a"].act = FAIL
    first = Counter(side.statuses(12))
    received = side["a"].requests
    side["a"].act = GOOD
    back = side.until(lambda reply: reply.server == "a")
    return first, len(received), {each.status for each in back}, side.servers_of(4)


def passive_reset(side: Side) -> object:
    side["a"].act = one_by_one(*[FAIL, GOOD] * 6)
    return Counter(side.statuses(12)), side.received()


def passive_and_active(side: Side) -> object:
    """A server that passes its checks is back long before the failure window ends."""
    side["a"].act = FAIL
    failures = [side.until(lambda reply: reply.status == 500)[-1].content for _ in range(3)]
    side["a"].health = FAIL
    side["a"].wait_for_checks(2, PATIENCE_S)
    return failures, side.servers_of(6)


def passive_dead(side: Side) -> object:
    return Counter(side.statuses(12))


# --- retry


def tries(method: str, *acts: Any, body: bytes | None = None) -> Play:
    def play(side: Side) -> object:
        if acts:
            side["a"].act = one_by_one(*acts)
        reply = side.ask(method, body=body)
        bodies = {bytes(each.body.content) for each in side["a"].requests}
        return reply.status, len(side["a"].requests), bodies == {body or b""}

    return play


def connections_of_tries(side: Side) -> object:
    """Answers that are tried again are read over: their connection serves the next try."""
    before = side.statuses(4), side["a"].connections
    side["a"].act = FAIL
    return *before, side.ask().status, side["a"].connections


def on_a_kept_connection(method: str, *acts: Any, **options: Any) -> Play:
    """The first exchange is a good one; what the second one meets, it meets on the same connection."""

    def play(side: Side) -> object:
        side["a"].act = one_by_one(GOOD, *acts)
        first = side.ask()
        return first.status, side.ask(method, **options).status, len(side["a"].requests)

    return play


def retry(**options: Any) -> tuple[dict[str, Any], ...]:
    return ({"retry": options},)


# --- breaker


def breaker(expression: str, **options: Any) -> tuple[dict[str, Any], ...]:
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


def paced(side: Side, count: int) -> list[int]:
    statuses = []
    for _ in range(count):
        statuses.append(side.ask().status)
        NEVER.wait(PACE_S)
    return statuses


def burst(side: Side) -> object:
    """4 of 10 good ones and 4 bad ones are not over 0.3; the fifth bad one is."""
    good = paced(side, 10)
    side["a"].act = FAIL
    opening = paced(side, 8)
    opened = side.ask()
    reached = len(side["a"].requests)
    side["a"].act = GOOD
    recovering = side.until(lambda reply: reply.status == 200)
    # Until a row of answers is longer than any that half the requests could make by chance.
    side.until(lambda reply: all(status == 200 for status in side.statuses(30)))
    return good, opening, opened.content, reached, runs(each.status for each in recovering)


def trips_again(side: Side) -> object:
    side["a"].act = FAIL
    seen = side.until(lambda reply: reply.status == 500)
    seen += side.until(lambda reply: reply.status == 503)
    seen += side.until(lambda reply: reply.status == 500)
    seen += side.until(lambda reply: reply.status == 503)
    return runs(each.status for each in seen), len(side["a"].requests)


def opens_after(act: Any) -> Play:
    def play(side: Side) -> object:
        if act is not None:
            side["a"].act = act
        return paced(side, 4)

    return play


# --- sticky


def sticky_sessions(side: Side) -> object:
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


def sticky_levels(side: Side) -> object:
    first = side.ask()
    pairs = [each.partition(";")[0] for each in first.cookies]
    same = {side.ask(fields=[("Cookie", "; ".join(pairs))]).server for _ in range(8)}
    return sorted(pair.partition("=")[0] for pair in pairs), same == {first.server}


# --- services over services


def failover(side: Side) -> object:
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


def failover_by_status(side: Side) -> object:
    good = side.ask()
    side["a"].act = FAIL
    failed = side.ask("POST", body=b"order")
    too_large = side.ask("POST", body=b"x" * 200)
    return good.server, (failed.status, failed.server), (too_large.status, too_large.content), side.received()


def weighted(side: Side) -> object:
    before = Counter(side.ask().server for _ in range(40))
    side.set_health("a", 500)
    without = Counter(side.ask().server for _ in range(8))
    side.set_health("b", 500)
    none = side.ask()
    side.set_health("a", 200)
    return before, without, (none.status, none.content), side.servers_of(4)


def mirroring(side: Side) -> object:
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


def mirrored_failure(side: Side) -> object:
    side["a"].act = one_by_one(FAIL, resetting(), GOOD)
    statuses = side.statuses(3, "PUT", body=b"x")
    return statuses, [each.method for each in side["copy"].wait_for_requests(3)]


def highest_random_weight(side: Side) -> object:
    (home,) = side.servers_of(6)
    side.set_health(home or "", 500)
    (other,) = side.servers_of(6)
    side.set_health(home or "", 200)
    return other != home, side.servers_of(6) == {home}


def least_time(side: Side) -> object:
    side["a"].act = slow(0.1, GOOD)
    return Counter(side.statuses(20)), side.received()["a"] <= 2


def by_weight(side: Side) -> object:
    return Counter(side.ask().server for _ in range(60))


# --- single exchanges


def cut_answer(data: bytes, *, ending: Callable[[bytes], Any]) -> Play:
    def play(side: Side) -> object:
        side["a"].act = one_by_one(ending(data), GOOD)
        cut = side.ask()
        is_head_there = cut.status == 200
        return cut.is_cut, is_head_there, side.ask().status, side.received()

    return play


def errors_pass(side: Side) -> object:
    statuses = (500, 502, 503, 504, 599, 200)
    side["a"].act = one_by_one(*(answering(status, b"mine") for status in statuses))
    return [(reply.status, reply.content) for reply in (side.ask() for _ in statuses)]


def one_answer(act: Any = None) -> Play:
    def play(side: Side) -> object:
        if act is not None:
            side["a"].act = act
        reply = side.ask()
        return reply.status, reply.content

    return play


# --- limits


def in_flight(side: Side) -> object:
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


def rate(side: Side) -> object:
    statuses = side.statuses(8)
    refused = side.ask()
    other = side.statuses(6, fields=[("X-Client", "other")])
    return (
        statuses,
        (refused.status, refused.content, {"retry-after", "x-retry-in"} <= refused.fields),
        other,
        side.received(),
    )

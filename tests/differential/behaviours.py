"""Scenarios with servers that misbehave: a configuration, what happens, and what has to come of it.

A scenario plays against one proxy and its own servers, and returns what was seen as plain data. What Traefik
leaves to chance or to time (which server is first, how often a breaker looks) is not in that data: sets,
counts, and sequences without repetitions are.
"""

from __future__ import annotations

from collections import Counter

from tests.differential.behaviour_plays import (
    breaker,
    burst,
    by_weight,
    connections_of_tries,
    cut_answer,
    errors_pass,
    failover,
    failover_by_status,
    flap,
    grpc_checks,
    highest_random_weight,
    in_flight,
    least_time,
    mirrored_failure,
    mirroring,
    on_a_kept_connection,
    one_answer,
    opens_after,
    passive,
    passive_and_active,
    passive_dead,
    passive_reset,
    rate,
    retry,
    slow_and_reset_checks,
    sticky_levels,
    sticky_sessions,
    tries,
    trips_again,
    weighted,
)
from tests.differential.behaviour_side import (
    CHECK,
    CHUNKED_PART,
    DEAD,
    FAIL,
    GOOD,
    GRPC_PORT,
    INTERVAL,
    PART,
    Scenario,
    balancer,
    over,
)
from tests.support.scripted_upstream import (
    closing,
    resetting,
    slow,
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "flapping",
        ("a", "b", "c"),
        over("a", "b", "c", **CHECK),
        flap,
        ({"a", "b", "c"}, {"a", "c"}, {"a", "b", "c"}, (503, b"no available server\n"), {"c"}),
    ),
    Scenario(
        "grpc-checks",
        ("a",),
        over("a", healthCheck={"mode": "grpc", "interval": INTERVAL, "timeout": "2s", "port": GRPC_PORT}),
        grpc_checks,
        [200, 503, 200, 503, 200, 503],
    ),
    Scenario(
        "odd-checks",
        ("a", "b", "c"),
        over("a", "b", "c", healthCheck={"path": "/health", "interval": INTERVAL, "timeout": "500ms"}),
        slow_and_reset_checks,
        ({"a", "b", "c"}, 200),
    ),
    Scenario(
        "passive",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "2s"}),
        passive,
        (Counter({200: 10, 500: 2}), 2, {200}, {"a", "b"}),
    ),
    Scenario(
        "passive-forgets",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "5s"}),
        passive_reset,
        (Counter({200: 9, 500: 3}), {"a": 6, "b": 6}),
    ),
    Scenario(
        "passive-and-active",
        ("a", "b"),
        over("a", "b", passiveHealthCheck={"maxFailedAttempts": 1, "failureWindow": "60s"}, **CHECK),
        passive_and_active,
        ([b"failed"] * 3, {"b"}),
    ),
    Scenario(
        "passive-dead",
        ("a",),
        over("a", DEAD, passiveHealthCheck={"maxFailedAttempts": 2, "failureWindow": "20s"}),
        passive_dead,
        Counter({200: 10, 502: 2}),
    ),
    Scenario(
        "retry-dead",
        ("a",),
        over("a", DEAD),
        lambda side: (side.statuses(10, "POST", body=b"x"), side.received()),
        ([200] * 10, {"a": 10}),
        retry(attempts=2),
    ),
    Scenario(
        "retry-dead-disabled",
        ("a",),
        over("a", DEAD),
        lambda side: Counter(side.statuses(10)),
        Counter({404: 10}),  # nothing is left to retry: that disables the router
        retry(attempts=2, disableRetryOnNetworkError=True),
    ),
    Scenario("retry-all-dead", (), over(DEAD), lambda side: side.statuses(2), [502, 502], retry(attempts=3)),
    Scenario(
        "retry-status",
        ("a",),
        over("a"),
        tries("GET", FAIL, FAIL, GOOD),
        (200, 3, True),
        retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-status-last",
        ("a",),
        over("a"),
        tries("PUT", FAIL, body=b"order"),
        (500, 3, True),
        retry(attempts=3, status=["500"]),
    ),
    Scenario(
        "retry-status-other",
        ("a",),
        over("a"),
        tries("GET", FAIL),
        (500, 1, True),
        retry(attempts=3, status=["501-599"]),
    ),
    Scenario(
        "retry-status-post",
        ("a",),
        over("a"),
        tries("POST", FAIL, body=b"order"),
        (500, 1, True),
        retry(attempts=3, status=["500"]),
    ),
    Scenario(
        "retry-status-post-too",
        ("a",),
        over("a"),
        tries("POST", FAIL, FAIL, GOOD, body=b"order"),
        (200, 3, True),
        retry(attempts=3, status=["500"], retryNonIdempotentMethod=True),
    ),
    Scenario(
        "retry-large-body",
        ("a",),
        over("a"),
        tries("PUT", FAIL, GOOD, body=b"x" * 20),
        (500, 1, True),
        retry(attempts=3, status=["500"], maxRequestBodyBytes=10),
    ),
    Scenario(
        "retry-reset",
        ("a",),
        over("a"),
        tries("POST", resetting(), GOOD, body=b"order"),
        (502, 1, True),
        retry(attempts=3),
    ),
    Scenario(
        "retry-reset-status",
        ("a",),
        over("a"),
        tries("GET", resetting(), closing(), GOOD),
        (200, 3, True),
        retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-reset-status-post",
        ("a",),
        over("a"),
        tries("POST", resetting(), GOOD, body=b"order"),
        (502, 1, True),
        retry(attempts=3, status=["500-599"]),
    ),
    Scenario(
        "retry-connections",
        ("a",),
        over("a"),
        connections_of_tries,
        ([200] * 4, 1, 500, 1),
        retry(attempts=3, status=["500"]),
    ),
    Scenario("kept-get", ("a",), over("a"), on_a_kept_connection("GET", resetting(), GOOD), (200, 200, 3)),
    Scenario(
        "kept-get-twice", ("a",), over("a"), on_a_kept_connection("GET", closing(), closing()), (200, 502, 3)
    ),
    Scenario(
        "kept-post",
        ("a",),
        over("a"),
        on_a_kept_connection("POST", resetting(), GOOD, body=b"order"),
        (200, 502, 2),
    ),
    Scenario(
        "kept-put",
        ("a",),
        over("a"),
        on_a_kept_connection("PUT", closing(), GOOD, body=b"order"),
        (200, 502, 2),
    ),
    Scenario(
        "kept-post-key",
        ("a",),
        over("a"),
        on_a_kept_connection("POST", closing(), GOOD, fields=[("Idempotency-Key", "1")]),
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
        retry(attempts=2, status=["500"]),
    ),
    Scenario(
        "breaker-burst",
        ("a",),
        over("a"),
        burst,
        (
            [200] * 10,
            [500] * 5 + [503] * 3,
            b"Service Unavailable",
            15,
            [503, 200],
        ),
        breaker("ResponseCodeRatio(500, 600, 0, 600) > 0.3"),
    ),
    Scenario(
        "breaker-again",
        ("a",),
        over("a"),
        trips_again,
        ([500, 503, 500, 503], 2),
        breaker("ResponseCodeRatio(500, 600, 0, 600) > 0.3", recoveryDuration="5s"),
    ),
    Scenario(
        "breaker-network",
        ("a",),
        over("a"),
        opens_after(resetting()),
        [502, 429, 429, 429],
        breaker("NetworkErrorRatio() > 0.5", fallbackDuration="20s", responseCode=429),
    ),
    Scenario(
        "breaker-dead",
        (),
        over(DEAD),
        opens_after(None),
        [502, 503, 503, 503],
        breaker("NetworkErrorRatio() > 0.5", fallbackDuration="20s"),
    ),
    Scenario(
        "breaker-latency",
        ("a",),
        over("a"),
        opens_after(slow(0.15, GOOD)),
        [200, 503, 503, 503],
        breaker("LatencyAtQuantileMS(50.0) > 50", fallbackDuration="20s"),
    ),
    Scenario(
        "sticky",
        ("a", "b", "c"),
        over("a", "b", "c", sticky={"cookie": {"name": "lb", "httpOnly": True, "sameSite": "lax"}}, **CHECK),
        sticky_sessions,
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
        sticky_levels,
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
        failover,
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
        failover_by_status,
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
        weighted,
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
        mirroring,
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
        mirrored_failure,
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
        highest_random_weight,
        (True, True),
    ),
    Scenario(
        "least-time",
        ("a", "b"),
        over("a", "b", strategy="leasttime"),
        least_time,
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
        by_weight,
        Counter({"a": 30, "b": 20, "c": 10}),
    ),
    Scenario(
        "errors-pass", ("a",), over("a"), errors_pass, [(s, b"mine") for s in (500, 502, 503, 504, 599, 200)]
    ),
    Scenario("dead", (), over(DEAD), one_answer(), (502, b"Bad Gateway")),
    Scenario("no-server", (), over(), one_answer(), (503, b"no available server\n")),
    Scenario("reset", ("a",), over("a"), one_answer(resetting()), (502, b"Bad Gateway")),
    Scenario("closed", ("a",), over("a"), one_answer(closing()), (502, b"Bad Gateway")),
    Scenario(
        "garbage",
        ("a",),
        over("a"),
        one_answer(closing(b"not http\r\n\r\n")),
        (502, b"Bad Gateway"),
        theirs=(500, b"Internal Server Error"),
        difference="malformed-answer",
    ),
    Scenario(
        "half-head",
        ("a",),
        over("a"),
        one_answer(closing(b"HTTP/1.1 200 OK\r\nX-A: ")),
        (502, b"Bad Gateway"),
        theirs=(500, b"Internal Server Error"),
        difference="malformed-answer",
    ),
    Scenario("slow", ("a",), over("a"), one_answer(slow(0.3, GOOD)), (200, b"ok")),
    Scenario(
        "too-slow",
        ("a",),
        lambda urls: {
            "services": {"main": balancer(urls, "a", serversTransport="impatient")},
            "serversTransports": {"impatient": {"forwardingTimeouts": {"responseHeaderTimeout": "200ms"}}},
        },
        one_answer(slow(2.0, GOOD)),
        (504, b"Gateway Timeout"),
    ),
    Scenario(
        "cut-by-reset",
        ("a",),
        over("a"),
        cut_answer(PART, ending=resetting),
        (True, True, 200, {"a": 2}),
        theirs=(True, False, 200, {"a": 2}),
        difference="cut-head",
    ),
    Scenario(
        "cut-by-close",
        ("a",),
        over("a"),
        cut_answer(PART, ending=closing),
        (True, True, 200, {"a": 2}),
        theirs=(True, False, 200, {"a": 2}),
        difference="cut-head",
    ),
    Scenario(
        "cut-chunks",
        ("a",),
        over("a"),
        cut_answer(CHUNKED_PART, ending=resetting),
        (True, True, 200, {"a": 2}),
    ),
    Scenario(
        "chunks-without-end",
        ("a",),
        over("a"),
        cut_answer(CHUNKED_PART, ending=closing),
        (True, True, 200, {"a": 2}),
    ),
    Scenario(
        "in-flight",
        ("a",),
        over("a"),
        in_flight,
        ((429, b"max connections reached: 2"), [200, 200], 200),
        ({"inFlightReq": {"amount": 2}},),
    ),
    Scenario(
        "rate",
        ("a",),
        over("a"),
        rate,
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

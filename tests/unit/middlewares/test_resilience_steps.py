"""circuitBreaker, retry, rateLimit and inFlightReq as steps: their vectors, alone and between workers."""

import functools

import msgspec
import pytest
import trio
import trio.testing

from shared.arena import Arena
from shared.config.checks import check_middleware
from shared.config.middlewares import Middleware, Retry
from shared.errors import ClientGone, ConfigError, ConnectFailed, ExchangeError, UpstreamGone
from shared.units import parse_duration
from tests.support.chains import make_exchange, no_file
from tests.support.vectors import vectors
from worker import replies
from worker.blocks import Blocks
from worker.messages import BytesBody, Response
from worker.middlewares.registry import build_step
from worker.middlewares.retry import RetryStep
from worker.middlewares.state import StepState
from worker.pipeline import compose


def in_trio(test):
    """Run an async test on a clock that jumps over waits."""

    @functools.wraps(test)
    def run_test(**arguments):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(functools.partial(test, **arguments), clock=clock)

    return run_test


def options_of(config):
    return check_middleware(msgspec.convert(with_seconds(config), Middleware), no_file, "m")


def with_seconds(value):
    """Durations as the dialects read them."""
    if isinstance(value, dict):
        return {key: with_seconds(each) for key, each in value.items()}
    is_duration = isinstance(value, str) and value.endswith("s") and value.strip("-s").isdigit()
    return parse_duration(value) if is_duration else value


class Upstream:
    """An endpoint that answers what its script says, as services do: failures become answers."""

    def __init__(self, *script):
        self.script = list(script) or ["200"]
        self.tries = 0
        self.paths = []
        self.bodies = []

    async def __call__(self, exchange):
        what = self.script[min(self.tries, len(self.script) - 1)]
        self.tries += 1
        self.paths.append(exchange.request.path)
        exchange.error = None
        failure = {"connrefused": ConnectFailed("refused"), "gone": UpstreamGone("cut")}.get(what)
        if failure is None or isinstance(failure, UpstreamGone):
            self.bodies.append(await read_all(exchange.request.body))
        if failure is not None:
            exchange.error = failure
            return replies.for_error(failure)
        return Response(int(what), body=BytesBody(what.encode()), from_upstream=True)


async def read_all(body):
    content = b""
    while chunk := await body.receive():
        content += chunk
    return content


class Chunks:
    """A body of unknown length, in pieces."""

    length = None
    trailers = None

    def __init__(self, *chunks):
        self.chunks = list(chunks)

    async def receive(self):
        return self.chunks.pop(0) if self.chunks else b""

    async def aclose(self):
        self.chunks.clear()


async def run(step, exchange, upstream):
    response = await compose([step], upstream)(exchange)
    return response, (await response.body.receive()).decode()


@pytest.mark.parametrize("vector", vectors("v2", "middleware.retry"))
@in_trio
async def test_retry_vector(vector):
    expect, request = vector["expect"], vector["request"]
    if "configError" in expect:
        with pytest.raises(ConfigError) as caught:
            options_of(vector["config"])
        assert caught.value.reason == expect["configError"]
        return
    upstream = Upstream(*request["upstream"])
    exchange = make_exchange(method=request.get("method", "GET"))
    response, body = await run(build_step(options_of(vector["config"])), exchange, upstream)
    assert (response.status, upstream.tries) == (expect["status"], expect["tries"])
    assert body == expect.get("body", body)


@pytest.mark.parametrize(
    ("config", "method", "body", "script", "status", "tries"),
    [
        ({"attempts": 3}, "GET", b"", ["connrefused", "200"], 200, 2),
        ({"attempts": 3}, "POST", b"x", ["connrefused", "connrefused", "200"], 200, 3),
        ({"attempts": 3}, "GET", b"", ["gone", "200"], 502, 1),
        ({"attempts": 3}, "POST", b"x", ["gone", "200"], 502, 1),
        (
            {"attempts": 3, "disableRetryOnNetworkError": True, "status": ["503"]},
            "GET",
            b"",
            ["connrefused", "200"],
            502,
            1,
        ),
        ({"attempts": 3, "status": ["502"]}, "GET", b"", ["gone", "502", "200"], 200, 3),
        ({"attempts": 3, "status": ["502"]}, "POST", b"x", ["gone", "200"], 502, 1),
        ({"attempts": 3, "status": ["500-599"]}, "PUT", b"abc", ["500", "503", "200"], 200, 3),
        ({"attempts": 3, "status": ["500-599"]}, "PUT", b"abc", ["404", "200"], 404, 1),
        ({"attempts": 3, "status": ["503"], "maxRequestBodyBytes": 2}, "PUT", b"abc", ["503", "200"], 503, 1),
        ({"attempts": 2, "status": ["503"], "retryNonIdempotentMethod": True}, "POST", b"x",
         ["503", "200"], 200, 2),
        ({"attempts": 3, "status": ["100-599"]}, "GET", b"", ["101", "200"], 101, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_chunked", [False, True])
@in_trio
async def test_what_is_tried_again(config, method, body, script, status, tries, is_chunked):
    exchange = make_exchange(method=method)
    original = Chunks(body[:1], body[1:]) if is_chunked and len(body) > 1 else BytesBody(body)
    exchange.request.body = original
    upstream = Upstream(*script)
    response, _ = await run(build_step(options_of({"retry": config})), exchange, upstream)
    assert (response.status, upstream.tries) == (status, tries)
    assert set(upstream.bodies) <= {body}
    assert exchange.request.body is original


@in_trio
async def test_every_try_sees_the_request_as_it_came():
    steps = [
        build_step(options_of(each)) for each in ({"retry": {"attempts": 3}}, {"addPrefix": {"prefix": "/a"}})
    ]
    upstream = Upstream("connrefused", "connrefused", "200")
    response = await compose(steps, upstream)(make_exchange("/x"))
    assert response.status == 200
    assert upstream.paths == ["/a/x"] * 3


@in_trio
async def test_pauses_grow_to_twice_the_first_and_end_at_the_timeout():
    def pauses(jitter, **options):
        step = RetryStep(Retry(attempts=5, initial_interval=0.1, **options), lambda: jitter)
        return [step._pause_s(number) for number in (1, 2, 3, 4)]

    middle = pauses(0.5)
    assert middle[0] == pytest.approx(0.1)
    assert middle[-1] == pytest.approx(0.1 * 2**0.75)
    assert pauses(0.0)[0] == pytest.approx(0.05)
    assert pauses(1.0)[0] == pytest.approx(0.15)
    upstream = Upstream("connrefused")
    step = RetryStep(Retry(attempts=10, initial_interval=1.0, timeout=2.5), lambda: 0.5)
    response, _ = await run(step, make_exchange(), upstream)
    assert (response.status, upstream.tries) == (502, 3)


@in_trio
async def test_a_failure_that_no_service_answers_travels_on():
    async def broken(exchange):
        raise ExchangeError("no answer")

    with pytest.raises(ExchangeError, match="no answer"):
        await run(build_step(options_of({"retry": {"attempts": 2}})), make_exchange(), broken)


@in_trio
async def test_a_client_that_left_is_not_tried_again():
    tries = []

    async def gone(exchange):
        tries.append(1)
        raise ClientGone("left")

    with pytest.raises(ClientGone):
        await run(build_step(options_of({"retry": {"attempts": 3}})), make_exchange(), gone)
    assert tries == [1]


@pytest.mark.parametrize("vector", vectors("v2", "middleware.rateLimit"))
@in_trio
async def test_rate_limit_vector(vector):
    expect = vector["expect"]
    if "configError" in expect:
        with pytest.raises(ConfigError) as caught:
            options_of(vector["config"])
        assert caught.value.reason == expect["configError"]
        return
    step = build_step(options_of(vector["config"]))
    assert set(vector["request"]["sequence"]) == {"t=0"}
    answers = [await run(step, make_exchange(), Upstream()) for _ in vector["request"]["sequence"]]
    assert [response.status for response, _ in answers] == expect["statuses"]
    last, body = answers[-1]
    for name, value in expect.get("last", {}).get("headers", {}).items():
        assert last.headers.get(name.encode()).decode() == value
    if "body" in expect.get("last", {}):
        assert body == expect["last"]["body"]
        assert last.headers.get(b"X-Retry-In").decode().endswith("ms")


@in_trio
async def test_a_request_is_held_until_its_token_comes():
    step = build_step(options_of({"rateLimit": {"average": 2, "period": "1s", "burst": 1}}))
    clock = [1000.0]
    step._clock = lambda: clock[0]
    assert (await run(step, make_exchange(), Upstream()))[0].status == 200
    clock[0] += 0.3
    began = trio.current_time()
    assert (await run(step, make_exchange(), Upstream()))[0].status == 200
    assert trio.current_time() - began == pytest.approx(0.2)


def in_flight(amount, workers=1, criterion=None):
    master = Arena.create(workers + 1)
    master.claim("middleware", "m", keyed=True)
    config = {"amount": amount} | ({"sourceCriterion": criterion} if criterion else {})
    columns = [master.take_column() for _ in range(workers)]
    arenas = [Arena.attach(master.fd, column) for column in columns]
    options = options_of({"inFlightReq": config})
    return master, [build_step(options, StepState("m", Blocks(arena))) for arena in arenas]


def begin(step, **request):
    """An exchange that goes on until ``end``, and its refusal."""
    exchange = make_exchange(**request)
    return exchange, step.on_request(exchange)


def test_in_flight_vectors():
    by_header, at_none = (each.values[0] for each in vectors("v2", "middleware.inFlightReq"))
    step = build_step(options_of(by_header["config"]))
    began = [begin(step, headers=headers) for headers in by_header["request"]["concurrent"]]
    assert [refusal for _, refusal in began] == [None, None]
    _, refusal = begin(build_step(options_of(at_none["config"])))
    assert refusal.status == at_none["expect"]["status"]
    assert trio.run(refusal.body.receive).decode() == at_none["expect"]["body"]
    assert refusal.headers.get(b"Content-Type") is None


def test_the_limit_is_that_of_all_workers_and_places_come_back():
    _, steps = in_flight(3, workers=2)
    running = [begin(steps[number % 2]) for number in range(3)]
    assert [refusal for _, refusal in running] == [None] * 3
    assert begin(steps[0])[1].status == begin(steps[1])[1].status == 429
    assert begin(steps[0], host="other.test")[1] is None, "the default key is the host"
    running[1][0].end()
    running.append(begin(steps[0]))
    assert running[-1][1] is None
    assert begin(steps[1])[1].status == 429
    for exchange, _ in running:
        exchange.end()
    assert [begin(steps[1])[1] for _ in range(3)] == [None] * 3


def test_what_a_dead_worker_had_in_flight_is_given_back():
    master, steps = in_flight(1, workers=2)
    assert begin(steps[0])[1] is None
    assert begin(steps[1])[1].status == 429
    master.retire_column(1)
    assert begin(steps[1])[1] is None


@in_trio
async def test_a_failed_try_gives_its_place_back():
    retry = build_step(options_of({"retry": {"attempts": 3}}))
    limit = build_step(options_of({"inFlightReq": {"amount": 1}}))
    upstream = Upstream("connrefused", "connrefused", "200")
    exchange = make_exchange()
    response = await compose([retry, limit], upstream)(exchange)
    assert (response.status, upstream.tries) == (200, 3)
    assert len(exchange.endings) == 1


@in_trio
async def test_the_breaker_opens_when_the_response_has_ended_and_not_for_clients_that_left():
    config = {
        "circuitBreaker": {"expression": "ResponseCodeRatio(400, 600, 0, 600) > 0.5", "responseCode": 418}
    }
    step = build_step(options_of(config))

    async def gone(exchange):
        raise ClientGone("left")

    with pytest.raises(ClientGone):
        await run(step, make_exchange(), gone)
    exchange = make_exchange()
    response, _ = await run(step, exchange, Upstream("500"))
    assert response.status == 500
    assert (await run(step, make_exchange(), Upstream()))[0].status == 200
    exchange.end()
    response, body = await run(step, make_exchange(), Upstream())
    assert (response.status, body) == (418, "I'm a teapot")


@pytest.mark.parametrize(
    ("config", "path", "reason"),
    [
        ({"circuitBreaker": {"expression": ""}},
         "circuitBreaker.expression", "1:1: expected operand, found 'EOF'"),
        ({"circuitBreaker": {"expression": "NetworkErrorRatio() > 1", "responseCode": 99}},
         "circuitBreaker.responseCode", "invalid HTTP status code 99"),
        ({"retry": {"attempts": -1}}, "retry.attempts", "incorrect (or empty) value for attempt (-1)"),
        (
            {"retry": {"attempts": 2, "disableRetryOnNetworkError": True}},
            "retry.status",
            "nothing is left to retry: no status, and network errors are disabled",
        ),
        ({"retry": {"attempts": 2, "status": ["5xx"]}}, "retry.status[0]", '"5xx" is neither'),
        ({"retry": {"attempts": 2, "timeout": "-1s"}}, "retry.timeout", "negative"),
        ({"rateLimit": {"average": 1, "period": "-1s"}},
         "rateLimit.period", "negative value not valid for period: -1s"),
        ({"rateLimit": {"average": 1, "redis": {"db": 1}}}, "rateLimit.redis", "not available"),
        ({"inFlightReq": {"amount": 1, "sourceCriterion": {"ipStrategy": {"depth": 1}, "requestHost": True}}},
         "inFlightReq.sourceCriterion", "iPStrategy and RequestHost are mutually exclusive"),
        ({"inFlightReq": {"amount": 1, "sourceCriterion": {"requestHeaderName": "a b"}}},
         "inFlightReq.sourceCriterion.requestHeaderName", "not a header name"),
    ],
)  # fmt: skip
def test_what_cannot_be_built(config, path, reason):
    with pytest.raises(ConfigError) as caught:
        options_of(config)
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_breaker_periods_that_are_not_positive_are_the_defaults():
    options = options_of(
        {"circuitBreaker": {"expression": "NetworkErrorRatio() > 0", "fallbackDuration": 0.0}}
    )
    assert options.circuit_breaker.fallback_duration == 10.0


def test_a_source_may_be_the_host_the_client_or_a_field():
    _, (step,) = in_flight(1, criterion={"ipStrategy": {}})
    assert begin(step, client_ip="10.0.0.1")[1] is None
    assert begin(step, client_ip="10.0.0.2")[1] is None
    assert begin(step, client_ip="10.0.0.1")[1].status == 429

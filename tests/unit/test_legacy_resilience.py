"""What stands before a v1 backend's servers, and that all its frontends share it."""

import pytest

from master.aggregator import Aggregator
from providers.base import Snapshot
from shared.cells import Kept
from shared.config.documents import parse_document
from shared.config.dynamic_reading import read_dynamic
from shared.config.middlewares import IpStrategy, SourceCriterion
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_v1 import V1Retry, V1Static
from shared.identities import Identity
from tests.support.vectors import vectors

BACKEND = """
[backends.b.circuitBreaker]
expression = "NetworkErrorRatio() > 0.5"
[backends.b.maxConn]
amount = 7
extractorFunc = "request.header.X-Who"
[backends.b.servers.one]
url = "http://127.0.0.1:1"
[backends.b.servers.two]
url = "http://127.0.0.1:2"
[frontends.f]
backend = "b"
passHostHeader = true
[frontends.f.routes.r]
rule = "Host:f.test"
[frontends.g]
backend = "b"
[frontends.g.routes.r]
rule = "Host:g.test"
"""


def read(text, **options):
    return read_dynamic(parse_document(text, "rules.toml", "toml"), **options)


def test_breaker_retry_and_limit_stand_before_the_servers_in_this_order():
    reading = read(BACKEND, v1_retry=V1Retry())
    assert reading.found == ()
    http = reading.config.http
    assert {name: each.middlewares for name, each in http.services.items()} == {
        "b": ("b-breaker", "b-retry", "b-max-conn"),
        "b-serverHost": ("b-breaker", "b-retry", "b-max-conn"),
    }
    assert http.middlewares["b-breaker"].circuit_breaker.expression == "NetworkErrorRatio() > 0.5"
    retry = http.middlewares["b-retry"].retry
    assert (retry.attempts, retry.status) == (2, ("502", "504"))
    limit = http.middlewares["b-max-conn"].in_flight_req
    assert (limit.amount, limit.source_criterion.request_header_name) == (7, "X-Who")


@pytest.mark.parametrize(
    ("retry", "attempts"), [(None, None), (V1Retry(attempts=1), None), (V1Retry(attempts=5), 5)]
)
def test_retry_is_for_all_backends_if_it_is_configured(retry, attempts):
    found = read(BACKEND, v1_retry=retry).config.http.middlewares.get("b-retry")
    assert (found.retry.attempts if found else None) == attempts


def test_all_frontends_of_a_backend_share_one_breaker_and_one_limit():
    static = StaticConfig(entry_points={"http": EntryPoint(address=":80")}, v1=V1Static(retry=V1Retry()))
    aggregator = Aggregator(static)
    aggregator.take(Snapshot("file", (parse_document(BACKEND, "rules.toml", "toml"),)))
    compiled = aggregator.compile(1)
    assert [router.status for router in compiled.routers] == ["enabled", "enabled"]
    assert {each for each in compiled.identities if each.kind in ("middleware", "window")} == {
        Identity("middleware", "b-breaker@file", kept=Kept.SHARE),
        Identity("window", "b-breaker@file 0", kept=Kept.WINDOW),
        Identity("window", "b-breaker@file 1", kept=Kept.WINDOW),
        Identity("middleware", "b-max-conn@file", True),
    }


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "maxconn") if "valid" in each.values[0]["expect"]]
)
def test_extractor_vector(vector):
    extractor = vector["config"]["extractorFunc"]
    reading = read(BACKEND.replace("request.header.X-Who", extractor))
    assert ("b" in reading.config.http.services) is vector["expect"]["valid"]


def test_the_address_is_the_peers():
    limit = read(BACKEND.replace("request.header.X-Who", "client.ip")).config.http.middlewares["b-max-conn"]
    assert limit.in_flight_req.source_criterion == SourceCriterion(ip_strategy=IpStrategy())


@pytest.mark.parametrize(
    ("old", "new", "path", "reason"),
    [
        ("> 0.5", "> ", ("circuitBreaker", "expression"), "1:23: expected operand, found 'EOF'"),
        ("amount = 7", "amount = -1", ("maxConn", "amount"), "-1 is negative"),
        ("request.header.X-Who", "ip", ("maxConn", "extractorFunc"), "'ip' is none of client.ip"),
        (
            "request.header.X-Who",
            "request.header.A B",
            ("maxConn", "extractorFunc"),
            "'A B' is not a header name",
        ),
    ],
)
def test_what_cannot_be_honoured_is_said_and_takes_the_backend_away(old, new, path, reason):
    reading = read(BACKEND.replace(old, new))
    (problem,) = [each for each in reading.found if each.path[:2] == ("backends", "b")]
    assert problem.path == ("backends", "b", *path)
    assert reason in problem.reason
    assert ("http", "services", "b") in reading.broken


def test_an_amount_of_zero_is_no_limit_whatever_the_extractor():
    text = BACKEND.replace("amount = 7", "amount = 0").replace("request.header.X-Who", "nonsense")
    assert set(read(text).config.http.middlewares) == {"b-breaker"}

"""The published vectors of the middlewares that are steps of their own."""

from __future__ import annotations

import msgspec
import pytest

from shared.config.checks import check_middleware
from shared.config.middlewares import EntryPointRedirect, Middleware
from shared.errors import ConfigError
from tests.support.chains import make_exchange, no_file, run_chain
from tests.support.vectors import vectors

AREAS = [
    f"middleware.{kind}"
    for kind in (
        "addPrefix",
        "basicAuth",
        "encodedCharacters",
        "headers",
        "ipAllowList",
        "ipWhiteList",
        "redirectRegex",
        "redirectScheme",
        "replacePath",
        "replacePathRegex",
        "stripPrefix",
        "stripPrefixRegex",
    )
]
REDIRECT_TO_HTTPS = EntryPointRedirect(scheme="https", port="443")
REDIRECT_LOCALHOST = r"^http://localhost/(.*)"


def as_middleware(config) -> Middleware:
    return msgspec.convert(config, Middleware)


def exchange_of(request):
    return make_exchange(
        request["requestTarget"],
        method=request["method"],
        host=request["host"],
        headers=request.get("headers", {}),
        client_ip=request.get("remoteAddr", "127.0.0.1:1").rpartition(":")[0],
        trusted=request.get("trusted", False),
    )


def check_fields(fields, expected):
    for name, value in expected.items():
        found = [each.decode() for each in fields.get_all(name.encode())]
        wanted = [] if value is None else value if isinstance(value, list) else [value]
        assert found == wanted, name


@pytest.mark.parametrize("vector", vectors("v2", *AREAS))
def test_vector(vector):
    expect = dict(vector["expect"])
    options = as_middleware(vector["config"])
    if "configError" in expect:
        with pytest.raises(ConfigError) as caught:
            check_middleware(options, no_file, "m")
        assert caught.value.reason == expect["configError"]
        return
    reply_headers = vector["request"].get("upstreamResponse", {}).get("headers", {})
    outcome = run_chain(options, exchange_of(vector["request"]), reply_headers)
    outcome.response.headers.add(b"Content-Length", str(outcome.response.body.length).encode())
    reached = outcome.upstream_target is not None
    if "status" in expect:
        assert outcome.response.status == expect.pop("status")
    if "reachedUpstream" in expect:
        assert reached is expect.pop("reachedUpstream")
    if "body" in expect:
        assert outcome.body.decode() == expect.pop("body")
    if "upstreamTarget" in expect:
        assert outcome.upstream_target == expect.pop("upstreamTarget")
    check_fields(outcome.response.headers, expect.pop("headers", {}))
    if "upstreamHeaders" in expect:
        assert reached
        check_fields(outcome.upstream_headers, expect.pop("upstreamHeaders"))
    assert not expect, "the vector expects something that this test does not look at"


@pytest.mark.parametrize("vector", vectors("v2", "middleware.invalid"))
def test_invalid_vector(vector):
    for name, config in vector["config"].items():
        with pytest.raises(ConfigError) as caught:
            check_middleware(as_middleware(config), no_file, name)
        assert caught.value.reason == vector["expect"]["configError"]


def test_steps_run_in_the_order_of_the_chain():
    first = as_middleware({"addPrefix": {"prefix": "/first"}})
    second = as_middleware({"addPrefix": {"prefix": "/second"}})
    assert run_chain([first, second], make_exchange("/x")).upstream_target == "/second/first/x"


V1_OPTIONS = {
    "redir-ep": REDIRECT_TO_HTTPS,
    "redir-ep-port": REDIRECT_TO_HTTPS,
    "redir-ep-underscore": REDIRECT_TO_HTTPS,
    "redir-ep-plain": EntryPointRedirect(scheme="http", port="443"),
    "redir-rx": EntryPointRedirect(regex=REDIRECT_LOCALHOST, replacement="http://mydomain/$1"),
    "redir-rx-port": EntryPointRedirect(regex=REDIRECT_LOCALHOST, replacement="http://mydomain/$1"),
    "redir-rx-group": EntryPointRedirect(regex=REDIRECT_LOCALHOST, replacement="http://mydomain/$1x"),
    "redir-rx-all": EntryPointRedirect(regex="localhost", replacement="example.org"),
    "redir-rx-same": EntryPointRedirect(regex=REDIRECT_LOCALHOST, replacement="http://localhost/$1"),
}


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "redirect") if each.values[0]["id"] in V1_OPTIONS]
)
def test_v1_redirect_vector(vector):
    request, expect = vector["request"], vector["expect"]
    wanted = expect.get("all") or expect["C"]
    exchange = make_exchange(
        request["target"], method=request["method"], host=request["host"], tls=request["tls"]
    )
    outcome = run_chain(Middleware(entry_point_redirect=V1_OPTIONS[vector["id"]]), exchange)
    assert outcome.response.status == wanted["status"]
    assert outcome.location == wanted.get("location")
    assert outcome.body.decode() == wanted.get("body", "")
    assert (outcome.upstream_target is not None) is ("frontend" in wanted)

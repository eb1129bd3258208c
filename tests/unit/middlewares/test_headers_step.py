"""The headers middleware: configured fields, CORS, security."""

from __future__ import annotations

import re

import pytest

from shared.config.middlewares import Headers, Middleware
from tests.support.chains import make_exchange, run_chain

PREFLIGHT = {"Origin": "https://o.test", "Access-Control-Request-Method": "PUT"}


def configured(**options):
    return Middleware(headers=Headers(**options))


def answer(exchange=None, reply_headers=(), **options):
    return run_chain(configured(**options), exchange or make_exchange(), reply_headers)


def field(outcome, name):
    values = [value.decode() for value in outcome.response.headers.get_all(name.encode())]
    assert len(values) <= 1
    return values[0] if values else None


def test_request_fields_are_set_and_removed():
    exchange = make_exchange(headers=[("X-A", "old"), ("x-a", "older"), ("X-B", "z"), ("X-C", "kept")])
    outcome = answer(exchange, custom_request_headers={"x-a": " 1 ", "X-B": "", "X-New": "n"})
    assert outcome.upstream_headers.get_all(b"X-A") == [b"1"]
    assert b"X-B" not in outcome.upstream_headers
    assert outcome.upstream_headers.get(b"X-New") == b"n"
    assert outcome.upstream_headers.get(b"X-C") == b"kept"


def test_host_is_set_and_never_removed():
    assert answer(custom_request_headers={"hOst": "in.test"}).upstream_headers.get(b"Host") == b"in.test"
    assert answer(custom_request_headers={"Host": ""}).upstream_headers.get(b"Host") == b"foo.test"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-for"])
def test_an_emptied_forwarded_for_stays_away(name):
    exchange = make_exchange(headers={"X-Forwarded-For": "1.1.1.1"}, trusted=True)
    outcome = answer(exchange, custom_request_headers={name: ""})
    assert b"X-Forwarded-For" not in outcome.upstream_headers
    replaced = answer(custom_request_headers={name: "1.2.3.4"})
    assert replaced.upstream_headers.get(b"X-Forwarded-For") == b"1.2.3.4, 127.0.0.1"


def test_response_fields_are_set_and_removed_and_win_over_security():
    outcome = answer(
        reply_headers=[("Server", "x"), ("X-R", "a"), ("x-r", "b")],
        custom_response_headers={"server": "", "X-R": "1", "X-Frame-Options": "", "referrer-policy": "mine"},
        frame_deny=True,
        referrer_policy="theirs",
    )
    assert field(outcome, "Server") is None
    assert field(outcome, "X-R") == "1"
    assert field(outcome, "X-Frame-Options") is None
    assert field(outcome, "Referrer-Policy") == "mine"


def test_a_preflight_is_answered_here_without_response_fields():
    outcome = answer(
        make_exchange(method="OPTIONS", headers=PREFLIGHT),
        access_control_allow_origin_list=("*",),
        access_control_allow_headers=("*",),
        access_control_allow_methods=("GET", "PUT"),
        access_control_expose_headers=("X-E",),
        access_control_max_age=0,
        add_vary_header=True,
        custom_response_headers={"X-R": "1"},
        sts_seconds=3,
        force_sts_header=True,
        allowed_hosts=("elsewhere",),
    )
    assert outcome.upstream_target is None
    assert (outcome.response.status, outcome.response.body.length) == (200, 0)
    assert dict(outcome.response.headers) == {
        b"Access-Control-Allow-Headers": b"*",
        b"Access-Control-Allow-Methods": b"GET,PUT",
        b"Access-Control-Allow-Origin": b"*",
        b"Access-Control-Expose-Headers": b"X-E",
        b"Access-Control-Max-Age": b"0",
    }


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", PREFLIGHT),
        ("OPTIONS", {"Origin": "https://o.test"}),
        ("OPTIONS", {"Access-Control-Request-Method": "PUT"}),
        ("OPTIONS", {**PREFLIGHT, "Origin": ""}),
    ],
)
def test_what_is_no_preflight_goes_to_the_server(method, headers):
    outcome = answer(make_exchange(method=method, headers=headers), add_vary_header=True)
    assert outcome.upstream_target == "/"


def test_without_cors_options_a_preflight_goes_to_the_server():
    outcome = answer(make_exchange(method="OPTIONS", headers=PREFLIGHT), frame_deny=True)
    assert outcome.upstream_target == "/"


@pytest.mark.parametrize(
    "options",
    [
        {"access_control_allow_credentials": True},
        {"access_control_allow_headers": ("X",)},
        {"access_control_allow_methods": ("GET",)},
        {"access_control_allow_origin_list": ("x",)},
        {"access_control_allow_origin_list_regex": ("x",)},
        {"access_control_expose_headers": ("X",)},
        {"access_control_max_age": 0},
        {"add_vary_header": True},
    ],
)
def test_any_cors_option_answers_preflights(options):
    outcome = answer(make_exchange(method="OPTIONS", headers=PREFLIGHT), **options)
    assert (outcome.upstream_target, outcome.response.status) == (None, 200)


def test_any_with_credentials_is_what_the_request_asked_for():
    options = {
        "access_control_allow_origin_list": ("*",),
        "access_control_allow_credentials": True,
        "access_control_allow_headers": ("X-A", "*"),
        "access_control_allow_methods": ("*",),
    }
    asked = {**PREFLIGHT, "Access-Control-Request-Headers": "x,y"}
    outcome = answer(make_exchange(method="OPTIONS", headers=asked), **options)
    assert dict(outcome.response.headers) == {
        b"Access-Control-Allow-Credentials": b"true",
        b"Access-Control-Allow-Headers": b"x,y",
        b"Access-Control-Allow-Methods": b"PUT",
        b"Access-Control-Allow-Origin": b"https://o.test",
    }
    nothing_asked = answer(make_exchange(method="OPTIONS", headers=PREFLIGHT), **options)
    assert field(nothing_asked, "Access-Control-Allow-Headers") is None
    assert field(answer(**options), "Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(
    ("options", "origin", "allowed"),
    [
        ({"access_control_allow_origin_list": ("https://o.test",)}, "https://o.test", "https://o.test"),
        ({"access_control_allow_origin_list": ("https://O.test",)}, "https://o.test", None),
        ({"access_control_allow_origin_list": ("null",)}, "null", "null"),
        ({"access_control_allow_origin_list": ("*",)}, "https://o.test", "*"),
        ({"access_control_allow_origin_list": ("*",)}, None, "*"),
        ({"access_control_allow_origin_list_regex": ("o\\.test",)}, "https://o.test", "https://o.test"),
        ({"access_control_allow_origin_list_regex": ("^o",)}, "https://o.test", None),
        ({"access_control_allow_origin_list_regex": (".*",)}, None, None),
        ({"access_control_max_age": 5}, "https://o.test", None),
    ],
)
def test_which_origins_are_allowed(options, origin, allowed):
    outcome = answer(make_exchange(headers={"Origin": origin} if origin else {}), **options)
    assert field(outcome, "Access-Control-Allow-Origin") == allowed


def test_actual_answers_carry_credentials_and_exposed_headers():
    options = {"access_control_allow_credentials": True, "access_control_expose_headers": ("X-A", "X-B")}
    outcome = answer(reply_headers={"Access-Control-Allow-Credentials": "theirs"}, **options)
    assert field(outcome, "Access-Control-Allow-Credentials") == "true"
    assert field(outcome, "Access-Control-Expose-Headers") == "X-A,X-B"
    assert field(outcome, "Access-Control-Max-Age") is None


@pytest.mark.parametrize(
    ("theirs", "vary"),
    [
        ([], "Origin"),
        (["Origin"], "Origin"),
        (["Accept, origin"], "Accept, origin"),
        (["Accept"], "Accept,Origin"),
        (["Accept", "Cookie"], "Accept,Cookie,Origin"),
    ],
)
def test_vary_gets_origin_once_and_keeps_what_was_there(theirs, vary):
    outcome = answer(reply_headers=[("Vary", value) for value in theirs], add_vary_header=True)
    assert field(outcome, "Vary") == vary


@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        ({"allowed_hosts": ("FOO.test",)}, {}, 200),
        ({"allowed_hosts": ("foo.test:80",)}, {}, 500),
        ({"allowed_hosts": ("a.test", "foo.test")}, {}, 200),
        (
            {"allowed_hosts": ("a.test",), "hosts_proxy_headers": ("X-1", "X-2")},
            {"X-1": "", "X-2": "A.test"},
            200,
        ),
        (
            {"allowed_hosts": ("a.test",), "hosts_proxy_headers": ("X-1", "X-2")},
            {"X-1": "b", "X-2": "a.test"},
            500,
        ),
        ({"allowed_hosts": ("foo.test",), "hosts_proxy_headers": ("X-1",)}, {"X-1": "b"}, 500),
        ({"allowed_hosts": ("a.test",), "is_development": True}, {}, 200),
        ({"allowed_hosts": ("in.test",), "custom_request_headers": {"Host": "in.test"}}, {}, 200),
        ({"hosts_proxy_headers": ("X-1",)}, {"X-1": "b"}, 200),
    ],
)
def test_allowed_hosts(options, headers, status):
    outcome = answer(make_exchange(headers=headers), **options)
    assert outcome.response.status == status
    assert (outcome.upstream_target is None) is (status == 500)


def test_a_refused_host_still_gets_the_response_fields():
    outcome = answer(
        allowed_hosts=("a.test",),
        custom_response_headers={"X-R": "1"},
        access_control_allow_origin_list=("*",),
        frame_deny=True,
    )
    assert outcome.body == b"Bad Host\n"
    assert field(outcome, "Content-Type") == "text/plain; charset=utf-8"
    assert field(outcome, "X-R") == "1"
    assert field(outcome, "Access-Control-Allow-Origin") == "*"
    assert field(outcome, "X-Frame-Options") is None


@pytest.mark.parametrize(
    ("options", "tls", "value"),
    [
        ({}, True, "max-age=10"),
        ({}, False, None),
        ({"force_sts_header": True}, False, "max-age=10"),
        ({"force_sts_header": True, "is_development": True}, True, None),
        ({"sts_include_subdomains": True}, True, "max-age=10; includeSubDomains"),
        ({"sts_preload": True}, True, "max-age=10; preload"),
        (
            {"sts_include_subdomains": True, "sts_preload": True},
            True,
            "max-age=10; includeSubDomains; preload",
        ),
        ({"sts_seconds": 0, "force_sts_header": True}, True, None),
        ({"ssl_proxy_headers": {"X-S": "on"}}, False, "max-age=10"),
        ({"ssl_proxy_headers": {"X-S": "On"}}, False, None),
    ],
)
def test_strict_transport_security(options, tls, value):
    exchange = make_exchange(tls=tls, headers={"X-S": "on"})
    assert field(answer(exchange, **{"sts_seconds": 10, **options}), "Strict-Transport-Security") == value


def test_fields_that_protect_browsers_replace_the_servers():
    outcome = answer(
        reply_headers={"X-Frame-Options": "theirs", "Content-Security-Policy": "theirs"},
        frame_deny=True,
        content_type_nosniff=True,
        browser_xss_filter=True,
        referrer_policy="r",
        permissions_policy="p",
        content_security_policy="default-src 'self'",
        public_key="ineffective",
        feature_policy="ineffective",
        ssl_redirect=True,
    )
    assert dict(outcome.response.headers) == {
        b"X-Frame-Options": b"DENY",
        b"X-Content-Type-Options": b"nosniff",
        b"X-XSS-Protection": b"1; mode=block",
        b"Referrer-Policy": b"r",
        b"Permissions-Policy": b"p",
        b"Content-Security-Policy": b"default-src 'self'",
    }
    assert outcome.response.status == 200


def test_custom_values_win_over_switches():
    outcome = answer(
        frame_deny=True,
        custom_frame_options_value="SAMEORIGIN",
        browser_xss_filter=True,
        custom_browser_xss_value="0",
    )
    assert field(outcome, "X-Frame-Options") == "SAMEORIGIN"
    assert field(outcome, "X-XSS-Protection") == "0"


def test_a_nonce_is_one_per_answer_and_new_for_each():
    options = configured(
        content_security_policy="script-src $NONCE; style-src $NONCE",
        content_security_policy_report_only="img-src $NONCE",
    )
    seen = set()
    for _ in range(3):
        outcome = run_chain(options, make_exchange())
        policies = field(outcome, "Content-Security-Policy") + field(
            outcome, "Content-Security-Policy-Report-Only"
        )
        nonces = re.findall(r"'nonce-([A-Za-z0-9+/]{22})'", policies)
        assert len(nonces) == 3
        assert len(set(nonces)) == 1
        seen.add(nonces[0])
    assert len(seen) == 3

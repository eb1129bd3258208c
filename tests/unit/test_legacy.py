"""The v1 dialect in terms of the one model."""

import pathlib

import pytest

from shared.config.documents import parse_document, read_document
from shared.config.dynamic import Cookie, HealthCheck, Server, Sticky
from shared.config.dynamic_reading import read_dynamic
from shared.config.legacy_backends import sticky_cookie_name
from shared.config.middlewares import (
    AddPrefix,
    BasicAuth,
    Errors,
    Headers,
    IpAllowList,
    IpStrategy,
    Middleware,
    PassTlsClientCert,
    ReplacePath,
    ReplacePathRegex,
    StripPrefix,
    StripPrefixRegex,
)

SEEDS = pathlib.Path(__file__).parent.parent / "golden" / "seeds"


def read(text, **options):
    return read_dynamic(parse_document(text, "rules.toml", "toml"), **options)


def messages(reading):
    return [str(each) for each in reading.found]


def frontend(settings, rule="Host:a"):
    """One frontend ``f`` of backend ``b`` with more settings; returns the HTTP objects."""
    reading = read(
        f'[backends.b]\n[frontends.f]\nbackend = "b"\n{settings}\n[frontends.f.routes.r]\nrule = "{rule}"\n'
    )
    assert messages(reading) == []
    return reading.config.http


def backend(settings):
    reading = read(f'[backends.b.servers.s]\nurl = "http://h:1"\n{settings}\n')
    return reading.config.http.services["b"].load_balancer, messages(reading)


@pytest.mark.parametrize("name", ["v1_one_file.toml", "v1_rules.toml"])
def test_the_example_of_the_first_documentation(name):
    reading = read_dynamic(read_document(SEEDS / name, origin=name))
    http = reading.config.http
    assert reading.broken == frozenset()
    assert {name: (each.rule, each.service, each.entry_points) for name, each in http.routers.items()} == {
        "frontend1": ("Host:test.localhost", "backend2", ()),
        "frontend2": ("HostRegexp:{subdomain:[a-z]+}.localhost", "backend1", ("https",)),
        "frontend3": ("Path:/test", "backend2", ("http", "https")),
    }
    assert {each.rule_syntax for each in http.routers.values()} == {"v1"}
    assert [http.routers[f"frontend{number}"].priority for number in (1, 2, 3)] == [
        len("Host:test.localhost"),
        len("Host:{subdomain:[a-z]+}.localhost"),
        len("Path:/test"),
    ]
    first, second = (http.services[name].load_balancer for name in ("backend1", "backend2"))
    assert first.servers == (
        Server(url="http://172.17.0.2:80", weight=10),
        Server(url="http://172.17.0.3:80", weight=1),
    )
    assert second.servers == (
        Server(url="http://172.17.0.4:80", weight=1),
        Server(url="http://172.17.0.5:80", weight=2),
    )
    assert (first.pass_host_header, second.pass_host_header) == (True, False)
    assert set(http.services) == {"backend1", "backend2"}
    assert http.routers["frontend3"].middlewares == ("frontend3-slash",)
    assert http.middlewares["frontend3-slash"].slash_redirect is not None
    said = [(each.path, each.reason.split(";")[0], each.position.line > 0) for each in reading.found]
    assert said == [
        (
            ("frontends", "frontend3", "rule"),
            "rule and value belong into a table such as routes.main",
            True,
        ),
    ]


def test_the_static_half_of_the_example_says_nothing():
    reading = read_dynamic(read_document(SEEDS / "v1_static.toml"))
    assert (reading.config.http.routers, reading.found) == ({}, ())


# -------------------------------------------------------------------------------------------- frontends


def test_path_steps_stand_in_the_fixed_order():
    rule = "AddPrefix:/p;ReplacePath:/r;PathPrefixStripRegex:/u/{id:[0-9]+};PathStrip:/s,/longer"
    http = frontend("", rule)
    assert http.routers["f"].middlewares[1:] == ("f-strip-regex", "f-strip", "f-add-prefix", "f-replace-path")
    assert http.routers["f"].middlewares[0] == "f-slash"
    assert isinstance(http.middlewares["f-strip-regex"].strip_prefix_regex, StripPrefixRegex)
    assert http.middlewares["f-strip-regex"].strip_prefix_regex.overwrite_header
    assert http.middlewares["f-strip"].strip_prefix == StripPrefix(
        prefixes=("/longer", "/s"), overwrite_header=True
    )
    assert http.middlewares["f-add-prefix"] == Middleware(add_prefix=AddPrefix(prefix="/p"))
    assert http.middlewares["f-replace-path"] == Middleware(replace_path=ReplacePath(path="/r"))
    replaced = frontend("", "ReplacePathRegex:^/a/(.*) /b/$1").middlewares["f-replace-path-regex"]
    assert replaced == Middleware(replace_path_regex=ReplacePathRegex(regex="^/a/(.*)", replacement="/b/$1"))


def test_access_settings():
    http = frontend(
        """
        basicAuth = ["u:$apr1$x$y"]
        whitelistSourceRange = ["10.0.0.0/8"]
        passTLSCert = true
        [frontends.f.headers]
        STSSeconds = 5
        [frontends.f.headers.customRequestHeaders]
        X-A = ""
        [frontends.f.errors.net]
        status = ["500-599"]
        backend = "b"
        query = "/{status}.html"
        [frontends.f.whiteList]
        sourceRange = ["127.0.0.0/8"]
        useXForwardedFor = true
        """
    )
    assert http.routers["f"].middlewares == (
        "f-errors-net",
        "f-allow-list",
        "f-auth",
        "f-headers",
        "f-client-cert",
    )
    assert [http.middlewares[name] for name in http.routers["f"].middlewares] == [
        Middleware(errors=Errors(status=("500-599",), service="b", query="/{status}.html")),
        Middleware(
            ip_allow_list=IpAllowList(
                source_range=("10.0.0.0/8", "127.0.0.0/8"), ip_strategy=IpStrategy(depth=1)
            )
        ),
        Middleware(basic_auth=BasicAuth(users=("u:$apr1$x$y",))),
        Middleware(headers=Headers(custom_request_headers={"X-A": ""}, sts_seconds=5)),
        Middleware(pass_tls_client_cert=PassTlsClientCert(pem=True)),
    ]


def test_auth_of_the_last_releases():
    http = frontend(
        '[frontends.f.auth]\nheaderField = "X-User"\n[frontends.f.auth.basic]\nusers = ["u:h"]\n'
        '[frontends.f.auth.forward]\naddress = "http://a"\n'
    )
    assert http.routers["f"].middlewares == ("f-basic-auth", "f-forward-auth")
    assert http.middlewares["f-basic-auth"].basic_auth == BasicAuth(users=("u:h",), header_field="X-User")
    assert http.middlewares["f-forward-auth"].forward_auth.header_field == "X-User"


@pytest.mark.parametrize(("written", "priority"), [("7", 7), ("0", 6), ("-3", 6), ('"9"', 9)])
def test_priority_replaces_the_length_if_positive(written, priority):
    assert frontend(f"priority = {written}").routers["f"].priority == priority


def test_several_routes_all_count():
    reading = read(
        '[backends.b]\n[frontends.f]\nbackend="b"\n[frontends.f.routes.z]\nrule="Path"\nvalue="/é"\n'
        '[frontends.f.routes.a]\nrule="Host:a"\n'
    )
    router = reading.config.http.routers["f"]
    assert router.rule == "Host:a;Path:/é"
    assert router.priority == len("Host:a") + len("Path:/é".encode())


def test_a_frontend_without_routes_matches_everything_last():
    reading = read('[backends.b]\n[Frontends.f]\nBACKEND = "b"\n')
    router = reading.config.http.routers["f"]
    assert (router.rule, router.priority, router.service) == ("", 0, "b")


def test_one_broken_frontend_spoils_no_other():
    reading = read(
        '[backends.b]\n[frontends.bad]\nbackend="b"\n[frontends.bad.routes.r]\nrule="Hots:a"\n'
        '[frontends.worse]\npriority="high"\n[frontends.good]\nbackend="b"\n'
    )
    assert set(reading.config.http.routers) == {"good"}
    assert reading.broken == {("http", "routers", "bad"), ("http", "routers", "worse")}
    assert messages(reading) == [
        'rules.toml:7:1: frontends.worse.priority: expected a whole number, got "high"',
        "rules.toml:2:12: frontends.bad: error creating route for frontend bad: unknown function 'Hots'; "
        'did you mean "Host"?',
    ]


def test_an_undefined_backend_is_named():
    reading = read('[backends.backend1]\n[frontends.f]\nbackend="backendl"\n')
    assert reading.config.http.routers["f"].service == "backendl"
    assert messages(reading) == [
        'rules.toml:3:1: frontends.f.backend: undefined backend "backendl"; did you mean "backend1"?'
    ]


def test_many_undefined_backends_are_named_without_searching_for_each():
    frontends = "".join(f'[frontends.f{number:02}]\nbackend="backendl"\n' for number in range(30))
    hints = [each.hint for each in read("[backends.backend1]\n" + frontends).found]
    assert hints == ["backend1"] * 20 + [None] * 10


def test_unknown_keys_are_warnings():
    reading = read('[backends.b]\nfoo=1\n[frontends.f]\nbackend="b"\nentrypoint=["http"]\n')
    assert set(reading.config.http.routers) == {"f"}
    assert messages(reading) == [
        'rules.toml:2:1: backends.b.foo: unknown key "foo"',
        'rules.toml:5:1: frontends.f.entrypoint: unknown key "entrypoint"; did you mean "entryPoints"?',
    ]


def test_derived_names_never_meet():
    page = 'status=["500"]\nbackend="b"\nquery="/"\n'
    reading = read(
        f'[backends.b]\n[frontends.a]\nbackend="b"\n[frontends.a.errors."x-auth"]\n{page}'
        '[frontends.a-errors-x]\nbackend="b"\nbasicAuth=["u:h"]\n'
    )
    http = reading.config.http
    assert http.middlewares[http.routers["a"].middlewares[0]].errors is not None
    assert http.middlewares[http.routers["a-errors-x"].middlewares[0]].basic_auth is not None


# --------------------------------------------------------------------------------------- passHostHeader


def test_pass_host_header_belongs_to_the_frontend():
    text = (
        '[backends.b.servers.s]\nurl="http://h:1"\n[frontends.x]\nbackend="b"\npassHostHeader=true\n'
        '[frontends.y]\nbackend="b"\n[frontends.z]\nbackend="b"\npassHostHeader=true\n'
    )
    http = read(text).config.http
    assert {name: each.service for name, each in http.routers.items()} == {
        "x": "b",
        "y": "b-serverHost",
        "z": "b",
    }
    assert http.services["b"].load_balancer.pass_host_header is True
    assert http.services["b-serverHost"].load_balancer.pass_host_header is False
    assert http.services["b"].load_balancer.servers == http.services["b-serverHost"].load_balancer.servers
    all_pass = read(text, v1_pass_host_header=True).config.http
    assert set(all_pass.services) == {"b"}


def test_a_second_service_keeps_off_other_backends():
    http = read(
        '[backends.b]\n[backends.b-passHost]\n[frontends.x]\nbackend="b"\n'
        '[frontends.y]\nbackend="b"\npassHostHeader=true\n'
    ).config.http
    assert set(http.services) == {"b", "b-passHost", "b-passHost-"}
    assert http.routers["y"].service == "b-passHost-"


def test_a_broken_backend_breaks_all_its_services():
    reading = read(
        '[backends.b]\ncircuitBreaker = 3\n[frontends.x]\nbackend="b"\n'
        '[frontends.y]\nbackend="b"\npassHostHeader=true\n'
    )
    assert reading.broken == {("http", "services", "b"), ("http", "services", "b-passHost")}
    assert set(reading.config.http.routers) == {"x", "y"}


# --------------------------------------------------------------------------------------------- backends


def test_servers_are_sorted_collapsed_and_checked_one_by_one():
    servers = {
        "z": ("http://h:1/a", 2),
        "b": ("http://h:1/a?x", 3),
        "c": ("http://h:2", 0),
        "d": ("http://h:3", -1),
        "e": ("h:4", 1),
        "f": ("http://h:x", 1),
        "g": ("http://h 1", 1),
        "h": ("", 1),
    }
    text = "".join(
        f'[backends.b.servers.{name}]\nurl="{url}"\nweight={weight}\n'
        for name, (url, weight) in servers.items()
    )
    reading = read(
        text + '[backends.b.servers.i]\nurl="https://[::1]:5"\n[backends.b.servers.j]\nweight="much"\n'
    )
    assert reading.config.http.services["b"].load_balancer.servers == (
        Server(url="http://h:1/a?x", weight=2),
        Server(url="http://h:2", weight=1),
        Server(url="https://[::1]:5", weight=1),
    )
    assert reading.broken == frozenset()
    assert [each.path[3:] for each in reading.found] == [
        ("j", "weight"),
        ("d", "weight"),
        ("e", "url"),
        ("f", "url"),
        ("g", "url"),
        ("h", "url"),
    ]


@pytest.mark.parametrize(
    ("method", "said"),
    [("WRR", []), ("", []), ("Drr", []), ("random", ['method "random"; using wrr'])],
)
def test_methods(method, said):
    balancer, found = backend(f'[backends.b.loadBalancer]\nmethod = "{method}"')
    assert balancer.v1_method == ("drr" if method == "Drr" else "wrr")
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_stickiness():
    sticky = backend("[backends.b.loadbalancer]\nsticky = true")[0].sticky
    assert sticky == Sticky(cookie=Cookie(name="_TRAEFIK_BACKEND"))
    named = backend('[backends.b.loadbalancer.stickiness]\ncookieName = "my cookie;"')[0].sticky
    assert named == Sticky(cookie=Cookie(name="my_cookie_"))
    unnamed = backend("[backends.b.loadbalancer.stickiness]")[0].sticky
    assert unnamed == Sticky(cookie=Cookie(name=sticky_cookie_name("b")))
    assert backend("")[0].sticky is None
    assert sticky_cookie_name("backend-test") == "_bab60"  # observed on 1.7.28


@pytest.mark.parametrize(
    ("interval", "seconds", "warned"),
    [("10s", 10.0, False), ("5", 5.0, False), ("soon", 0.0, True), ("-1s", 0.0, True), ("", 0.0, False)],
)
def test_health_checks(interval, seconds, warned):
    balancer, found = backend(f'[backends.b.healthCheck]\npath = "/h"\ninterval = "{interval}"\nport = 8')
    assert balancer.health_check == HealthCheck(path="/h", port=8, interval=seconds, status=200, is_v1=True)
    assert bool(found) == warned


def test_a_health_check_without_a_path_is_none():
    assert backend('[backends.b.healthCheck]\ninterval = "1s"')[0].health_check is None


def test_json_names():
    text = (
        '{"backends": {"b": {"servers": {"s": {"url": "http://h:1", "weight": 1}},'
        ' "loadBalancer": {"method": "wrr"}, "maxConn": {"amount": 1, "extractorFunc": "client.ip"}}},'
        ' "frontends": {"f": {"entryPoints": ["http"], "backend": "b", "routes": {"r": {"rule": "Host:a"}},'
        ' "priority": 0, "basicAuth": null, "headers": {}}}}'
    )
    reading = read_dynamic(parse_document(text, "rest", "json"))
    assert reading.config.http.routers["f"].entry_points == ("http",)
    assert set(reading.config.http.middlewares) == {"b-max-conn"}
    assert reading.found == ()


def test_certificates_of_the_last_releases():
    reading = read(
        '[[tls]]\nentryPoints=["https"]\n[tls.certificate]\ncertFile="c"\nkeyFile="k"\n[frontends]\n'
    )
    (certificate,) = reading.config.tls.certificates
    assert (certificate.cert_file, certificate.key_file) == ("c", "k")

"""What unsaid settings mean, and which settings cannot work."""

import pytest

from shared.config.decode import decode
from shared.config.diagnostics import Diagnostics
from shared.config.effective import Address, default_entry_points, effective, parse_address
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_checks import check_static
from shared.errors import ConfigError


def config(tree):
    found = Diagnostics()
    made = decode(StaticConfig, tree, (), found)
    assert len(found) == 0
    return made


def problems(tree):
    found = Diagnostics()
    check_static(effective(config(tree)), found)
    return [str(each) for each in found]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":80", Address("", 80, "tcp")),
        ("127.0.0.1:0", Address("127.0.0.1", 0, "tcp")),
        ("[::1]:443/TCP", Address("::1", 443, "tcp")),
        ("localhost:53/udp", Address("localhost", 53, "udp")),
    ],
)
def test_address_is_read(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "80", "true", ":", ":x", ":65536", ":" + "9" * 5000, "::1:80", "[::1]", ":80/", ":80/tcp/udp", ":٣"],
)
def test_a_bad_address_is_refused(text):
    with pytest.raises(ConfigError):
        parse_address(text)


def test_a_bad_protocol_has_a_hint():
    with pytest.raises(ConfigError, match=r'invalid protocol: tpc; did you mean "tcp"\?'):
        parse_address(":80/tpc")


def test_without_entry_points_there_is_http_on_port_80():
    assert effective(StaticConfig()).entry_points == {"http": EntryPoint(address=":80")}


@pytest.mark.parametrize(
    ("tree", "needed"),
    [
        ({"api": {"insecure": True}}, True),
        ({"api": {}}, False),
        ({"ping": True}, True),
        ({"ping": {"manualRouting": True}}, False),
        ({"ping": {"entryPoint": "web"}}, False),
        ({"metrics": {"prometheus": {}}}, True),
        ({"metrics": {"prometheus": {"manualRouting": True}}}, False),
        ({"providers": {"rest": {"insecure": True}}}, True),
        ({"providers": {"rest": True}}, False),
    ],
)
def test_our_own_entry_point_appears_when_it_is_needed(tree, needed):
    full = effective(config({**tree, "entryPoints": {"web": {"address": ":81"}}}))
    assert full.entry_points.get("traefik") == (EntryPoint(address=":8080") if needed else None)
    assert effective(full) == full


def test_our_own_entry_point_is_not_made_twice():
    tree = {"api": {"insecure": True}, "entryPoints": {"traefik": {"address": ":9"}}}
    assert effective(config(tree)).entry_points == {"traefik": EntryPoint(address=":9")}


@pytest.mark.parametrize(
    ("entry_points", "names"),
    [
        ({"b": ":1", "a": ":2/TCP", "u": ":3/UDP", "traefik": ":4"}, ("a", "b")),
        ({"a": ":1", "b": ":2"}, ("a", "b")),
    ],
)
def test_default_entry_points(entry_points, names):
    tree = {"entryPoints": {name: {"address": address} for name, address in entry_points.items()}}
    assert default_entry_points(config(tree)) == names


def test_flagged_entry_points_are_the_only_defaults():
    tree = {"entryPoints": {"a": {"address": ":1", "asDefault": True}, "b": {"address": ":2"}}}
    assert default_entry_points(config(tree)) == ("a",)
    tree["entryPoints"]["u"] = {"address": ":1/udp", "asDefault": True}
    assert default_entry_points(config(tree)) == ("a",)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"entryPoints": {"web": {}}}, "entryPoints.web: address is missing"),
        ({"entryPoints": {"web": {"address": ":80/sctp"}}},
         "entryPoints.web.address: invalid protocol: sctp"),
        ({"entryPoints": {"web": {"address": ":80", "proxyProtocol": {}}}},
         "entryPoints.web.proxyProtocol: no trusted IPs provided"),
        ({"entryPoints": {"web": {"address": ":80", "forwardedHeaders": {"trustedIPs": "10/8"}}}},
         'entryPoints.web.forwardedHeaders.trustedIPs: "10/8" is neither an address nor a CIDR'),
        ({"entryPoints": {"web": {"address": ":80", "http2": {"maxConcurrentStreams": -1}}}},
         "entryPoints.web.http2.maxConcurrentStreams: must not be negative"),
        ({"entryPoints": {"web": {"address": ":80/udp", "udp": {"timeout": 0}}}},
         "entryPoints.web.udp.timeout: must be greater than zero"),
        ({"entryPoints": {"web": {"address": ":80", "http": {"aliasHeadersStrategy": "foo"}}}},
         'entryPoints.web.http.aliasHeadersStrategy: invalid aliasHeadersStrategy value "foo"'),
        ({"entryPoints": {"web": {
            "address": ":80", "http": {"redirections": {"entryPoint": {"to": "wbe"}}}
        }}},
         "entryPoints.web.http.redirections.entryPoint.to: no entrypoint \"wbe\", so nothing is redirected;"
         ' did you mean "web"?'),
        ({"certificatesResolvers": {"le": {"acme": {"storage": ""}}}},
         "certificatesResolvers.le.acme.storage: the storage of certificates has no name"),
        ({"certificatesResolvers": {"le": {"acme": {"email": "a"}, "tailscale": {}}}},
         "certificatesResolvers.le: a resolver is either acme or tailscale, not both"),
        ({"core": {"defaultRuleSyntax": "v4"}},
         'core.defaultRuleSyntax: unsupported default rule syntax configuration: "v4"'),
        ({"api": {"basePath": "api"}}, "api.basePath: API basePath must be a valid absolute URL path"),
        ({"providers": {"precedence": ["file", "dokcer"]}},
         'providers.precedence: unknown provider "dokcer"; did you mean "docker"?'),
        ({"providers": {"file": {}}}, "providers.file: neither filename nor directory is defined"),
        ({"ocsp": {"responderOverrides": {"a": ""}}},
         "ocsp.responderOverrides.a: an override needs a responder and a URL"),
        ({"tracing": {"otlp": {"grpc": {"insecure": True, "tls": {}}}}},
         "tracing.otlp.grpc: either insecure or tls, not both"),
        ({"log": {"otlp": {}}}, "log.otlp: needs experimental.otlplogs"),
        ({"log": {"level": "DEBUGG"}},
         'log.level: unknown level "DEBUGG", ERROR is used; did you mean "debug"?'),
        ({"ping": {"entryPoint": "wbe"}, "entryPoints": {"web": {"address": ":1"}}},
         'ping.entryPoint: no entrypoint "wbe"; did you mean "web"?'),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told(tree, problem):
    assert problems(tree) == [problem]


def test_a_sound_configuration_has_no_problems():
    tree = {
        "entryPoints": {
            "web": {"address": ":80", "http": {"redirections": {"entryPoint": {"to": "websecure"}}}},
            "websecure": {"address": ":443", "http": {"tls": {}}},
        },
        "log": {"level": "debug", "otlp": {}},
        "experimental": {"otlplogs": True},
        "providers": {"precedence": ["FILE", "docker"], "docker": {}},
    }
    assert problems(tree) == []

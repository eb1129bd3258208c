"""Transports towards servers: TLS as their options say, in every way they can be written."""

import json
from contextlib import ExitStack

import pytest

from tests.support.authority import Authority
from tests.support.clients import exchange
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.transports import URI, rules, transport_cases

pytestmark = pytest.mark.integration


def get(proxy, name):
    return exchange(proxy.address(), f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def answers(authority, tmp_path_factory):
    """The response for each name below, from one proxy, and what the proxy wrote to its log."""
    folder = tmp_path_factory.mktemp("proxy")
    with ExitStack() as stack:
        cases = transport_cases(stack, authority)
        with running_proxy(folder, dynamic=rules(**cases), workers=1) as proxy:
            found = {name: get(proxy, name) for name in cases}
            again = get(proxy, "path").json()["connection"]
            yield found, proxy.log, (found["path"].json()["connection"], again)


STATUSES = {
    200: ("insecure", "path", "pem", "name", "mutual", "mutualpem", "uri", "urionly", "cipher"),
    500: ("unknown", "wrongname", "wronguri", "uriandwrongname", "uriofastranger", "notls"),
    502: ("nobody", "tls13"),
    404: ("nokeys", "noca", "mismatch", "spiffe", "both", "version"),
}


def test_what_transports_do(answers):
    found = {name: response.status for name, response in answers[0].items()}
    assert found == {name: status for status, names in STATUSES.items() for name in names}


def test_the_answer_of_vector_proxy_error_005(answers):
    """A server's certificate that is refused."""
    response = answers[0]["unknown"]
    assert (response.status, response.content) == (500, b"Internal Server Error")
    assert response.header("Content-Type") is None


def test_connections_are_kept(answers):
    first, second = answers[2]
    assert first == second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nokeys", "certificates[0].keyFile: cannot read no-such.key: No such file or directory"),
        ("noca", "rootCAs[0]: cannot read no-such.crt: No such file or directory"),
        ("mismatch", "certificates[0]: not usable: key values mismatch"),
        ("spiffe", "spiffe: SPIFFE is enabled for this transport, but not configured"),
        ("both", "spiffe: TLS and SPIFFE configuration cannot be defined at the same time"),
        (
            "version",
            'minVersion: invalid TLS version: VersionTLS14; the transport is disabled; did you mean "Ver',
        ),
    ],
)
def test_what_cannot_be_used_disables_its_transport_with_one_located_message(answers, name, message):
    lines = [each for each in answers[1].splitlines() if "the transport is disabled" in each]
    found = [each for each in lines if f"http.serversTransports.{name}." in each]
    assert len(found) == 1, answers[1]
    assert "dynamic.yml:1:" in found[0]
    assert message in found[0]


def test_no_key_reaches_the_log(answers):
    assert "PRIVATE KEY" not in answers[1]


STATIC = {
    "yaml": ("static.yml", "serversTransport:\n  rootCAs:\n    - {ca}\n"),
    "toml": ("static.toml", '[serversTransport]\nrootCAs = ["{ca}"]\n'),
    "flag": ("static.yml", ""),
}


@pytest.mark.parametrize("form", STATIC)
def test_the_static_transport_in_every_form(authority, tmp_path, form):
    name, section = STATIC[form]
    section = section.replace("{ca}", str(authority.certificate))
    if name.endswith(".toml"):
        base = '[entryPoints.web]\naddress = "127.0.0.1:{web}"\n[providers.file]\ndirectory = "dynamic"\n'
    else:
        base = 'entryPoints: {web: {address: "127.0.0.1:{web}"}}\nproviders: {file: {directory: dynamic}}\n'
    flags = [f"--serversTransport.rootCAs={authority.certificate}"] if form == "flag" else []
    local = authority.issue("localhost", file=form)
    with (
        running_origin(echo("plain"), local.server_context()) as origin,
        running_proxy(
            tmp_path,
            static=base + section,
            static_name=name,
            flags=flags,
            dynamic=rules(web=(origin.url, None)),
            workers=1,
        ) as proxy,
    ):
        assert get(proxy, "web").header("X-Origin") == "plain"


def test_a_static_authority_that_is_missing_costs_https_only(tmp_path, authority):
    with (
        running_origin(echo("plain")) as origin,
        running_origin(echo("secure"), authority.issue("localhost").server_context()) as secure,
        running_proxy(
            tmp_path,
            flags=["--serversTransport.rootCAs=missing.crt"],
            dynamic=rules(web=(origin.url, None), secure=(secure.url, None)),
            workers=1,
        ) as proxy,
    ):
        assert get(proxy, "web").header("X-Origin") == "plain"
        assert get(proxy, "secure").status == 404
        assert "serversTransport.rootCAs[0]: cannot read missing.crt" in proxy.log


def test_health_checks_speak_tls_as_the_transport_does(tmp_path, authority):
    transport = {"rootCAs": [str(authority.certificate)], "serverName": "elsewhere.test", "peerCertURI": URI}
    document = json.loads(rules(web=("https://localhost:1", transport)))
    with running_origin(echo(), authority.issue("elsewhere.test", uri=URI).server_context()) as origin:
        balancer = document["http"]["services"]["web"]["loadBalancer"]
        balancer["servers"] = [{"url": origin.url}, {"url": "https://localhost:1"}]
        balancer["healthCheck"] = {"path": "/health", "interval": "100ms", "timeout": "5s"}
        with running_proxy(tmp_path, dynamic=json.dumps(document), workers=1) as proxy:
            origin.wait_for_requests(1)
            proxy.wait_for_log("https://localhost:1.* (is down|down)")
            assert get(proxy, "web").status == 200
            assert get(proxy, "web").status == 200
        assert any(each.target == "/health" for each in origin.requests)

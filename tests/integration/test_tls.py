"""TLS entrypoints of the installed program: certificates, options, client certificates, sessions."""

import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import Authority, TlsConnection, client_context


def indented(text, spaces):
    """PEM text as a YAML block."""
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


def certificates(*pairs):
    """``tls.certificates`` with PEM text in it."""
    text = "tls:\n  certificates:\n"
    for pair in pairs:
        text += f"    - certFile: |\n{indented(pair.certificate, 8)}      keyFile: |\n{indented(pair.key, 8)}"
    return text


def routers(url, **rules):
    """Routers with TLS, by name: their rule and, after ``!``, their options."""
    lines = ["http:", "  routers:"]
    for name, text in rules.items():
        rule, _, options = text.partition("!")
        tls = f"{{options: {options}}}" if options else "{}"
        lines += [f"    {name}:", f"      rule: {rule}", "      service: origin", f"      tls: {tls}"]
    lines += [
        "  services:",
        "    origin:",
        "      loadBalancer:",
        "        servers:",
        f"          - url: {url}",
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def origin():
    with running_origin(echo("one")) as running:
        yield running


def test_a_request_over_tls(tmp_path, authority, origin):
    pair = authority.issue("a.test", "a.test")
    dynamic = routers(origin.url, a="Host(`a.test`)") + certificates(pair)
    with running_proxy(tmp_path, dynamic=dynamic) as proxy:
        with TlsConnection(proxy.address(), "a.test", client_context(authority)) as client:
            for _ in range(3):
                answer = client.request("GET", "/x", host="a.test")
                assert answer.status == 200
                told = dict(answer.json()["headers"])
                assert told["X-Forwarded-Proto"] == "https"
                assert told["X-Forwarded-Port"] == "443"
        # Routers with TLS see no plain requests, and the other way round.
        assert get(proxy.address(), "/x", host="a.test").status == 404
        with TlsConnection(proxy.address(), "b.test") as client:
            assert client.certificate_name == "TRAEFIK DEFAULT CERT"
            assert client.request("GET", "/", host="b.test").status == 404

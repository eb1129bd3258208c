"""The examples of the original documents, verbatim but for addresses, serve real requests.

Three layouts: v1 with rules inside the static file or beside it, v1's rule language, and the v2 overview in
YAML, TOML and flags. TLS and the redirects that lead to it are left out: entrypoints speak plain HTTP here.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy

SEEDS = Path(__file__).parents[1] / "golden" / "seeds"


@pytest.fixture
def origins():
    """Four echo origins, named after the addresses that the documents use."""
    with ExitStack() as stack:
        yield {
            f"172.17.0.{n}": stack.enter_context(running_origin(echo(f"172.17.0.{n}"))) for n in (2, 3, 4, 5)
        }


def moved(text, origins):
    """The text with our addresses, and without TLS and what leads there."""
    for name, origin in origins.items():
        text = text.replace(f"http://{name}:80", origin.url)
    text = text.replace('address = ":80"', 'address = "127.0.0.1:{http}"')
    text = text.replace('address = ":443"', 'address = "127.0.0.1:{https}"')
    text = re.sub(r"\n +\[entryPoints\.http\.redirect\]\n +entryPoint = \"https\"", "", text)
    return re.sub(r"\n +\[entryPoints\.https\.tls\](\n +(\[\[|CertFile|KeyFile).*)+", "", text)


def served_by(proxy, entrypoint, host, target="/"):
    """The name of the origin that answered, or the status."""
    response = get(proxy.address(entrypoint), target, host=host)
    return response.json()["name"] if response.status == 200 else response.status


@pytest.mark.parametrize("is_one_file", [True, False])
def test_the_first_documentation_serves(tmp_path, origins, is_one_file):
    if is_one_file:
        static = moved((SEEDS / "v1_one_file.toml").read_text(), origins)
    else:
        static = 'defaultEntryPoints = ["http", "https"]\n' + moved(
            (SEEDS / "v1_static.toml").read_text(), origins
        )
        (tmp_path / "rules.toml").write_text(moved((SEEDS / "v1_rules.toml").read_text(), origins))
    with running_proxy(
        tmp_path, static=static, static_name="traefik.toml", entrypoints=("http", "https")
    ) as proxy:
        # frontend1: a host, backend2
        answers = Counter(served_by(proxy, "http", "test.localhost") for _ in range(30))
        assert answers.keys() == {"172.17.0.4", "172.17.0.5"}
        # frontend2: a template, only at https, backend1 with weights 10 and 1
        answers = Counter(served_by(proxy, "https", "other.localhost") for _ in range(110))
        assert answers.keys() == {"172.17.0.2", "172.17.0.3"}
        assert answers["172.17.0.2"] > 5 * answers["172.17.0.3"]
        assert served_by(proxy, "http", "other.localhost") == 404
        # frontend3: its rule stands in the wrong place in the document and counts as a route
        assert served_by(proxy, "http", "anything", "/test") in ("172.17.0.4", "172.17.0.5")
        assert served_by(proxy, "http", "anything", "/elsewhere") == 404
        # passHostHeader: frontend2 says so, frontend1 does not
        received = get(proxy.address("https"), "/", host="other.localhost").json()
        assert dict(received["headers"])["Host"] == "other.localhost"
        received = get(proxy.address("http"), "/", host="test.localhost").json()
        assert dict(received["headers"])["Host"].startswith("127.0.0.1:")


BASICS = """
[entryPoints]
  [entryPoints.http]
  address = ":80"

[file]

[backends]
[backends.backend1]
[backends.backend1.circuitbreaker]
expression = "NetworkErrorRatio() > 0.5"
[backends.backend1.servers.server1]
url = "http://172.17.0.2:80"
weight = 10
[backends.backend1.servers.server2]
url = "http://172.17.0.3:80"
weight = 1
[backends.backend2]
[backends.backend2.LoadBalancer]
method = "drr"
[backends.backend2.servers.server1]
url = "http://172.17.0.4:80"
weight = 1
[backends.backend2.servers.server2]
url = "http://172.17.0.5:80"
weight = 2

[frontends]
  [frontends.frontend1]
  backend = "backend2"
    [frontends.frontend1.routes.test_1]
    rule = "Host:test.localhost,test2.localhost"
  [frontends.frontend2]
  backend = "backend1"
  passHostHeader = true
    [frontends.frontend2.routes.test_1]
    rule = "Host:localhost,{subdomain:[a-z]+}.localhost"
  [frontends.frontend3]
  backend = "backend2"
    [frontends.frontend3.routes.test_1]
    rule = "Host:test3.localhost"
    [frontends.frontend3.routes.test_2]
    rule = "Path:/test"
"""


def test_the_basics_serve(tmp_path, origins):
    with running_proxy(
        tmp_path, static=moved(BASICS, origins), static_name="traefik.toml", entrypoints=("http",)
    ) as proxy:
        second = {"172.17.0.4", "172.17.0.5"}
        assert {served_by(proxy, "http", "test.localhost") for _ in range(12)} == second
        assert {served_by(proxy, "http", "test2.localhost") for _ in range(12)} == second
        assert {served_by(proxy, "http", "localhost") for _ in range(60)} == {"172.17.0.2", "172.17.0.3"}
        assert served_by(proxy, "http", "test3.localhost", "/test") in second
        assert served_by(proxy, "http", "test3.localhost", "/other") == 404
        assert get(proxy.address("http"), "/test/", host="test3.localhost").header("Location") == "/test"


# Rule as documented, a request that it matches, what the server is asked for.
EXAMPLES = [
    ("AddPrefix: /products", "/shoes", {}, "any.test", "/products/shoes"),
    ("Headers: Content-Type, application/json", "/", {"Content-Type": "application/json"}, "any.test", "/"),
    (
        "HeadersRegexp: Content-Type, application/(text|json)",
        "/",
        {"Content-Type": "application/text"},
        "a.test",
        "/",
    ),
    ("Host: traefik.io, www.traefik.io", "/", {}, "www.traefik.io", "/"),
    ("HostRegexp: traefik.io, {subdomain:[a-z]+}.traefik.io", "/", {}, "api.traefik.io", "/"),
    ("Method: GET, POST, PUT", "/", {}, "any.test", "/"),
    (
        "Path: /products/, /articles/{category}/{id:[0-9]+}",
        "/articles/shoes/12",
        {},
        "a.test",
        "/articles/shoes/12",
    ),
    ("PathStrip: /products/, /articles/{category}/{id:[0-9]+}", "/articles/shoes/12", {}, "a.test", "/"),
    ("PathPrefix: /products/, /articles/{category}/{id:[0-9]+}", "/products/x", {}, "a.test", "/products/x"),
    (
        "PathPrefixStrip: /products/, /articles/{category}/{id:[0-9]+}",
        "/products/x?a=1",
        {},
        "a.test",
        "/x?a=1",
    ),
    ("PathPrefixStrip: /products/, /articles/{category}/{id:[0-9]+}", "/articles/s/12/y", {}, "a.test", "/y"),
]


def test_every_documented_rule_serves(tmp_path, origins):
    """Each example gets a second route, so that they do not take each other's requests."""
    url = origins["172.17.0.2"].url
    lines = [
        f'[entryPoints.http]\naddress = "127.0.0.1:{{http}}"\n[file]\n[backends.b.servers.s]\nurl = "{url}"'
    ]
    for number, (rule, *_) in enumerate(EXAMPLES):
        routes = f"frontends.f{number}.routes"
        lines.append(
            f'[frontends.f{number}]\nbackend = "b"\n[{routes}.example]\nrule = "{rule}"\n'
            f'[{routes}.number]\nrule = "Headers:X-Example,{number}"'
        )
    with running_proxy(
        tmp_path, static="\n".join(lines), static_name="traefik.toml", entrypoints=("http",)
    ) as proxy:
        for number, (rule, target, fields, host, expected) in enumerate(EXAMPLES):
            sent = [("X-Example", str(number)), *fields.items()]
            response = get(proxy.address("http"), target, host=host, fields=sent)
            assert response.status == 200, rule
            assert response.json()["target"] == expected, rule


OVERVIEW_YAML = """
# http routing section
http:
  routers:
    # Define a connection between requests and services
    to-whoami:
      rule: "Host(`example.com`) && PathPrefix(`/whoami/`)"
       # If the rule matches, applies the middleware
      middlewares:
      - test-user
      # If the rule matches, forward to the whoami service (declared below)
      service: whoami

  middlewares:
    # Define an authentication mechanism
    test-user:
      basicAuth:
        users:
        - test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/

  services:
    # Define how to reach an existing service on our infrastructure
    whoami:
      loadBalancer:
        servers:
        - url: http://private/whoami-service
"""
OVERVIEW_TOML = """
# http routing section
[http]
  [http.routers]
     # Define a connection between requests and services
     [http.routers.to-whoami]
      rule = "Host(`example.com`) && PathPrefix(`/whoami/`)"
      # If the rule matches, applies the middleware
      middlewares = ["test-user"]
      # If the rule matches, forward to the whoami service (declared below)
      service = "whoami"

  [http.middlewares]
    # Define an authentication mechanism
    [http.middlewares.test-user.basicAuth]
      users = ["test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"]

  [http.services]
    # Define how to reach an existing service on our infrastructure
    [http.services.whoami.loadBalancer]
      [[http.services.whoami.loadBalancer.servers]]
        url = "http://private/whoami-service"
"""
STATIC_YAML = """
entryPoints:
  web:
    # Listen on port 8081 for incoming requests
    address: 127.0.0.1:{web}

providers:
  # Enable the file provider to define routers / middlewares / services in file
  file:
    directory: FOLDER
"""
STATIC_TOML = """
[entryPoints]
  [entryPoints.web]
    # Listen on port 8081 for incoming requests
    address = "127.0.0.1:{web}"

[providers]
  # Enable the file provider to define routers / middlewares / services in file
  [providers.file]
    directory = "FOLDER"
"""
STATIC_FLAGS = ["--entryPoints.web.address=127.0.0.1:{web}", "--providers.file.directory=FOLDER"]


@pytest.mark.parametrize(
    ("static", "static_name", "flags", "dynamic", "dynamic_name"),
    [
        (STATIC_YAML, "traefik.yml", [], OVERVIEW_YAML, "whoami.yml"),
        (STATIC_TOML, "traefik.toml", [], OVERVIEW_TOML, "whoami.toml"),
        ("", "none.yml", STATIC_FLAGS, OVERVIEW_YAML, "whoami.yaml"),
    ],
    ids=["yaml", "toml", "flags"],
)
def test_the_overview_serves(tmp_path, origins, static, static_name, flags, dynamic, dynamic_name):
    folder = str(tmp_path / "dynamic")
    url = origins["172.17.0.2"].url
    with running_proxy(
        tmp_path,
        static=static.replace("FOLDER", folder),
        static_name=static_name,
        flags=[flag.replace("FOLDER", folder) for flag in flags],
        dynamic={dynamic_name: dynamic.replace("http://private", url)},
    ) as proxy:
        address = proxy.address()
        refused = get(address, "/whoami/", host="example.com")
        assert (refused.status, refused.header("WWW-Authenticate")) == (401, 'Basic realm="traefik"')
        login = [("Authorization", "Basic " + base64.b64encode(b"test:test").decode())]
        answer = get(address, "/whoami/x?y=1", host="example.com", fields=login)
        assert answer.json()["target"] == "/whoami/x?y=1"
        assert dict(answer.json()["headers"])["Host"] == "example.com"
        wrong = [("Authorization", "Basic " + base64.b64encode(b"test:wrong").decode())]
        assert get(address, "/whoami/", host="example.com", fields=wrong).status == 401
        assert get(address, "/whoami", host="example.com", fields=login).status == 404
        assert get(address, "/whoami/", host="example.org", fields=login).status == 404

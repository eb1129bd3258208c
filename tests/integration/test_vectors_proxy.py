"""The published vectors through the installed proxy: its documents, its translation of v1, its sockets.

One proxy per dialect serves them all: each vector has an entrypoint of its own, with its settings, and its
routers listen there alone. What cannot happen on loopback or needs TLS is in ``ELSEWHERE``, with the reason.
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import tomllib
from contextlib import ExitStack

import pytest

from tests.support.clients import ClientConnection, request_bytes
from tests.support.origins import answer, answering_slowly, echo, running_origin, scripted
from tests.support.ports import reserve_port
from tests.support.proxy import running_proxy
from tests.support.vectors import v1_expectation, vectors

pytestmark = pytest.mark.integration

ELSEWHERE = {
    "redir-ep": "leads to a TLS entrypoint; as a step in test_middleware_vectors",
    "redir-ep-port": "leads to a TLS entrypoint; as a step in test_middleware_vectors",
    "redir-ep-underscore": "leads to a TLS entrypoint; as a step in test_middleware_vectors",
    "seed002-frontend3-literal": "a whole document; test_seeds serves it",
    "forwardedHeaders-010": "a zone of an IPv6 peer; in test_forwarded",
    "proxy.error-005": "needs a TLS server; in test_servers_transport",
    "proxy.error-006": "nobody is there to read the answer; it is in test_replies",
}
FIRST_SET = [
    *("addPrefix", "basicAuth", "chain", "encodedCharacters", "headers", "ipAllowList", "ipWhiteList"),
    *(
        "redirectRegex",
        "redirectScheme",
        "replacePath",
        "replacePathRegex",
        "stripPrefix",
        "stripPrefixRegex",
    ),
]
V2_AREAS = ["forwardedHeaders", "proxy.*", "notfound", "path.*", "query.*", "static.redirection"]


def runnable(found):
    """Less those that run elsewhere; a configuration that is refused serves nothing to look at."""
    values = [each.values[0] for each in found]
    kept = {v["id"] for v in values if v["id"] not in ELSEWHERE and "configError" not in v["expect"]}
    return [each for each in found if each.values[0]["id"] in kept]


V1 = runnable(vectors("v1", "rules", "redirect", "forward"))
V2 = runnable(vectors("v2", *V2_AREAS, *(f"middleware.{kind}" for kind in FIRST_SET)))


def entrypoint_of(vector):
    return "ep" + re.sub(r"[\W_]", "", vector["id"])  # names of routers that we make keep only these


def moved(text):
    """Addresses of elsewhere as addresses of loopback, where the test's client can be."""

    def move(match):
        address = ipaddress.ip_address(match[0])
        return match[0] if address.is_loopback else "127." + match[0].partition(".")[2]

    return re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", move, text)


def ask(address, request, target, host, source=None):
    """The response to a vector's request; fields are pairs (v1) or a mapping with lists (v2)."""
    fields = request.get("headers", [])
    pairs = fields if isinstance(fields, list) else list(spread(fields))
    with ClientConnection(address, source=source) as connection:
        connection.send(request_bytes(request.get("method", "GET"), target, host=host, fields=pairs))
        return connection.receive(method=request.get("method", "GET"))


def spread(fields):
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            yield name, each


def check_fields(fields, expected):
    for name, value in expected.items():
        found = [each for key, each in fields if key.lower() == name.lower()]
        wanted = [] if value is None else value if isinstance(value, list) else [value]
        assert found == wanted, name


def fields_of(response):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.head.fields]


# --------------------------------------------------------------------------------------------------- v1


class V1Documents:
    """All vectors of v1 in one configuration; the entrypoint in front of names keeps their order."""

    def __init__(self, origins, refused_url):
        self.static = {"logLevel": "INFO", "file": {"filename": "rules.yml"}, "entryPoints": {}}
        self.rules = {"frontends": {}, "backends": {}}
        self._origins = origins
        self._refused_url = refused_url

    def add(self, vector):
        name = entrypoint_of(vector)
        if vector["area"] == "forward":
            self._entrypoint(name, {})
            self._forward(name, vector)
            return
        config = tomllib.loads(vector["config"])
        entry = config.get("entryPoints", {}).get("http", {})
        redirect = dict(entry.get("redirect", {}))
        if "entryPoint" in redirect:
            redirect["entryPoint"] = f"{name}_target"
            self._entrypoint(f"{name}_target", {})
        self._entrypoint(name, {"redirect": redirect} if redirect else {})
        if vector["area"] == "redirect":
            if "no frontend at all" not in vector["config"]:
                self._frontend(name, "f1", {"backend": "b", "routes": {"r": {"rule": "PathPrefix:/"}}}, ["b"])
            return
        for frontend, settings in config["frontends"].items():
            self._frontend(name, frontend, settings, config["backends"])

    def _entrypoint(self, name, settings):
        self.static["entryPoints"][name] = {"address": f"127.0.0.1:{{{name}}}", **settings}

    def _frontend(self, entrypoint, frontend, settings, backends):
        backend = f"{entrypoint}_{settings['backend']}"
        self.rules["frontends"][f"{entrypoint}_{frontend}"] = {
            **settings,
            "backend": f"{backend}_{frontend}",
            "entryPoints": [entrypoint],
        }
        if settings["backend"] in backends:
            url = self._origins(frontend).url
            self.rules["backends"][f"{backend}_{frontend}"] = {"servers": {"s": {"url": url}}}

    def _forward(self, name, vector):
        config = vector["config"]
        if vector["expect"].get("status") == 404:
            return
        self._frontend(name, "f1", {"backend": "b", "routes": {"r": {"rule": "PathPrefix:/"}}}, ["b"])
        if "passHostHeader" in config:
            self.rules["frontends"][f"{name}_f1"]["passHostHeader"] = config["passHostHeader"]
        servers = self.rules["backends"][f"{name}_b_f1"]["servers"]
        if vector["expect"].get("status") == 502:
            servers["s"]["url"] = self._refused_url
        elif config.get("url", "").endswith("/base"):
            servers["s"]["url"] += "/base"


@pytest.fixture(scope="module")
def v1_proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v1")
    with ExitStack() as stack:
        running = {}

        def origins(name):
            if name not in running:
                running[name] = stack.enter_context(running_origin(echo(name)))
            return running[name]

        refused = stack.enter_context(reserve_port())
        documents = V1Documents(origins, f"http://127.0.0.1:{refused.number}")
        for each in V1:
            documents.add(each.values[0])
        (folder / "rules.yml").write_text(json.dumps(documents.rules))
        names = tuple(documents.static["entryPoints"])
        static = json.dumps(documents.static)
        yield stack.enter_context(running_proxy(folder, static=static, entrypoints=names, workers=1))


@pytest.mark.parametrize("vector", V1)
def test_v1_vector(v1_proxy, vector):
    request, name = vector["request"], entrypoint_of(vector)
    response = ask(
        v1_proxy.address(name), request, request.get("target", "/"), host=request.get("host", "foo.bar")
    )
    if vector["area"] == "forward":
        wanted = {**vector["expect"], **vector.get("advice", {})}
    elif vector["area"] == "rules":
        wanted = v1_expectation(vector, tomllib.loads(vector["config"])["frontends"])
    else:
        wanted = vector["expect"].get("all") or vector["expect"]["C"]
    assert response.status == wanted.get("status", 200)
    if "location" in wanted:
        location = wanted["location"]
        if vector["id"] == "redir-ep-plain":
            location = location.replace(":443", f":{v1_proxy.address(f'{name}_target')[1]}")
        assert response.header("Location") == location
    if "body" in wanted:
        assert response.content.decode() == wanted["body"]
    check_fields(fields_of(response), wanted.get("headers", {}))
    if response.status == 200:
        check_what_arrived(response.json(), wanted, vector["config"])


def check_what_arrived(received, wanted, config):
    if "frontend" in wanted:
        assert received["name"] == wanted["frontend"]
    if "forward_uri" in wanted:
        assert received["target"] == wanted["forward_uri"]
    expected = wanted.get("backend_headers", {})
    if "client_ip" in config:
        expected = {key: value.replace(config["client_ip"], "127.0.0.1") for key, value in expected.items()}
    check_fields(received["headers"], expected)
    check_fields(received["headers"], dict.fromkeys(wanted.get("backend_lacks", [])))


# --------------------------------------------------------------------------------------------------- v2


class V2Documents:
    """All vectors of v2 in one configuration."""

    def __init__(self, origin_for):
        self.static = {
            "log": {"level": "INFO"},
            "entryPoints": {},
            "providers": {"file": {"filename": "rules.yml"}},
        }
        self.http = {"routers": {}, "services": {}, "middlewares": {}, "serversTransports": {}}
        self._origin_for = origin_for

    def add(self, vector):
        name, config = entrypoint_of(vector), vector["config"]
        written = config.get("entryPoints", {}).get("web", {})
        entry = {"address": f"127.0.0.1:{{{name}}}", **(written if isinstance(written, dict) else {})}
        if vector["area"] == "forwardedHeaders":
            entry["forwardedHeaders"] = json.loads(moved(json.dumps(config["forwardedHeaders"])))
        elif vector["request"].get("trusted"):
            entry["forwardedHeaders"] = {"insecure": True}
        if "encodeQuerySemicolons" in config:
            entry["http"] = {"encodeQuerySemicolons": config["encodeQuerySemicolons"]}
        if "redirections" in config:
            entry["http"] = {"redirections": config["redirections"]}
        self.static["entryPoints"][name] = entry
        rule = config.get("http", {}).get("routers", {}).get("a", {}).get("rule", "PathPrefix(`/`)")
        router = {"rule": rule, "service": name, "entryPoints": [name]}
        self.http["routers"][name] = router
        self.http["services"][name] = {"loadBalancer": self._balancer(name, vector)}
        if vector["area"].startswith("middleware."):
            router["middlewares"] = self._middlewares(name, vector)

    def _balancer(self, name, vector):
        config = vector["config"]
        url = self._origin_for(vector).url
        server = {"url": url + re.sub(r"^https?://[^/]*", "", config.get("url", ""))}
        if "preservePath" in config:
            server["preservePath"] = config["preservePath"]
        balancer = {"servers": [server]}
        if "passHostHeader" in config:
            balancer["passHostHeader"] = config["passHostHeader"]
        if vector["expect"].get("status") == 504:
            self.http["serversTransports"][name] = {"forwardingTimeouts": {"responseHeaderTimeout": "200ms"}}
            balancer["serversTransport"] = name
        return balancer

    def _middlewares(self, name, vector):
        config = dict(vector["config"])
        if "order" in vector["expect"]:  # the links say who they are by what they put before the path
            inner = [f"{name}_{each}" for each in config["chain"]["middlewares"]]
            for each in inner:
                self.http["middlewares"][each] = {"addPrefix": {"prefix": f"/{each.rpartition('_')[2]}"}}
            config = {"chain": {"middlewares": inner}}
        self.http["middlewares"][name] = config
        return [name]


@pytest.fixture(scope="module")
def v2_proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v2")
    never = threading.Event()
    with ExitStack() as stack:
        ordinary = stack.enter_context(running_origin(echo("origin")))

        def origin_for(vector):
            status = vector["expect"].get("status")
            reply = vector["request"].get("upstreamResponse")
            if vector["area"] == "proxy.error" and status == 504:
                serve = answering_slowly(never, answer(200))
            elif vector["area"] == "proxy.error" and status == 502:
                serve = scripted(b"")
            elif reply is not None:
                serve = scripted(answer(200, fields=tuple(spread(reply["headers"]))))
            else:
                return ordinary
            origin = stack.enter_context(running_origin(serve))
            stack.callback(never.set)  # before this origin waits for its threads
            return origin

        documents = V2Documents(origin_for)
        for each in V2:
            documents.add(each.values[0])
        http = {kind: objects for kind, objects in documents.http.items() if objects}
        (folder / "rules.yml").write_text(json.dumps({"http": http}))
        names = tuple(documents.static["entryPoints"])
        static = json.dumps(documents.static)
        yield stack.enter_context(running_proxy(folder, static=static, entrypoints=names, workers=1))


@pytest.mark.parametrize("vector", V2)
def test_v2_vector(v2_proxy, vector):
    request, expect = vector["request"], dict(vector["expect"])
    source = moved(request["remoteAddr"].rpartition(":")[0]) if "remoteAddr" in request else None
    request = {"requestTarget": request.get("target", "/"), **request}
    url = re.fullmatch(r"http://([^/]*)(/.*)", request.get("url", ""))
    host, target = (
        url.groups() if url else (request.get("host", "foo.test"), request.get("requestTarget", "/"))
    )
    response = ask(v2_proxy.address(entrypoint_of(vector)), request, target, host, source)
    reached = response.header("X-Origin") == "origin"
    assert response.status == expect.pop(
        "status", 200 if "reachedUpstream" not in expect else response.status
    )
    assert reached is expect.pop("reachedUpstream", reached)
    body = expect.pop("body", None)
    if body is not None and request.get("method") != "HEAD":
        assert response.content.decode() == body
    check_fields(fields_of(response), expect.pop("headers", {}))
    if "routerName" in expect:
        check_router(v2_proxy, entrypoint_of(vector), expect)
    expect.pop("path", None)  # what rules see; test_paths looks at it
    received = response.json() if reached else None
    if "order" in expect:
        names = expect.pop("order")
        assert names[-1] == "upstream"
        assert received["target"] == "".join(f"/{each}" for each in reversed(names[:-1])) + "/"
    if "upstreamTarget" in expect:
        assert received["target"] == expect.pop("upstreamTarget")
    if "upstreamHeaders" in expect:
        wanted = expect.pop("upstreamHeaders")
        if vector["area"] == "forwardedHeaders":
            wanted = {**wanted, **{name: moved_value(request, name, wanted[name]) for name in wanted}}
        check_fields(received["headers"], wanted)
    assert not expect, "the vector expects something that this test does not look at"


def check_router(proxy, entrypoint, expect):
    """A router of ours is listed; the vector calls its entrypoint ``web``."""
    name = expect.pop("routerName").replace("web", entrypoint, 1)
    listed = json.loads(proxy.command("routes", "--json").stdout)
    found = next(each for each in listed if each["name"] == name)
    assert found["rule"] == expect.pop("rule")
    assert found["priority"] == expect.pop("priority")


def moved_value(request, name, value):
    """The peer's address as it is here; what the client wrote itself stays."""
    peer = request["remoteAddr"].rpartition(":")[0]
    return value.replace(peer, moved(peer)) if isinstance(value, str) else value


def test_what_runs_elsewhere_is_still_in_the_vectors():
    known = {each.values[0]["id"] for each in (*vectors("v1", "*"), *vectors("v2", "*"))}
    assert set(ELSEWHERE) <= known
    for found in (V1, V2):
        assert len({entrypoint_of(each.values[0]) for each in found}) == len(found)

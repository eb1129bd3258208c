"""Requests for the known differences that a random campaign may miss, so that none goes stale by chance."""

from __future__ import annotations

from typing import Any

from tests.differential.configurations import MARKER_FIELD, MARKER_HOST, Configuration
from tests.differential.requests import Case

_STEPS: dict[str, list[dict[str, Any]]] = {
    "cors": [
        {
            "headers": {
                "accessControlAllowOriginList": ["*"],
                "accessControlAllowCredentials": True,
                "addVaryHeader": True,
            }
        }
    ],
    "twice": [{"replacePath": {"path": "/é"}}, {"replacePath": {"path": "/é"}}],
    "plain": [],
    "type": [{"headers": {"customResponseHeaders": {"Content-Type": "text/x"}}}],
    "empty": [{"redirectRegex": {"regex": ".*", "replacement": ""}}],
    "strip": [{"stripPrefixRegex": {"regex": [".*"]}}],
    "realm": [{"basicAuth": {"users": ["a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="], "realm": 'with "quotes"'}}],
    "port": [{"redirectScheme": {"scheme": "https", "port": "http"}}],
    "scheme": [{"redirectScheme": {"scheme": "https"}}],
    "semicolons": [
        {"replacePath": {"path": "/new"}},
        {"redirectRegex": {"regex": "^http://", "replacement": "https://"}},
    ],
    "sts": [{"headers": {"stsSeconds": 10}}],
    "cut": [{"stripPrefixRegex": {"regex": ["^/cut"]}}],
    "relative": [{"replacePathRegex": {"regex": "^/", "replacement": "x"}}],
}
"""Chains by name; each stands behind the path of its name."""

_REQUESTS = (
    b"GET /cors HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /cors HTTP/1.1\r\nHost: a.test\r\nOrigin: http://o.test\r\nX-Want: cookies\r\n\r\n",
    b"GET /plain HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n",
    b"GET /plain HTTP/1.0\r\nHost: a.test\r\nX-Want: trailers\r\n\r\n",
    b"GET /twice HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /type HTTP/1.1\r\nHost: a.test\r\nX-Want: 304\r\n\r\n",
    b"GET /empty HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /strip/%0d%0a/b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /realm HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /port HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /scheme HTTP/1.1\r\nHost: a.test:\r\n\r\n",
    b"GET /semicolons?a;b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /cut%2Fb%3Bc HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET https://a.test/sts HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http://a%41.test/plain HTTP/1.1\r\nHost: a%41.test\r\n\r\n",
    b"GET /relative HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /any/\xe9 HTTP/1.1\r\nHost: utf8.test\r\n\r\n",
    b"GET /any/%E9 HTTP/1.1\r\nHost: utf8.test\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: dot.test..\r\n\r\n",
    b"GET /plain HTTP/1.1\r\nHost: a.test\r\nConnection: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\n\r\n",
    b"GET /plain HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"PUT /plain HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /nowhere HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"GET /plain HTTP/1.2\r\nHost: a.test\r\n\r\n",
    b"GET mailto:a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET /plain#f HTTP/1.1\r\n\r\n",
    b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
    b"PUT /plain HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nX-Want: until-close\r\n"
    b"Content-Length: 1\r\n\r\nx",
    b"GET /plain HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n",
    b"GET /plain/|/%2F HTTP/1.1\r\nHost: path.test\r\n\r\n",
)


_RAW_REQUESTS = (b"GET HTTP://a.test/scheme HTTP/1.1\r\nHost: a.test\r\n\r\n",)
"""For the entrypoint that leaves paths as they are."""


def witness_configuration(number: int, origins: dict[str, str]) -> Configuration:
    """The configuration that the witnesses need."""
    routers: dict[str, Any] = {}
    middlewares: dict[str, Any] = {}
    for name, steps in _STEPS.items():
        own = {f"{name}{index}": step for index, step in enumerate(steps)}
        mark = f"mark{name}"
        middlewares |= own
        middlewares[mark] = {"headers": {"customResponseHeaders": {"X-Router": name}}}
        routers[name] = {
            "rule": f"PathPrefix(`/{name}`)",
            "service": "s0",
            "middlewares": [] if name == "plain" else [mark, *own],
        }
    for name, rule in (
        ("utf8", "Host(`utf8.test`) && PathRegexp(`^/any/.$`)"),
        ("dot", "Host(`dot.test.`)"),
        ("path", "Host(`path.test`) && PathPrefix(`/plain/|//`)"),
    ):
        middlewares[f"mark{name}"] = {"headers": {"customResponseHeaders": {"X-Router": name}}}
        routers[name] = {"rule": rule, "service": "s0", "middlewares": [f"mark{name}"], "priority": 1_000}
    middlewares["live"] = {"headers": {"customResponseHeaders": {MARKER_FIELD: str(number)}}}
    middlewares["ep-headers"] = {"headers": {"customRequestHeaders": {"X-Entry": "chained"}}}
    middlewares["ep-strip"] = {"stripPrefix": {"prefixes": ["/chained"]}}
    routers["live"] = {
        "rule": f"Host(`{MARKER_HOST}`) && Path(`/{number}`)",
        "service": "s0",
        "priority": 1_000_000,
        "middlewares": ["live"],
    }
    services = {"s0": {"loadBalancer": {"servers": [{"url": origins["s0"]}]}}}
    return Configuration(
        number, {"http": {"routers": routers, "middlewares": middlewares, "services": services}}
    )


def witnesses(first: int) -> list[Case]:
    """The requests, numbered from ``first``."""
    requests = [("web", raw) for raw in _REQUESTS] + [("raw", raw) for raw in _RAW_REQUESTS]
    return [Case(first + index, name, "127.0.0.1", raw) for index, (name, raw) in enumerate(requests)]

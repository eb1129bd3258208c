"""Router sets over small alphabets, so that rules overlap and requests come close to them.

One configuration drives both proxies. It is drawn from a seeded generator: the same seed gives the same text.
Router names are never used twice, because we keep the last good version of a broken router and Traefik does
not (spec v2 section 3.1). No two routers have the same priority, because the winner among equals is not
defined (spec v2 section 2.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.differential.middlewares import CHAINED, draw_middlewares

FEWEST_ROUTERS, MOST_ROUTERS = 5, 40
MARKER_HOST = "marker.test"
MARKER_FIELD = "X-Live-Configuration"
ENTRY_POINTS = ("web", "insecure", "trusted", "raw", "semicolons", "chained", "noappend", "strict")
SERVICES = ("s0", "s1", "s2")
DEAD, EMPTY, OWN_HOST, KEPT_PATH, ABSENT = "dead", "empty", "ownhost", "keptpath", "absent"

HOSTS = ("a.test", "b.test", "www.a.test", "x.y.a.test", "10.0.0.1", "::1", "xn--bcher-kva.test")
PATHS = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/api",
    "/api/v1",
    "/A",
    "/a b",
    "/a%20b",
    "/a%2Fb",
    "/a%2fb",
    "/a;b",
    "/a%3Bb",
    "/é",
    "/%C3%A9",
    "/a%25b",
    "/a+b",
    "/a:b",
    "/a@b",
    "//a",
    "/a//b",
    "/a/../b",
    "/~x",
    "/%7Ex",
    "/[a]",
    "/%5Ba%5D",
)
FIELDS = (("X-A", "1"), ("X-A", "2"), ("X-B", "a, b"), ("x-c", "é"), ("X_D", "d"), ("User-Agent", "ua"))
QUERIES = (("q", "1"), ("q", "2"), ("k", "a b"), ("k", "a&b"), ("é", "ü"), ("empty", ""))
NETWORKS = ("127.0.0.1", "127.0.0.2", "127.0.0.0/8", "127.0.0.2/31", "::1", "10.0.0.0/8", "::ffff:127.0.0.1")
PATTERNS = (
    "a",
    "^a",
    "b$",
    "^[a-z.]+$",
    "(?i)A",
    "^/a(/.*)?$",
    "%2F",
    "é",
    ".*",
    "^$",
    "[0-9]+",
    "x|y",
    "^.{2,6}$",
)
BROKEN_PATTERNS = ("(", "a(?=b)", "[a", "*a", "\\")
METHODS = ("GET", "post", "PUT", "DELETE", "OPTIONS", "HEAD", "FOO")
BROKEN_RULES = (
    "",
    "Host(`a.test`",
    "Host(a.test)",
    "Hst(`a.test`)",
    "hOST(`a.test`)",
    "Path(`a`)",
    "Path()",
    "Path(``)",
    "Path(`/a`, `/b`)",
    "Host(`bücher.test`)",
    "ClientIP(`1.2.3`)",
    "PathPrefix(`/a`) and Host(`b.test`)",
    "Host('a.test')",
    "PathRegexp(`(`)",
    "Host(`a.test`)\n&& Path(`/a`)",
    "Query(`q`, ``)",
    "Header(`X-A`)",
    "Method(`GET`);",
)
SHARE_BROKEN_RULES = 0.04
SHARE_V2 = 0.15


Hints = dict[str, list[Any]]
"""Values that rules ask for, by what they are about: ``host``, ``path``, ``method``, ``field``, ``query``."""


@dataclass
class Configuration:
    """What both proxies serve.

    Attributes:
        number: in the run; its marker says that it is live.
        document: the dynamic file.
        hints: values that rules of this configuration ask for, by what they are about.
    """

    number: int
    document: dict[str, Any]
    hints: Hints = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The dynamic file, JSON being YAML."""
        return json.dumps(self.document, ensure_ascii=False, indent=1)

    @property
    def has_broken_port(self) -> bool:
        """Whether a redirectScheme names a port that is no number."""
        steps = self.document["http"]["middlewares"].values()
        return any(not each.get("redirectScheme", {}).get("port", "0").isdecimal() for each in steps)

    def steps_of(self, router: str) -> list[dict[str, Any]]:
        """The middlewares of a router, chains expanded; none for a router that is not there."""
        http = self.document["http"]
        return self._expand(http["routers"].get(router, {}).get("middlewares", ()), depth=4)

    def _expand(self, names: Iterable[str], depth: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in names if depth else ():
            options = self.document["http"]["middlewares"].get(name, {})
            found += (
                self._expand(options["chain"]["middlewares"], depth - 1) if "chain" in options else [options]
            )
        return found

    def without_routers(self, kept: set[str]) -> dict[str, Any]:
        """The document with only these routers: for a short report."""
        http = dict(self.document["http"])
        http["routers"] = {name: each for name, each in http["routers"].items() if name in kept}
        used: set[str] = set()
        more = {name for each in http["routers"].values() for name in each.get("middlewares", ())}
        while more - used:
            used |= more
            chains = [http["middlewares"].get(name, {}).get("chain", {}) for name in used]
            more = {name for chain in chains for name in chain.get("middlewares", ())}
        http["middlewares"] = {name: each for name, each in http["middlewares"].items() if name in used}
        services = {each["service"] for each in http["routers"].values()}
        http["services"] = {name: each for name, each in http["services"].items() if name in services}
        return {"http": http}


def static_settings(ports: Mapping[str, int]) -> dict[str, Any]:
    """The static variants: one entrypoint each, so that one process of each proxy serves all of them."""
    options: dict[str, dict[str, Any]] = {
        "web": {},
        "insecure": {"forwardedHeaders": {"insecure": True}},
        "trusted": {"forwardedHeaders": {"trustedIPs": ["127.0.0.2/32"], "connection": ["X-Keep-Me"]}},
        "raw": {"http": {"sanitizePath": False}},
        "semicolons": {"http": {"encodeQuerySemicolons": True}},
        "chained": {"http": {"middlewares": [f"{name}@file" for name in CHAINED]}},
        "noappend": {"forwardedHeaders": {"insecure": True, "notAppendXForwardedFor": True}},
        "strict": {
            "http": {
                "encodedCharacters": {
                    "allowEncodedSlash": False,
                    "allowEncodedBackSlash": False,
                    "allowEncodedNullCharacter": False,
                    "allowEncodedSemicolon": False,
                    "allowEncodedPercent": False,
                    "allowEncodedQuestionMark": False,
                    "allowEncodedHash": False,
                },
                "underscoreHeadersStrategy": "delete",
            }
        },
    }
    return {
        "entryPoints": {
            name: {"address": f"127.0.0.1:{ports[name]}", **options[name]} for name in ENTRY_POINTS
        },
        "providers": {
            "providersThrottleDuration": "20ms",
            "file": {"directory": "dynamic", "watch": True},
        },
    }


def draw_configuration(random: Random, number: int, origins: dict[str, str], dead_url: str) -> Configuration:
    """A configuration.

    Args:
        random: where every choice comes from.
        number: in the run.
        origins: URL by service name.
        dead_url: where nobody listens.
    """
    hints: Hints = {
        "host": ["a.test"],
        "path": ["/"],
        "method": ["GET"],
        "field": [],
        "query": [],
    }
    middlewares = draw_middlewares(random)
    shared = sorted(middlewares)
    routers: dict[str, Any] = {}
    priorities: set[int] = set()
    for index in range(random.randint(FEWEST_ROUTERS, MOST_ROUTERS)):
        name = f"c{number}r{index}"
        router = _draw_router(random, hints, shared)
        priority = router.get("priority") or len(router["rule"].encode())
        if priority in priorities:
            continue
        priorities.add(priority)
        if "middlewares" in router or random.random() < 0.8 or _has_broken_port(middlewares):
            # Outermost, so that answers of the other middlewares say which router made them.
            middlewares[f"mark-{name}"] = {"headers": {"customResponseHeaders": {"X-Router": name}}}
            router["middlewares"] = [f"mark-{name}", *router.get("middlewares", ())]
        routers[name] = router
    routers[f"marker{number}"] = {
        "rule": f"Host(`{MARKER_HOST}`) && Path(`/{number}`)",
        "service": "s0",
        "priority": 1_000_000,
        "middlewares": ["marker"],
    }
    middlewares["marker"] = {"headers": {"customResponseHeaders": {MARKER_FIELD: str(number)}}}
    document = {
        "http": {
            "routers": routers,
            "middlewares": middlewares,
            "services": _services(origins, dead_url),
        }
    }
    return Configuration(number, document, hints)


def _has_broken_port(middlewares: dict[str, Any]) -> bool:
    """Whether we disable routers that Traefik serves: then all of them must say their name."""
    ports = [
        each["redirectScheme"].get("port", "0") for each in middlewares.values() if "redirectScheme" in each
    ]
    return not all(port.isdecimal() for port in ports)


def _services(origins: dict[str, str], dead_url: str) -> dict[str, Any]:
    services: dict[str, Any] = {
        name: {"loadBalancer": {"servers": [{"url": origins[name]}]}} for name in SERVICES
    }
    services[DEAD] = {"loadBalancer": {"servers": [{"url": dead_url}]}}
    services[EMPTY] = {"loadBalancer": {"passHostHeader": True}}
    services[OWN_HOST] = {"loadBalancer": {"servers": [{"url": origins[OWN_HOST]}], "passHostHeader": False}}
    services[KEPT_PATH] = {
        "loadBalancer": {"servers": [{"url": f"{origins[KEPT_PATH]}/base", "preservePath": True}]}
    }
    return services


def _draw_router(random: Random, hints: Hints, middlewares: list[str]) -> dict[str, Any]:
    router: dict[str, Any] = {"service": random.choice(SERVICES)}
    if random.random() < 0.12:
        router["service"] = random.choice((DEAD, EMPTY, OWN_HOST, KEPT_PATH, KEPT_PATH, ABSENT))
    if random.random() < SHARE_BROKEN_RULES:
        router["rule"] = random.choice(BROKEN_RULES)
    elif random.random() < SHARE_V2:
        router["rule"], router["ruleSyntax"] = _Rules(random, hints, is_v2=True).draw(), "v2"
    else:
        router["rule"] = _Rules(random, hints, is_v2=False).draw()
        if random.random() < 0.05:
            router["ruleSyntax"] = "v3"
    if random.random() < 0.5:
        router["priority"] = random.choice((-5, -1, *range(1, 90)))
    if random.random() < 0.55:
        router["middlewares"] = random.choices(middlewares, k=random.randint(1, 3))
    if random.random() < 0.02:
        router["middlewares"] = ["no-such-middleware"]
    if random.random() < 0.25:
        router["entryPoints"] = random.sample(ENTRY_POINTS, random.randint(1, 5))
        if random.random() < 0.1:
            router["entryPoints"].append("no-such-entrypoint")
    return router


class _Rules:
    """Draws rules of one language and notes what requests would need to fulfil them."""

    def __init__(self, random: Random, hints: Hints, *, is_v2: bool) -> None:
        self._random = random
        self._hints = hints
        self._is_v2 = is_v2

    def draw(self) -> str:
        """A rule."""
        random = self._random
        shape = random.random()
        if shape < 0.3:
            return self._atom()
        if shape < 0.6:
            return f"{self._call('Host', self._host())}{self._and()}{self._path_atom()}"
        if shape < 0.75:
            return f"{self._path_atom()}{self._and()}{self._atom()}"
        return self._tree(random.randint(1, 3))

    def _tree(self, depth: int) -> str:
        if depth == 0:
            return self._atom()
        random = self._random
        kind = random.random()
        if kind < 0.2:
            return f"!{random.choice(('', ' '))}({self._tree(depth - 1)})"
        if kind < 0.3:
            return f"!{self._atom()}"
        joint = self._and() if random.random() < 0.5 else random.choice((" || ", "||", " ||\n"))
        left, right = self._tree(depth - 1), self._tree(depth - 1)
        return f"({left}){joint}{right}" if random.random() < 0.4 else f"{left}{joint}{right}"

    def _and(self) -> str:
        return self._random.choice((" && ", "&&", " &&\n", "\t&& "))

    def _atom(self) -> str:
        draw = self._random.choices(
            (
                self._path_atom,
                self._host_atom,
                self._method_atom,
                self._field_atom,
                self._query_atom,
                self._client_atom,
            ),
            weights=(5, 3, 2, 2, 2, 1),
        )[0]
        return draw()

    def _path_atom(self) -> str:
        random = self._random
        path = random.choice(PATHS)
        if path not in self._hints["path"]:
            self._hints["path"].append(path)
        if random.random() < 0.2:
            if not self._is_v2:
                return self._call("PathRegexp", self._pattern())
            name = random.choice(("Path", "PathPrefix"))
            return self._call(
                name, random.choice(("/{x}", "/a/{x:[a-z]+}", "/{x:a|b}/b", "/a{x:.*}", "/{x", "/{:a}"))
            )
        name = "Path" if random.random() < 0.4 else "PathPrefix"
        return self._call(name, path, *self._more(PATHS))

    def _host(self) -> str:
        random = self._random
        host = random.choice(HOSTS)
        self._hints["host"].append(host)
        odd = random.random()
        if odd < 0.06:
            return host.upper()
        if odd < 0.1:
            return host + "."
        if odd < 0.14 and not self._is_v2:
            return random.choice(("*", "*.a.test", "*.test", "*.A.test."))
        return host

    def _host_atom(self) -> str:
        random = self._random
        if random.random() < 0.3:
            if self._is_v2:
                return self._call(
                    "HostRegexp",
                    random.choice(
                        ("{x}.test", "{x:[a-z]+}.a.test", "a.test", "A.test", "{x:.*}", "^a$", "{x:(}")
                    ),
                )
            return self._call("HostRegexp", self._pattern())
        name = "HostHeader" if self._is_v2 and random.random() < 0.3 else "Host"
        return self._call(name, self._host(), *self._more(HOSTS))

    def _method_atom(self) -> str:
        method = self._random.choice(METHODS)
        self._hints["method"].append(method.upper())
        return self._call("Method", method, *self._more(METHODS))

    def _field_atom(self) -> str:
        name, value = self._random.choice(FIELDS)
        self._hints["field"].append((name, value))
        name = self._random.choice((name, name.lower(), name.upper()))
        if self._random.random() < 0.4:
            return self._call("HeadersRegexp" if self._is_v2 else "HeaderRegexp", name, self._pattern())
        return self._call("Headers" if self._is_v2 else "Header", name, value)

    def _query_atom(self) -> str:
        random = self._random
        key, value = random.choice(QUERIES)
        self._hints["query"].append((key, value))
        if self._is_v2:
            shown = random.choice((value, value, "", "{x}", "{x:[0-9]+}"))
            return self._call("Query", f"{key}={shown}" if random.random() < 0.95 else key)
        if random.random() < 0.3:
            return self._call("QueryRegexp", key, self._pattern())
        if not value or random.random() < 0.2:
            return self._call(random.choice(("Query", "QueryRegexp")), key)
        return self._call("Query", key, value)

    def _client_atom(self) -> str:
        return self._call("ClientIP", self._random.choice(NETWORKS), *self._more(NETWORKS))

    def _pattern(self) -> str:
        random = self._random
        return random.choice(BROKEN_PATTERNS if random.random() < 0.03 else PATTERNS)

    def _more(self, alphabet: tuple[str, ...]) -> list[str]:
        """Further values, which only v2 rules may have."""
        random = self._random
        return (
            random.choices(alphabet, k=random.randint(1, 2)) if self._is_v2 and random.random() < 0.3 else []
        )

    def _call(self, name: str, *arguments: str) -> str:
        random = self._random
        if random.random() < 0.1:
            name = random.choice((name.lower(), name.upper(), name.capitalize()))
        quoted = [self._quoted(each) for each in arguments]
        comma = random.choice((", ", ",", " , "))
        return f"{name}({comma.join(quoted)}{random.choice(('', '', '', ' '))})"

    def _quoted(self, text: str) -> str:
        if self._random.random() < 0.85:
            return f"`{text}`"
        return json.dumps(text, ensure_ascii=self._random.random() < 0.5)

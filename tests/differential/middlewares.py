"""Middlewares with options from short lists, for the chains of generated routers."""

from __future__ import annotations

from random import Random
from typing import Any

CHAINED = ("ep-headers", "ep-strip")
"""What the entrypoint ``chained`` puts in front of every chain."""
PASSWORD_HASHES = (
    "plain:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",  # password
    "apache:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/",
    "bcrypt:$2y$05$9uLpOs3Vr7TrGpvPwvyIzuRr5iUOwHYDyA2Ohdj0jVyQ8D6f5Tn1O",
)
"""``name:hash``; the first one's password is ``password``, the others have none that anyone knows."""

_HEADERS: tuple[dict[str, Any], ...] = (
    {"customRequestHeaders": {"X-Added": "yes", "X-A": "", "x-lower": "v"}},
    {"customRequestHeaders": {"X-Forwarded-For": ""}},
    {"customRequestHeaders": {"X-Forwarded-Proto": "https", "Connection": "x-b"}},
    {"customRequestHeaders": {"Host": "other.test"}},
    {"customRequestHeaders": {"Host": "", "User-Agent": "", "Accept": " padded "}},
    {"customResponseHeaders": {"X-Custom": "r", "X-Up": "", "Server": "s", "Content-Type": "text/x"}},
    {"customResponseHeaders": {"x-lower-answer": "é", "Vary": "X"}},
    {
        "accessControlAllowOriginList": ["http://a.test", "null"],
        "accessControlAllowMethods": ["GET", "PUT"],
        "accessControlAllowHeaders": ["X-A"],
        "accessControlMaxAge": 100,
        "addVaryHeader": True,
    },
    {
        "accessControlAllowOriginList": ["*"],
        "accessControlAllowCredentials": True,
        "accessControlAllowMethods": ["*"],
        "accessControlAllowHeaders": ["*"],
    },
    {
        "accessControlAllowOriginListRegex": ["^http://[a-z]+\\.test$"],
        "accessControlExposeHeaders": ["X-A", "X-B"],
        "accessControlMaxAge": 0,
    },
    {"accessControlAllowOriginList": ["*"], "addVaryHeader": True},
    {"allowedHosts": ["a.test", "B.test"]},
    {"allowedHosts": ["a.test"], "hostsProxyHeaders": ["X-Forwarded-Host", "X-A"]},
    {"stsSeconds": 10, "stsIncludeSubdomains": True, "stsPreload": True, "forceSTSHeader": True},
    {"stsSeconds": 10, "sslProxyHeaders": {"X-Forwarded-Proto": "https"}},
    {
        "frameDeny": True,
        "contentTypeNosniff": True,
        "browserXssFilter": True,
        "referrerPolicy": "no-referrer",
        "permissionsPolicy": "geolocation=()",
        "contentSecurityPolicy": "default-src 'self'",
        "contentSecurityPolicyReportOnly": "default-src 'none'",
    },
    {"customFrameOptionsValue": "SAMEORIGIN", "frameDeny": True, "customBrowserXSSValue": "1"},
    {"isDevelopment": True, "allowedHosts": ["nobody.test"], "stsSeconds": 5, "forceSTSHeader": True},
)
_PREFIXES = ("/a", "/api", "/a/", "a", "/", "/a b", "/é", "/a%2F", "//", " /a ", "/A", "/a;b", "")
_PATHS = (
    "/new",
    "/n w",
    "/n%20w",
    "/n%2Fw",
    "/n?x=1",
    "/%zz",
    "/é",
    "",
    "/",
    "/a//b",
    "/a/../b",
    "/n#f",
)
_PREFIX_PATTERNS = (
    "/a",
    "^/a",
    "/[a-z]+",
    "/a/?",
    "b",
    "^/(a|api)",
    "/.",
    ".*",
    "/a%2F",
    "(?i)/A",
    "é",
    "x*",
)
_REPLACEMENTS = (
    ("^/a(.*)", "/x$1"),
    ("^/a(.*)", "$1"),
    ("/a", "/b"),
    ("^/(.*)$", "/p/${1}/q"),
    ("%2F", "/"),
    ("b", ".."),
    ("^.*$", "/q?x=1"),
    (" ^/a ", " /x "),
    ("a", "$1x"),
    ("(?P<n>a)", "${n}${n}"),
    ("/", "//"),
    ("$", "%"),
    ("$", "$$"),
)
_REDIRECTS = (
    ("^http://a\\.test/(.*)", "https://b.test/${1}"),
    ("^http://([^/]+)/a(.*)$", "http://$1/moved$2"),
    ("^(.*)$", "$1"),
    ("a", "b"),
    ("^http://[^/]+/(.*)", "/$1"),
    ("^http://[^/]+/(.*)", "//x.test/$1"),
    (".*", "http://x.test/ä ö"),
    (".*", "http://[x"),
    ("\\?.*$", ""),
    ("^http", "https"),
    (".*", ""),
    (".*", "http://x.test/%zz"),
    ("api", "\n"),
)
_STRATEGIES: tuple[dict[str, Any] | None, ...] = (
    None,
    None,
    {"depth": 1},
    {"depth": 2},
    {"excludedIPs": ["10.0.0.1", "127.0.0.0/8"]},
    {"depth": 1, "ipv6Subnet": 64},
    {"depth": -1},
    {"excludedIPs": ["not an address"]},
)
_RANGES: tuple[list[str], ...] = (
    ["127.0.0.1"],
    ["127.0.0.2/31"],
    ["10.0.0.0/8", "::1"],
    ["0.0.0.0/0", "::/0"],
    ["1.2.3.4/32", "2001:db8::/64"],
    ["nonsense"],
    [],
)


def draw_middlewares(random: Random) -> dict[str, Any]:
    """About a dozen of all kinds, by name, with those that entrypoints ask for."""
    found: dict[str, Any] = {
        "ep-headers": {"headers": {"customRequestHeaders": {"X-Entry": "chained"}}},
        "ep-strip": {"stripPrefix": {"prefixes": ["/chained"]}},
    }
    drawers = (_headers, _path, _path, _path, _redirect, _auth, _addresses, _headers)
    for index in range(random.randint(8, 14)):
        found[f"m{index}"] = random.choice(drawers)(random)
    names = [name for name in found if name not in CHAINED]
    found["chain-a"] = {"chain": {"middlewares": random.sample(names, 2)}}
    found["chain-b"] = {"chain": {"middlewares": ["chain-a", random.choice(names)]}}
    if random.random() < 0.2:
        found["chain-c"] = {"chain": {"middlewares": ["chain-d"]}}
        found["chain-d"] = {"chain": {"middlewares": [random.choice(("chain-c", "gone"))]}}
    return found


def _headers(random: Random) -> dict[str, Any]:
    return {"headers": random.choice(_HEADERS)}


def _path(random: Random) -> dict[str, Any]:
    match random.randrange(5):
        case 0:
            return {
                "addPrefix": {"prefix": random.choice(_PREFIXES[:-1] if random.random() < 0.9 else ("",))}
            }
        case 1:
            return {"stripPrefix": {"prefixes": random.sample(_PREFIXES, random.randint(1, 3))}}
        case 2:
            return {"stripPrefixRegex": {"regex": random.sample(_PREFIX_PATTERNS, random.randint(1, 2))}}
        case 3:
            return {"replacePath": {"path": random.choice(_PATHS)}}
        case _:
            pattern, replacement = random.choice(_REPLACEMENTS)
            return {"replacePathRegex": {"regex": pattern, "replacement": replacement}}


def _redirect(random: Random) -> dict[str, Any]:
    permanent = {"permanent": random.random() < 0.5}
    if random.random() < 0.5:
        options = {"scheme": random.choice(("https", "http", "https", "HTTPS", "ftp"))}
        if random.random() < 0.5:
            options["port"] = random.choice(("443", "80", "8443", "http"))
        return {"redirectScheme": options | permanent}
    pattern, replacement = random.choice(_REDIRECTS)
    return {"redirectRegex": {"regex": pattern, "replacement": replacement, **permanent}}


def _auth(random: Random) -> dict[str, Any]:
    options: dict[str, Any] = {"users": [PASSWORD_HASHES[0]]}
    if random.random() < 0.3:
        options["users"] = [random.choice(PASSWORD_HASHES[1:]), PASSWORD_HASHES[0]]
    if random.random() < 0.4:
        options["removeHeader"] = True
    if random.random() < 0.4:
        options["headerField"] = random.choice(("X-User", "x-a", "X-Forwarded-User"))
    if random.random() < 0.4:
        options["realm"] = random.choice(("zone", 'with "quotes"', "é"))
    if random.random() < 0.05:
        options["users"] = ["no-colon"]
    return {"basicAuth": options}


def _addresses(random: Random) -> dict[str, Any]:
    options: dict[str, Any] = {"sourceRange": random.choice(_RANGES)}
    strategy = random.choice(_STRATEGIES)
    if strategy is not None:
        options["ipStrategy"] = strategy
    if random.random() < 0.2:
        options["rejectStatusCode"] = random.choice((404, 418, 451, 599, 200))
    return {"ipAllowList": options}

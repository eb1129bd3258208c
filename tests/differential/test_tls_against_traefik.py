"""Which certificate and which options: Penstock and Traefik 3.7.15 decide the same.

Each entrypoint has its own draw of routers with TLS and their options; all share a draw of certificates. An
answer tells which certificate was shown, whether a client certificate was needed, and which router it was.
Drawn from a fixed seed; ``PENSTOCK_DIFFERENTIAL_SEED`` draws others.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from random import Random

import pytest

from tests.support import traefik
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import Authority, TlsConnection, client_context
from tests.support.traefik import running_traefik
from tests.support.wire import WireClosedError

SEED = os.environ.get("PENSTOCK_DIFFERENTIAL_SEED", "penstock")
ENTRYPOINTS = 8
LIVE_TIMEOUT_S = 20.0
PAUSE_S = 0.05
CERTIFIED = ("a.test", "b.test", "*.test", "x.sub.test", "*.sub.test", "c.test", "127.0.0.1", "www.example")
HOSTS = ("a.test", "b.test", "c.test", "x.sub.test", "y.sub.test", "www.example")
ASKED = (
    None,
    "a.test",
    "B.test",
    "c.test",
    "x.sub.test",
    "y.sub.test",
    "z.test",
    "www.example",
    "other.example",
)
UNUSABLE = ("broken", "missing")
"""Their routers have a host for themselves. Traefik counts them when it looks for routers that disagree about
a host, and then gives all of these the default options; here what cannot be used takes no part."""
OPTIONS = ("plain", "strict", "mutual", "maybe", "any", "broken", "missing", "default", "")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def test_certificates_and_options(tmp_path):
    random = Random(f"{SEED} tls")
    authority = Authority()
    own = authority.issue("client").write(tmp_path, "client")
    names = tuple(f"e{number}" for number in range(ENTRYPOINTS))
    with ExitStack() as stack:
        url = stack.enter_context(running_origin(echo("origin"))).url
        config = {"http": _draw_http(random, names, url), "tls": _draw_tls(random, authority)}
        text = json.dumps(config)
        theirs = stack.enter_context(running_traefik(tmp_path / "traefik", _static, text, entrypoints=names))
        ours = stack.enter_context(running_proxy(tmp_path, dynamic=text, entrypoints=names, workers=1))
        _wait_until_live(theirs, config)
        differences, seen = [], set()
        for name in names:
            for server_name in ASKED:
                for host in random.sample(HOSTS, 3):
                    for files in (None, own):
                        case = (server_name, host, files)
                        wanted, found = (_probe(each.address(name), *case) for each in (theirs, ours))
                        seen.add(wanted)
                        if wanted != found:
                            differences.append((name, server_name, host, files is not None, found, wanted))
    rules = {key: (each["rule"], each["tls"]) for key, each in config["http"]["routers"].items()}
    told = [(*each, {k: v for k, v in rules.items() if k.startswith(each[0])}) for each in differences]
    assert told == [], "\n".join(map(str, told))
    assert {"refused"} < seen
    assert {421, 404, 200} <= {each[1] for each in seen if each != "refused"}


def _draw_http(random, names, url):
    routers = {}
    for name in names:
        for number in range(random.randint(2, 5)):
            hosts = random.sample(HOSTS, random.randint(1, 2))
            options = random.choice(OPTIONS)
            if options in UNUSABLE:
                hosts = [f"{options}.test"]
            rule = " || ".join(f"Host(`{host}`)" for host in hosts)
            routers[f"{name}r{number}"] = {
                "rule": f"PathPrefix(`/`) && ({rule})" if random.random() < 0.3 else rule,
                "entryPoints": [name],
                "service": "s",
                "middlewares": [f"{name}r{number}"],
                "tls": {"options": options} if options else {},
            }
    steps = {name: {"headers": {"customResponseHeaders": {"X-Router": name}}} for name in routers}
    services = {"s": {"loadBalancer": {"servers": [{"url": url}]}}}
    return {"routers": routers, "middlewares": steps, "services": services}


def _draw_tls(random, authority):
    pairs = []
    for number in range(6):
        covered = random.sample(CERTIFIED, random.randint(1, 3))
        pair = authority.issue(f"certificate {number}", *covered)
        pairs.append({"certFile": pair.certificate, "keyFile": pair.key})
    fallback = authority.issue("fallback")
    ca = {"caFiles": [authority.pem]}
    return {
        "certificates": pairs,
        "stores": {
            "default": {"defaultCertificate": {"certFile": fallback.certificate, "keyFile": fallback.key}}
        },
        "options": {
            "plain": {},
            "strict": {"sniStrict": True},
            "mutual": {"clientAuth": ca},
            "maybe": {"clientAuth": {**ca, "clientAuthType": "VerifyClientCertIfGiven"}},
            "any": {"clientAuth": {"clientAuthType": "RequireAnyClientCert"}},
            "broken": {"cipherSuites": ["NONE"]},
        },
    }


def _probe(address, server_name, host, own):
    """Whether there is an answer, and then: the certificate, the status, and the router."""
    try:
        with TlsConnection(address, server_name, client_context(own=own)) as client:
            answer = client.request("GET", "/", host=host)
            return client.certificate_name, answer.status, answer.header("X-Router")
    except (OSError, WireClosedError):
        return "refused"


def _static(ports):
    points = {name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items() if name.startswith("e")}
    return {"entryPoints": points, "providers": {"file": {"directory": "dynamic", "watch": True}}}


def _wait_until_live(theirs, config):
    """Until its API knows all routers that can serve at all."""
    deadline = time.monotonic() + LIVE_TIMEOUT_S
    while sum(name.endswith("@file") for name in theirs.routers()) < len(config["http"]["routers"]):
        assert time.monotonic() < deadline, theirs.log
        assert not theirs.ends_within(PAUSE_S)

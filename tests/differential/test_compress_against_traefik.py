"""compress: Penstock and Traefik 3.7.15 code the same answers the same way, but for what stands here."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest

from tests.support import traefik
from tests.support.clients import ClientConnection, request_bytes
from tests.support.origins import answer, running_origin
from tests.support.proxy import running_proxy
from tests.support.traefik import running_traefik

LIVE_TIMEOUT_S = 20.0
PAUSE_S = 0.05
DEFAULTS: dict[str, object] = {}
CONFIGS = {
    "plain": DEFAULTS,
    "brotli": {"encodings": ["br", "gzip"], "defaultEncoding": "br"},
    "excluding": {"excludedContentTypes": ["text/plain; charset=utf-8", "image/png"]},
    "including": {"includedContentTypes": ["text/plain; charset=utf-8", "application/json"]},
    "small": {"minResponseBodyBytes": 10},
}
TEXT = {"Content-Type": "text/plain"}
CASES = {
    "gzip": ("plain", "GET", {"Accept-Encoding": "gzip"}, {**TEXT, "ETag": 'W/"v1"'}, 2048),
    "br": ("plain", "GET", {"Accept-Encoding": "br"}, TEXT, 2048),
    "zstd": ("plain", "GET", {"Accept-Encoding": "zstd"}, TEXT, 2048),
    "weights": ("plain", "GET", {"Accept-Encoding": "gzip;q=0.1, br;q=0.2, zstd;q=0"}, TEXT, 2048),
    "identity": ("plain", "GET", {"Accept-Encoding": "identity, br;q=0.9"}, TEXT, 2048),
    "below": ("plain", "GET", {"Accept-Encoding": "br"}, TEXT, 1023),
    "at": ("plain", "GET", {"Accept-Encoding": "gzip"}, TEXT, 1024),
    "ten": ("small", "GET", {"Accept-Encoding": "zstd"}, TEXT, 10),
    "nine": ("small", "GET", {"Accept-Encoding": "zstd"}, TEXT, 9),
    "head": ("plain", "HEAD", {"Accept-Encoding": "br"}, TEXT, 2048),
    "encoded": ("plain", "GET", {"Accept-Encoding": "br"}, {**TEXT, "Content-Encoding": "deflate"}, 2048),
    "part": ("plain", "GET", {"Accept-Encoding": "gzip"}, {**TEXT, "Content-Range": "bytes 0-1/2"}, 2048),
    "untyped": ("plain", "GET", {"Accept-Encoding": "br"}, {}, 2048),
    "malformed": ("plain", "GET", {"Accept-Encoding": "br"}, {"Content-Type": "a b"}, 2048),
    "events": ("plain", "GET", {"Accept-Encoding": "br"}, {"Content-Type": "text/event-stream"}, 2048),
    "default": ("brotli", "GET", {"Accept-Encoding": "*"}, TEXT, 2048),
    "star": ("brotli", "GET", {"Accept-Encoding": "gzip, *"}, TEXT, 2048),
    "silent": ("brotli", "GET", {"Accept-Encoding": ""}, TEXT, 2048),
    "excluded": ("excluding", "GET", {"Accept-Encoding": "br"}, {"Content-Type": "image/png"}, 2048),
    "type": ("excluding", "GET", {"Accept-Encoding": "br"}, TEXT, 2048),
    "typed": (
        "excluding",
        "GET",
        {"Accept-Encoding": "br"},
        {"Content-Type": "text/plain;charset=utf-8"},
        2048,
    ),
    "request": ("excluding", "POST", {"Accept-Encoding": "br", "Content-Type": "image/png"}, TEXT, 2048),
    "included": ("including", "GET", {"Accept-Encoding": "br"}, {"Content-Type": "application/json"}, 2048),
    "absent": ("including", "GET", {"Accept-Encoding": "br"}, {"Content-Type": "text/html"}, 2048),
    "bare": ("including", "GET", {"Accept-Encoding": "br"}, TEXT, 2048),
    "nothing": ("including", "GET", {"Accept-Encoding": "br"}, {}, 2048),
    "varied": ("plain", "GET", {"Accept-Encoding": "br"}, {**TEXT, "Vary": "Origin"}, 2048),
    "untransformed": (
        "plain",
        "GET",
        {"Accept-Encoding": "br"},
        {**TEXT, "Cache-Control": "no-transform"},
        2048,
    ),
    "brpart": ("plain", "GET", {"Accept-Encoding": "br"}, {**TEXT, "Content-Range": "bytes 0-1/2"}, 2048),
    "ranges": ("plain", "GET", {"Accept-Encoding": "br"}, {**TEXT, "Accept-Ranges": "bytes"}, 2048),
    "tagged": ("plain", "GET", {"Accept-Encoding": "br"}, {**TEXT, "ETag": '"v1"'}, 2048),
}
SEEN = ("Content-Encoding", "Vary", "ETag", "Accept-Ranges")
VARY = ["Accept-Encoding"]
OTHERWISE = {
    "untransformed": (
        (200, [], VARY, [], []),
        (200, ["br"], VARY, [], []),
        "compresses what must not be transformed",
    ),
    "brpart": (
        (200, [], VARY, [], []),
        (200, ["br"], VARY, [], []),
        "compresses a part with br and zstd, not with gzip",
    ),
    "ranges": (
        (200, ["br"], VARY, [], []),
        (200, ["br"], VARY, [], ["bytes"]),
        "offers ranges of what it compressed with br and zstd, not with gzip",
    ),
    "tagged": (
        (200, ["br"], VARY, ['"v1~br"'], []),
        (200, ["br"], VARY, ['"v1"'], []),
        "keeps the strong tag of other bytes",
    ),
}
"""By case: ours, Traefik's, and what it does."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("integration"),
    pytest.mark.skipif(bool(traefik.missing()), reason=traefik.missing()),
]


def serve(connection):
    """Answers each case as it says, by the host."""
    while (request := connection.receive_request()) is not None:
        case = CASES[request.header("Host").partition(".")[0]]
        content = b"" if request.method == "HEAD" else b"x" * case[4]
        connection.send(answer(200, content, fields=tuple(case[3].items()), size=case[4]))


def document(url):
    routers = {
        name: {"rule": f"Host(`{name}.test`)", "service": "s", "middlewares": [case[0]]}
        for name, case in CASES.items()
    }
    middlewares = {name: {"compress": config} for name, config in CONFIGS.items()}
    services = {"s": {"loadBalancer": {"servers": [{"url": url}]}}}
    return json.dumps({"http": {"routers": routers, "middlewares": middlewares, "services": services}})


def ask(address, name):
    """The status, and the values of the fields that compress changes."""
    _, method, fields, _, _ = CASES[name]
    with ClientConnection(address) as client:
        client.send(request_bytes(method, "/", host=f"{name}.test", fields=fields.items()))
        response = client.receive(method=method)
    found = [(key.decode().lower(), value.decode()) for key, value in response.head.fields]
    return response.status, *(sorted(value for key, value in found if key == each.lower()) for each in SEEN)


def test_codings(tmp_path):
    def static(ports):
        return {
            "entryPoints": {"web": {"address": f"127.0.0.1:{ports['web']}"}},
            "providers": {"file": {"directory": str(tmp_path / "traefik" / "dynamic")}},
        }

    with ExitStack() as stack:
        rules = document(stack.enter_context(running_origin(serve)).url)
        (tmp_path / "penstock").mkdir()
        ours = stack.enter_context(running_proxy(tmp_path / "penstock", dynamic=rules, workers=1))
        theirs = stack.enter_context(
            running_traefik(tmp_path / "traefik", static, rules, entrypoints=("web",))
        )
        deadline = time.monotonic() + LIVE_TIMEOUT_S
        while ask(theirs.address("web"), "br")[0] == 404 and time.monotonic() < deadline:
            time.sleep(PAUSE_S)  # nothing else tells when its routes are in force
        found = {name: (ask(ours.address(), name), ask(theirs.address("web"), name)) for name in CASES}
    differing = {name: each for name, each in found.items() if each[0] != each[1]}
    assert differing == {name: each[:2] for name, each in OTHERWISE.items()}

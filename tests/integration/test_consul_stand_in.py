"""The stand-in for Consul answers as a real Consul did: recorded exchanges, replayed in their order.

Compared are status, bodies and how indexes move; their values are examples. Waits are shortened. What a
recording does during a blocking query follows it there, and is done here while the query waits.
"""

import base64
import json
import re
import threading
import time
from pathlib import Path

import httpx
import pytest

import tests.support.consul
from tests.support.consul.server import ConsulStandIn
from tests.support.ports import reserve_port

RECORDED = Path(tests.support.consul.__file__).parent / "recorded"
SHORT_WAIT = "700ms"
UNTIL_IT_WAITS_S = 0.25
INDEXES = {"CreateIndex", "ModifyIndex", "LockIndex", "Index", "LastContact", "KnownLeader"}
INDEXES |= {"ConsistencyLevel", "Backend", "NotModified"}
NOT_BUILT = (
    "dc=elsewhere",
    "/v1/kv//",
    "/v1/nothing-here",
    "/v1/catalog",
    "/v1/health",
    "/v1/agent",
    "/v1/acl",
)
"""Parts of targets that the stand-in does not serve."""
READER, ADMIN = "00000000-0000-4000-8000-0000000000bb", "00000000-0000-4000-8000-0000000000aa"
HIDDEN = {
    "after everything below the prefix was deleted": lambda server, found: remove(server, "traefik/"),
    "an index from the future": lambda server, found: server.table.put("traefik/a", b"3"),
    "no token, policy deny": lambda server, found: server.table.put("traefik/a", b"1"),
    "it sees only what it may read": lambda server, found: server.table.put("secret/x", b"1"),
    "the next request: 403": lambda server, found: server.tokens.pop(READER),
    "the empty prefix with recurse": lambda server, found: fill(server, found),
}
"""What was done before an exchange without being recorded, by the beginning of its note."""


def remove(server, prefix):
    server.table.delete(server.table.keys_below(prefix))


def fill(server, found):
    for each in found:
        server.table.put(each["Key"], base64.b64decode(each["Value"] or ""), each["Flags"])


def exchanges(name):
    recorded = json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]
    return [each for each in recorded if not any(part in each["request"]["target"] for part in NOT_BUILT)]


class Replay:
    """One file against one stand-in."""

    def __init__(self, server):
        self.server = server
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30, trust_env=False)
        self.index_of = {}
        self.seen = {}
        self.compared = 0

    def prepare(self, first):
        """What was there before the recording begins, as far as its first answer tells."""
        found = first["response"].get("json") if first["request"]["method"] == "GET" else None
        fill(self.server, found if isinstance(found, list) else [])

    def do_hidden(self, exchange):
        """What the recording leaves out."""
        for beginning, step in HIDDEN.items():
            if exchange.get("note", "").startswith(beginning):
                step(self.server, exchange["response"].get("json"))

    def send(self, exchange):
        request = exchange["request"]
        target = re.sub(r"wait=\d+s", f"wait={SHORT_WAIT}", request["target"])
        target = re.sub(r"(index|cas)=(\d+)", self.translated, target)
        body = request.get("text", "").encode() or b"x" * request.get("text_omitted_bytes", 0)
        if "base64" in request:
            body = base64.b64decode(request["base64"])
        elif "json" in request:
            size = request.get("json_shortened_from", 0)
            body = json.dumps((request["json"] * size)[:size] if size else request["json"]).encode()
        return self.client.request(request["method"], target, headers=request.get("headers"), content=body)

    def translated(self, found):
        """An index of the recording as ours."""
        return f"{found[1]}={self.index_of.get(found[2], found[2])}"

    def compare(self, exchange, answer):
        recorded, where = exchange["response"], f"{exchange['request']} ({exchange.get('note')})"
        assert answer.status_code == recorded["status"], where
        if "json" in recorded:
            assert plain(answer.json()) == plain(recorded["json"]), where
            if recorded["json"] and isinstance(recorded["json"], list):
                for before, ours in zip(recorded["json"], answer.json(), strict=True):
                    if isinstance(before, dict):
                        self.index_of[str(before["ModifyIndex"])] = ours["ModifyIndex"]
        elif "base64" in recorded:
            assert answer.content == base64.b64decode(recorded["base64"]), where
        elif recorded["status"] < 500 and recorded.get("text"):
            words = recorded["text"].split(":")[0].split(".")[0]
            assert answer.text.startswith(words), where
        index = recorded["headers"].get("X-Consul-Index")
        assert (index is not None) == ("X-Consul-Index" in answer.headers), where
        if index is not None:
            self.compare_index(exchange, int(index), int(answer.headers["X-Consul-Index"]))
        self.compared += 1

    def compare_index(self, exchange, recorded, ours):
        thing = re.sub(r"&?(index|wait)=[^&]*", "", exchange["request"]["target"])
        if thing in self.seen:
            before, ours_before = self.seen[thing]
            moved, ours_moved = recorded - before, ours - ours_before
            assert (moved > 0) - (moved < 0) == (ours_moved > 0) - (ours_moved < 0), exchange
        self.seen[thing] = recorded, ours
        self.index_of[str(recorded)] = ours


def plain(found):
    """Without what is different each time."""
    if isinstance(found, dict):
        return {name: plain(each) for name, each in found.items() if name not in INDEXES}
    return [plain(each) for each in found] if isinstance(found, list) else found


def blocks(exchange):
    index = re.search(r"[?&]index=(\d+)", exchange["request"]["target"])
    return index is not None and int(index[1]) > 0 and "wait=" in exchange["request"]["target"]


@pytest.mark.parametrize(
    "name",
    ["kv-basic", "kv-empty-prefix", "kv-blocking", "kv-index", "kv-txn", "kv-errors", "acl"],
)
def test_recorded(name):
    with reserve_port() as port:
        server = ConsulStandIn(port.number)
        server.start()
        replay = Replay(server)
        try:
            rest = exchanges(name)
            replay.prepare(rest[0])
            if name == "acl":
                server.tokens = {READER: ("traefik/",), ADMIN: ("",)}
                server.readers = {READER}
            while rest:
                current, rest = rest[0], rest[1:]
                replay.do_hidden(current)
                if not blocks(current):
                    replay.compare(current, replay.send(current))
                    continue
                during = []
                while rest and rest[0]["request"]["method"] != "GET":
                    during.append(rest.pop(0))
                play_blocking(replay, current, during)
            assert replay.compared > 4
        finally:
            replay.client.close()
            server.stop(gracefully=False)


def play_blocking(replay, query, during):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(replay.send(query)))
    waiting.start()
    time.sleep(UNTIL_IT_WAITS_S)  # nothing tells that a query waits
    done = [(each, replay.send(each)) for each in during]
    waiting.join()
    replay.compare(query, answers[0])
    for each, answer in done:
        replay.compare(each, answer)

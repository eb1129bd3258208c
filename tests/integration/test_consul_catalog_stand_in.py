"""The stand-in's services behave as a real Consul's did: recorded exchanges, replayed in their order.

Compared are status, who is listed with which checks and tags, and whether the index moved; a write that was
recorded during a blocking query is done here while the query waits.
"""

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

pytestmark = pytest.mark.integration

RECORDED = Path(tests.support.consul.__file__).parent / "recorded"
NOT_BUILT = re.compile(
    r"/ttl\b|state/critical|/checks/|filter=|node-meta|/nope|catalog/(service/|register|deregister|nodes|data)"
)
"""Targets that the stand-in does not serve, and a check that expires by itself."""
SHORT_WAIT = "700ms"
UNTIL_IT_WAITS_S = 0.25


def view(target, found):
    """What is compared of an answer."""
    if "/catalog/services" in target:
        return {name: sorted(tags) for name, tags in found.items()}
    return [
        (
            each["Service"]["ID"],
            each["Service"]["Address"] or each["Node"]["Address"],
            each["Service"]["Port"],
            each["Service"]["Tags"],
            sorted((check["CheckID"], check["Status"]) for check in each["Checks"]),
        )
        for each in found
    ]


def fill(catalog, name, first):
    """What was there before the recording began, as far as its first answer tells."""
    if name == "catalog-services":
        for service, tags in first.items():
            if service != "consul":
                catalog.register(
                    {
                        "Name": service,
                        "Tags": tags,
                        "Check": {"CheckID": f"{service}-1-ttl", "Status": "critical"},
                    }
                )
        return
    for each in first:
        service = each["Service"]
        own = {check["CheckID"]: check["Status"] for check in each["Checks"] if check["ServiceID"]}
        catalog.register({**service, "Name": service["Service"]})
        catalog.services[service["ID"]].checks.update(own)


class Replay:
    def __init__(self, server):
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30, trust_env=False)
        self.ours = {}
        self.compared = 0

    def send(self, exchange, *, is_woken=False):
        request = exchange["request"]
        # A query that is to be woken waits as long as it was recorded, the others end sooner.
        target = (
            request["target"] if is_woken else re.sub(r"wait=\d+s", f"wait={SHORT_WAIT}", request["target"])
        )
        target = re.sub(r"index=(\d+)", lambda found: f"index={self.index(request, found[1])}", target)
        return self.client.request(request["method"], target, json=request.get("json"))

    def index(self, request, recorded):
        """Our index for one of the recording; one that no answer had is that of now."""
        if recorded not in self.ours:
            plain = re.sub(r"[?&](index|wait)=[^&]*", "", request["target"])
            self.ours[recorded] = self.client.get(plain).headers["X-Consul-Index"]
        return self.ours[recorded]

    def compare(self, exchange, answer):
        recorded, request = exchange["response"], exchange["request"]
        where = f"{request['target']} ({exchange.get('note')})"
        assert answer.status_code == recorded["status"], where
        if request["method"] != "GET":
            return
        assert view(request["target"], answer.json()) == view(request["target"], recorded["json"]), where
        index, asked = recorded["headers"]["X-Consul-Index"], re.search(r"index=(\d+)", request["target"])
        if asked is not None:
            moved = int(answer.headers["X-Consul-Index"]) > int(self.ours[asked[1]])
            assert moved == (int(index) > int(asked[1])), where
        self.ours[index] = answer.headers["X-Consul-Index"]
        self.compared += 1


@pytest.mark.parametrize(("name", "least"), [("health-checks", 12), ("catalog-services", 6)])
def test_recorded(name, least):
    exchanges = json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]
    rest = [each for each in exchanges if not NOT_BUILT.search(each["request"]["target"])]
    rest = [each for each in rest if "ttl-1" not in json.dumps(each["request"])]
    with reserve_port() as port:
        server = ConsulStandIn(port.number)
        server.start()
        replay = Replay(server)
        try:
            fill(server.catalog, name, rest[0]["response"]["json"])
            while rest:
                current = rest.pop(0)
                during = []
                while (
                    "index=" in current["request"]["target"]
                    and rest
                    and rest[0]["request"]["method"] == "PUT"
                ):
                    during.append(rest.pop(0))
                replay_one(replay, current, during)
            assert replay.compared >= least
        finally:
            replay.client.close()
            server.stop(gracefully=False)


def replay_one(replay, query, during):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(replay.send(query, is_woken=bool(during))))
    asking.start()
    if during:
        time.sleep(UNTIL_IT_WAITS_S)  # nothing tells that a query waits
    for each in during:
        replay.compare(each, replay.send(each))
    asking.join()
    replay.compare(query, answers[0])

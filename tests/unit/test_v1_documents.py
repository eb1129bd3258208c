"""What v1's API shows of a configuration: defaults filled in, hashes left out."""

import json

from master.api.v1_documents import v1_document
from shared.config.documents import Document

ENTRY_POINTS = ("http",)


def shown(tree):
    return json.loads(json.dumps(v1_document([Document(tree, "web")], ENTRY_POINTS)))


def test_defaults_are_filled_in():
    tree = {
        "Frontends": {"f": {"Backend": "b", "routes": {"r": {"rule": "Host:a"}}}},
        "backends": {"b": {"SERVERS": {"s": {"url": "http://h"}}}, "empty": {}},
    }
    assert shown(tree) == {
        "frontends": {
            "f": {
                "backend": "b",
                "basicAuth": None,
                "entryPoints": ["http"],
                "priority": 0,
                "routes": {"r": {"rule": "Host:a"}},
            }
        },
        "backends": {
            "b": {"loadBalancer": {"method": "wrr"}, "servers": {"s": {"url": "http://h", "weight": 0}}},
            "empty": {"loadBalancer": {"method": "wrr"}},
        },
    }


def test_what_was_written_stays():
    tree = {
        "frontends": {"f": {"backend": "b", "passHostHeader": True, "priority": 7, "entryPoints": ["x"]}},
        "backends": {
            "b": {
                "loadBalancer": {"method": "drr", "sticky": True},
                "circuitBreaker": {"expression": "NetworkErrorRatio() > 0.5"},
                "maxConn": {"amount": 10, "extractorFunc": "client.ip"},
                "servers": {"s": {"url": "http://h", "weight": "3"}},
            }
        },
    }
    found = shown(tree)
    assert found["frontends"]["f"] == {
        "backend": "b",
        "basicAuth": None,
        "entryPoints": ["x"],
        "passHostHeader": True,
        "priority": 7,
    }
    assert found["backends"]["b"] == {
        **tree["backends"]["b"],
        "servers": {"s": {"url": "http://h", "weight": 3}},
    }


def test_password_hashes_are_not_shown():
    tree = {
        "frontends": {
            "f": {"backend": "b", "basicAuth": ["me:$apr1$x$y"], "auth": {"basic": {"users": ["u:h"]}}}
        }
    }
    found = shown(tree)
    assert found["frontends"]["f"]["basicAuth"] == ["me:***"]
    assert "auth" not in found["frontends"]["f"]


def test_what_cannot_be_read_is_not_shown():
    tree = {
        "frontends": {"f": {"priority": "high"}, "g": 7},
        "backends": {"b": {"circuitBreaker": "x"}, "c": None},
    }
    assert shown(tree) == {"frontends": {}, "backends": {}}
    assert shown({"frontends": 7, "http": {}}) == {}

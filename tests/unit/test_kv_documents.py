"""Large trees as several documents: they say the same as one, and what did not change stays what it was."""

import pytest

from providers import kv_documents
from providers.kv import KeyTree, document_of
from providers.kv_documents import DocumentMaker
from shared.config.dynamic_reading import merge_documents, read_dynamic

COUNT = 40


@pytest.fixture(autouse=True)
def split_soon(monkeypatch):
    monkeypatch.setattr(kv_documents, "SPLIT_FROM", 10)


def pairs_of(count=COUNT, **changed):
    pairs = {"tls/options/o/minVersion": "VersionTLS12"}
    for number in range(count):
        pairs[f"http/routers/r{number}/rule"] = f"Host(`h{number}`)"
        pairs[f"http/routers/r{number}/service"] = f"r{number}"
        pairs[f"http/services/r{number}/loadBalancer/servers/0/url"] = "http://127.0.0.1:2"
    return {key: value.encode() for key, value in (pairs | changed).items()}


def read(documents):
    return merge_documents([read_dynamic(each) for each in documents])


def test_together_they_say_what_one_document_says():
    pairs = pairs_of() | {"http/routers/r1/bogus": b"1", "http/middlewares/m": b"x", "http/x": b"y"}
    documents, problems = DocumentMaker("etcd").translate(KeyTree("traefik", pairs))
    one, one_problems = document_of(KeyTree("traefik", pairs), "etcd")
    many, single = read(documents), read([one])
    assert len(documents) > 10
    assert many.config == single.config
    assert many.broken == single.broken
    assert sorted(map(str, many.found)) == sorted(map(str, single.found))
    assert problems == one_problems


def test_only_the_part_of_a_changed_key_is_made_anew():
    maker = DocumentMaker("etcd")
    before, _ = maker.translate(KeyTree("traefik", pairs_of()))
    after, _ = maker.translate(KeyTree("traefik", pairs_of(**{"http/routers/r7/rule": "Host(`other`)"})))
    changed = [new for old, new in zip(before, after, strict=True) if old is not new]
    assert len(changed) == 1
    assert changed[0].tree["http"]["routers"]["r7"]["rule"] == "Host(`other`)"
    assert len({each.origin for each in after}) == len(after)
    moved, _ = maker.translate(KeyTree("elsewhere", pairs_of()))
    assert all(old is not new for old, new in zip(after, moved, strict=True))


def test_each_dialect_has_its_document():
    pairs = {
        "frontends/f/backend": b"b",
        "backends/b/servers/s/url": b"http://h",
        "http/routers/r/rule": b"x",
    }
    documents, _ = DocumentMaker("etcd").translate(KeyTree("traefik", pairs))
    assert [(each.dialect, sorted(each.tree)) for each in documents] == [
        ("v2", ["http"]),
        ("v1", ["backends", "frontends"]),
    ]
    (only,), _ = DocumentMaker("etcd").translate(KeyTree("traefik", {"frontends/f/backend": b"b"}))
    assert (only.dialect, only.origin) == ("v1", "etcd")


def test_small_trees_and_odd_spellings_are_one_document(monkeypatch):
    odd = pairs_of() | {"http//routers/r1/priority": b"5"}
    (document,), _ = DocumentMaker("etcd").translate(KeyTree("traefik", odd))
    assert document.tree["http"]["routers"]["r1"]["priority"] == "5"
    monkeypatch.setattr(kv_documents, "SPLIT_FROM", 1_000)
    (document,), _ = DocumentMaker("etcd").translate(KeyTree("traefik", pairs_of()))
    assert document.origin == "etcd"
    (empty,), _ = DocumentMaker("etcd").translate(KeyTree("traefik", {}))
    assert empty.tree == {}

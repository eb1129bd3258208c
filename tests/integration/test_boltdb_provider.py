"""The BoltDB reader on real files: of Go's bbolt, while they are written, of etcd, and on damaged ones."""

import contextlib
import os
import random
import shutil
import threading
from pathlib import Path

import pytest
import trio

from providers import boltdb
from providers.bolt_file import DamagedFileError, read_bucket, read_meta
from providers.boltdb import BoltStore, payload_of
from shared.errors import ProviderError
from tests.support.following import following
from tests.support.kits.boltdb import BoltWriter, missing_go
from tests.support.kits.etcd import EtcdServer
from tests.support.vectors import vectors

DAMAGES = 400
STORM = 3_000
MAX_STORMS = 5
V1_PAIRS = {
    "traefik/backends/b/servers/s/url": "http://127.0.0.1:8001",
    "traefik/frontends/f/backend": "b",
    "traefik/frontends/f/routes/r/rule": "Host:a.test",
}

needs_go = pytest.mark.skipif(bool(missing_go()), reason=missing_go() or "there")


@pytest.fixture
def writer(tmp_path):
    made = BoltWriter(tmp_path / "rules.db")
    try:
        yield made
    finally:
        made.close()


def read_all(path, bucket=b"traefik"):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = read_bucket(descriptor, read_meta(descriptor), bucket)
        return None if found is None else dict(found)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v1", "kv") if each.values[0]["id"] == "boltdb-value"]
)
def test_the_counter_in_front_of_a_value(vector):
    assert payload_of(bytes.fromhex(vector["config"]["raw_value_hex"])).decode() == vector["expect"]["value"]


def test_a_value_without_counter_is_taken_as_it_is():
    assert payload_of(b"http://127.0.0.1:80") == b"http://127.0.0.1:80"
    assert payload_of(b"b") == b"b"
    assert payload_of(b"") == b""


@needs_go
@pytest.mark.parametrize("count", [0, 1, 40, 3_000])
def test_every_size_of_tree_is_read(tmp_path, writer, count):
    """Inline in its parent, one page, branches, several levels; and a nested bucket is no value."""
    pairs = {
        f"traefik/frontends/{number:05}/backend": f"b{number}" * (number % 50) for number in range(count)
    }
    writer.put({**pairs, "traefik/large": "x" * 50_000} if count else {})
    writer.order(sub="traefik/nested")
    found = read_all(tmp_path / "rules.db")
    if count:
        assert payload_of(found.pop(b"traefik/large")) == b"x" * 50_000
    assert {key.decode(): payload_of(value).decode() for key, value in found.items()} == pairs
    assert read_all(tmp_path / "rules.db", b"other") is None


@needs_go
def test_nothing_is_torn_while_another_process_commits_without_pause(tmp_path, writer):
    """All three keys carry the number of the transaction; the naive reading, as a control, does tear."""
    path = tmp_path / "rules.db"
    writer.put({"traefik/a": "0"})
    store = BoltStore(str(path), "traefik")
    seen, torn = set(), 0
    for _ in range(MAX_STORMS):
        storm = threading.Thread(target=lambda: (writer.order(storm=STORM), writer.wait()))
        storm.start()
        while storm.is_alive():
            pairs = store._read_once()
            if pairs is not None and len(pairs) == 3:
                numbers = {value[:9] for value in pairs.values()}
                assert len(numbers) == 1, numbers
                seen |= numbers
            torn += is_torn(path)
        storm.join()
        if torn and len(seen) > 5:
            break
    else:
        pytest.skip(f"no reading met a writer in {MAX_STORMS * STORM} transactions: too few to show anything")
    final = trio.run(store.read).pairs
    assert {value[:9] for value in final.values()} == {b"%09d" % (STORM - 1)}


def is_torn(path):
    """Reads without looking again afterwards."""
    with contextlib.suppress(DamagedFileError):
        found = read_all(path)
        if found is None:  # the tree it begins at was not there yet, or not any more
            return True
        return len({payload_of(value)[:9] for value in found.values()}) > 1
    return True


@needs_go
def test_damage_is_an_error_or_harmless_and_never_another_exception(tmp_path, writer):
    path = tmp_path / "rules.db"
    writer.put({**V1_PAIRS, **{f"traefik/x/{number}": "y" * 90 for number in range(200)}})
    good = path.read_bytes()
    whole = read_all(path)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    damaged = tmp_path / "damaged.db"
    found = 0
    for _ in range(DAMAGES):
        data = bytearray(good)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randint(1, 20)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        damaged.write_bytes(data)
        try:
            found += read_all(damaged) != whole
        except DamagedFileError:
            found += 1
    assert found, f"seed {seed}"


@needs_go
def test_one_meta_page_that_is_being_written_does_not_matter(tmp_path, writer):
    path = tmp_path / "rules.db"
    writer.put({"traefik/a": "1"})
    before = read_all(path)
    writer.put({"traefik/a": "2"})
    descriptor = os.open(path, os.O_RDONLY)
    newest = read_meta(descriptor).transaction % 2
    os.close(descriptor)
    data = bytearray(path.read_bytes())
    data[newest * 4096 + 16 + 48] ^= 1
    (tmp_path / "half.db").write_bytes(data)
    assert read_all(tmp_path / "half.db") == before


@needs_go
def test_the_file_is_neither_locked_nor_written(tmp_path, writer):
    path = tmp_path / "rules.db"
    writer.put(V1_PAIRS)
    path.chmod(0o400)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    read = trio.run(BoltStore(str(path), "traefik").read)
    assert len(read.pairs) == 3
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    locks = Path("/proc/locks").read_text().splitlines()
    ours = [line.split()[4] for line in locks if f":{path.stat().st_ino} " in line]
    assert ours  # the writer's
    assert str(os.getpid()) not in ours


@needs_go
def test_files_that_come_go_and_are_replaced(tmp_path, monkeypatch):
    """Routes stay through all of it."""
    monkeypatch.setattr(boltdb, "POLL_S", 0.02)
    path = tmp_path / "rules.db"
    settings = f'[boltdb]\nendpoint = "{path}"\n'

    async def main():
        async with following(settings, tmp_path) as provider:
            assert "No such file" in await provider.until_failed()
            assert provider.history == []
            path.write_bytes(b"")
            await until(lambda: "no bbolt file" in provider.feed.failure)
            path.unlink()
            writer = await trio.to_thread.run_sync(BoltWriter, path)
            await trio.to_thread.run_sync(writer.put, V1_PAIRS)
            await provider.until_routes({"a.test": ["http://127.0.0.1:8001"]})
            await trio.to_thread.run_sync(writer.close)
            path.rename(tmp_path / "away.db")
            assert "No such file" in await provider.until_failed()
            assert await provider.routes() == {"a.test": ["http://127.0.0.1:8001"]}
            shutil.copy(tmp_path / "away.db", tmp_path / "new.db")
            writer = await trio.to_thread.run_sync(BoltWriter, tmp_path / "new.db")
            moved = {"traefik/backends/b/servers/s/url": "http://127.0.0.1:8002"}
            await trio.to_thread.run_sync(writer.put, moved)
            await trio.to_thread.run_sync(writer.close)
            (tmp_path / "new.db").rename(path)
            await provider.until_routes({"a.test": ["http://127.0.0.1:8002"]})
            assert provider.feed.failure == ""

    trio.run(main)


async def until(condition):
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - a failure is noted, not announced
            await trio.sleep(0.01)


@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd (apt install etcd-server)")
def test_the_file_of_an_etcd(tmp_path):
    """Another writer, and much larger: every revision of every key."""
    server = EtcdServer(tmp_path)
    try:
        server.process.start()
        for number in range(200):
            answer = server.client.put(f"/v2/keys/k{number}", data={"value": "v"})
            assert answer.status_code == 201
            put = {"key": "a2V5", "value": "dmFsdWU="}
            assert server.client.post("/v3/kv/put", json=put).status_code == 200
    finally:
        server.close()
    found = read_all(tmp_path / "data" / "member" / "snap" / "db", b"key")
    assert len(found) == 200
    assert all(b"key" in value and b"value" in value for value in found.values())


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "text.db").write_bytes(b"nothing of the kind" * 1_000)
    for name, reason in (("text.db", "no bbolt file"), ("none.db", "No such file"), ("", "Is a directory")):
        with pytest.raises(ProviderError, match=reason):
            trio.run(BoltStore(str(tmp_path / name), "traefik").read)

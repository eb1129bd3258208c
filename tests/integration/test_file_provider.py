"""The file provider on real files, with the real watcher."""

import contextlib
import logging
import math
import os

import pytest
import trio
import trio.testing

from providers import file as file_module
from providers.file import FileProvider
from providers.registry import make_providers
from shared.config.documents import parse_document, read_document
from shared.config.dynamic_reading import merge_documents, read_dynamic
from shared.config.static import StaticConfig
from shared.config.static_providers import EcsSettings, FileProviderSettings, Providers
from shared.config.static_v1 import V1Static
from shared.errors import ConfigError
from tests.support.vectors import vectors

LIMIT_S = 10


class Watcher:
    """Receives snapshots; lets a test wait for the one it expects."""

    def __init__(self, provider):
        self.provider = provider
        self._send, self._receive = trio.open_memory_channel(math.inf)

    def publish(self, snapshot):
        self._send.send_nowait(snapshot)

    async def next(self):
        return await self._receive.receive()

    async def until(self, condition):
        while True:
            snapshot = await self._receive.receive()
            if condition(snapshot):
                return snapshot

    def nothing_waits(self):
        with contextlib.suppress(trio.WouldBlock):
            return self._receive.receive_nowait()


@contextlib.asynccontextmanager
async def running(settings, static_document=None):
    provider = FileProvider(settings, static_document)
    provider.validate()
    watcher = Watcher(provider)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.run, watcher.publish)
            yield watcher
            nursery.cancel_scope.cancel()


def run(function, *args):
    trio.run(function, *args)


def rules(path, rule):
    path.write_text(f"http:\n  routers:\n    web:\n      rule: {rule}\n")


def rule_of(snapshot, number=0):
    return snapshot.documents[number].tree["http"]["routers"]["web"]["rule"]


def says(*expected):
    return lambda snapshot: [rule_of(snapshot, at) for at in range(len(snapshot.documents))] == list(expected)


def no_poll(monkeypatch):
    """Only the watcher can tell of changes: the test's limit ends before the next poll."""
    monkeypatch.setattr(file_module, "POLL_S", 10.0 * LIMIT_S)


def test_first_look_then_changes(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    path = tmp_path / "rules.yml"
    rules(path, "a")

    async def main():
        async with running(FileProviderSettings(filename=str(path))) as watcher:
            first = await watcher.next()
            assert (first.provider, rule_of(first), first.problems) == ("file", "a", ())
            assert first.documents[0].origin == str(path)
            rules(path, "b")  # written in place
            await watcher.until(says("b"))
            rules(tmp_path / "new.yml", "c")  # renamed over
            os.replace(tmp_path / "new.yml", path)
            await watcher.until(says("c"))
            path.unlink()  # gone, and made again
            rules(path, "d")
            await watcher.until(says("d"))

    run(main)


def test_a_missing_file_is_a_problem_and_the_last_good_stays(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    path = tmp_path / "rules.yml"

    async def main():
        async with running(FileProviderSettings(filename=str(path))) as watcher:
            first = await watcher.next()
            assert first.documents == ()
            assert "No such file or directory; it says nothing" in str(first.problems[0])
            rules(path, "a")
            good = await watcher.until(says("a"))
            assert good.problems == ()
            path.unlink()
            gone = await watcher.until(lambda snapshot: snapshot.problems)
            assert gone.documents[0] is good.documents[0]
            assert "what it said before stays" in str(gone.problems[0])

    run(main)


def test_a_broken_file_leaves_the_last_good_version(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    path = tmp_path / "rules.yml"
    rules(path, "a")

    async def main():
        async with running(FileProviderSettings(filename=str(path))) as watcher:
            first = await watcher.next()
            path.write_text("http:\n  routers: [\n")
            broken = await watcher.until(lambda snapshot: snapshot.problems)
            assert broken.documents[0] is first.documents[0]
            assert str(broken.problems[0]).startswith(f"{path}:")
            rules(path, "a")
            mended = await watcher.until(lambda snapshot: not snapshot.problems)
            assert mended.documents[0] is first.documents[0]
            path.write_text("\n")
            emptied = await watcher.until(lambda snapshot: snapshot.problems)
            assert emptied.documents[0] is first.documents[0]
            assert "the file is empty" in str(emptied.problems[0])
            path.write_text("http: {}\n")
            cleared = await watcher.until(lambda snapshot: not snapshot.problems)
            assert cleared.documents[0].tree == {"http": {}}

    run(main)


def test_a_directory_is_read_in_order_and_recursively(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    (tmp_path / "m").mkdir()
    rules(tmp_path / "z.yml", "z")
    rules(tmp_path / "m" / "inner.yaml", "m")
    (tmp_path / "a.toml").write_text('[http.routers.web]\nrule = "a"\n')
    (tmp_path / ".#a.toml").symlink_to("nobody@nowhere")
    (tmp_path / "notes.txt").write_text("not rules")
    (tmp_path / "m" / "loop").symlink_to(tmp_path)

    async def main():
        async with running(FileProviderSettings(directory=str(tmp_path), filename="ignored")) as watcher:
            first = await watcher.next()
            assert says("a", "m", "z")(first)
            assert first.problems == ()
            rules(tmp_path / "m" / "inner.yaml", "m2")
            changed = await watcher.until(says("a", "m2", "z"))
            assert changed.documents[0] is first.documents[0]
            assert changed.documents[2] is first.documents[2]
            (tmp_path / "n" / "deeper").mkdir(parents=True)
            rules(tmp_path / "n" / "deeper" / "x.yml", "x")
            await watcher.until(says("a", "m2", "x", "z"))
            (tmp_path / "a.toml").unlink()
            await watcher.until(says("m2", "x", "z"))
            rules(tmp_path / "n" / "deeper" / "x.yml", "x2")
            await watcher.until(says("m2", "x2", "z"))
            (tmp_path / "z.yml").write_text("}")
            broken = await watcher.until(lambda snapshot: snapshot.problems)
            assert says("m2", "x2", "z")(broken)
            assert str(tmp_path / "z.yml") in str(broken.problems[0])

    run(main)


@pytest.mark.parametrize("setting", ["filename", "directory"])
def test_kubernetes_swaps_a_link(tmp_path, monkeypatch, setting):
    no_poll(monkeypatch)
    mount = tmp_path / "mount"

    def version(number):
        directory = mount / f"..version_{number}"
        directory.mkdir(parents=True)
        rules(directory / "rules.yml", f"v{number}")
        (mount / "..new").symlink_to(directory.name)
        os.replace(mount / "..new", mount / "..data")

    version(1)
    (mount / "rules.yml").symlink_to("..data/rules.yml")
    chosen = mount / "rules.yml" if setting == "filename" else mount

    async def main():
        async with running(FileProviderSettings(**{setting: str(chosen)})) as watcher:
            await watcher.until(says("v1"))
            for number in (2, 3):
                version(number)
                await watcher.until(says(f"v{number}"))
            rules(mount / "..version_3" / "rules.yml", "in place")
            await watcher.until(says("in place"))

    run(main)


def test_a_directory_that_is_made_again(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    directory = tmp_path / "conf" / "d"
    directory.mkdir(parents=True)
    rules(directory / "rules.yml", "old")

    async def main():
        async with running(FileProviderSettings(directory=str(directory))) as watcher:
            await watcher.until(says("old"))
            (tmp_path / "conf").rename(tmp_path / "away")
            gone = await watcher.until(lambda snapshot: snapshot.problems)
            assert says("old")(gone)
            directory.mkdir(parents=True)
            rules(directory / "rules.yml", "new")
            await watcher.until(says("new"))
            rules(directory / "rules.yml", "newer")
            await watcher.until(says("newer"))

    run(main)


def test_polling_is_enough(tmp_path, monkeypatch, caplog):
    """A file system that tells nothing, or a user without watches left."""

    def refuse(*_directories, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_module, "awatch", refuse)
    monkeypatch.setattr(file_module, "POLL_S", 0.01)
    path = tmp_path / "rules.yml"
    rules(path, "a")

    async def main():
        async with running(FileProviderSettings(filename=str(path))) as watcher:
            await watcher.until(says("a"))
            rules(path, "b")
            await watcher.until(says("b"))

    with caplog.at_level(logging.WARNING):
        run(main)
    assert "No space left on device" in caplog.text


def test_without_watching_only_reread_looks(tmp_path):
    path = tmp_path / "rules.yml"
    rules(path, "a")

    async def main():
        async with running(FileProviderSettings(filename=str(path), watch=False)) as watcher:
            first = await watcher.next()
            rules(path, "b")
            await trio.testing.wait_all_tasks_blocked()
            assert watcher.nothing_waits() is None
            watcher.provider.reread()
            assert says("b")(await watcher.next())
            watcher.provider.reread()
            again = await watcher.next()
            assert says("b")(again)
            assert again.documents[0] is not first.documents[0]

    run(main)


def test_rules_in_the_static_file(tmp_path, monkeypatch):
    no_poll(monkeypatch)
    path = tmp_path / "traefik.toml"
    path.write_text('logLevel = "DEBUG"\n[file]\n[frontends.a]\nbackend = "x"\n')
    static = read_document(path)

    async def main():
        async with running(FileProviderSettings(), static) as watcher:
            first = await watcher.next()
            assert first.documents[0].dialect == "v1"
            path.write_text('[file]\n[frontends.b]\nbackend = "x"\n')
            await watcher.until(lambda snapshot: "b" in snapshot.documents[0].tree["frontends"])

    run(main)


def test_many_files_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("providers.file_survey.MAX_FILES", 2)
    for name in "abc":
        rules(tmp_path / f"{name}.yml", name)

    async def main():
        async with running(FileProviderSettings(directory=str(tmp_path))) as watcher:
            first = await watcher.next()
            assert says("a", "b")(first)
            assert "too many" in str(first.problems[0])

    run(main)


def test_neither_file_nor_directory():
    provider = FileProvider(FileProviderSettings())
    with pytest.raises(ConfigError, match="neither filename nor directory is defined"):
        provider.validate()


def test_registry():
    config = StaticConfig(providers=Providers(file=FileProviderSettings(filename="rules.toml")))
    (provider,) = make_providers(config)
    assert provider.name == "file"
    assert make_providers(StaticConfig()) == []
    static = parse_document("[file]\n[frontends]\n", "traefik.toml", "toml")
    in_v2 = StaticConfig(providers=Providers(file=FileProviderSettings()))
    with pytest.raises(ConfigError, match="neither filename nor directory"):
        make_providers(in_v2, static)
    assert make_providers(StaticConfig(providers=in_v2.providers, is_v1=True), static)
    in_v1 = StaticConfig(is_v1=True, v1=V1Static(eureka={"endpoint": "http://127.0.0.1"}))
    with pytest.raises(ConfigError, match="eureka: this version cannot run the eureka provider"):
        make_providers(in_v1)
    with pytest.raises(ConfigError, match=r"providers\.ecs: this version cannot run the ecs provider"):
        make_providers(StaticConfig(providers=Providers(ecs=EcsSettings())))


@pytest.mark.parametrize("vector", vectors("v2", "provider.file.merge"))
def test_merge_vectors(vector, tmp_path):
    for written in vector["config"]["files"]:
        name, _, rule = written.partition(": routers.r=")
        assert rule, written
        (tmp_path / name).write_text(
            f"http:\n  routers:\n    r: {{rule: '{rule}', service: noop@internal}}\n"
        )

    async def main():
        async with running(FileProviderSettings(directory=str(tmp_path))) as watcher:
            reading = merge_documents([read_dynamic(each) for each in (await watcher.next()).documents])
        assert reading.config.http.routers["r"].rule == vector["expect"]["r.rule"]
        assert "already defined in" in "".join(str(each) for each in reading.found)

    trio.run(main)

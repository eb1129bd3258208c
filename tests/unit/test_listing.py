"""A source that is listed: when it is, what is published, and what failures do."""

import contextlib

import pytest
import trio

from providers.labels import LabelDocument
from providers.listing import ListingProvider
from shared.config.diagnostics import Diagnostic, Position, Severity
from shared.errors import ProviderError
from tests.support.snapshots import condition_met, heard


class Scripted:
    """A source that says what the test sets."""

    def __init__(self):
        self.tree = {"http": {}}
        self.problems = ()
        self.lists = 0
        self.connections = 0
        self.error = None
        self.hint = trio.Event()

    @contextlib.asynccontextmanager
    async def connect(self):
        self.connections += 1
        if self.error:
            raise self.error
        yield self

    async def list_all(self):
        self.lists += 1
        if self.error:
            raise self.error
        tree, problems = dict(self.tree), self.problems
        return lambda: (LabelDocument(tree, "scripted", "v2", {}), problems)

    async def watch(self, changed):
        changed()
        while True:
            await self.hint.wait()
            self.hint = trio.Event()
            if self.error:
                raise self.error
            changed()


def provider(source, **options):
    return ListingProvider("scripted", source.connect, **{"look_again_s": None, **options})


def test_what_changed_is_published_and_what_did_not_is_not():
    async def main():
        source = Scripted()
        async with heard(provider(source)) as listener:
            first = await listener.next()
            source.hint.set()
            await condition_met(lambda: source.lists >= 2)
            source.tree = {"http": {"routers": {}}}
            source.hint.set()
            second = await listener.next()
            assert (first.documents[0].tree, second.documents[0].tree) == ({"http": {}}, source.tree)
            assert listener.nothing_waits()

    trio.run(main)


def test_an_unchanged_tree_stays_the_same_document():
    async def main():
        source = Scripted()
        async with heard(provider(source)) as listener:
            first = await listener.next()
            source.problems = (Diagnostic(Severity.ERROR, (), "odd", position=Position("x")),)
            source.hint.set()
            second = await listener.next()
            assert second.documents[0] is first.documents[0]
            assert second.problems == source.problems

    trio.run(main)


@pytest.mark.parametrize("watch", [True, False])
def test_asking_again_publishes_even_the_same(watch):
    async def main():
        source = Scripted()
        async with heard(provider(source, watch=watch)) as listener:
            await listener.next()
            await listener.feed.reread()
            assert source.lists >= 2

    trio.run(main)


def test_it_looks_again_by_itself():
    async def main():
        source = Scripted()
        async with heard(provider(source, watch=False, look_again_s=0.01)) as listener:
            await listener.next()
            source.tree = {"http": {"routers": {}}}
            assert (await listener.next()).documents[0].tree == source.tree

    trio.run(main)


def test_without_watching_nothing_is_listed_twice(autojump_clock):
    async def main():
        source = Scripted()
        async with heard(provider(source, watch=False)) as listener:
            await listener.next()
            await trio.sleep(30)
            assert source.lists == 1

    trio.run(main, clock=autojump_clock)


@pytest.fixture
def autojump_clock():
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0.05)


def test_a_failure_keeps_what_was_said_and_a_success_ends_it():
    async def main():
        source = Scripted()
        async with heard(provider(source)) as listener:
            first = await listener.next()
            source.error = ProviderError("scripted", "gone")
            source.hint.set()
            await condition_met(lambda: listener.feed.failure == "gone")
            assert listener.feed.latest is first
            source.error = None
            await condition_met(lambda: not listener.feed.failure)
            assert listener.nothing_waits()

    trio.run(main)


def test_a_translation_that_fails_is_a_failure_of_the_source():
    async def main():
        source = Scripted()

        def fail():
            raise ProviderError("scripted", "nonsense")

        async def list_all():
            return fail

        source.list_all = list_all
        async with heard(provider(source)) as listener:
            await condition_met(lambda: listener.feed.failure == "nonsense")

    trio.run(main)

"""A provider that is kept running: throttled, compared, restarted, and what it said last stays."""

from itertools import pairwise

import pytest
import trio
import trio.testing

from master.provider_feed import FIRST_RETRY_S, MAX_RETRY_S, RETRY_JITTER, ProviderFeed
from providers.base import Snapshot
from shared.config.diagnostics import Diagnostic, Severity
from shared.config.documents import parse_document
from shared.errors import ProviderError
from tests.support.vectors import vectors

THROTTLE_S = 2.0


def snapshot(host):
    return Snapshot("p", (parse_document(f"host: {host}", "rules.yml", "yaml"),))


class Scripted:
    """Does what the test says, run after run; the last again and again."""

    name = "p"

    def __init__(self, *runs):
        self.runs = runs
        self.started_at = []
        self.rereads = 0

    async def run(self, publish):
        number = len(self.started_at)
        self.started_at.append(trio.current_time())
        await self.runs[min(number, len(self.runs) - 1)](publish)

    def reread(self):
        self.rereads += 1


def publishing(*script):
    """A run that publishes (seconds to wait before it, snapshot) and then lives on."""

    async def run(publish):
        for wait_s, said in script:
            await trio.sleep(wait_s)
            publish(said)
        await trio.sleep_forever()

    return run


def failing(error):
    async def run(publish):
        raise error

    return run


def watch(provider, until_s, during=None):
    """Run a feed for a while; returns it and what it handed over as (seconds, snapshot)."""
    handed = []

    async def main():
        started = trio.current_time()
        feed = ProviderFeed(
            provider, THROTTLE_S, lambda each: handed.append((trio.current_time() - started, each))
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run)
            if during is not None:
                await during(feed)
            await trio.sleep(until_s)
            nursery.cancel_scope.cancel()
        return feed

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)), handed


def test_the_first_at_once_then_the_newest_of_each_interval():
    said = [snapshot(each) for each in "abcd"]
    script = publishing((0, said[0]), (0.5, said[1]), (0.5, said[2]), (5, said[3]))
    _, handed = watch(Scripted(script), 20)
    assert [each for _, each in handed] == [said[0], said[2], said[3]]
    assert [when for when, _ in handed] == [0, THROTTLE_S, 6]


def test_one_that_says_the_same_is_not_handed_on():
    _, handed = watch(Scripted(publishing((0, snapshot("a")), (5, snapshot("a")), (5, snapshot("b")))), 30)
    assert [when for when, _ in handed] == [0, 10]


def test_a_failure_restarts_it_with_growing_delays_and_its_last_words_stay():
    said = snapshot("a")

    async def once(publish):
        publish(said)
        raise ProviderError("p", "the source is away")

    provider = Scripted(once, failing(ProviderError("p", "still away")))
    feed, handed = watch(provider, 600)
    assert [each for _, each in handed] == [said]
    assert (feed.latest, feed.failure) == (said, "still away")
    delays = [
        later - earlier for earlier, later in zip(provider.started_at, provider.started_at[1:], strict=False)
    ]
    assert FIRST_RETRY_S * (1 - RETRY_JITTER) <= delays[0] <= FIRST_RETRY_S * (1 + RETRY_JITTER)
    assert max(delays) <= MAX_RETRY_S * (1 + RETRY_JITTER)
    assert delays[-1] > 10 * delays[0]


def test_the_delay_that_the_source_asks_for_is_kept():
    provider = Scripted(failing(ProviderError("p", "busy", retry_after_s=7.0)))
    watch(provider, 21.5)
    assert provider.started_at == [provider.started_at[0] + 7 * each for each in range(4)]


def test_a_defect_of_a_provider_does_not_end_the_feed(caplog):
    said = snapshot("a")
    _, handed = watch(Scripted(failing(ZeroDivisionError()), publishing((0, said))), 5)
    assert [each for _, each in handed] == [said]
    assert "failed unexpectedly" in caplog.text


def test_one_that_ends_is_started_again():
    async def end(publish):
        return

    feed, _ = watch(Scripted(end), 5)
    assert feed.restarts >= 2
    assert feed.failure == "ended by itself"


def test_a_reread_waits_for_the_answer_and_does_not_wait_for_the_throttle():
    first, second = snapshot("a"), snapshot("b")
    asked = trio.Event()

    async def run(publish):
        publish(first)
        await asked.wait()
        publish(second)
        await trio.sleep_forever()

    async def during(feed):
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.reread)
            await trio.sleep(0.1)
            asked.set()

    provider = Scripted(run)
    _, handed = watch(provider, 1, during)
    assert provider.rereads == 1
    assert [each for _, each in handed] == [first, second]
    assert handed[1][0] < THROTTLE_S


def test_a_flush_before_the_first_words_loses_nothing():
    """A start that has waited long enough flushes every feed, also those that have not spoken yet."""
    said = snapshot("a")

    async def flush_early(feed):
        await trio.sleep(1)
        feed.flush()

    _, handed = watch(Scripted(publishing((5, said))), 30, flush_early)
    assert handed == [(5, said)]


def test_nothing_but_problems_is_not_heard_and_an_empty_source_is():
    problem = Diagnostic(Severity.ERROR, (), "cannot be read")
    for said, heard in (
        (Snapshot("p", (), (problem,)), False),
        (Snapshot("p", ()), True),
        (Snapshot("p", snapshot("a").documents, (problem,)), True),
    ):
        feed, _ = watch(Scripted(publishing((0, said))), 1)
        assert feed.is_heard is heard
        assert feed.spoke.is_set()


@pytest.mark.parametrize("vector", vectors("v1", "throttle"))
def test_throttle_vector(vector):
    config, expect = vector["config"], vector["expect"]
    messages = vector["request"]["messages"]
    current = config.get("current", {})
    handed = []

    async def main():
        async with trio.open_nursery() as nursery:
            for name in {*current, *(each[0] for each in messages)}:
                said = [(when, text) for provider, when, text in messages if provider == name]
                earlier = [(0.0, current[name])] if name in current else []
                nursery.start_soon(run_one, name, earlier + said)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()

    async def run_one(name, said):
        waits = [later - before for (before, _), (later, _) in pairwise([(0.0, ""), *said])]
        script = [(wait, snapshot(text)) for wait, (_, text) in zip(waits, said, strict=True)]
        texts = {
            each.documents[0].tree["host"]: text for (_, each), (_, text) in zip(script, said, strict=True)
        }

        def take(each):
            text = texts[each.documents[0].tree["host"]]
            handed.append([name, trio.current_time() - started, text])

        started = trio.current_time()
        throttle_s = float(config["throttle"].removesuffix("s"))
        await ProviderFeed(Scripted(publishing(*script)), throttle_s, take).run()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    expected = expect.get("v1.5+", expect.get("all"))
    in_force = [[name, 0.0, text] for name, text in current.items()]
    assert sorted(handed) == sorted(in_force + expected)

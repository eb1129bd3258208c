"""The arena: identities, columns, sums, groups and keyed tables."""

import gc
import multiprocessing
import os
import signal

import pytest

from shared import arena_layout as layout
from shared.arena import Arena
from shared.arena_layout import Header
from shared.arena_memory import Memory
from shared.cells import ServerCell
from shared.errors import ArenaError

COUNT, FLOAT, GAUGE, GROUP = 0, 32, 40, 44


@pytest.fixture
def master():
    arena = Arena.create(columns=5)
    yield arena
    arena.close()


def attach(master):
    return Arena.attach(master.fd, master.take_column())


def test_a_claim_is_found_by_everybody_and_only_under_its_identity(master):
    master.claim("service", "web@file")
    worker = attach(master)
    assert worker.find("service", "web@file") is not None
    assert worker.find("server", "web@file") is None
    assert worker.find("service", "web@docker") is None


def test_a_claim_is_idempotent(master):
    assert master.claim("service", "a").number == master.claim("service", "a").number
    assert master.claim("service", "a").number != master.claim("service", "b").number


def test_each_writes_its_column_and_sums_are_over_all(master):
    block = master.claim("service", "a")
    one, other = (attach(master).find("service", "a") for _ in range(2))
    one.add(COUNT)
    one.add(COUNT, 4)
    other.add(COUNT, 10)
    other.add_f(FLOAT, 0.25)
    block.add_f(FLOAT, 0.5)
    assert (one.get_own(COUNT), other.get_own(COUNT)) == (5, 10)
    assert block.sum(COUNT) == one.sum(COUNT) == 15
    assert one.sum_f(FLOAT) == 0.75
    assert block.column_values(COUNT) == [0, 5, 10]
    assert block.column_values_f(FLOAT) == [0.5, 0.0, 0.25]


def test_the_masters_word_is_read_from_its_column(master):
    block = master.claim("server", "a")
    worker = attach(master).find("server", "a")
    block.set(ServerCell.HEALTH_FIRST, 2)
    block.set_f(ServerCell.HEALTH_LAST, 1.5)
    assert worker.get_master(ServerCell.HEALTH_FIRST) == 2
    assert worker.get_master_f(ServerCell.HEALTH_LAST) == 1.5


def test_counters_outlive_a_worker_and_gauges_go_with_it(master):
    block = master.claim("service", "a")
    column = master.take_column()
    worker = Arena.attach(master.fd, column).find("service", "a")
    worker.add(COUNT, 7)
    worker.add_f(FLOAT, 1.5)
    worker.set(GAUGE, 3)
    worker.publish(GROUP, [1, 2])
    del worker
    master.retire_column(column)
    assert block.sum(COUNT) == 7
    assert block.sum_f(FLOAT) == 1.5
    assert block.sum(GAUGE) == 0
    assert block.read_published(GROUP, 2) == []
    assert master.take_column() == column


def test_a_reader_does_not_count_a_fold_twice(master):
    block = master.claim("service", "a")
    header = master._memory.head.integers
    header[Header.FOLDS] += 1  # a master that died in the middle of a fold
    block.add(COUNT, 2)
    assert block.sum(COUNT) == 2  # bounded: it gives up looking again


def test_a_group_is_read_whole_or_not_at_all(master):
    block = master.claim("service", "a")
    worker = attach(master).find("service", "a")
    assert block.read_published(GROUP, 3) == []
    worker.publish(GROUP, [1, 2, 3])
    worker.publish(GROUP, [4, 5, 6])
    block.publish_f(GROUP, [0.5, 1.0, 1.5])
    assert block.read_published(GROUP, 3)[1] == (1, (4, 5, 6))
    assert block.read_published_f(GROUP, 3)[0] == (0, (0.5, 1.0, 1.5))
    worker.set(GROUP, worker.get_own(GROUP) + 1)  # a writer that stopped in the middle
    assert [column for column, _ in block.read_published(GROUP, 3)] == [0]


@pytest.mark.parametrize(("first", "count"), [(39, 2), (0, 1), (60, 3), (62, 1)])
def test_a_group_must_lie_in_own_cells(master, first, count):
    with pytest.raises(ValueError, match="own cells"):
        master.claim("service", "a").publish(first, [0] * count)


def test_a_released_block_waits_for_those_who_hold_it(master):
    number = master.claim("service", "a").number
    held = attach(master).find("service", "a")
    held.add(COUNT)
    master.release("service", "a")
    assert master.find("service", "a") is None
    assert master.reclaim() == 1
    assert master.claim("service", "b").number != number
    del held
    gc.collect()
    assert master.reclaim() == 0
    reused = master.claim("service", "c")
    assert reused.number == number
    assert reused.sum(COUNT) == 0


def test_an_identity_that_comes_back_in_time_keeps_its_counts(master):
    held = master.claim("service", "a")
    held.add(COUNT, 5)
    master.release("service", "a")
    assert master.claim("service", "a").sum(COUNT) == 5


def test_releasing_what_was_never_claimed_is_fine(master):
    master.release("service", "never")


def test_only_the_master_gives(master):
    worker = attach(master)
    for forbidden in (worker.take_column, worker.reclaim, lambda: worker.claim("a", "b")):
        with pytest.raises(ArenaError, match="only the master"):
            forbidden()


def test_columns_run_out_with_a_reason(master):
    for _ in range(4):
        master.take_column()
    with pytest.raises(ArenaError, match="all 5 columns"):
        master.take_column()
    with pytest.raises(ArenaError, match="belongs to no worker"):
        master.retire_column(0)


def test_blocks_of_many_segments_and_a_full_arena(master, monkeypatch):
    blocks = [master.claim("server", str(number)) for number in range(layout.BLOCKS_PER_SEGMENT + 3)]
    worker = attach(master)
    for number in (0, layout.BLOCKS_PER_SEGMENT - 1, layout.BLOCKS_PER_SEGMENT + 2):
        worker.find("server", str(number)).add(COUNT, number + 1)
        assert blocks[number].sum(COUNT) == number + 1
    monkeypatch.setattr(layout, "MAX_BLOCKS", len(blocks))
    with pytest.raises(ArenaError, match="full"):
        master.claim("server", "one more")


def test_directory_entries_with_one_hash_are_told_apart_and_move_up(master, monkeypatch):
    monkeypatch.setattr(layout, "hash_of", lambda digest: layout.DIRECTORY_SLOTS - 1)  # all collide, and wrap
    numbers = {name: master.claim("service", name).number for name in "abcde"}
    master.release("service", "b")
    master.release("service", "a")
    assert master.find("service", "b") is None
    assert {name: master.find("service", name).number for name in "cde"} == {
        name: numbers[name] for name in "cde"
    }


def test_what_is_no_arena_is_refused():
    fd = os.memfd_create("other")
    try:
        with pytest.raises(ArenaError, match="too short"):
            Memory(os.dup(fd))
        os.ftruncate(fd, layout.SEGMENTS_AT)
        with pytest.raises(ArenaError, match="not an arena"):
            Memory(os.dup(fd))
    finally:
        os.close(fd)
    with pytest.raises(ArenaError, match="columns"):
        Arena.create(0)


def test_a_key_is_written_by_one_and_seen_by_all(master):
    master.claim("middleware", "limit", keyed=True)
    one, other = (attach(master).keyed("middleware", "limit") for _ in range(2))
    cells = one.own(b"10.0.0.1")
    assert cells.is_new
    cells.set(0, 3)
    cells.set_f(1, 0.5)
    cells.keep_until(100.0)
    again = one.own(b"10.0.0.1")
    assert (again.is_new, again.get(0), again.get_f(1)) == (False, 3, 0.5)
    assert list(one.others(b"10.0.0.1")) == []
    (seen,) = other.others(b"10.0.0.1")
    assert (seen.column, seen.get(0), seen.get_f(1), seen.expires_at) == (1, 3, 0.5, 100.0)
    assert list(other.others(b"10.0.0.2")) == []
    with pytest.raises(IndexError):
        cells.get(5)


def test_keys_are_bounded_and_what_expires_first_goes(master, monkeypatch):
    monkeypatch.setattr("shared.arena_keyed.PROBES", 4)
    monkeypatch.setattr(
        "shared.arena_keyed.KeyedCells._hash", lambda self, key: (key[0], layout.KEYED_SLOTS - 2)
    )
    master.claim("middleware", "limit", keyed=True)
    table = attach(master).keyed("middleware", "limit")
    for number in (1, 2, 3, 4):
        table.own(bytes([number])).keep_until(10.0 - number)
        table.own(bytes([number])).set(0, number)
    newest = table.own(b"\x09")
    assert (newest.is_new, newest.get(0)) == (True, 0)
    assert [table.own(bytes([number])).get(0) for number in (1, 2, 3)] == [1, 2, 3]
    assert table.own(b"\x04").is_new


def test_keyed_tables_are_emptied_with_their_worker_and_their_identity(master):
    master.claim("middleware", "limit", keyed=True)
    column = master.take_column()
    table = Arena.attach(master.fd, column).keyed("middleware", "limit")
    table.own(b"key").set(0, 1)
    watcher = attach(master)
    assert len(list(watcher.keyed("middleware", "limit").others(b"key"))) == 1
    del table
    master.retire_column(column)
    assert list(watcher.keyed("middleware", "limit").others(b"key")) == []
    watcher.keyed("middleware", "limit").own(b"key").set(0, 1)
    gc.collect()
    master.release("middleware", "limit")
    assert master.reclaim() == 0
    master.claim("middleware", "other", keyed=True)
    assert watcher.keyed("middleware", "other").own(b"key").is_new


def test_an_identity_may_get_keys_later_and_some_have_none(master):
    master.claim("middleware", "m")
    assert master.keyed("middleware", "m") is None
    assert master.keyed("middleware", "unknown") is None
    master.claim("middleware", "m", keyed=True)
    assert master.keyed("middleware", "m") is not None


def _count_in_another_process(fd, column, end):
    block = Arena.attach(fd, column).find("service", "a")
    for _ in range(1000):
        block.add(COUNT)
    block.publish(GROUP, [column, os.getpid()])
    end.send(os.getpid())
    end.recv()  # until the other side has read, as the process's own cells go with it


def _die_with_the_block_in_hand(fd, column):
    held = Arena.attach(fd, column).find("service", "a")
    held.add(COUNT, 3)
    held.set(GAUGE, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_was_killed_holds_nothing(master):
    number = master.claim("service", "a").number
    column = master.take_column()
    process = multiprocessing.get_context("fork").Process(
        target=_die_with_the_block_in_hand, args=(master.fd, column)
    )
    process.start()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
    master.release("service", "a")
    assert master.reclaim() == 1, "nobody knows yet that its holder is dead"
    master.retire_column(column)
    assert master.reclaim() == 0
    reused = master.claim("service", "b")
    assert (reused.number, reused.sum(COUNT), reused.sum(GAUGE)) == (number, 0, 0)


def test_processes_share_it(master):
    block = master.claim("service", "a")
    context = multiprocessing.get_context("fork")
    ends, processes = [], []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_count_in_another_process, args=(master.fd, master.take_column(), theirs)
        )
        process.start()
        ends.append(ours)
        processes.append(process)
    pids = [end.recv() for end in ends]
    assert block.sum(COUNT) == 2000
    assert block.read_published(GROUP, 2) == [(1, (1, pids[0])), (2, (2, pids[1]))]
    for end, process in zip(ends, processes, strict=True):
        end.send("done")
        process.join(10)
    master.retire_column(1)
    master.retire_column(2)
    assert block.sum(COUNT) == 2000

"""The arena under any order of claims, releases, starts and ends: counts are neither lost nor made up."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.arena import Arena
from shared.cells import MARKED as MARKED_CELLS
from shared.cells import Kept
from shared.errors import ArenaError

COLUMNS = 4
NAMES = st.sampled_from(["a", "b", "c", "d"])
COUNT, FLOAT, GAUGE = 3, 33, 61
MARK, MARKED = MARKED_CELLS[Kept.SHARE][0]


class ArenaMachine(RuleBasedStateMachine):
    """Compares the arena with a dictionary."""

    def __init__(self):
        super().__init__()
        self.master = Arena.create(COLUMNS)
        self.workers = {}  # column -> {name: block}, as a worker holds blocks of what it serves
        self.counts = {}  # configured name -> what was ever counted for it
        self.gauges = {}  # (column, name) -> value
        self.moment = 1
        self.marked = {}  # configured name -> (latest moment, what was counted in it)

    def teardown(self):
        self.workers.clear()
        self.master.close()

    @rule(name=NAMES)
    def configure(self, name):
        self.master.claim("service", name, kept=Kept.SHARE)
        self.counts.setdefault(name, 0)
        self.marked.setdefault(name, (0, 0))

    @precondition(lambda self: self.counts)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(sorted(self.counts)))
        for column, held in self.workers.items():  # every worker installed a generation without it
            held.pop(name, None)
            self.gauges.pop((column, name), None)
        self.master.release("service", name)
        assert self.master.reclaim() == 0
        del self.counts[name], self.marked[name]

    @precondition(lambda self: self.counts)
    @rule(data=st.data())
    def remove_while_an_exchange_runs(self, data):
        name = data.draw(st.sampled_from(sorted(self.counts)))
        straggler = self.master.find("service", name)
        for column, held in self.workers.items():
            held.pop(name, None)
            self.gauges.pop((column, name), None)
        self.master.release("service", name)
        waiting = self.master.reclaim()
        straggler.add(COUNT, 1000)  # must reach nobody else
        assert waiting == 1
        del straggler, self.counts[name], self.marked[name]
        assert self.master.reclaim() == 0

    @rule()
    def spawn(self):
        try:
            column = self.master.take_column()
        except ArenaError:
            assert len(self.workers) == COLUMNS - 1
            return
        assert column not in self.workers
        self.workers[column] = {}

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def end(self, data):
        column = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[column]  # crashed or drained: for the arena it is the same
        self.gauges = {key: value for key, value in self.gauges.items() if key[0] != column}
        self.master.retire_column(column)

    @precondition(lambda self: self.workers and self.counts)
    @rule(data=st.data(), amount=st.integers(1, 1000), gauge=st.integers(0, 9))
    def count(self, data, amount, gauge):
        column = data.draw(st.sampled_from(sorted(self.workers)))
        name = data.draw(st.sampled_from(sorted(self.counts)))
        held = self.workers[column]
        if name not in held:
            held[name] = Arena.attach(self.master.fd, column).find("service", name)
        held[name].add(COUNT, amount)
        held[name].add_f(FLOAT, amount / 4)
        held[name].set(GAUGE, gauge)
        self.counts[name] += amount
        self.gauges[column, name] = gauge
        self.count_for_the_moment(held[name], name, amount)

    @rule()
    def pass_time(self):
        self.moment += 1

    def count_for_the_moment(self, block, name, amount):
        if block.get_own(MARK) != self.moment:
            for cell in MARKED:
                block.set(cell, 0)
            block.set(MARK, self.moment)
        for cell in MARKED:
            block.add(cell, amount)
        moment, known = self.marked[name]
        self.marked[name] = (self.moment, amount + (known if moment == self.moment else 0))

    @invariant()
    def counts_of_the_latest_moment_are_right(self):
        for name, (moment, expected) in self.marked.items():
            block = self.master.find("service", name)
            marks = block.marked_values(MARK)
            assert max(marks) == moment
            for cell in MARKED:
                counts = block.marked_values(cell)
                assert expected == sum(c for c, mark in zip(counts, marks, strict=True) if mark == moment)

    @invariant()
    def sums_are_right(self):
        for name, expected in self.counts.items():
            block = self.master.find("service", name)
            assert block.sum(COUNT) == expected
            assert block.sum_f(FLOAT) == expected / 4
            gauges = [value for (_, each), value in self.gauges.items() if each == name]
            assert block.sum(GAUGE) == sum(gauges)


TestArenaMachine = ArenaMachine.TestCase
TestArenaMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

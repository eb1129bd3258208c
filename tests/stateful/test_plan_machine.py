"""Any order of crash, hang, scale, roll and reload leaves every slot served and no table half live."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from master import plan
from master import transaction as tables
from master.plan import Phase

MAX_WORKERS = 4


class PlanMachine(RuleBasedStateMachine):
    """A world of processes that does what the plan says, at its own pace."""

    def __init__(self):
        super().__init__()
        self.processes = {}  # worker -> slot
        self.killed = set()
        self.timers = set()
        self.settle_timers = set()
        self.finished = False
        self.gave_up = False
        self.rolled = []
        self.retired = set()

    @initialize(wanted=st.integers(1, MAX_WORKERS))
    def begin(self, wanted):
        self.state = plan.PlanState(wanted=wanted)
        self.epoch = 1
        self.feed(plan.Begin())

    def feed(self, event):
        self.state, actions = plan.step(self.state, event)
        for action in actions:
            self.do(action)

    def do(self, action):
        match action:
            case plan.Spawn(worker=worker, slot=slot):
                assert worker not in self.processes
                assert not self.finished
                self.processes[worker] = slot
            case plan.Drain(worker=worker):
                self.check_drain(worker)
            case plan.Kill(worker=worker):
                assert worker in self.processes
                self.killed.add(worker)
            case plan.StartRestartTimer(slot=slot, delay_s=delay_s):
                assert delay_s > 0
                self.timers.add(slot)
            case plan.StartSettleTimer(slot=slot):
                self.settle_timers.add(slot)
            case plan.RestSlot(slot=slot):
                assert slot not in self.processes.values(), "a socket in use was taken out of service"
            case plan.RetireEpoch(epoch=epoch):
                assert epoch not in {each.epoch for each in self.state.workers}
                assert epoch != self.state.epoch
                self.retired.add(epoch)
            case plan.ReportRoll():
                self.rolled.append(action)
            case plan.GiveUp():
                self.gave_up = True
            case plan.Finish():
                assert not self.processes
                assert not self.finished
                self.finished = True

    def check_drain(self, worker):
        view = self.state.find(worker)
        if self.state.stopping or view.slot >= self.state.wanted:
            return
        others = [each for each in self.state.in_slot(view.slot) if each.worker != worker]
        assert any(each.phase is Phase.READY for each in others), "the slot's only worker was sent away"

    def pick(self, data, *phases):
        found = [each for each in self.state.workers if each.phase in phases]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(data=st.data())
    def worker_gets_ready(self, data):
        view = self.pick(data, Phase.STARTING)
        if view:
            self.feed(plan.Ready(view.worker))

    @rule(data=st.data(), uptime_s=st.sampled_from([0.0, 100.0]))
    def worker_exits(self, data, uptime_s):
        view = self.pick(data, *Phase)
        if view:
            del self.processes[view.worker]
            self.feed(plan.Exited(view.worker, "exit code 1", uptime_s))

    @rule(data=st.data())
    def worker_hangs(self, data):
        view = self.pick(data, *Phase)
        if view:
            self.feed(plan.Broken(view.worker, "no answer"))

    @rule(data=st.data())
    def restart_timer_fires(self, data):
        if self.timers:
            slot = data.draw(st.sampled_from(sorted(self.timers)))
            self.timers.discard(slot)
            self.feed(plan.RestartDue(slot))

    @rule(data=st.data())
    def settle_timer_fires(self, data):
        if self.settle_timers:
            slot = data.draw(st.sampled_from(sorted(self.settle_timers)))
            self.settle_timers.discard(slot)
            self.feed(plan.Settled(slot))

    @rule(wanted=st.integers(1, MAX_WORKERS))
    def scale(self, wanted):
        self.feed(plan.Scale(wanted))

    @precondition(lambda self: self.state.started)
    @rule()
    def roll(self):
        self.epoch += 1
        self.feed(plan.Roll(self.epoch))

    @precondition(lambda self: len(self.rolled) > 1 or self.gave_up)
    @rule(now=st.booleans())
    def stop(self, now):
        self.feed(plan.Stop(now))

    @invariant()
    def every_slot_is_served_or_about_to_be(self):
        if not hasattr(self, "state") or self.state.stopping:
            return
        for slot in range(self.state.wanted):
            served = self.state.in_slot(slot)
            assert served or slot in self.timers, f"nobody will ever serve slot {slot}"
            ready = [each for each in served if each.phase is Phase.READY]
            assert len(ready) <= 1
            assert len(served) <= 2

    @invariant()
    def unwanted_slots_are_on_their_way_out(self):
        if not hasattr(self, "state") or self.state.stopping:
            return
        for each in self.state.workers:
            if each.slot >= self.state.wanted and each.phase is Phase.READY:
                assert each.slot in self.settle_timers

    @invariant()
    def the_plan_knows_exactly_the_processes(self):
        if hasattr(self, "state"):
            assert {each.worker: each.slot for each in self.state.workers} == self.processes
            assert {each.epoch for each in self.state.workers} <= self.state.epochs

    @invariant()
    def something_takes_new_connections(self):
        if hasattr(self, "state"):
            assert set(range(self.state.wanted)) - plan.pick_avoided(self.state)

    def teardown(self):
        """From anywhere, a world in which everything works reaches what is wanted."""
        if not hasattr(self, "state"):
            return
        for _ in range(200):
            self.let_everything_succeed()
        if self.state.stopping:
            assert self.finished
        else:
            assert plan.is_settled(self.state)
            assert self.state.epochs == {self.state.epoch}
            assert self.state.fallback is None

    def let_everything_succeed(self):
        for view in self.state.workers:
            if view.phase is Phase.STARTING:
                self.feed(plan.Ready(view.worker))
                return
            if view.phase in (Phase.DRAINING, Phase.FAILED):
                del self.processes[view.worker]
                self.feed(plan.Exited(view.worker, "done"))
                return
        if self.timers:
            self.feed(plan.RestartDue(self.timers.pop()))
        elif self.settle_timers:
            self.feed(plan.Settled(self.settle_timers.pop()))


class TransactionMachine(RuleBasedStateMachine):
    """Workers that install, refuse, die or stay silent, and the generation that each one serves."""

    def __init__(self):
        super().__init__()
        self.state = tables.TableState()
        self.serves = {}  # worker -> generations it holds, newest last
        self.inbox = {}  # worker -> installs not answered yet
        self.concluded = []
        self.generation = 0
        self.workers = 0

    def feed(self, event):
        self.state, actions = tables.step(self.state, event)
        for action in actions:
            match action:
                case tables.SendInstall(worker=worker, generation=generation):
                    self.inbox[worker].append(generation)
                case tables.SendCommit(worker=worker, generation=generation):
                    assert self.serves[worker][-1] == generation
                    self.serves[worker] = [generation]
                case tables.SendRollback(worker=worker, generation=generation):
                    self.inbox[worker] = [each for each in self.inbox[worker] if each != generation]
                    self.serves[worker] = [each for each in self.serves[worker] if each != generation]
                case tables.Conclude():
                    assert action.generation not in {each.generation for each in self.concluded}
                    self.concluded.append(action)
                case tables.Unusable(worker=worker):
                    self.inbox.pop(worker)
                    self.serves.pop(worker)

    @precondition(lambda self: len(self.inbox) < MAX_WORKERS)
    @rule()
    def worker_joins(self):
        self.workers += 1
        self.inbox[self.workers] = []
        self.serves[self.workers] = []
        self.feed(tables.Joined(self.workers))

    @precondition(lambda self: self.state.offered is None)
    @rule()
    def table_is_offered(self):
        self.generation += 1
        self.feed(tables.Offered(self.generation))

    @rule(data=st.data(), refusal=st.sampled_from([None, None, None, "bad"]))
    def worker_answers(self, data, refusal):
        busy = sorted(worker for worker, inbox in self.inbox.items() if inbox)
        if busy:
            worker = data.draw(st.sampled_from(busy))
            generation = self.inbox[worker].pop(0)
            if refusal is None:
                self.serves[worker].append(generation)
            self.feed(tables.Answered(worker, generation, refusal))

    @rule(data=st.data(), crashed=st.booleans())
    def worker_leaves(self, data, crashed):
        if self.inbox:
            worker = data.draw(st.sampled_from(sorted(self.inbox)))
            del self.inbox[worker], self.serves[worker]
            self.feed(tables.Left(worker, crashed))

    @precondition(lambda self: self.state.offered is not None)
    @rule()
    def deadline_passes(self):
        self.feed(tables.Overdue(self.state.offered))

    @rule(generation=st.integers(0, 50))
    def a_deadline_of_the_past_changes_nothing(self, generation):
        if generation != self.state.offered:
            before = self.state
            self.feed(tables.Overdue(generation))
            assert self.state == before

    @invariant()
    def between_transactions_all_who_answered_serve_the_current_table(self):
        if self.state.offered is None:
            for worker, held in self.serves.items():
                assert self.inbox[worker] or not self.state.current or held[-1] == self.state.current

    @invariant()
    def every_offer_is_concluded_once(self):
        done = {each.generation for each in self.concluded} | {self.state.offered} - {None}
        assert done == set(range(1, self.generation + 1))

    @invariant()
    def the_current_table_is_one_that_was_accepted(self):
        accepted = [each.generation for each in self.concluded if not each.reason]
        assert self.state.current == (accepted[-1] if accepted else 0)


TestPlan = PlanMachine.TestCase
TestPlan.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTransaction = TransactionMachine.TestCase
TestTransaction.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""Whether servers may get exchanges: the master's word, and failed exchanges that any worker saw.

An exchange fails for this purpose when there is no proper answer, or when the answer's status is 500 or more;
any other answer is a good one and makes earlier failures forgotten (spec v2 section 3.5). Nothing is kept in
this process: the arena holds it all, so it survives reloads and is the same in every worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from shared import health
from shared.arena_block import Block
from shared.cells import ServerCell
from shared.config.dynamic import LoadBalancer, PassiveHealthCheck
from shared.health import Mark

logger = logging.getLogger(__name__)

_DOWN, _DRAINING = int(Mark.DOWN), int(Mark.DRAINING)  # the operators of Flag cost ten times an int's

FAILED_STATUS = 500
"""The lowest status of an answer that counts as a failure."""


class MasterHealth:
    """Health as the master says it: active checks and drain marks."""

    def is_up(self, block: Block) -> bool:
        """Whether it passed its last check."""
        return not block.get_master(health.MARKS) & _DOWN

    def is_draining(self, block: Block) -> bool:
        """Whether it keeps the clients it has and gets no new ones."""
        return bool(block.get_master(health.MARKS) & _DRAINING)

    def note_outcome(self, block: Block, url: str, *, is_failure: bool) -> None:
        """Failures of single exchanges do not matter here."""


class ObservedHealth(MasterHealth):
    """With a passive health check on top.

    Args:
        service: its name, for the log.
        passive: what is too much.
        is_checked: whether the master checks the servers too.
        clock: the arena's.
    """

    def __init__(
        self, service: str, passive: PassiveHealthCheck, *, is_checked: bool, clock: Callable[[], float]
    ) -> None:
        self._service = service
        self._passive = passive
        self._is_checked = is_checked
        self._clock = clock

    def is_up(self, block: Block) -> bool:
        """Whether it passed its last check and did not fail too often."""
        return super().is_up(block) and not self._is_ejected(block, self._clock())

    def note_outcome(self, block: Block, url: str, *, is_failure: bool) -> None:
        """Remember an exchange; from one failure too many on the server is out, for every worker."""
        now = self._clock()
        if not is_failure:
            health.tell(block, ServerCell.LAST_GOOD_AT, now)
            return
        since = now - health.window_s(self._passive)
        block.publish(health.FAILURES, health.with_failure(_own_failures(block), since, now))
        if self._is_ejected(block, now):
            return
        failures = health.count_failures(block, self._passive, now)
        if failures >= self._passive.max_failed_attempts:
            health.tell(block, ServerCell.EJECTED_AT, now)
            logger.warning(
                "server %s of service %s is down: %d failed exchanges within %g s",
                url,
                self._service,
                failures,
                health.window_s(self._passive),
            )

    def _is_ejected(self, block: Block, now: float) -> bool:
        return health.is_ejected(block, self._passive, is_checked=self._is_checked, now=now)


def make_health(service: str, options: LoadBalancer, clock: Callable[[], float]) -> MasterHealth:
    """The health that a service asks for.

    Args:
        service: its qualified name.
        options: of the service.
        clock: the arena's.
    """
    passive = options.passive_health_check
    if passive is None:
        return MasterHealth()
    return ObservedHealth(service, passive, is_checked=health.is_checked(options), clock=clock)


def _own_failures(block: Block) -> list[int]:
    return [block.get_own(health.FAILURES + place) for place in range(1, health.MAX_FAILURES + 1)]

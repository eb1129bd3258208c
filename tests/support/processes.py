"""All processes that a program under test started, however deep, and even when their parent is gone.

They are known by a variable in their environment, which children inherit.
"""

from __future__ import annotations

import uuid

import psutil

VARIABLE = "PENSTOCK_TEST_RUN"
KILL_TIMEOUT_S = 5.0


class ProcessMark:
    """The mark of one program under test."""

    def __init__(self) -> None:
        self._value = uuid.uuid4().hex

    @property
    def environment(self) -> dict[str, str]:
        """To be added to the environment of what is started."""
        return {VARIABLE: self._value}

    def processes(self) -> list[psutil.Process]:
        """Those that run now; what has ended and waits to be reaped is not counted."""
        return [each for each in psutil.process_iter() if self._is_on(each)]

    def kill_after(self, timeout_s: float) -> list[str]:
        """Give them that long to end, then kill the rest. Returns what had to be killed, for people."""
        _, left = psutil.wait_procs(self.processes(), timeout=timeout_s)
        shown = [_describe(each) for each in left]
        for each in left:
            each.kill()
        psutil.wait_procs(left, timeout=KILL_TIMEOUT_S)
        return shown

    def _is_on(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(VARIABLE) == self._value
        except psutil.Error:
            return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())})"
    except psutil.Error:
        return f"{process.pid} (gone meanwhile)"

"""A real server of somebody else, started for a test, stopped by its process id."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
PAUSE_S = 0.02
"""Between two looks whether it answers; nothing else tells."""
MAX_LOG_CHARS_SHOWN = 4_000


class ServerProcess:
    """A server as a child process.

    Args:
        command: program and arguments.
        log: file for what it writes.
        is_ready: whether it answers; may raise OSError while it does not.
        environment: its whole environment; ours if not given.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._log = log
        self._is_ready = is_ready
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                said = self._log.read_text(errors="replace")[-MAX_LOG_CHARS_SHOWN:]
                raise AssertionError(f"{self._command[0]} {'ended' if ended else 'does not answer'}:\n{said}")
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """Stop it, by force if it does not end when asked. Nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return self._is_ready()
        except OSError:
            return False

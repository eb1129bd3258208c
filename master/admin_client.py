"""Talks to a running master over its admin socket."""

from __future__ import annotations

import os
import select
from typing import Any

import httpx
import msgspec

from master.pidfile import read_pid
from master.runtime_directory import RuntimeDirectory
from shared.errors import ControlError, UsageError
from shared.explanation import Explanation, Question

CONNECT_TIMEOUT_S = 5.0
QUESTION_TIMEOUT_S = 30.0
CHANGE_TIMEOUT_S = 900.0
"""Changes are answered when they have happened; a roll of many draining workers takes minutes."""

NONSENSE = 400
"""The master's answer to a question that makes no sense."""

EXIT_TIMEOUT_S = 30.0
"""From the answer to ``stop`` to the end of the master process."""


class AdminClient:
    """One command's conversation.

    Args:
        runtime: the directory of the master.
    """

    def __init__(self, runtime: RuntimeDirectory) -> None:
        self._runtime = runtime

    def ask(self, path: str) -> httpx.Response:
        """GET.

        Raises:
            ControlError: no master answers.
        """
        return self._request("GET", path, QUESTION_TIMEOUT_S)

    def change(self, path: str, order: msgspec.Struct | None = None) -> dict[str, Any]:
        """POST, and wait until it has happened.

        Args:
            path: what to change.
            order: how, if there is a choice.

        Raises:
            UsageError: the order makes no sense.
            ControlError: it has not happened; says why.
        """
        body = msgspec.json.encode(order) if order is not None else None
        response = self._request("POST", path, CHANGE_TIMEOUT_S, body)
        content: dict[str, Any] = response.json()
        if response.is_error:
            reason = content.get("reason") or f"the master answered {response.status_code}"
            raise UsageError(reason) if response.status_code == NONSENSE else ControlError(reason)
        return content

    def explain(self, question: Question) -> Explanation:
        """What the running proxy would make of a request.

        Raises:
            UsageError: the question makes no sense.
            ControlError: no master answers, or it has no table yet.
        """
        response = self._request("POST", "/explain", QUESTION_TIMEOUT_S, msgspec.json.encode(question))
        if response.is_error:
            reason = response.json().get("reason") or f"the master answered {response.status_code}"
            raise UsageError(reason) if response.status_code == NONSENSE else ControlError(reason)
        return msgspec.json.decode(response.content, type=Explanation)

    def stop(self) -> None:
        """Stop the master; returns when its process has ended.

        Raises:
            ControlError: none runs, or it did not end.
        """
        pid = read_pid(self._runtime.pid_file)
        if pid is None:
            raise ControlError(f"no master runs in {self._runtime.path}")
        descriptor = os.pidfd_open(pid)
        try:
            self.change("/stop")
            ended, _, _ = select.select([descriptor], [], [], EXIT_TIMEOUT_S)
        finally:
            os.close(descriptor)
        if not ended:
            raise ControlError(f"the master, pid {pid}, has not ended within {EXIT_TIMEOUT_S:g} s")

    def _request(
        self, method: str, path: str, timeout_s: float, content: bytes | None = None
    ) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(self._runtime.admin_socket))
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            with httpx.Client(transport=transport, timeout=timeout, trust_env=False) as client:
                return client.request(method, f"http://penstock{path}", content=content)
        except httpx.ConnectError as error:
            raise ControlError(f"no master runs in {self._runtime.path}") from error
        except httpx.HTTPError as error:
            raise ControlError(f"the master did not answer: {error}") from error

"""Signals, for people and service managers; each one starts what the admin socket can also do.

Handlers only queue (``trio.open_signal_receiver``); nothing happens inside one.

    TERM, INT     drain and end; a second INT ends at once
    QUIT          end at once
    HUP           re-read files: rules reload, changed static settings roll the workers
    USR1          reopen logs
    TTIN, TTOU    one worker more, one fewer
    USR2          (upgrade) not available
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from master.app import Master  # the app imports this module

_log = logging.getLogger(__name__)

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


async def run_signals(master: Master, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Act on signals until cancelled."""
    interrupted = False
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*HANDLED) as received:
            task_status.started()
            async for number in received:
                _log.info("signal %s", signal.Signals(number).name)
                again = interrupted and number == signal.SIGINT
                interrupted = interrupted or number == signal.SIGINT
                act(master, signal.SIGQUIT if again else number, nursery)


def act(master: Master, number: int, nursery: trio.Nursery) -> None:
    """Start what a signal asks for."""
    match number:
        case signal.SIGTERM | signal.SIGINT:
            nursery.start_soon(master.stop)
        case signal.SIGQUIT:
            master.stop_now()
        case signal.SIGHUP:
            nursery.start_soon(master.reload)
        case signal.SIGUSR1:
            master.reopen_logs()
        case signal.SIGTTIN:
            nursery.start_soon(master.scale, master.supervisor.state.wanted + 1)
        case signal.SIGTTOU:
            nursery.start_soon(master.scale, master.supervisor.state.wanted - 1)
        case _:
            _log.warning("upgrade is not available in this version; nothing was done")

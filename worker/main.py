"""Where a worker process begins: signals, logging, then ``app`` until it ends."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType

import trio

from shared import control, logs
from shared.boot import WorkerBoot, decode_boot
from shared.channel import Channel
from shared.config.static import StaticConfig
from shared.errors import ProxyError
from shared.explanation import Explanation, Question
from worker import app

EXIT_INTERNAL = 1
EXIT_BOOT_FAILED = 3

logger = logging.getLogger(__name__)


def run_worker(boot: bytes, channel: socket.socket, listeners: list[tuple[str, socket.socket]]) -> None:
    """Serve until drained. The entry of a spawned process: it ends by ``sys.exit`` or by returning (0).

    Args:
        boot: from ``shared.boot.encode_boot``.
        channel: this worker's end of the control channel.
        listeners: the slot's bound sockets by entrypoint name.
    """
    faulthandler.enable()  # SIGABRT, the master's word to a hung worker, shows where it stands
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, _exit_now)
    try:
        order = decode_boot(boot)
        logs.configure(order.static.log, f"worker {order.slot}")
    except (ProxyError, OSError) as error:
        _report_failure(channel, error)
        sys.exit(EXIT_BOOT_FAILED)
    trio.run(_run, order, channel, listeners)


def explain_request(table: bytes | memoryview, static: StaticConfig, question: Question) -> Explanation:
    """What this worker's code would make of a request; see ``worker.explaining.explanation``.

    Raises:
        UsageError: the question makes no sense.
        TableError: the table is damaged.
    """
    from worker.explaining import explanation  # serving never needs it

    return explanation.explain_request(table, static, question)


async def _run(order: WorkerBoot, sock: socket.socket, listeners: list[tuple[str, socket.socket]]) -> None:
    channel = Channel(sock, control.decode_for_worker)
    try:
        worker = app.Worker(order, channel, listeners)
    except (ProxyError, OSError) as error:
        logger.critical("cannot start: %s", error)
        await channel.send(control.BootFailed(str(error)))
        sys.exit(EXIT_BOOT_FAILED)
    gc.collect()
    gc.freeze()  # what was made so far lives as long as the process: never look at it again
    await worker.run()


def _exit_now(number: int, frame: FrameType | None) -> None:
    """QUIT: nothing is finished and nothing is said, even if the event loop hangs."""
    os._exit(0)


def _report_failure(channel: socket.socket, error: Exception) -> None:
    """Tell the master before there is an event loop."""
    print(f"worker cannot start: {error}", file=sys.stderr)  # noqa: T201  # logging may be what failed
    channel.setblocking(True)
    channel.send(control.encode(control.BootFailed(str(error))))

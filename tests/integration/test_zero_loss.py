"""No exchange is lost by reloads, a roll, a killed idle worker or a stop.

Steady clients of five kinds run through 50 reloads, a HUP that changes static settings, a SIGKILL of a worker
that serves nobody but has connections in its queue, and a TERM. The control kills a worker in the same way
whose listener is its own, and must see losses: so we know that the clients can.
"""

from __future__ import annotations

import signal

import trio

from master.admin_client import AdminClient
from master.runtime_directory import RuntimeDirectory
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.storm import Storm, kill_with_a_queue, running_origin
from tests.support.worker_owned import kill_a_worker_that_owns_its_listener

RELOADS = 50

STATIC = """
entryPoints:
  web: {address: "127.0.0.1:{web}", transport: {lifeCycle: {graceTimeOut: 20s}}}
%s
providers:
  providersThrottleDuration: 10ms
  file: {directory: dynamic}
log: {level: INFO}
"""


def rules(origin: int, change: int) -> str:
    return f"""
http:
  routers:
    storm: {{rule: "Host(`storm.test`)", service: origin}}
    change{change}: {{rule: "Host(`{change}.test`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{origin}"}}]}}}}
"""


def test_no_exchange_is_lost(tmp_path):
    with (
        running_origin() as origin,
        running_proxy(
            tmp_path, static=STATIC % "", dynamic=rules(origin, 0), entrypoints=("web", "more")
        ) as proxy,
    ):
        storm = Storm(proxy.address()[1])
        trio.run(_through_everything, proxy, storm, origin)
    assert storm.lost == []
    assert min(storm.done.values()) > 10, storm.done


async def _through_everything(proxy: RunningProxy, storm: Storm, origin: int) -> None:
    in_thread = trio.to_thread.run_sync
    admin = AdminClient(RuntimeDirectory(proxy.runtime_dir))
    async with trio.open_nursery() as nursery:
        await nursery.start(storm.run)
        storm.phase = "reload"
        for change in range(1, RELOADS + 1):
            proxy.write("dynamic.yml", rules(origin, change))
            await in_thread(admin.change, "/reload")
        storm.phase = "roll"
        await _roll(proxy)
        await _kill_an_idle_worker(proxy, storm)
        storm.phase, storm.stopping = "stop", True
        proxy.signal(signal.SIGTERM)
        assert await in_thread(proxy.wait) == 0
        storm.finish()


async def _roll(proxy: RunningProxy) -> None:
    """HUP with a changed static file: a new entrypoint means new workers."""
    old = {worker["pid"] for worker in (await trio.to_thread.run_sync(proxy.status))["workers"]}
    port = proxy.address("more")[1]
    more = f'  more: {{address: "127.0.0.1:{port}"}}'
    text = (STATIC % more).replace("{web}", str(proxy.address()[1]))
    (proxy.folder / "static.yml").write_text(text)
    seen = proxy.log_length
    proxy.signal(signal.SIGHUP)
    await trio.to_thread.run_sync(proxy.wait_for_log, r"\brolled\b", 60.0, seen)
    new = {worker["pid"] for worker in (await trio.to_thread.run_sync(proxy.status))["workers"]}
    assert not old & new
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.aclose()


async def _kill_an_idle_worker(proxy: RunningProxy, storm: Storm) -> None:
    """Its replacement serves the connections that waited in its queue."""
    workers = (await trio.to_thread.run_sync(proxy.status))["workers"]
    seen = proxy.log_length
    await kill_with_a_queue(workers[0]["pid"], storm)
    await trio.to_thread.run_sync(proxy.wait_for_log, r"worker 0 serves", 60.0, seen)


def test_the_same_clients_see_losses_when_a_worker_owns_its_listener(tmp_path):
    with running_origin() as origin:
        storm = trio.run(kill_a_worker_that_owns_its_listener, rules(origin, 0))
    assert storm.lost
    assert all("reset" in loss for loss in storm.lost), storm.lost

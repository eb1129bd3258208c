"""The installed command against the installed proxy: start, look, change, stop, and every exit code."""

import os
import signal
import subprocess
import time

import psutil
import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import PENSTOCK, running_proxy

pytestmark = pytest.mark.integration
WAIT_S = 30.0

RULES = """
http:
  routers:
    web: {{rule: "Host(`{host}`)", service: app}}
  services:
    app: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


def penstock(*arguments, runtime_dir, timeout=60):
    return subprocess.run(
        [PENSTOCK, *arguments, f"--runtimeDir={runtime_dir}"],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def wait_for(condition, what):
    """Ask again and again; there is nothing to wait on across processes but the answers."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_S:g} s"


@pytest.fixture
def origin():
    with running_origin(echo("app")) as running:
        yield running


def test_start_status_reload_routes_and_stop(tmp_path, origin):
    with running_proxy(tmp_path, dynamic=RULES.format(host="one.test", url=origin.url)) as proxy:
        assert get(proxy.address(), "/", host="one.test").status == 200
        status = proxy.status()
        assert status["state"] == "ready"
        assert [each["state"] for each in status["workers"]] == ["ready", "ready"]
        assert status["addresses"]["web"].endswith(str(proxy.address()[1]))
        proxy.write("dynamic.yml", RULES.format(host="two.test", url=origin.url))
        proxy.reload()
        for _ in range(10):  # whichever worker answers
            assert get(proxy.address(), "/", host="two.test").status == 200
            assert get(proxy.address(), "/", host="one.test").status == 404
        assert "two.test" in proxy.command("routes").stdout
        assert "two.test" in proxy.command("status", "--table").stdout
        proxy.command("stop")
        assert proxy.wait() == 0
        assert not (proxy.runtime_dir / "admin.sock").exists()
        assert not (proxy.runtime_dir / "penstock.pid").exists()


def test_a_broken_router_keeps_its_last_good_form_and_is_reported(tmp_path, origin):
    with running_proxy(tmp_path, dynamic=RULES.format(host="one.test", url=origin.url)) as proxy:
        broken = RULES.format(host="one.test", url=origin.url).replace("Host(", "Hst(")
        proxy.write("dynamic.yml", broken)
        shown = proxy.command("reload", check=False)
        assert "unsupported function" in shown.stderr
        assert get(proxy.address(), "/", host="one.test").status == 200
        assert any("Hst" in each for each in proxy.status()["problems"])


def test_scale_up_and_down(tmp_path, origin):
    with running_proxy(tmp_path, workers=1, dynamic=RULES.format(host="a.test", url=origin.url)) as proxy:
        proxy.command("scale", "3")
        assert proxy.status()["workers_ready"] == 3
        proxy.command("scale", "1")
        assert [each["slot"] for each in proxy.status()["workers"]] == [0]
        for _ in range(20):
            assert get(proxy.address(), "/", host="a.test").status == 200
        refused = proxy.command("scale", "1000", check=False)
        assert refused.returncode == 1
        assert "expected 1 to 8 workers (--maxWorkers), got 1000" in refused.stderr


def test_a_killed_worker_is_replaced_and_its_clients_wait(tmp_path, origin):
    with running_proxy(tmp_path, workers=1, dynamic=RULES.format(host="a.test", url=origin.url)) as proxy:
        pid = proxy.status()["workers"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        for _ in range(20):
            assert get(proxy.address(), "/", host="a.test").status == 200
        assert proxy.status()["workers"][0]["pid"] != pid


def test_changed_static_settings_roll_the_workers(tmp_path, origin):
    entrypoints = ("web", "two")
    rules = RULES.format(host="a.test", url=origin.url)

    def static(ports):
        return (
            f"entryPoints: {{web: {{address: '127.0.0.1:{ports['web']}'}}}}\n"
            f"providers: {{file: {{directory: '{tmp_path / 'dynamic'}'}}}}\n"
        )

    with running_proxy(tmp_path, static=static, dynamic=rules, entrypoints=entrypoints) as proxy:
        before = {each["pid"] for each in proxy.status()["workers"]}
        text = (tmp_path / "static.yml").read_text()
        second = f"}}, two: {{address: '127.0.0.1:{proxy.address('two')[1]}'}}}}"
        (tmp_path / "static.yml").write_text(text.replace("}}", second, 1))
        proxy.reload()
        assert get(proxy.address("two"), "/", host="a.test").status == 200
        assert get(proxy.address("web"), "/", host="a.test").status == 200
        serving = {each["pid"] for each in proxy.status()["workers"] if each["state"] == "ready"}
        assert not before & serving


def test_settings_that_cannot_be_read_change_nothing(tmp_path):
    with running_proxy(tmp_path) as proxy:
        text = (tmp_path / "static.yml").read_text()
        (tmp_path / "static.yml").write_text(text + "\nping: {entryPoint: [1]}\n")
        failed = proxy.command("reload", check=False)
        assert failed.returncode == 1
        assert "ping.entryPoint" in failed.stderr
        assert "ping.entryPoint" in proxy.status()["last_reload"]
        assert proxy.status()["state"] == "ready"


def test_signals(tmp_path):
    with running_proxy(tmp_path, workers=1) as proxy:
        proxy.signal(signal.SIGTTIN)
        wait_for(lambda: proxy.status()["workers_ready"] == 2, "TTIN: two workers")
        proxy.signal(signal.SIGTTOU)
        wait_for(lambda: len(proxy.status()["workers"]) == 1, "TTOU: one worker")
        proxy.signal(signal.SIGUSR2)
        assert proxy.status()["state"] == "ready"
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 0


def test_quit_ends_at_once(tmp_path):
    with running_proxy(tmp_path) as proxy:
        proxy.signal(signal.SIGQUIT)
        assert proxy.wait() == 0


def test_workers_end_when_the_master_is_killed_and_a_new_start_finds_no_obstacle(tmp_path, origin):
    with running_proxy(tmp_path, dynamic=RULES.format(host="a.test", url=origin.url)) as proxy:
        proxy.signal(signal.SIGKILL)
        assert proxy.wait() == -signal.SIGKILL
        _, alive = psutil.wait_procs(proxy.processes(), timeout=WAIT_S)
        assert not alive
        seen = proxy.log_length
        proxy.start()
        proxy.wait_for_log(r"^ready", after=seen)
        assert get(proxy.address(), "/", host="a.test").status == 200


def test_a_second_start_in_the_same_directory_is_told_the_pid(tmp_path):
    with running_proxy(tmp_path) as proxy:
        second = penstock("--entryPoints.web.address=127.0.0.1:0", runtime_dir=proxy.runtime_dir)
        assert second.returncode == 5
        assert f"already running with pid {proxy.pid}" in second.stderr


def test_a_taken_port_is_named(tmp_path):
    with running_proxy(tmp_path) as proxy:
        port = proxy.address()[1]
        second = penstock(
            "start", f"--entryPoints.other.address=127.0.0.1:{port}", runtime_dir=tmp_path / "second"
        )
        assert second.returncode == 4
        assert f"entrypoint other: address 127.0.0.1:{port} is already in use" in second.stderr
        assert list((tmp_path / "second").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stat"], 'command not found: stat; did you mean "start"?'),
        (
            ["start", "--workers=0", "--entryPoints.web.address=127.0.0.1:0"],
            "expected 1 to 512, got 0",
        ),
        (["start", "--entryPoints.web.address=127.0.0.1:x"], "entryPoints.web.address"),
    ],
)
def test_usage_and_settings_errors_exit_with_2(tmp_path, arguments, said):
    done = penstock(*arguments, runtime_dir=tmp_path / "run")
    assert done.returncode == 2
    assert said in done.stderr


def test_commands_without_a_master_say_so(tmp_path):
    for command in (["status"], ["reload"], ["stop"], ["scale", "2"]):
        done = penstock(*command, runtime_dir=tmp_path)
        assert done.returncode == 1
        assert f"no master runs in {tmp_path}" in done.stderr


def test_detach_returns_when_ready(tmp_path):
    flags = ["--entryPoints.web.address=127.0.0.1:0", "--workers=1"]
    started = penstock("start", "--detach", *flags, runtime_dir=tmp_path)
    try:
        assert started.returncode == 0, started.stderr
        assert "ready" in started.stderr
        assert penstock("status", runtime_dir=tmp_path).stdout.startswith("ready")
        again = penstock("start", "--detach", *flags, runtime_dir=tmp_path)
        assert again.returncode == 5
        assert "already running" in again.stderr
    finally:
        assert penstock("stop", runtime_dir=tmp_path).returncode == 0

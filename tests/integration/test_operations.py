"""What operators rely on: health answers, log rotation, a soft stop, and a start while the rules are away."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time

import pytest

from tests.support.clients import get
from tests.support.origins import echo, running_origin
from tests.support.proxy import PENSTOCK, running_proxy

pytestmark = pytest.mark.integration
WAIT_S = 30.0

RULES = """
http:
  routers:
    web: {{rule: "Host(`one.test`)", service: app}}
  services:
    app: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""
STATIC = """
entryPoints:
  web:
    address: "127.0.0.1:{web}"
    transport: {lifeCycle: {requestAcceptGraceTimeout: 6s, graceTimeOut: 5s}}
ping: {entryPoint: web, terminatingStatusCode: 502}
providers: {file: {directory: dynamic, watch: true}}
accessLog: {filePath: access.log}
log: {level: INFO}
"""
LOG_TO_FILE = "\nlog: {level: INFO, filePath: main.log}\n"


def wait_for(condition, what):
    """Ask again and again; there is nothing to wait on across processes but the answers."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_S:g} s"


def text_of(path):
    return path.read_text() if path.exists() else ""


def healthcheck(proxy):
    """It asks the entrypoint, not the master: so it takes no runtime directory."""
    return subprocess.run(
        [PENSTOCK, "healthcheck", f"--configFile={proxy.static_file}"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@pytest.fixture
def origin():
    with running_origin(echo("app")) as running:
        yield running


def test_before_it_stops_it_goes_on_serving_while_ping_says_that_it_will(tmp_path, origin):
    with running_proxy(tmp_path, static=STATIC, dynamic=RULES.format(url=origin.url)) as proxy:
        assert healthcheck(proxy).stdout.startswith("OK: ")
        assert get(proxy.address(), "/ping", host="any").status == 200
        asked = time.monotonic()
        proxy.signal(signal.SIGTERM)
        wait_for(lambda: get(proxy.address(), "/ping", host="any").status == 502, "the terminating status")
        for _ in range(10):  # whichever worker answers
            assert get(proxy.address(), "/", host="one.test").status == 200
        failed = healthcheck(proxy)
        assert (failed.returncode, failed.stderr) == (1, "Bad healthcheck status: 502 Bad Gateway\n")
        assert proxy.wait() == 0
        assert time.monotonic() - asked >= 6.0
        gone = healthcheck(proxy)
        assert gone.returncode == 1
        assert gone.stderr.startswith("Error calling healthcheck: ")


def test_healthcheck_without_ping_says_what_to_enable(tmp_path, origin):
    with running_proxy(tmp_path, dynamic=RULES.format(url=origin.url)) as proxy:
        failed = healthcheck(proxy)
        assert failed.returncode == 1
        assert failed.stderr == "Error calling healthcheck: please enable `ping` to use health check\n"


def test_usr1_opens_both_logs_anew_after_they_were_moved_away(tmp_path, origin):
    static = STATIC.replace("requestAcceptGraceTimeout: 6s, ", "").replace(
        "\nlog: {level: INFO}\n", LOG_TO_FILE
    )
    with running_proxy(tmp_path, static=static, dynamic=RULES.format(url=origin.url)) as proxy:
        access, main = tmp_path / "access.log", tmp_path / "main.log"
        assert get(proxy.address(), "/before", host="one.test").status == 200
        wait_for(lambda: "/before" in text_of(access), "the first record")
        for log in (access, main):
            log.rename(log.with_suffix(".old"))
        proxy.signal(signal.SIGUSR1)
        wait_for(lambda: access.exists() and main.exists(), "the new files")
        # Each worker opens the file for itself; one that still writes to the old file is not through.
        sent = 0

        def all_arrive() -> bool:
            nonlocal sent
            sent += 1
            for number in range(8):
                assert get(proxy.address(), f"/after-{sent}-{number}", host="one.test").status == 200
            wanted = [f"/after-{sent}-{number} " for number in range(8)]
            old, new = tmp_path / "access.old", access
            wait_for(lambda: all(each in text_of(old) + text_of(new) for each in wanted), "the records")
            return all(each in text_of(new) for each in wanted)

        wait_for(all_arrive, "every worker writing to the new file")
        assert "/before" not in text_of(access)
        before = len(text_of(main))
        moved = (tmp_path / "main.old").stat().st_size
        proxy.write("dynamic.yml", RULES.format(url=origin.url).replace("one.test", "two.test"))
        proxy.reload()
        wait_for(
            lambda: "installed generation" in text_of(main)[before:], "a line of a worker in the new log"
        )
        assert (tmp_path / "main.old").stat().st_size == moved


def test_a_start_while_the_rules_are_away_serves_the_last_good_table(tmp_path, origin):
    with running_proxy(tmp_path, dynamic=RULES.format(url=origin.url)) as proxy:
        assert get(proxy.address(), "/", host="one.test").status == 200
        proxy.command("stop")
        assert proxy.wait() == 0
        shutil.move(proxy.dynamic_folder, tmp_path / "away")
        proxy.start()
        assert get(proxy.address(), "/", host="one.test").status == 200
        assert proxy.status()["waiting_for"] == ["file"]
        assert "waiting for provider file; serving the last good table" in proxy.command("status").stdout
        shutil.move(tmp_path / "away", proxy.dynamic_folder)
        proxy.write("dynamic.yml", RULES.format(url=origin.url).replace("one.test", "two.test"))
        wait_for(lambda: get(proxy.address(), "/", host="two.test").status == 200, "the rules that came back")
        wait_for(lambda: get(proxy.address(), "/", host="one.test").status == 404, "the end of the old rules")
        assert proxy.status()["waiting_for"] == []

"""scripts/run as a stranger uses it: it comes up, does what it prints, follows a change, goes away."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.clients import get
from tests.support.ports import reserve_port
from tests.support.processes import ProcessMark

PROJECT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 40.0
REAP_TIMEOUT_S = 5.0
CHANGE_TRIES = 20_000
INVITED = "Ctrl-C stops everything"


class Quickstart:
    """scripts/run in a process of its own."""

    def __init__(self, port, service_ports):
        self.mark = ProcessMark()
        environment = {
            **os.environ,
            **self.mark.environment,
            "PENSTOCK_NO_SETUP": "1",
            "PENSTOCK_VENV": sys.prefix,
            "PENSTOCK_QUICKSTART_PORT": str(port),
            "PENSTOCK_QUICKSTART_SERVICE_PORTS": ",".join(map(str, service_ports)),
            "PENSTOCK_QUICKSTART_WORKERS": "1",
        }
        self.address = ("127.0.0.1", port)
        self.text = ""
        self.process = subprocess.Popen(
            [str(PROJECT / "scripts" / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def wait_for(self, wanted):
        """Read its output up to a line with ``wanted``; if that never comes, kill it and fail."""
        killer = threading.Timer(START_TIMEOUT_S, self.process.kill)
        killer.start()
        try:
            for line in self.process.stdout:
                self.text += line
                if wanted in line:
                    return
        finally:
            killer.cancel()
        pytest.fail(f"scripts/run ended before it said {wanted!r}:\n{self.text}")

    def stop(self, number):
        """Send a signal; returns the exit code and which of its processes did not go with it."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_TIMEOUT_S)
        self.text += rest
        return self.process.returncode, self.mark.kill_after(REAP_TIMEOUT_S)

    def kill_all(self):
        """Whatever happened: nothing stays."""
        self.mark.kill_after(0)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def quickstart():
    with reserve_port() as proxy, reserve_port() as first, reserve_port() as second:
        started = Quickstart(proxy.number, (first.number, second.number))
        try:
            started.wait_for(INVITED)
            yield started
            if started.process.poll() is None:
                assert started.stop(signal.SIGTERM) == (0, [])
        finally:
            started.kill_all()


def answering_service(quickstart):
    answered = get(quickstart.address, "/", host="whoami.localhost")
    assert answered.status == 200
    return re.search(r"^Name: (\w+)$", answered.content.decode(), re.MULTILINE)[1]


def test_the_demo_does_what_it_prints(quickstart):
    names = [answering_service(quickstart) for _ in range(8)]
    assert (names.count("first"), names.count("second")) == (6, 2)

    answered = get(quickstart.address, "/api/some/path", host="anything.example")
    assert "Name: first\n" in answered.content.decode()
    assert "GET /some/path HTTP/1.1\n" in answered.content.decode()
    assert "\nX-Quickstart: from the proxy\n" in answered.content.decode()
    assert answered.header("X-Served-By") == "penstock"

    assert get(quickstart.address, "/nothing", host="anything.example").status == 404


def test_a_saved_change_is_live_without_a_restart(quickstart):
    path = Path(re.search(r"^Change (.+)$", quickstart.text, re.MULTILINE)[1])
    path.write_text(path.read_text().replace("PathPrefix(`/api`)", "PathPrefix(`/changed`)"))
    for _ in range(CHANGE_TRIES):  # each try is an exchange: the wait is for the proxy, not for a clock
        if get(quickstart.address, "/changed", host="anything.example").status == 200:
            break
    else:
        pytest.fail(f"the change was not live after {CHANGE_TRIES} requests")
    assert get(quickstart.address, "/api", host="anything.example").status == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(quickstart, number):
    assert quickstart.stop(number) == (0, [])


def test_a_taken_port_that_was_asked_for_is_an_error_that_names_it(quickstart):
    with reserve_port() as first, reserve_port() as other:
        second = Quickstart(quickstart.address[1], (first.number, other.number))
        try:
            output, _ = second.process.communicate(timeout=START_TIMEOUT_S)
            assert second.process.returncode == 1
            assert f"PENSTOCK_QUICKSTART_PORT={quickstart.address[1]}: the port is taken" in output
        finally:
            second.kill_all()

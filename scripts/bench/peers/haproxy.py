"""HAProxy in HTTP mode, connections kept on both sides.

Its access log goes to its standard output, which is a file here, as it cannot open one itself. Many routers
are one map of hosts.
"""

from __future__ import annotations

from pathlib import Path

from scripts.bench.peers.program import PASSWORD, PREFIX, USER, Program, Setup, host_of

MAIN = """
global
  nbthread {workers}
  maxconn 8000
defaults
  mode http
  option http-keep-alive
  option forwardfor
  timeout connect 5s
  timeout client 180s
  timeout server 180s
  timeout http-keep-alive 180s
  timeout tunnel 180s
  {log}
userlist people
  user {user} insecure-password {password}
frontend web
  bind 127.0.0.1:{port}
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  {rules}
backend origin
  http-reuse always
  {servers}
"""
CHAIN = """stick-table type ip size 1k expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  http-request auth unless { http_auth(people) }
  http-request replace-path /api(/.*) \\1
  http-request set-header X-Bench 1
  http-response set-header X-By bench
  default_backend origin"""


class HAProxy(Program):
    """HAProxy as a reverse proxy."""

    command_name = "haproxy"
    package = "apt-get install haproxy"

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """One file, and the map."""
        rules = "default_backend origin"
        if setup.has_chain:
            rules = CHAIN
        elif setup.routers:
            hosts = "".join(f"{host_of(router)} origin\n" for router in range(setup.routers))
            (folder / "hosts.map").write_text(hosts)
            known = f"%[req.hdr(host),lower,map({folder}/hosts.map,none)]"
            rules = f"http-request return status 404 unless {{ path_beg {PREFIX} }}\n  use_backend {known}"
        text = MAIN.format(
            workers=setup.workers,
            port=port,
            user=USER,
            password=PASSWORD,
            rules=rules,
            log="log stdout format raw local0\n  option httplog" if setup.has_access_log else "",
            servers="\n  ".join(f"server s{each} 127.0.0.1:{each}" for each in setup.upstreams),
        )
        if setup.routers:
            text += "backend none\n  http-request return status 404\n"
        (folder / "haproxy.cfg").write_text(text)
        return [self.find(), "-db", "-f", str(folder / "haproxy.cfg")]

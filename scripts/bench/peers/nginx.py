"""nginx, with kept upstream connections or as it comes (HTTP/1.0 and a new upstream connection per request).

Responses are buffered as by default but never in files, and uploads stream, as all others do here. Many
routers are many ``server`` blocks with their hash sized for them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from scripts.bench.peers.program import (
    CERTIFICATE,
    KEY,
    PASSWORD_SHA,
    PREFIX,
    USER,
    Program,
    RunningProgram,
    Setup,
    host_of,
)

MAIN = """
daemon off; master_process on; worker_processes {workers};
pid {folder}/nginx.pid; error_log {folder}/error.log crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log {access_log};
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000; keepalive_timeout 180s; client_max_body_size 0;
  server_names_hash_max_size {hash_size}; server_names_hash_bucket_size 128;
  proxy_request_buffering off; proxy_max_temp_file_size 0;
  proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  {version}
  limit_req_zone $binary_remote_addr zone=rate:1m rate=1000000r/s;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_field;
  upstream origin {{ {servers} {kept} }}
  {routers}
}}
"""
FORWARD = "proxy_pass http://origin;"
CHAIN = """limit_req zone=rate burst=1000000 nodelay; auth_basic bench; auth_basic_user_file {folder}/users;
  add_header X-By bench; proxy_pass http://origin/;"""
KEPT = "keepalive 64; keepalive_requests 1000000000;"


class Nginx(Program):
    """nginx as a reverse proxy."""

    command_name = "nginx"
    package = "apt-get install nginx"
    can_change = True
    can_tls = True

    def __init__(self, name: str, *, is_http10: bool = False) -> None:
        super().__init__(name)
        self._is_http10 = is_http10

    def prepare(self, setup: Setup, folder: Path, port: int) -> list[str]:
        """One file; the password file beside it."""
        (folder / "users").write_text(f"{USER}:{PASSWORD_SHA}\n")
        (folder / "users").chmod(0o644)  # its workers are another user
        folder.chmod(0o755)
        (folder / "port").write_text(str(port))
        self._write(setup, folder, port, PREFIX)
        files = ["-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        return [self.find(), "-p", str(folder), *files]

    def change(self, setup: Setup, running: RunningProgram, path: str) -> None:
        """The file anew, and HUP."""
        self._write(setup, running.folder, running.port, path)
        os.kill(running.process.pid, signal.SIGHUP)

    def _write(self, setup: Setup, folder: Path, port: int, path_of_first: str) -> None:
        text = MAIN.format(
            folder=folder,
            workers=setup.workers,
            access_log=f"{folder}/access.log" if setup.has_access_log else "off",
            hash_size=max(512, setup.routers * 2),
            version="" if self._is_http10 else "proxy_http_version 1.1;",
            servers=" ".join(f"server 127.0.0.1:{each};" for each in setup.upstreams),
            kept="" if self._is_http10 else KEPT,
            routers=_servers(setup, folder, port, path_of_first),
        )
        draft = folder / "nginx.conf.new"
        draft.write_text(text)
        draft.replace(folder / "nginx.conf")


def _servers(setup: Setup, folder: Path, port: int, path_of_first: str) -> str:
    listen = f"listen 127.0.0.1:{port} backlog=1024"
    if setup.has_tls:
        files = f"ssl_certificate {folder / CERTIFICATE}; ssl_certificate_key {folder / KEY}"
        listen = f"listen 127.0.0.1:{port} ssl backlog=1024; ssl_protocols TLSv1.2 TLSv1.3; {files}"
    if setup.has_chain:
        return f"server {{ {listen}; location {PREFIX}/ {{ {CHAIN.format(folder=folder)} }} }}"
    if not setup.routers:
        return f"server {{ {listen}; location / {{ {FORWARD} }} }}"
    blocks = [f"server {{ {listen} default_server; return 404; }}"]
    for router in range(setup.routers):
        path = path_of_first if router == 0 else PREFIX
        name = f"listen 127.0.0.1:{port}; server_name {host_of(router)};"
        blocks.append(f"server {{ {name} location {path} {{ {FORWARD} }} location / {{ return 404; }} }}")
    return "\n".join(blocks)

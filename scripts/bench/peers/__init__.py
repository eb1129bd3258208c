"""The programs that are measured side by side, one file each; ``PROGRAMS`` is the order of reports."""

from __future__ import annotations

from scripts.bench.peers.caddy import Caddy
from scripts.bench.peers.haproxy import HAProxy
from scripts.bench.peers.nginx import Nginx
from scripts.bench.peers.penstock import Penstock
from scripts.bench.peers.program import Program
from scripts.bench.peers.traefik import Traefik

PROGRAMS: tuple[Program, ...] = (
    Penstock("penstock"),
    Penstock("penstock-general", is_general_only=True),
    Nginx("nginx"),
    Nginx("nginx-http10", is_http10=True),
    HAProxy("haproxy"),
    Traefik("traefik"),
    Caddy("caddy"),
)

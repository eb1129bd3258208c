"""A setup in Traefik's words: the dynamic files that Traefik and Penstock read alike.

Routers are spread over ``FILES`` files of one folder, so that a change of one router is a change of one small
file, as it is with deployments that write their own.
"""

from __future__ import annotations

from pathlib import Path

from scripts.bench.peers.program import CERTIFICATE, KEY, PASSWORD_SHA, PREFIX, USER, Setup, host_of

FILES = 100
CHAIN = f"""
  middlewares:
    strip: {{stripPrefix: {{prefixes: ["{PREFIX}"]}}}}
    fields: {{headers: {{customRequestHeaders: {{X-Bench: "1"}}, customResponseHeaders: {{X-By: bench}}}}}}
    password: {{basicAuth: {{users: ["{USER}:{PASSWORD_SHA}"]}}}}
    rate: {{rateLimit: {{average: 1000000000, burst: 1000000}}}}
"""


def write_rules(setup: Setup, folder: Path) -> None:
    """Write all files of a setup."""
    folder.mkdir()
    servers = ", ".join(f'{{url: "http://127.0.0.1:{port}"}}' for port in setup.upstreams)
    chain = ", middlewares: [rate, password, strip, fields]" if setup.has_chain else ""
    text = "http:\n"
    if not setup.routers:
        tls = ", tls: {}" if setup.has_tls else ""
        text += f"  routers:\n    all: {{rule: 'PathPrefix(`/`)', service: app{chain}{tls}}}\n"
    text += f"  services:\n    app: {{loadBalancer: {{servers: [{servers}]}}}}\n"
    if setup.has_tls:
        pair = f"certFile: {folder.parent / CERTIFICATE}, keyFile: {folder.parent / KEY}"
        text += f"tls: {{certificates: [{{{pair}}}]}}\n"
    (folder / "service.yml").write_text(text + (CHAIN if setup.has_chain else ""))
    for number in range(min(FILES, setup.routers)):
        _replace(folder, number, _routers(setup, number, PREFIX))


def change_first_router(setup: Setup, folder: Path, path: str) -> None:
    """Let the first router take another path."""
    _replace(folder, 0, _routers(setup, 0, path))


def _routers(setup: Setup, number: int, path_of_first: str) -> str:
    """The file's share of the routers: number, number + FILES, ..."""
    lines = ["http:", "  routers:"]
    for router in range(number, setup.routers, FILES):
        path = path_of_first if router == 0 else PREFIX
        rule = f"Host(`{host_of(router)}`) && PathPrefix(`{path}`)"
        lines.append(f"    r{router:06}: {{rule: '{rule}', service: app}}")
    return "\n".join(lines) + "\n"


def _replace(folder: Path, number: int, text: str) -> None:
    """In one step: the folder is watched."""
    draft = folder / f".routers{number:03}.new"
    draft.write_text(text)
    draft.replace(folder / f"routers{number:03}.yml")

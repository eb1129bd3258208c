"""A real PostgreSQL behind TCP routers: plain, and its own way into TLS, ended here or passed through."""

from __future__ import annotations

import json

import pytest

from tests.support import postgres
from tests.support.postgres import psql, running_postgres
from tests.support.proxy import running_proxy
from tests.support.tls import Authority

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(postgres.missing()), reason=f"needs {postgres.missing()}"),
]
SEES_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def router(entrypoint, name, rule, **more):
    return {"entryPoints": [entrypoint], "rule": rule, "service": name, **more}


def test_a_client_works_through_the_router(tmp_path):
    authority = Authority()
    own = authority.issue("ended.test", "ended.test", "again.test")
    (tmp_path / "ca.crt").write_text(authority.pem)
    with running_postgres(authority, "pass.test") as port:
        server = {"address": f"127.0.0.1:{port}"}
        config = {
            "tcp": {
                "routers": {
                    "plain": router("plain", "plain", "HostSNI(`*`)"),
                    "ended": router("tls", "plain", "HostSNI(`ended.test`)", tls={}),
                    "passed": router("tls", "plain", "HostSNI(`pass.test`)", tls={"passthrough": True}),
                    "again": router("tls", "over-tls", "HostSNI(`again.test`)", tls={}),
                },
                "services": {
                    "plain": {"loadBalancer": {"servers": [server]}},
                    "over-tls": {
                        "loadBalancer": {"servers": [{**server, "tls": True}], "serversTransport": "checked"}
                    },
                },
                "serversTransports": {
                    "checked": {"tls": {"serverName": "pass.test", "rootCAs": [authority.pem]}}
                },
            },
            "tls": {"certificates": [{"certFile": own.certificate, "keyFile": own.key}]},
        }
        with running_proxy(tmp_path, dynamic=json.dumps(config), entrypoints=("plain", "tls")) as proxy:
            checked = f"sslmode=verify-full sslrootcert={tmp_path / 'ca.crt'}"
            for entrypoint, options, server_sees_tls in (
                ("plain", "sslmode=disable", "f"),
                ("plain", "sslmode=require", "t"),  # nothing is looked at, so the server answers the request
                ("tls", f"host=ended.test {checked}", "f"),
                ("tls", f"host=pass.test {checked}", "t"),
                ("tls", f"host=again.test {checked}", "t"),
            ):
                where = f"hostaddr=127.0.0.1 port={proxy.address(entrypoint)[1]} {options}"
                assert psql(where, SEES_TLS) == server_sees_tls, options
                text = psql(where, "select string_agg(n::text, '') from generate_series(1, 200000) n")
                assert text == "".join(map(str, range(1, 200_001))), options

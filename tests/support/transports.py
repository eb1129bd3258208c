"""Servers that speak TLS in many ways, and transports that reach them or do not."""

from __future__ import annotations

import json
import ssl
from contextlib import ExitStack
from typing import Any

from tests.support.authority import Authority
from tests.support.origins import Origin, Serve, answer, echo, running_origin

URI = "spiffe://Trust.Domain/Web"

Case = tuple[str, dict[str, Any] | None]
"""The URL of a server, and the options of its transport; None for the default one."""


def rules(**transports_and_urls: Case) -> str:
    """A router, a service and a transport per name, for the host ``name.test``."""
    http = {"routers": {}, "services": {}, "serversTransports": {}}
    for name, (url, transport) in transports_and_urls.items():
        http["routers"][name] = {"rule": f"Host(`{name}.test`)", "service": name}
        balancer = {"servers": [{"url": url}]}
        if transport is not None:
            balancer["serversTransport"] = name
            http["serversTransports"][name] = transport
        http["services"][name] = {"loadBalancer": balancer}
    if not http["serversTransports"]:
        del http["serversTransports"]
    return json.dumps({"http": http})


def transport_cases(stack: ExitStack, authority: Authority) -> dict[str, Case]:
    """A case per name; its origins run until the stack is left."""

    def start(serve: Serve, context: ssl.SSLContext | None = None) -> Origin:
        return stack.enter_context(running_origin(serve, context))

    local = authority.issue("localhost", uri=URI)
    elsewhere = authority.issue("elsewhere.test", uri=URI)
    client = authority.issue("client.test")
    old_context = local.server_context()
    old_context.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = start(echo("plain"), local.server_context()).url
    other = start(echo("elsewhere"), elsewhere.server_context()).url
    mutual = start(echo("mutual"), local.server_context(clients=authority)).url
    old = start(echo("old"), old_context).url
    no_tls = start(lambda connection: connection.send(answer(400)))
    trusting = {"rootCAs": [str(authority.certificate)]}
    pair = {"certFile": str(client.certificate), "keyFile": str(client.key)}
    inline = {"certFile": client.certificate.read_text(), "keyFile": client.key.read_text()}
    modern = {"minVersion": "VersionTLS13", "maxVersion": "VersionTLS13"}
    return {
        "unknown": (plain, None),
        "insecure": (plain, {"insecureSkipVerify": True}),
        "path": (plain, trusting),
        "pem": (plain, {"rootCAs": [authority.pem]}),
        "name": (other, {**trusting, "serverName": "elsewhere.test"}),
        "wrongname": (other, trusting),
        "mutual": (mutual, {**trusting, "certificates": [pair]}),
        "mutualpem": (mutual, {**trusting, "certificates": [inline]}),
        "nobody": (mutual, {**trusting, "minVersion": "VersionTLS12", "maxVersion": "VersionTLS12"}),
        "uri": (plain, {**trusting, "peerCertURI": URI.lower()}),
        "uriandwrongname": (other, {**trusting, "peerCertURI": URI}),
        "urionly": (other, {**trusting, "insecureSkipVerify": True, "peerCertURI": URI}),
        "uriofastranger": (plain, {"insecureSkipVerify": True, "peerCertURI": URI}),
        "wronguri": (plain, {**trusting, "peerCertURI": "spiffe://other/web"}),
        "tls13": (old, {**trusting, **modern}),
        "cipher": (old, {**trusting, "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}),
        "notls": (f"https://localhost:{no_tls.address[1]}", {"insecureSkipVerify": True}),
        "nokeys": (plain, {**trusting, "certificates": [{**pair, "keyFile": "no-such.key"}]}),
        "noca": (plain, {"rootCAs": ["no-such.crt"]}),
        "mismatch": (plain, {**trusting, "certificates": [{**pair, "keyFile": str(local.key)}]}),
        "spiffe": (plain, {"spiffe": {"ids": ["spiffe://td/a"]}}),
        "both": (plain, {**trusting, "spiffe": {}}),
        "version": (plain, {"minVersion": "VersionTLS14"}),
    }

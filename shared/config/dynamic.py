"""The one dynamic model: what both dialects mean, as frozen structs (spec v2 sections 3, 4, 6, 7 and 13).

The v1 dialect is translated into this model (``shared.config.legacy``), so that everything behind it knows
only routers, middlewares, services and servers. Names in here are as written in the document, unqualified;
``shared.config.model`` holds the merged, qualified form.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from shared.config.kinds import Duration, EmptySection, Internal, OneKind, Section
from shared.config.middlewares import Middleware, TcpMiddleware
from shared.config.tls import TlsCertificate, TlsOptions, TlsStore


class Domain(Section, frozen=True):
    """Names a certificate is wanted for."""

    main: str = ""
    sans: tuple[str, ...] = ()


class RouterTls(EmptySection, frozen=True):
    """A router with this section sees only requests that came over TLS."""

    options: str = ""
    cert_resolver: str = ""
    domains: tuple[Domain, ...] = ()
    passthrough: bool = False


class Observability(Section, frozen=True):
    """What is recorded about exchanges of a router; None means as the entrypoint says."""

    access_logs: bool | None = None
    metrics: bool | None = None
    tracing: bool | None = None
    trace_verbosity: str = ""


class Router(Section, frozen=True):
    """Rule, entrypoints, middlewares and service (spec v2 section 3.1)."""

    entry_points: tuple[str, ...] = ()
    rule: str = ""
    rule_syntax: str = ""
    priority: int = 0
    service: str = ""
    middlewares: tuple[str, ...] = ()
    tls: RouterTls | None = None
    observability: Observability | None = None
    parent_refs: tuple[str, ...] = ()


class Server(Section, frozen=True):
    """One upstream address."""

    url: str = ""
    weight: int | None = None
    preserve_path: bool = False
    fenced: bool = False


class Cookie(EmptySection, frozen=True):
    """How the sticky cookie is written (spec v2 section 3.4)."""

    name: str = ""
    secure: bool = False
    http_only: bool = False
    same_site: str = ""
    max_age: int = 0
    path: str = "/"
    domain: str = ""


class Sticky(EmptySection, frozen=True):
    """Keep a client on the server it got first."""

    cookie: Cookie | None = None


class HealthCheck(EmptySection, frozen=True):
    """Active probing of servers (spec v2 section 3.5).

    Attributes:
        is_v1: as v1 does it: the path is text behind the server's URL, and the first round is at once.
    """

    path: str = ""
    mode: str = "http"
    scheme: str = ""
    port: int = 0
    hostname: str = ""
    method: str = ""
    status: int = 0
    interval: Duration = 30.0
    unhealthy_interval: Duration | None = None
    timeout: Duration = 5.0
    follow_redirects: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    is_v1: Annotated[bool, Internal] = False


class PassiveHealthCheck(EmptySection, frozen=True):
    """Eject a server after failed exchanges."""

    failure_window: Duration = 10.0
    max_failed_attempts: int = 1


class ResponseForwarding(Section, frozen=True):
    """When response bytes are flushed."""

    flush_interval: Duration = 0.1


class LoadBalancer(Section, frozen=True):
    """A balancer over servers (spec v2 section 3.2).

    Attributes:
        v1_method: ``wrr`` or ``drr`` as v1 means them, with its sticky cookies; empty in v2.
    """

    servers: tuple[Server, ...] = ()
    strategy: str = "wrr"
    sticky: Sticky | None = None
    health_check: HealthCheck | None = None
    passive_health_check: PassiveHealthCheck | None = None
    pass_host_header: bool = True
    response_forwarding: ResponseForwarding | None = None
    servers_transport: str = ""
    v1_method: Annotated[str, Internal] = ""


class ChildHealthCheck(EmptySection, frozen=True):
    """Opts a composite service into its children's health."""


class WeightedChild(Section, frozen=True):
    """One member of a weighted service."""

    name: str = ""
    weight: int | None = None


class Weighted(Section, frozen=True):
    """Round robin over services."""

    services: tuple[WeightedChild, ...] = ()
    sticky: Sticky | None = None
    health_check: ChildHealthCheck | None = None


class Mirror(Section, frozen=True):
    """One service that gets copies."""

    name: str = ""
    percent: int = 0


class Mirroring(Section, frozen=True):
    """A main service and copies of its requests to others."""

    service: str = ""
    mirrors: tuple[Mirror, ...] = ()
    mirror_body: bool = True
    max_body_size: int = -1
    health_check: ChildHealthCheck | None = None


class FailoverErrors(Section, frozen=True):
    """Answers that count as failure of the main service."""

    status: tuple[str, ...] = ()
    max_request_body_bytes: int = -1


class Failover(Section, frozen=True):
    """A main service and one for when it is down."""

    service: str = ""
    fallback: str = ""
    health_check: ChildHealthCheck | None = None
    errors: FailoverErrors | None = None


class HighestRandomWeight(Section, frozen=True):
    """Rendezvous hashing over services."""

    services: tuple[WeightedChild, ...] = ()
    health_check: ChildHealthCheck | None = None


class Service(OneKind, frozen=True):
    """What a router forwards to: exactly one kind."""

    load_balancer: LoadBalancer | None = None
    weighted: Weighted | None = None
    mirroring: Mirroring | None = None
    failover: Failover | None = None
    highest_random_weight: HighestRandomWeight | None = None
    middlewares: tuple[str, ...] = ()


class ForwardingTimeouts(Section, frozen=True):
    """Waits towards servers (spec v2 section 10)."""

    dial_timeout: Duration = 30.0
    response_header_timeout: Duration = 0.0
    idle_conn_timeout: Duration = 90.0
    read_idle_timeout: Duration = 0.0
    ping_timeout: Duration = 15.0


class CertificatePair(Section, frozen=True):
    """A certificate and its key, as paths or PEM text."""

    cert_file: str = ""
    key_file: str = ""


class Spiffe(EmptySection, frozen=True):
    """SPIFFE identities accepted from servers (spec v2 section 10.4)."""

    ids: tuple[str, ...] = ()
    trust_domain: str = ""


class ServersTransport(Section, frozen=True):
    """How we speak to HTTP servers (spec v2 section 10.2)."""

    server_name: str = ""
    insecure_skip_verify: bool = False
    root_cas: tuple[str, ...] = field(default=(), name="rootCAs")
    certificates: tuple[CertificatePair, ...] = ()
    cipher_suites: tuple[str, ...] = ()
    min_version: str = ""
    max_version: str = ""
    max_idle_conns_per_host: int = 0
    forwarding_timeouts: ForwardingTimeouts | None = None
    disable_http2: bool = field(default=False, name="disableHTTP2")
    peer_cert_uri: str = field(default="", name="peerCertURI")
    spiffe: Spiffe | None = None


class HttpConfig(Section, frozen=True):
    """The ``http`` root."""

    routers: dict[str, Router] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    middlewares: dict[str, Middleware] = field(default_factory=dict)
    servers_transports: dict[str, ServersTransport] = field(default_factory=dict)


class TcpRouter(Section, frozen=True):
    """A TCP router (spec v2 section 6.2)."""

    entry_points: tuple[str, ...] = ()
    rule: str = ""
    rule_syntax: str = ""
    priority: int = 0
    service: str = ""
    middlewares: tuple[str, ...] = ()
    tls: RouterTls | None = None


class TcpServer(Section, frozen=True):
    """One TCP upstream."""

    address: str = ""
    tls: bool = False


class ProxyProtocol(EmptySection, frozen=True):
    """PROXY protocol towards servers."""

    version: int = 2


class TcpHealthCheck(EmptySection, frozen=True):
    """Probing of TCP servers."""

    port: int = 0
    send: str = ""
    expect: str = ""
    interval: Duration = 30.0
    unhealthy_interval: Duration | None = None
    timeout: Duration = 5.0


class TcpLoadBalancer(Section, frozen=True):
    """A balancer over TCP servers."""

    servers: tuple[TcpServer, ...] = ()
    servers_transport: str = ""
    health_check: TcpHealthCheck | None = None
    proxy_protocol: ProxyProtocol | None = None
    termination_delay: int | None = None


class TcpService(OneKind, frozen=True):
    """What a TCP router forwards to: exactly one kind."""

    load_balancer: TcpLoadBalancer | None = None
    weighted: Weighted | None = None


class TcpClientTls(EmptySection, frozen=True):
    """TLS towards TCP servers."""

    insecure_skip_verify: bool = False
    root_cas: tuple[str, ...] = field(default=(), name="rootCAs")
    server_name: str = ""
    certificates: tuple[CertificatePair, ...] = ()
    peer_cert_uri: str = field(default="", name="peerCertURI")
    spiffe: Spiffe | None = None


class TcpServersTransport(Section, frozen=True):
    """How we speak to TCP servers (spec v2 section 10.3)."""

    dial_timeout: Duration = 30.0
    dial_keep_alive: Duration = 15.0
    termination_delay: Duration = 0.1
    proxy_protocol: ProxyProtocol | None = None
    tls: TcpClientTls | None = None


class TcpConfig(Section, frozen=True):
    """The ``tcp`` root."""

    routers: dict[str, TcpRouter] = field(default_factory=dict)
    services: dict[str, TcpService] = field(default_factory=dict)
    middlewares: dict[str, TcpMiddleware] = field(default_factory=dict)
    servers_transports: dict[str, TcpServersTransport] = field(default_factory=dict)


class UdpRouter(Section, frozen=True):
    """A UDP router: entrypoints and a service, no rule."""

    entry_points: tuple[str, ...] = ()
    service: str = ""


class UdpServer(Section, frozen=True):
    """One UDP upstream."""

    address: str = ""


class UdpLoadBalancer(Section, frozen=True):
    """A balancer over UDP servers."""

    servers: tuple[UdpServer, ...] = ()


class UdpService(OneKind, frozen=True):
    """What a UDP router forwards to: exactly one kind."""

    load_balancer: UdpLoadBalancer | None = None
    weighted: Weighted | None = None


class UdpConfig(Section, frozen=True):
    """The ``udp`` root."""

    routers: dict[str, UdpRouter] = field(default_factory=dict)
    services: dict[str, UdpService] = field(default_factory=dict)


class TlsConfig(Section, frozen=True):
    """The ``tls`` root."""

    certificates: tuple[TlsCertificate, ...] = ()
    options: dict[str, TlsOptions] = field(default_factory=dict)
    stores: dict[str, TlsStore] = field(default_factory=dict)


class DynamicConfig(Section, frozen=True):
    """Everything one document, or one provider, says."""

    http: HttpConfig = HttpConfig()
    tcp: TcpConfig = TcpConfig()
    udp: UdpConfig = UdpConfig()
    tls: TlsConfig = TlsConfig()

"""Static settings: what needs new workers when it changes (spec v2 section 1.5; v1 section 1.4).

Both static dialects end here: the v2/v3 tree is decoded directly, v1's flat keys are translated onto it by
``shared.config.static_legacy``. ``dialect`` remembers which one was written, because a few defaults of the
data plane differ (v1 trusts forwarded headers and does not clean paths).
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from shared.config.dynamic import Domain, ProxyProtocol, Spiffe, TcpClientTls
from shared.config.kinds import Duration, EmptySection, Internal, Section
from shared.config.static_certificates import CertificateResolver, Ocsp
from shared.config.static_observability import AccessLog as AccessLog
from shared.config.static_observability import Log as Log
from shared.config.static_observability import Metrics, Tracing
from shared.config.static_providers import FileProviderSettings as FileProviderSettings
from shared.config.static_providers import Providers as Providers
from shared.config.static_v1 import V1EntryPoint, V1Static
from shared.config.trust import ForwardedHeaders as ForwardedHeaders
from shared.config.trust import ProxyProtocolTrust as ProxyProtocolTrust


class LifeCycle(Section, frozen=True):
    """How an entrypoint stops."""

    request_accept_grace_timeout: Duration = 0.0
    grace_time_out: Duration = 10.0


class RespondingTimeouts(Section, frozen=True):
    """Waits towards clients; 0 means no limit."""

    read_timeout: Duration = 60.0
    write_timeout: Duration = 0.0
    idle_timeout: Duration = 180.0


class Transport(Section, frozen=True):
    """Connections of an entrypoint."""

    life_cycle: LifeCycle = LifeCycle()
    responding_timeouts: RespondingTimeouts = RespondingTimeouts()
    keep_alive_max_requests: int = 0
    keep_alive_max_time: Duration = 0.0


class EntryPointRedirection(Section, frozen=True):
    """v2 redirection of a whole entrypoint (spec v2 section 1.7)."""

    to: str = ""
    scheme: str = "https"
    permanent: bool = True
    priority: int = 9_223_372_036_854_775_806


class Redirections(Section, frozen=True):
    """Holder of the entrypoint redirection."""

    entry_point: EntryPointRedirection | None = None


class EntryPointTls(EmptySection, frozen=True):
    """Default TLS section of the entrypoint's routers."""

    options: str = ""
    cert_resolver: str = ""
    domains: tuple[Domain, ...] = ()


class AllowedEncodedCharacters(Section, frozen=True):
    """Which escapes a path may hold at this entrypoint; all by default."""

    allow_encoded_slash: bool = True
    allow_encoded_back_slash: bool = True
    allow_encoded_null_character: bool = True
    allow_encoded_semicolon: bool = True
    allow_encoded_percent: bool = True
    allow_encoded_question_mark: bool = True
    allow_encoded_hash: bool = True


class EntryPointHttp(Section, frozen=True):
    """HTTP settings of an entrypoint."""

    redirections: Redirections | None = None
    middlewares: tuple[str, ...] = ()
    tls: EntryPointTls | None = None
    encode_query_semicolons: bool = False
    sanitize_path: bool = True
    encoded_characters: AllowedEncodedCharacters = AllowedEncodedCharacters()
    max_header_bytes: int = 1_048_576
    underscore_headers_strategy: str = ""
    alias_headers_strategy: str = ""


class Http2(Section, frozen=True):
    """HTTP/2 towards clients."""

    max_concurrent_streams: int = 250
    max_decoder_header_table_size: int = 4096
    max_encoder_header_table_size: int = 4096


class Http3(EmptySection, frozen=True):
    """HTTP/3 on the UDP side of the address; port 0 advertises the entrypoint's own."""

    advertised_port: int = 0


class EntryPointUdp(Section, frozen=True):
    """UDP sessions of an entrypoint."""

    timeout: Duration = 3.0


class EntryPointObservability(Section, frozen=True):
    """What is recorded about exchanges, unless their router says otherwise."""

    access_logs: bool = True
    metrics: bool = True
    tracing: bool = True
    trace_verbosity: str = "minimal"


class EntryPoint(Section, frozen=True):
    """A named address we listen on. ``v1`` holds what only v1 can say about it: redirect, auth and so on."""

    address: str = ""
    as_default: bool = False
    reuse_port: bool = False
    allow_acme_by_pass: bool = field(default=False, name="allowACMEByPass")
    forwarded_headers: ForwardedHeaders = ForwardedHeaders()
    proxy_protocol: ProxyProtocolTrust | None = None
    transport: Transport = Transport()
    http: EntryPointHttp = EntryPointHttp()
    http2: Http2 = Http2()
    http3: Http3 | None = None
    udp: EntryPointUdp = EntryPointUdp()
    observability: EntryPointObservability = EntryPointObservability()
    is_v1: Annotated[bool, Internal] = False
    v1: Annotated[V1EntryPoint | None, Internal] = None


class StaticForwardingTimeouts(Section, frozen=True):
    """Waits towards servers by default (spec v2 section 10.1)."""

    dial_timeout: Duration = 30.0
    response_header_timeout: Duration = 0.0
    idle_conn_timeout: Duration = 90.0


class StaticServersTransport(Section, frozen=True):
    """How we speak to servers that name no transport of their own."""

    insecure_skip_verify: bool = False
    root_cas: tuple[str, ...] = field(default=(), name="rootCAs")
    max_idle_conns_per_host: int = 200
    forwarding_timeouts: StaticForwardingTimeouts | None = None
    spiffe: Spiffe | None = None


class StaticTcpServersTransport(Section, frozen=True):
    """How we speak to TCP servers that name no transport of their own (spec v2 section 10.3)."""

    dial_timeout: Duration = 30.0
    dial_keep_alive: Duration = 15.0
    termination_delay: Duration = 0.1
    proxy_protocol: ProxyProtocol | None = None
    tls: TcpClientTls | None = None
    spiffe: Spiffe | None = None


class Ping(EmptySection, frozen=True):
    """The health endpoint of the proxy itself."""

    entry_point: str = "traefik"
    manual_routing: bool = False
    terminating_status_code: int = 503


class Api(EmptySection, frozen=True):
    """The API and the dashboard (spec v2 section 9)."""

    base_path: str = "/"
    dashboard: bool = True
    insecure: bool = False
    debug: bool = False
    disable_dashboard_ad: bool = False
    dashboard_name: str = ""


class Global(Section, frozen=True):
    """Settings of the whole program; nothing is ever sent anywhere, whatever the first two say."""

    check_new_version: bool = True
    send_anonymous_usage: bool = False
    not_append_x_forwarded_for: bool = False


class HostResolver(EmptySection, frozen=True):
    """Also match hosts by the end of their CNAME chain."""

    cname_flattening: bool = False
    resolv_config: str = "/etc/resolv.conf"
    resolv_depth: int = 5


class Core(Section, frozen=True):
    """Which rule syntax routers use that name none."""

    default_rule_syntax: str = "v3"


class WorkloadApi(Section, frozen=True):
    """Where our SPIFFE identity comes from."""

    workload_api_addr: str = field(default="", name="workloadAPIAddr")


class Experimental(Section, frozen=True):
    """Switches of unfinished features; read, so that documents which set them are valid."""

    plugins: dict[str, Any] = field(default_factory=dict)
    local_plugins: dict[str, Any] = field(default_factory=dict)
    abort_on_plugin_failure: bool = False
    fast_proxy: dict[str, Any] | None = None
    otlp_logs: bool = field(default=False, name="otlplogs")
    kubernetes_gateway: bool = False
    knative: bool = False
    kubernetes_ingress_nginx: bool = field(default=False, name="kubernetesIngressNGINX")


class StaticConfig(Section, frozen=True):
    """Everything static. ``default_entry_points`` is v1's list; None lets the entrypoints decide.

    ``v1`` holds the v1 settings as they were written, for what has no place in the v2 tree (constraints,
    retry, ``[web]``, domains of providers).
    """

    global_: Global = field(default=Global(), name="global")
    entry_points: dict[str, EntryPoint] = field(default_factory=dict)
    providers: Providers = Providers()
    servers_transport: StaticServersTransport = StaticServersTransport()
    tcp_servers_transport: StaticTcpServersTransport = StaticTcpServersTransport()
    api: Api | None = None
    ping: Ping | None = None
    log: Log = Log()
    access_log: AccessLog | None = None
    metrics: Metrics | None = None
    tracing: Tracing | None = None
    host_resolver: HostResolver | None = None
    certificates_resolvers: dict[str, CertificateResolver] = field(default_factory=dict)
    core: Core = Core()
    spiffe: WorkloadApi | None = None
    ocsp: Ocsp | None = None
    experimental: Experimental | None = None
    default_entry_points: Annotated[tuple[str, ...] | None, Internal] = None
    is_v1: Annotated[bool, Internal] = False
    v1: Annotated[V1Static | None, Internal] = None

"""The flat static keys of v1, as they are written (spec v1 sections 1.4 to 1.7, 2, 5 and 6).

This is the schema that v1 files and flags are checked against, under their own names and positions.
``shared.config.static_legacy`` moves what has a v2 name onto the v2 tree; the rest is read from here:
``StaticConfig.v1`` and ``EntryPoint.v1``. Defaults are those of column C.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from shared.config.dynamic import CertificatePair
from shared.config.kinds import Duration, EmptySection, Section
from shared.config.static_observability import AccessLog
from shared.config.static_providers import ProviderTls
from shared.config.trust import ForwardedHeaders, ProxyProtocolTrust


class V1Tls(EmptySection, frozen=True):
    """TLS of an entrypoint."""

    certificates: tuple[CertificatePair, ...] = ()
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    client_ca_files: tuple[str, ...] = field(default=(), name="clientCAFiles")


class V1Redirect(Section, frozen=True):
    """Redirect of an entrypoint; ``entry_point`` wins over the expression."""

    entry_point: str = ""
    regex: str = ""
    replacement: str = ""
    permanent: bool = False


class V1Users(Section, frozen=True):
    """Users of basic or digest authentication."""

    users: tuple[str, ...] = ()
    users_file: str = ""


class V1Auth(Section, frozen=True):
    """Authentication on a whole entrypoint."""

    basic: V1Users | None = None
    digest: V1Users | None = None
    header_field: str = ""


class V1WhiteList(Section, frozen=True):
    """Addresses that may use an entrypoint (1.7)."""

    source_range: tuple[str, ...] = ()
    use_x_forwarded_for: bool = False


class V1EntryPoint(Section, frozen=True):
    """A named address, with all that v1 hangs on it."""

    address: str = ""
    tls: V1Tls | None = None
    redirect: V1Redirect | None = None
    auth: V1Auth | None = None
    compress: bool = False
    whitelist_source_range: tuple[str, ...] = ()
    white_list: V1WhiteList | None = None
    proxy_protocol: ProxyProtocolTrust | None = None
    forwarded_headers: ForwardedHeaders | None = None


class V1Retry(EmptySection, frozen=True):
    """Retry on every backend; 0 attempts means as many as there are servers."""

    attempts: int = 0


class V1HealthCheck(EmptySection, frozen=True):
    """Rhythm of health checks that name none."""

    interval: Duration = 30.0


class V1RespondingTimeouts(Section, frozen=True):
    """Waits towards clients."""

    read_timeout: Duration = 0.0
    write_timeout: Duration = 0.0
    idle_timeout: Duration = 180.0


class V1ForwardingTimeouts(Section, frozen=True):
    """Waits towards servers."""

    dial_timeout: Duration = 30.0
    response_header_timeout: Duration = 0.0


class V1LifeCycle(Section, frozen=True):
    """How entrypoints stop (1.5)."""

    request_accept_grace_timeout: Duration = 0.0
    grace_time_out: Duration = 10.0


class V1Log(EmptySection, frozen=True):
    """A log's file and form."""

    file_path: str = ""
    format: str = "common"


class V1Prometheus(EmptySection, frozen=True):
    """Metrics that are fetched."""

    entry_point: str = "traefik"
    buckets: tuple[float, ...] = (0.1, 0.3, 1.2, 5.0)


class V1Metrics(Section, frozen=True):
    """Where counters go."""

    prometheus: V1Prometheus | None = None


class V1Statistics(Section, frozen=True):
    """How many recent errors ``/health`` lists."""

    recent_errors: int = 10


class V1Web(EmptySection, frozen=True):
    """The web provider: API, dashboard, ``/ping`` and ``/health`` on one address."""

    address: str = ":8080"
    cert_file: str = ""
    key_file: str = ""
    read_only: bool = False
    path: str = "/"
    statistics: V1Statistics | None = None
    metrics: V1Metrics | None = None
    auth: V1Auth | None = None


class V1Api(EmptySection, frozen=True):
    """API and dashboard (1.5)."""

    entry_point: str = "traefik"
    dashboard: bool = True
    debug: bool = False
    statistics: V1Statistics | None = None


class V1Ping(EmptySection, frozen=True):
    """The health endpoint (1.5)."""

    entry_point: str = "traefik"


class V1Provider(EmptySection, frozen=True):
    """What every provider section has."""

    watch: bool = True
    filename: str = ""
    constraints: tuple[str, ...] = ()
    domain: str = ""
    tls: ProviderTls | None = None


class V1File(V1Provider, frozen=True):
    """Rules from a file; without a name, the static file itself."""

    directory: str = ""


class V1Docker(V1Provider, frozen=True):
    """Containers and their labels."""

    endpoint: str = "unix:///var/run/docker.sock"
    exposed_by_default: bool = True
    use_bind_port_ip: bool = field(default=False, name="useBindPortIP")
    swarm_mode: bool = False
    network: str = ""


class V1Basic(Section, frozen=True):
    """Credentials towards Marathon."""

    http_basic_auth_user: str = field(default="", name="httpBasicAuthUser")
    http_basic_password: str = field(default="", name="httpBasicPassword")


class V1Marathon(V1Provider, frozen=True):
    """Applications of Marathon."""

    endpoint: str = "http://127.0.0.1:8080"
    network_interface: str = "eth0"
    exposed_by_default: bool = True
    groups_as_sub_domains: bool = False
    dcos_token: str = field(default="", name="dcosToken")
    marathon_lb_compatibility: bool = field(default=False, name="marathonLBCompatibility")
    basic: V1Basic | None = None
    dialer_timeout: Duration = 60.0
    keep_alive: Duration = 10.0
    force_task_hostname: bool = False
    respect_readiness_checks: bool = False


class V1Mesos(V1Provider, frozen=True):
    """Tasks of Mesos."""

    endpoint: str = "http://127.0.0.1:5050"
    exposed_by_default: bool = True
    groups_as_sub_domains: bool = False
    refresh_seconds: int = 30
    zk_detection_timeout: int = 30
    state_timeout_second: int = 30
    ip_sources: str = field(default="", name="IPSources")


class V1ConsulCatalog(V1Provider, frozen=True):
    """Services of a Consul catalog."""

    endpoint: str = "127.0.0.1:8500"
    prefix: str = "traefik"
    exposed_by_default: bool = True
    front_end_rule: str = "Host:{{.ServiceName}}.{{.Domain}}"


class V1KeyValue(V1Provider, frozen=True):
    """Keys in consul, etcd, zookeeper or boltdb."""

    endpoint: str = ""
    prefix: str = "traefik"
    username: str = ""
    password: str = ""
    use_api_v3: bool = field(default=False, name="useAPIV3")


class V1Static(Section, frozen=True):
    """The root of a v1 file."""

    entry_points: dict[str, V1EntryPoint] = field(default_factory=dict)
    default_entry_points: tuple[str, ...] = ()
    port: str = ""
    grace_time_out: Duration = 10.0
    debug: bool = False
    check_new_version: bool = True
    send_anonymous_usage: bool = False
    traefik_logs_file: str = ""
    traefik_log: V1Log | None = None
    access_logs_file: str = ""
    access_log: AccessLog | None = None
    log_level: str = "ERROR"
    providers_throttle_duration: Duration = 2.0
    max_idle_conns_per_host: int = 200
    idle_timeout: Duration = 180.0
    insecure_skip_verify: bool = False
    root_cas: tuple[str, ...] = field(default=(), name="rootCAs")
    constraints: tuple[str, ...] = ()
    retry: V1Retry | None = None
    health_check: V1HealthCheck | None = field(default=None, name="healthcheck")
    responding_timeouts: V1RespondingTimeouts = V1RespondingTimeouts()
    forwarding_timeouts: V1ForwardingTimeouts = V1ForwardingTimeouts()
    life_cycle: V1LifeCycle = field(default=V1LifeCycle(), name="lifeCycle")
    api: V1Api | None = None
    ping: V1Ping | None = None
    metrics: V1Metrics | None = None
    web: V1Web | None = None
    file: V1File | None = None
    docker: V1Docker | None = None
    marathon: V1Marathon | None = None
    mesos: V1Mesos | None = None
    consul: V1KeyValue | None = None
    consul_catalog: V1ConsulCatalog | None = None
    etcd: V1KeyValue | None = None
    zookeeper: V1KeyValue | None = None
    boltdb: V1KeyValue | None = None
    kubernetes: dict[str, Any] | None = None
    ecs: dict[str, Any] | None = None
    eureka: dict[str, Any] | None = None
    rancher: dict[str, Any] | None = None
    dynamodb: dict[str, Any] | None = None
    rest: dict[str, Any] | None = None
    acme: dict[str, Any] | None = None
    cluster: dict[str, Any] | None = None

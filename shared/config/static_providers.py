"""Settings of every provider (spec v2 section 8).

Settings only: naming a provider here does not mean that this version can run it; the master says which it
cannot. Names are v2's; v1's sections are translated onto them and keep their own extras in ``static_v1``.
"""

from __future__ import annotations

from msgspec import field

from shared.config.kinds import Duration, EmptySection, Section

DEFAULT_RULE = "Host(`{{ normalize .Name }}`)"
"""The rule of containers and services that name none."""


class ProviderTls(EmptySection, frozen=True):
    """TLS towards a provider's API."""

    ca: str = ""
    ca_optional: bool = False
    cert: str = ""
    key: str = ""
    insecure_skip_verify: bool = False


class FileProviderSettings(EmptySection, frozen=True):
    """Rules from one file, a directory, or (v1 ``[file]``) the static file itself."""

    filename: str = ""
    directory: str = ""
    watch: bool = True
    debug_log_generated_template: bool = False


class DockerSettings(EmptySection, frozen=True):
    """Containers of a Docker engine and their labels."""

    endpoint: str = "unix:///var/run/docker.sock"
    exposed_by_default: bool = True
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    network: str = ""
    use_bind_port_ip: bool = field(default=False, name="useBindPortIP")
    watch: bool = True
    allow_empty_services: bool = False
    http_client_timeout: Duration = field(default=0.0, name="httpClientTimeout")
    username: str = ""
    password: str = ""
    tls: ProviderTls | None = None


class SwarmSettings(DockerSettings, frozen=True):
    """Services of a Docker swarm."""

    refresh_seconds: Duration = 15.0


class ConsulSettings(EmptySection, frozen=True):
    """Keys in Consul."""

    root_key: str = "traefik"
    endpoints: tuple[str, ...] = ("127.0.0.1:8500",)
    token: str = ""
    namespaces: tuple[str, ...] = ()
    tls: ProviderTls | None = None


class EtcdSettings(EmptySection, frozen=True):
    """Keys in etcd."""

    root_key: str = "traefik"
    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    username: str = ""
    password: str = ""
    tls: ProviderTls | None = None


class ZooKeeperSettings(EmptySection, frozen=True):
    """Nodes in ZooKeeper."""

    root_key: str = "traefik"
    endpoints: tuple[str, ...] = ("127.0.0.1:2181",)
    username: str = ""
    password: str = ""


class RedisSentinel(Section, frozen=True):
    """Redis found through its sentinels."""

    master_name: str = ""
    username: str = ""
    password: str = ""
    latency_strategy: bool = False
    random_strategy: bool = False
    replica_strategy: bool = False
    use_disconnected_replicas: bool = False


class RedisSettings(EmptySection, frozen=True):
    """Keys in Redis."""

    root_key: str = "traefik"
    endpoints: tuple[str, ...] = ("127.0.0.1:6379",)
    username: str = ""
    password: str = ""
    db: int = 0
    tls: ProviderTls | None = None
    sentinel: RedisSentinel | None = None


class HttpAuth(Section, frozen=True):
    """Basic authentication towards a provider."""

    username: str = ""
    password: str = ""


class CatalogEndpoint(Section, frozen=True):
    """Where Consul answers."""

    address: str = "127.0.0.1:8500"
    scheme: str = "http"
    datacenter: str = ""
    token: str = ""
    endpoint_wait_time: Duration = 0.0
    tls: ProviderTls | None = None
    http_auth: HttpAuth | None = None


class ConsulCatalogSettings(EmptySection, frozen=True):
    """Services of a Consul catalog and their tags."""

    endpoint: CatalogEndpoint = CatalogEndpoint()
    prefix: str = "traefik"
    refresh_interval: Duration = 15.0
    exposed_by_default: bool = True
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    require_consistent: bool = False
    stale: bool = False
    cache: bool = False
    connect_aware: bool = False
    connect_by_default: bool = False
    service_name: str = "traefik"
    watch: bool = False
    strict_checks: tuple[str, ...] = ("passing", "warning")
    namespaces: tuple[str, ...] = ()


class NomadEndpoint(Section, frozen=True):
    """Where Nomad answers."""

    address: str = "http://127.0.0.1:4646"
    region: str = ""
    token: str = ""
    endpoint_wait_time: Duration = 0.0
    tls: ProviderTls | None = None


class NomadSettings(EmptySection, frozen=True):
    """Services of Nomad and their tags."""

    endpoint: NomadEndpoint = NomadEndpoint()
    prefix: str = "traefik"
    refresh_interval: Duration = 15.0
    exposed_by_default: bool = True
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    stale: bool = False
    namespaces: tuple[str, ...] = ()
    allow_empty_services: bool = False
    watch: bool = False
    throttle_duration: Duration = 0.0


class EcsSettings(EmptySection, frozen=True):
    """Containers of Amazon ECS and their labels."""

    clusters: tuple[str, ...] = ("default",)
    auto_discover_clusters: bool = False
    exposed_by_default: bool = True
    refresh_seconds: int = 15
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    healthy_tasks_only: bool = False
    ecs_anywhere: bool = False
    region: str = ""
    access_key_id: str = field(default="", name="accessKeyID")
    secret_access_key: str = ""


class HttpProviderSettings(EmptySection, frozen=True):
    """A document fetched from a URL."""

    endpoint: str = ""
    poll_interval: Duration = 5.0
    poll_timeout: Duration = 5.0
    headers: dict[str, str] = field(default_factory=dict)
    tls: ProviderTls | None = None
    max_response_body_size: int = -1


class RestSettings(EmptySection, frozen=True):
    """A document that is put to us over the API."""

    insecure: bool = False


class IngressEndpoint(Section, frozen=True):
    """What is written into the status of ingresses."""

    ip: str = ""
    hostname: str = ""
    published_service: str = ""


class KubernetesSettings(EmptySection, frozen=True):
    """What all Kubernetes providers need to reach the API server."""

    endpoint: str = ""
    token: str = ""
    cert_auth_file_path: str = ""
    namespaces: tuple[str, ...] = ()
    label_selector: str = ""
    throttle_duration: Duration = 0.0
    native_lb_by_default: bool = field(default=False, name="nativeLBByDefault")


class KubernetesIngressSettings(KubernetesSettings, frozen=True):
    """Ingresses."""

    ingress_class: str = ""
    ingress_endpoint: IngressEndpoint | None = None
    allow_empty_services: bool = False
    allow_external_name_services: bool = False
    disable_ingress_class_lookup: bool = False
    disable_cluster_scope_resources: bool = False
    strict_prefix_matching: bool = False


class KubernetesCrdSettings(KubernetesSettings, frozen=True):
    """IngressRoutes and their companions."""

    ingress_class: str = ""
    allow_cross_namespace: bool = False
    allow_empty_services: bool = False
    allow_external_name_services: bool = False
    disable_cluster_scope_resources: bool = False


class GatewayStatusService(Section, frozen=True):
    """A service whose address is the gateway's."""

    name: str = ""
    namespace: str = ""


class GatewayStatusAddress(Section, frozen=True):
    """What is written into the status of gateways."""

    ip: str = ""
    hostname: str = ""
    service: GatewayStatusService | None = None


class KubernetesGatewaySettings(KubernetesSettings, frozen=True):
    """The Gateway API."""

    experimental_channel: bool = False
    status_address: GatewayStatusAddress | None = None
    qps: float = 50.0
    burst: int = 100


class Providers(Section, frozen=True):
    """Where dynamic configuration comes from."""

    providers_throttle_duration: Duration = 2.0
    first_sync_wait: Duration = 5.0
    precedence: tuple[str, ...] = ()
    file: FileProviderSettings | None = None
    docker: DockerSettings | None = None
    swarm: SwarmSettings | None = None
    consul: ConsulSettings | None = None
    consul_catalog: ConsulCatalogSettings | None = None
    etcd: EtcdSettings | None = None
    redis: RedisSettings | None = None
    zoo_keeper: ZooKeeperSettings | None = None
    http: HttpProviderSettings | None = None
    rest: RestSettings | None = None
    nomad: NomadSettings | None = None
    ecs: EcsSettings | None = None
    kubernetes_ingress: KubernetesIngressSettings | None = None
    kubernetes_crd: KubernetesCrdSettings | None = field(default=None, name="kubernetesCRD")
    kubernetes_gateway: KubernetesGatewaySettings | None = None

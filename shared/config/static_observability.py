"""Logs, metrics and traces of the proxy (spec v2 section 1.8)."""

from __future__ import annotations

from msgspec import field

from shared.config.kinds import Duration, EmptySection, Section
from shared.config.static_providers import ProviderTls


class OtlpHttp(EmptySection, frozen=True):
    """OpenTelemetry over HTTP."""

    endpoint: str = "https://localhost:4318"
    headers: dict[str, str] = field(default_factory=dict)
    tls: ProviderTls | None = None


class OtlpGrpc(EmptySection, frozen=True):
    """OpenTelemetry over gRPC."""

    endpoint: str = "localhost:4317"
    insecure: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    tls: ProviderTls | None = None


class Otlp(EmptySection, frozen=True):
    """Where OpenTelemetry data is sent; HTTP if neither is named."""

    service_name: str = "traefik"
    resource_attributes: dict[str, str] = field(default_factory=dict)
    http: OtlpHttp | None = None
    grpc: OtlpGrpc | None = None


class Log(EmptySection, frozen=True):
    """The program's own log."""

    level: str = "ERROR"
    format: str = "common"
    no_color: bool = False
    file_path: str = ""
    max_size: int = 0
    max_age: int = 0
    max_backups: int = 0
    compress: bool = False
    otlp: Otlp | None = None


class AccessLogFilters(Section, frozen=True):
    """Which exchanges are written; any that fits, or all if nothing is set."""

    status_codes: tuple[str, ...] = ()
    retry_attempts: bool = False
    min_duration: Duration = 0.0


class AccessLogHeaders(Section, frozen=True):
    """What happens to header fields: keep, drop or redact."""

    default_mode: str = "drop"
    names: dict[str, str] = field(default_factory=dict)


class AccessLogQueryParameters(Section, frozen=True):
    """What happens to query parameters."""

    default_mode: str = "keep"
    names: dict[str, str] = field(default_factory=dict)


class AccessLogFields(Section, frozen=True):
    """What happens to the fields of a line."""

    default_mode: str = "keep"
    names: dict[str, str] = field(default_factory=dict)
    headers: AccessLogHeaders = AccessLogHeaders()
    query_parameters: AccessLogQueryParameters = AccessLogQueryParameters()


class AccessLog(EmptySection, frozen=True):
    """One line per exchange."""

    file_path: str = ""
    format: str = "common"
    buffering_size: int = 0
    filters: AccessLogFilters | None = None
    fields: AccessLogFields = AccessLogFields()
    add_internals: bool = False
    otlp: Otlp | None = None


class MetricsTarget(EmptySection, frozen=True):
    """Labels and rhythm that all pushed metrics share."""

    push_interval: Duration = 10.0
    add_entry_points_labels: bool = True
    add_routers_labels: bool = False
    add_services_labels: bool = True


class Prometheus(EmptySection, frozen=True):
    """Metrics that are fetched from ``/metrics``."""

    buckets: tuple[float, ...] = (0.1, 0.3, 1.2, 5.0)
    add_entry_points_labels: bool = True
    add_routers_labels: bool = False
    add_services_labels: bool = True
    entry_point: str = "traefik"
    manual_routing: bool = False
    header_labels: dict[str, str] = field(default_factory=dict)


class Datadog(MetricsTarget, frozen=True):
    """Metrics to Datadog; an empty address means the agent named by the environment."""

    address: str = ""
    prefix: str = "traefik"


class StatsD(MetricsTarget, frozen=True):
    """Metrics to StatsD."""

    address: str = "localhost:8125"
    prefix: str = "traefik"


class InfluxDb2(MetricsTarget, frozen=True):
    """Metrics to InfluxDB 2."""

    address: str = "http://localhost:8086"
    token: str = ""
    org: str = ""
    bucket: str = ""
    additional_labels: dict[str, str] = field(default_factory=dict)


class OtlpMetrics(MetricsTarget, frozen=True):
    """Metrics over OpenTelemetry."""

    service_name: str = "traefik"
    explicit_boundaries: tuple[float, ...] = (
        *(0.005, 0.01, 0.025, 0.05, 0.075),
        *(0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    )
    resource_attributes: dict[str, str] = field(default_factory=dict)
    http: OtlpHttp | None = None
    grpc: OtlpGrpc | None = None


class Metrics(Section, frozen=True):
    """Where counters go."""

    add_internals: bool = False
    prometheus: Prometheus | None = None
    datadog: Datadog | None = None
    stats_d: StatsD | None = None
    influx_db2: InfluxDb2 | None = field(default=None, name="influxDB2")
    otlp: OtlpMetrics | None = None


class Tracing(EmptySection, frozen=True):
    """Where spans go."""

    service_name: str = "traefik"
    sample_rate: float = 1.0
    resource_attributes: dict[str, str] = field(default_factory=dict)
    captured_request_headers: tuple[str, ...] = ()
    captured_response_headers: tuple[str, ...] = ()
    safe_query_params: tuple[str, ...] = ()
    add_internals: bool = False
    otlp: Otlp | None = None

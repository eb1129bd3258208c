"""Static settings that decode but cannot work (spec v2 sections 1.5 and 1.6).

Each check knows one section and records what is wrong under the path that was written; nothing is repaired.
"""

from __future__ import annotations

import ipaddress
import re

from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.effective import OWN_ENTRY_POINT, parse_address
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_observability import Otlp, OtlpMetrics
from shared.errors import ConfigError

PROVIDER_NAMES = (
    *("kubernetesgateway", "kubernetescrd", "kubernetes", "kubernetesingressnginx", "swarm", "docker"),
    *("file", "redis", "knative", "consul", "consulcatalog", "nomad", "etcd", "ecs", "http", "zookeeper"),
    "rest",
)
"""Every provider, in the documented order of precedence (spec v2 section 2.5)."""
HEADER_STRATEGIES = ("keep", "delete", "reject")
LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
_BASE_PATH = re.compile(r"/[a-zA-Z0-9/_.:~-]*")


def check_static(config: StaticConfig, found: Diagnostics) -> None:
    """Record everything that cannot work.

    Args:
        config: effective settings.
        found: collects the problems.
    """
    for name, entry_point in config.entry_points.items():
        _check_entry_point(entry_point, ("entryPoints", name), config, found)
    _check_resolvers(config, found)
    _check_providers(config, found)
    _check_observability(config, found)
    if config.core.default_rule_syntax not in ("v2", "v3"):
        found.error(
            ("core", "defaultRuleSyntax"),
            f'unsupported default rule syntax configuration: "{config.core.default_rule_syntax}"',
        )
    if config.api and not _BASE_PATH.fullmatch(config.api.base_path):
        found.error(("api", "basePath"), "API basePath must be a valid absolute URL path")
    for name, url in (config.ocsp.responder_overrides if config.ocsp else {}).items():
        if not name or not url:
            found.error(("ocsp", "responderOverrides", name), "an override needs a responder and a URL")


def _check_entry_point(entry_point: EntryPoint, path: Path, config: StaticConfig, found: Diagnostics) -> None:
    if not entry_point.address:
        found.error(path, "address is missing")
    else:
        try:
            parse_address(entry_point.address)
        except ConfigError as error:
            found.error((*path, "address"), error.reason, error.hint)
    _check_trust(entry_point, path, found)
    _check_http(entry_point, path, config, found)
    for key, value in (
        ("maxConcurrentStreams", entry_point.http2.max_concurrent_streams),
        ("maxDecoderHeaderTableSize", entry_point.http2.max_decoder_header_table_size),
        ("maxEncoderHeaderTableSize", entry_point.http2.max_encoder_header_table_size),
    ):
        if value < 0:
            found.error((*path, "http2", key), "must not be negative")
    if entry_point.udp.timeout <= 0:
        found.error((*path, "udp", "timeout"), "must be greater than zero")
    verbosity = entry_point.observability.trace_verbosity
    if verbosity not in ("minimal", "detailed"):
        found.error(
            (*path, "observability", "traceVerbosity"),
            f'expected minimal or detailed, got "{verbosity}"',
            nearest_name(verbosity, ("minimal", "detailed")),
        )


def _check_trust(entry_point: EntryPoint, path: Path, found: Diagnostics) -> None:
    proxy = entry_point.proxy_protocol
    if proxy and not proxy.insecure and not proxy.trusted_ips:
        found.error((*path, "proxyProtocol"), "no trusted IPs provided")
    for section, addresses in (
        ("proxyProtocol", proxy.trusted_ips if proxy else ()),
        ("forwardedHeaders", entry_point.forwarded_headers.trusted_ips),
    ):
        for address in addresses:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                found.error((*path, section, "trustedIPs"), f'"{address}" is neither an address nor a CIDR')


def _check_http(entry_point: EntryPoint, path: Path, config: StaticConfig, found: Diagnostics) -> None:
    http = entry_point.http
    for key, value in (
        ("underscoreHeadersStrategy", http.underscore_headers_strategy),
        ("aliasHeadersStrategy", http.alias_headers_strategy),
    ):
        if value and value not in HEADER_STRATEGIES:
            found.error(
                (*path, "http", key), f'invalid {key} value "{value}"', nearest_name(value, HEADER_STRATEGIES)
            )
    if http.max_header_bytes <= 0:
        found.error((*path, "http", "maxHeaderBytes"), "must be greater than zero")
    target = http.redirections.entry_point if http.redirections else None
    if target is None:
        return
    where = (*path, "http", "redirections", "entryPoint")
    if not target.to:
        found.error(where, '"to" is missing')
    elif not target.to.startswith(":") and target.to not in config.entry_points:
        # A warning, as in the original: the entrypoint serves on, without the redirection.
        hint = nearest_name(target.to, config.entry_points)
        found.warning((*where, "to"), f'no entrypoint "{target.to}", so nothing is redirected', hint)
    if target.scheme not in ("http", "https"):
        found.error((*where, "scheme"), f'invalid redirect scheme: "{target.scheme}"')


def _check_resolvers(config: StaticConfig, found: Diagnostics) -> None:
    for name, resolver in config.certificates_resolvers.items():
        path: Path = ("certificatesResolvers", name)
        if resolver.acme and resolver.tailscale:
            found.error(path, "a resolver is either acme or tailscale, not both")
        if resolver.acme and not resolver.acme.storage:
            found.error((*path, "acme", "storage"), "the storage of certificates has no name")


def _check_providers(config: StaticConfig, found: Diagnostics) -> None:
    providers = config.providers
    for name in providers.precedence:
        if name.lower() not in PROVIDER_NAMES:
            hint = nearest_name(name, PROVIDER_NAMES)
            found.error(("providers", "precedence"), f'unknown provider "{name}"', hint)
    file = providers.file
    if file and not file.filename and not file.directory and not (config.v1 and config.v1.file):
        found.error(("providers", "file"), "neither filename nor directory is defined")
    if providers.http and not providers.http.endpoint:
        found.error(("providers", "http"), "endpoint is missing")


def _check_observability(config: StaticConfig, found: Diagnostics) -> None:
    if config.log.level.lower() not in LOG_LEVELS:
        hint = nearest_name(config.log.level, LOG_LEVELS)
        found.warning(("log", "level"), f'unknown level "{config.log.level}", ERROR is used', hint)
    access_formats = ("common", "json", "genericCLF")
    if config.access_log and config.access_log.format not in access_formats:
        hint = nearest_name(config.access_log.format, access_formats)
        reason = f'unknown format "{config.access_log.format}", common is used'
        found.warning(("accessLog", "format"), reason, hint)
    needs_switch = (
        ("log", config.log.otlp),
        ("accessLog", config.access_log.otlp if config.access_log else None),
    )
    for section, otlp in needs_switch:
        if otlp and not (config.experimental and config.experimental.otlp_logs):
            found.error((section, "otlp"), "needs experimental.otlplogs")
    exporters: list[tuple[Path, Otlp | OtlpMetrics | None]] = [
        (("log", "otlp"), config.log.otlp),
        (("accessLog", "otlp"), config.access_log.otlp if config.access_log else None),
        (("metrics", "otlp"), config.metrics.otlp if config.metrics else None),
        (("tracing", "otlp"), config.tracing.otlp if config.tracing else None),
    ]
    for path, exporter in exporters:
        if exporter and exporter.grpc and exporter.grpc.insecure and exporter.grpc.tls:
            found.error((*path, "grpc"), "either insecure or tls, not both")
    _check_own_pages(config, found)


def _check_own_pages(config: StaticConfig, found: Diagnostics) -> None:
    """Pages of the proxy itself must hang on an entrypoint that exists."""
    prometheus = config.metrics.prometheus if config.metrics else None
    pages: list[tuple[Path, str | None]] = [
        (("ping", "entryPoint"), config.ping.entry_point if config.ping else None),
        (("metrics", "prometheus", "entryPoint"), prometheus.entry_point if prometheus else None),
    ]
    for path, name in pages:
        if name is not None and name != OWN_ENTRY_POINT and name not in config.entry_points:
            found.error(path, f'no entrypoint "{name}"', nearest_name(name, config.entry_points))

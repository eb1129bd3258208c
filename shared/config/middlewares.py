"""Options of every middleware (spec v2 section 4), and the internal steps that v1 is translated to."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from shared.config.kinds import Duration, EmptySection, Internal, OneKind, Section


class AddPrefix(Section, frozen=True):
    """Put text in front of the path."""

    prefix: str = ""


class StripPrefix(Section, frozen=True):
    """Remove the first fitting prefix from the path."""

    prefixes: tuple[str, ...] = ()
    force_slash: bool = False
    overwrite_header: Annotated[bool, Internal] = False


class StripPrefixRegex(Section, frozen=True):
    """Remove the first fitting expression from the start of the path."""

    regex: tuple[str, ...] = ()
    overwrite_header: Annotated[bool, Internal] = False


class ReplacePath(Section, frozen=True):
    """Put one path in place of all."""

    path: str = ""


class ReplacePathRegex(Section, frozen=True):
    """Rewrite the path by expression."""

    regex: str = ""
    replacement: str = ""


class RedirectScheme(Section, frozen=True):
    """Send the client to another scheme or port."""

    scheme: str = ""
    port: str = ""
    permanent: bool = False


class RedirectRegex(Section, frozen=True):
    """Send the client to a rewritten URL."""

    regex: str = ""
    replacement: str = ""
    permanent: bool = False


class BasicAuth(Section, frozen=True):
    """HTTP Basic authentication (RFC 7617)."""

    users: tuple[str, ...] = ()
    users_file: str = ""
    realm: str = ""
    remove_header: bool = False
    header_field: str = ""


class DigestAuth(Section, frozen=True):
    """HTTP Digest authentication (RFC 7616)."""

    users: tuple[str, ...] = ()
    users_file: str = ""
    realm: str = ""
    remove_header: bool = False
    header_field: str = ""


class ClientTls(Section, frozen=True):
    """TLS of a call we make ourselves."""

    ca: str = ""
    ca_optional: bool | None = None
    cert: str = ""
    key: str = ""
    insecure_skip_verify: bool = False


class ForwardAuth(Section, frozen=True):
    """Ask another server whether the request may pass."""

    address: str = ""
    trust_forward_header: bool | None = None
    auth_response_headers: tuple[str, ...] = ()
    auth_response_headers_regex: str = ""
    auth_request_headers: tuple[str, ...] = ()
    add_auth_cookies_to_response: tuple[str, ...] = ()
    header_field: str = ""
    forward_body: bool = False
    max_body_size: int = -1
    max_response_body_size: int = -1
    preserve_location_header: bool = False
    preserve_request_method: bool = False
    auth_signin_url: str = field(default="", name="authSigninURL")
    tls: ClientTls | None = None


class IpStrategy(EmptySection, frozen=True):
    """Which address counts as the client's."""

    depth: int = 0
    excluded_ips: tuple[str, ...] = field(default=(), name="excludedIPs")
    ipv6_subnet: int | None = field(default=None, name="ipv6Subnet")


class IpAllowList(Section, frozen=True):
    """Let only some addresses pass."""

    source_range: tuple[str, ...] = ()
    ip_strategy: IpStrategy | None = None
    reject_status_code: int = 403


class IpWhiteList(Section, frozen=True):
    """The old name of ipAllowList."""

    source_range: tuple[str, ...] = ()
    ip_strategy: IpStrategy | None = None


class SourceCriterion(Section, frozen=True):
    """What requests are counted by."""

    ip_strategy: IpStrategy | None = None
    request_header_name: str = ""
    request_host: bool = False


class InFlightReq(Section, frozen=True):
    """Limit concurrent requests. ``is_shared``: one limit for all routers that use it, as v1's maxConn."""

    amount: int = 0
    source_criterion: SourceCriterion | None = None
    is_shared: Annotated[bool, Internal] = False


class RedisStore(Section, frozen=True):
    """Where several proxies share their tallies."""

    endpoints: tuple[str, ...] = ("localhost:6379",)
    tls: ClientTls | None = None
    username: str = ""
    password: str = ""
    db: int = 0
    pool_size: int = 0
    min_idle_conns: int = 0
    max_active_conns: int = 0
    read_timeout: Duration = 3.0
    write_timeout: Duration = 3.0
    dial_timeout: Duration = 5.0


class RateLimit(Section, frozen=True):
    """Limit the rate of requests: a token bucket per source."""

    average: int = 0
    period: Duration = 1.0
    burst: int = 1
    source_criterion: SourceCriterion | None = None
    redis: RedisStore | None = None


class EncodedCharacters(Section, frozen=True):
    """Which escapes a path may hold."""

    allow_encoded_slash: bool = False
    allow_encoded_back_slash: bool = False
    allow_encoded_null_character: bool = False
    allow_encoded_semicolon: bool = False
    allow_encoded_percent: bool = False
    allow_encoded_question_mark: bool = False
    allow_encoded_hash: bool = False


class Retry(Section, frozen=True):
    """Try again when the server was not reached."""

    attempts: int = 0
    initial_interval: Duration = 0.0
    timeout: Duration = 0.0
    status: tuple[str, ...] = ()
    max_request_body_bytes: int = 2_097_152
    disable_retry_on_network_error: bool = False
    retry_non_idempotent_method: bool = False


class CircuitBreaker(Section, frozen=True):
    """Stop forwarding while a service fails. ``is_shared``: one for all routers that use it, as in v1."""

    expression: str = ""
    check_period: Duration = 0.1
    fallback_duration: Duration = 10.0
    recovery_duration: Duration = 10.0
    response_code: int = 503
    is_shared: Annotated[bool, Internal] = False


class Buffering(Section, frozen=True):
    """Read messages whole before they go on."""

    max_request_body_bytes: int = 0
    mem_request_body_bytes: int = 1_048_576
    max_response_body_bytes: int = 0
    mem_response_body_bytes: int = 1_048_576
    retry_expression: str = ""


class Compress(EmptySection, frozen=True):
    """Compress responses."""

    excluded_content_types: tuple[str, ...] = ()
    included_content_types: tuple[str, ...] = ()
    min_response_body_bytes: int = 1024
    encodings: tuple[str, ...] = ("gzip", "br", "zstd")
    default_encoding: str = ""


class Headers(Section, frozen=True):
    """Change header fields; CORS; security headers."""

    custom_request_headers: dict[str, str] = field(default_factory=dict)
    custom_response_headers: dict[str, str] = field(default_factory=dict)
    access_control_allow_credentials: bool = False
    access_control_allow_headers: tuple[str, ...] = ()
    access_control_allow_methods: tuple[str, ...] = ()
    access_control_allow_origin_list: tuple[str, ...] = ()
    access_control_allow_origin_list_regex: tuple[str, ...] = ()
    access_control_expose_headers: tuple[str, ...] = ()
    access_control_max_age: int | None = None
    add_vary_header: bool = False
    allowed_hosts: tuple[str, ...] = ()
    hosts_proxy_headers: tuple[str, ...] = ()
    ssl_proxy_headers: dict[str, str] = field(default_factory=dict, name="sslProxyHeaders")
    sts_seconds: int = 0
    sts_include_subdomains: bool = False
    sts_preload: bool = False
    force_sts_header: bool = field(default=False, name="forceSTSHeader")
    frame_deny: bool = False
    custom_frame_options_value: str = ""
    content_type_nosniff: bool = False
    browser_xss_filter: bool = False
    custom_browser_xss_value: str = field(default="", name="customBrowserXSSValue")
    content_security_policy: str = ""
    content_security_policy_report_only: str = ""
    public_key: str = ""
    referrer_policy: str = ""
    permissions_policy: str = ""
    is_development: bool = False
    feature_policy: str | None = None
    ssl_redirect: bool | None = None
    ssl_temporary_redirect: bool | None = None
    ssl_host: str | None = None
    ssl_force_host: bool | None = None


class Errors(Section, frozen=True):
    """Serve error pages from a service."""

    status: tuple[str, ...] = ()
    status_rewrites: dict[str, int] = field(default_factory=dict)
    service: str = ""
    query: str = ""
    error_request_headers: tuple[str, ...] | None = None


class ContentType(EmptySection, frozen=True):
    """Guess a missing Content-Type."""

    auto_detect: bool | None = None


class GrpcWeb(Section, frozen=True):
    """gRPC-Web to gRPC."""

    allow_origins: tuple[str, ...] = ()


class CertSubjectInfo(Section, frozen=True):
    """Which parts of a certificate's name are passed on."""

    country: bool = False
    province: bool = False
    locality: bool = False
    organization: bool = False
    organizational_unit: bool = False
    common_name: bool = False
    serial_number: bool = False
    domain_component: bool = False


class CertInfo(Section, frozen=True):
    """Which parts of a client certificate are passed on."""

    not_after: bool = False
    not_before: bool = False
    sans: bool = False
    serial_number: bool = False
    subject: CertSubjectInfo | None = None
    issuer: CertSubjectInfo | None = None


class PassTlsClientCert(Section, frozen=True):
    """Tell the server about the client certificate."""

    pem: bool = False
    info: CertInfo | None = None


class Chain(Section, frozen=True):
    """Several middlewares under one name."""

    middlewares: tuple[str, ...] = ()


class SlashRedirect(Section, frozen=True):
    """v1 ``Path``: send the client to the form of the slash that the rule was written with.

    A path that an expression of ``with_slash`` matches gets a slash added, one of ``without_slash`` loses it.
    """

    with_slash: tuple[str, ...] = ()
    without_slash: tuple[str, ...] = ()


class EntryPointRedirect(Section, frozen=True):
    """v1 ``redirect`` of an entrypoint: always 302, the port always written (spec v1 section 2.1)."""

    scheme: str = ""
    port: str = ""
    regex: str = ""
    replacement: str = ""
    permanent: bool = False


class Middleware(OneKind, frozen=True):
    """One HTTP middleware: exactly one kind is set."""

    add_prefix: AddPrefix | None = None
    basic_auth: BasicAuth | None = None
    buffering: Buffering | None = None
    chain: Chain | None = None
    circuit_breaker: CircuitBreaker | None = None
    compress: Compress | None = None
    content_type: ContentType | None = None
    digest_auth: DigestAuth | None = None
    encoded_characters: EncodedCharacters | None = None
    errors: Errors | None = None
    forward_auth: ForwardAuth | None = None
    grpc_web: GrpcWeb | None = None
    headers: Headers | None = None
    in_flight_req: InFlightReq | None = None
    ip_allow_list: IpAllowList | None = None
    ip_white_list: IpWhiteList | None = None
    pass_tls_client_cert: PassTlsClientCert | None = field(default=None, name="passTLSClientCert")
    plugin: dict[str, Any] | None = None
    rate_limit: RateLimit | None = None
    redirect_regex: RedirectRegex | None = None
    redirect_scheme: RedirectScheme | None = None
    replace_path: ReplacePath | None = None
    replace_path_regex: ReplacePathRegex | None = None
    retry: Retry | None = None
    strip_prefix: StripPrefix | None = None
    strip_prefix_regex: StripPrefixRegex | None = None
    slash_redirect: Annotated[SlashRedirect | None, Internal] = None
    entry_point_redirect: Annotated[EntryPointRedirect | None, Internal] = None


class InFlightConn(Section, frozen=True):
    """Limit concurrent TCP connections per client address."""

    amount: int = 0


class TcpMiddleware(OneKind, frozen=True):
    """One TCP middleware: exactly one kind is set."""

    in_flight_conn: InFlightConn | None = None
    ip_allow_list: IpAllowList | None = None
    ip_white_list: IpWhiteList | None = None

"""v1's frontends and backends as they are written (spec v1 sections 3, 4 and 6), before translation.

Keys of the JSON form are the same. Names are matched in any case; unknown keys are warnings, as v1 ignored
them. Settings of 1.5 to 1.7 are here where leaving them out would open something that was closed.
"""

from __future__ import annotations

from msgspec import field

from shared.config.dynamic import CertificatePair
from shared.config.kinds import EmptySection, Section
from shared.config.middlewares import BasicAuth, DigestAuth, ForwardAuth, Headers


class V1Server(Section, frozen=True):
    """One upstream address; a missing weight and 0 mean 1."""

    url: str = ""
    weight: int = 0


class V1CircuitBreaker(Section, frozen=True):
    """When to stop forwarding."""

    expression: str = ""


class V1Stickiness(EmptySection, frozen=True):
    """The sticky cookie (1.4)."""

    cookie_name: str = ""


class V1LoadBalancer(EmptySection, frozen=True):
    """How servers take turns."""

    method: str = ""
    sticky: bool = False
    stickiness: V1Stickiness | None = None


class V1MaxConn(EmptySection, frozen=True):
    """Limit of requests in progress per client, host or header."""

    amount: int = 0
    extractor_func: str = ""


class V1HealthCheck(EmptySection, frozen=True):
    """Active probing; off without a path. The interval is text: a bad one means the default."""

    path: str = ""
    interval: str = ""
    port: int = 0


class V1Backend(Section, frozen=True):
    """A balancer over servers; the servers are read one by one, so they are not in here."""

    circuit_breaker: V1CircuitBreaker | None = None
    load_balancer: V1LoadBalancer | None = None
    max_conn: V1MaxConn | None = None
    health_check: V1HealthCheck | None = None


class V1Route(Section, frozen=True):
    """A rule in one string, or a function name and its argument."""

    rule: str = ""
    value: str = ""


class V1ErrorPage(Section, frozen=True):
    """Error pages from a backend (1.4)."""

    status: tuple[str, ...] = ()
    backend: str = ""
    query: str = ""


class V1WhiteList(Section, frozen=True):
    """Addresses that may pass (1.6)."""

    source_range: tuple[str, ...] = ()
    use_x_forwarded_for: bool = False


class V1Auth(Section, frozen=True):
    """Who may pass (1.7)."""

    header_field: str = ""
    basic: BasicAuth | None = None
    digest: DigestAuth | None = None
    forward: ForwardAuth | None = None


class V1Frontend(Section, frozen=True):
    """Rules, and the backend for what fulfils them all.

    ``rule`` and ``value`` belong into a route; an example of the documentation left that out.
    """

    backend: str = ""
    routes: dict[str, V1Route] = field(default_factory=dict)
    rule: str = ""
    value: str = ""
    entry_points: tuple[str, ...] = ()
    pass_host_header: bool | None = None
    priority: int = 0
    basic_auth: tuple[str, ...] = ()
    auth: V1Auth | None = None
    whitelist_source_range: tuple[str, ...] = ()
    white_list: V1WhiteList | None = None
    headers: Headers | None = None
    errors: dict[str, V1ErrorPage] = field(default_factory=dict)
    pass_tls_cert: bool = field(default=False, name="passTLSCert")


class V1Certificate(Section, frozen=True):
    """An entry of ``[[tls]]`` (1.5)."""

    entry_points: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    certificate: CertificatePair = CertificatePair()

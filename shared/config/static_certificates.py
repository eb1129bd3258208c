"""Certificate resolvers and revocation (spec v2 section 1.9)."""

from __future__ import annotations

from msgspec import field

from shared.config.kinds import Duration, EmptySection, Section


class ExternalAccount(Section, frozen=True):
    """External account binding of an ACME account."""

    kid: str = ""
    hmac_encoded: str = ""


class Propagation(Section, frozen=True):
    """How the propagation of a DNS record is checked."""

    disable_checks: bool = False
    disable_ans_checks: bool = field(default=False, name="disableANSChecks")
    require_all_rns: bool = field(default=False, name="requireAllRNS")
    delay_before_checks: Duration = 0.0


class DnsChallenge(EmptySection, frozen=True):
    """Prove a name by a DNS record."""

    provider: str = ""
    resolvers: tuple[str, ...] = ()
    propagation: Propagation | None = None
    delay_before_check: Duration = 0.0
    disable_propagation_check: bool = False


class HttpChallenge(EmptySection, frozen=True):
    """Prove a name by answering a request."""

    entry_point: str = ""
    delay: Duration = 0.0


class TlsChallenge(EmptySection, frozen=True):
    """Prove a name in a TLS handshake."""

    delay: Duration = 0.0


class Acme(Section, frozen=True):
    """Certificates from an ACME authority (RFC 8555)."""

    email: str = ""
    ca_server: str = "https://acme-v02.api.letsencrypt.org/directory"
    storage: str = "acme.json"
    key_type: str = "RSA4096"
    certificates_duration: int = 2160
    preferred_chain: str = ""
    profile: str = ""
    email_addresses: tuple[str, ...] = ()
    disable_common_name: bool = False
    eab: ExternalAccount | None = None
    client_timeout: Duration = 120.0
    client_response_header_timeout: Duration = 30.0
    certificate_timeout: Duration = 30.0
    ca_certificates: tuple[str, ...] = ()
    ca_system_cert_pool: bool = False
    ca_server_name: str = ""
    dns_challenge: DnsChallenge | None = None
    http_challenge: HttpChallenge | None = None
    tls_challenge: TlsChallenge | None = None


class Tailscale(EmptySection, frozen=True):
    """Certificates from the local Tailscale daemon."""


class CertificateResolver(Section, frozen=True):
    """A source of certificates: exactly one kind."""

    acme: Acme | None = None
    tailscale: Tailscale | None = None


class Ocsp(EmptySection, frozen=True):
    """OCSP stapling."""

    responder_overrides: dict[str, str] = field(default_factory=dict)

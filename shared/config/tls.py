"""The ``tls`` root of the dynamic model (spec v2 section 7)."""

from __future__ import annotations

from msgspec import field

from shared.config.kinds import EmptySection, Section


class TlsCertificate(Section, frozen=True):
    """A certificate that SNI may choose."""

    cert_file: str = ""
    key_file: str = ""
    stores: tuple[str, ...] = ()


class ClientAuth(Section, frozen=True):
    """Which client certificates are asked for."""

    ca_files: tuple[str, ...] = ()
    client_auth_type: str = ""


class TlsOptions(EmptySection, frozen=True):
    """Protocol settings of the TLS server side."""

    min_version: str = ""
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    client_auth: ClientAuth | None = None
    sni_strict: bool = False
    alpn_protocols: tuple[str, ...] = ("h2", "http/1.1", "acme-tls/1")
    disable_session_tickets: bool = False
    prefer_server_cipher_suites: bool | None = None


class DefaultCertificate(Section, frozen=True):
    """The certificate used when no name fits."""

    cert_file: str = ""
    key_file: str = ""


class GeneratedDomain(Section, frozen=True):
    """Names for a generated default certificate."""

    main: str = ""
    sans: tuple[str, ...] = ()


class DefaultGeneratedCert(Section, frozen=True):
    """A default certificate from a resolver."""

    resolver: str = ""
    domain: GeneratedDomain | None = None


class TlsStore(EmptySection, frozen=True):
    """A set of certificates; only ``default`` is usable."""

    default_certificate: DefaultCertificate | None = None
    default_generated_cert: DefaultGeneratedCert | None = field(default=None, name="defaultGeneratedCert")

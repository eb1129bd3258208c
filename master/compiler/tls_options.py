"""Checks TLS options and puts them into OpenSSL's words (spec v2 section 7; v1 section 2)."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterable

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from master.compiler.certificates import PemSource
from shared.config.diagnostics import nearest_name
from shared.config.static_v1 import V1Tls
from shared.config.tls import ClientAuth, TlsOptions
from shared.errors import ConfigError
from shared.table.secret import Secret
from shared.table.streams import ClientAuthMode, TlsOptionsEntry
from shared.tls import libssl
from shared.tls.contexts import make_server_context
from shared.tls.vocabulary import (
    CIPHER_SIGNALS,
    CIPHERS,
    CURVES,
    DEFAULT_CIPHERS,
    DEFAULT_MIN_VERSION,
    TLS13_CIPHERS,
    UNSERVED_PROTOCOLS,
    VERSIONS,
)

_CLIENT_AUTH: dict[str, ClientAuthMode] = {
    "NoClientCert": "none",
    "RequestClientCert": "request",
    "RequireAnyClientCert": "require",
    "VerifyClientCertIfGiven": "verify-if-given",
    "RequireAndVerifyClientCert": "verify",
}

Tell = Callable[[str, str], None]
"""Takes a key and what is odd about it."""


class OptionsReader:
    """Reads options.

    Args:
        source: of authorities.
    """

    def __init__(self, source: PemSource) -> None:
        self._source = source

    def read(self, name: str, options: TlsOptions, tell: Tell) -> TlsOptionsEntry:
        """Options that a worker can use.

        Args:
            name: qualified.
            options: as decoded.
            tell: takes what is odd but no error of the whole.

        Raises:
            ConfigError: they cannot be used; ``path`` is the setting to blame.
        """
        lowest = _version("minVersion", options.min_version) or DEFAULT_MIN_VERSION
        highest = _version("maxVersion", options.max_version)
        if highest and lowest > highest:
            raise ConfigError("minVersion", "is above maxVersion")
        mode, authorities = self._client_auth(options.client_auth, tell)
        entry = TlsOptionsEntry(
            name,
            min_version=int(lowest),
            max_version=int(highest or 0),
            ciphers=":".join(_ciphers(options.cipher_suites)),
            groups=_groups(options.curve_preferences, tell),
            client_auth=mode,
            client_cas=authorities,
            sni_strict=options.sni_strict,
            protocols=tuple(
                each for each in dict.fromkeys(options.alpn_protocols) if each not in UNSERVED_PROTOCOLS
            ),
            has_tickets=not options.disable_session_tickets,
        )
        return _tried(entry)

    def read_v1(self, name: str, tls: V1Tls, tell: Tell) -> TlsOptionsEntry:
        """The options of a v1 entrypoint; errors as for ``read``."""
        auth = ClientAuth(ca_files=tls.client_ca_files) if tls.client_ca_files else None
        return self.read(
            name,
            TlsOptions(min_version=tls.min_version, cipher_suites=tls.cipher_suites, client_auth=auth),
            tell,
        )

    def _client_auth(self, auth: ClientAuth | None, tell: Tell) -> tuple[ClientAuthMode, bytes]:
        if auth is None:
            return "none", b""
        written = auth.client_auth_type or ("RequireAndVerifyClientCert" if auth.ca_files else "NoClientCert")
        mode = _CLIENT_AUTH.get(written)
        if mode is None:
            hint = nearest_name(written, _CLIENT_AUTH)
            raise ConfigError("clientAuth.clientAuthType", f'unknown clientAuthType "{written}"', hint)
        if mode in ("verify", "verify-if-given") and not auth.ca_files:
            raise ConfigError(
                "clientAuth.clientAuthType", f"invalid clientAuthType: {written}, CAFiles is required"
            )
        if mode in ("request", "require") and not libssl.is_available():
            raise ConfigError("clientAuth.clientAuthType", f"{written} is not possible with this Python")
        return mode, self._authorities(auth.ca_files, tell)

    def _authorities(self, settings: tuple[str, ...], tell: Tell) -> bytes:
        """All authorities that are good now, as PEM."""
        good: list[bytes] = []
        for index, setting in enumerate(settings):
            key = f"clientAuth.caFiles.{index}"
            try:
                found = x509.load_pem_x509_certificates(self._source.read(setting, key))
            except ValueError as error:
                raise ConfigError(key, "holds no certificate that can be read") from error
            for each in found:
                if each.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
                    subject = each.subject.rfc4514_string()
                    tell(key, f"the authority {subject} expired on {each.not_valid_after_utc:%Y-%m-%d}")
                else:
                    good.append(each.public_bytes(Encoding.PEM))
        if settings and not good:
            raise ConfigError("clientAuth.caFiles", "none of the authorities can be used")
        return b"".join(good)


def built_in_options() -> TlsOptionsEntry:
    """The ``default`` options where nobody defines them."""
    return OptionsReader(PemSource()).read("default", TlsOptions(), lambda key, reason: None)


def _version(key: str, written: str) -> ssl.TLSVersion | None:
    if not written:
        return None
    version = VERSIONS.get(written)
    if version is None:
        raise ConfigError(key, f'unknown TLS version "{written}"', nearest_name(written, VERSIONS))
    return version


def _ciphers(written: Iterable[str]) -> tuple[str, ...]:
    named = tuple(written)
    for each in named:
        if each not in CIPHERS and each not in TLS13_CIPHERS and each not in CIPHER_SIGNALS:
            raise ConfigError("cipherSuites", f'unknown cipher suite "{each}"', nearest_name(each, CIPHERS))
    chosen = dict.fromkeys(CIPHERS[each] for each in named if each in CIPHERS)
    return tuple(chosen) or DEFAULT_CIPHERS


def _groups(written: Iterable[str], tell: Tell) -> tuple[str, ...]:
    """Curves in OpenSSL's words, without those that this OpenSSL does not have: clients may lack them too."""
    named = tuple(written)
    if named and not libssl.is_available():
        tell("curvePreferences", "has no effect with this Python: OpenSSL chooses the curve")
        return ()
    found: list[str] = []
    for each in named:
        group = CURVES.get(each)
        if group is None:
            raise ConfigError("curvePreferences", f'unknown curve "{each}"', nearest_name(each, CURVES))
        if not _is_offered(group):
            tell("curvePreferences", f"{each} is not available with {ssl.OPENSSL_VERSION}; it is left out")
        elif group not in found:
            found.append(group)
    if named and not found:
        raise ConfigError("curvePreferences", "none of the curves is available")
    return tuple(found)


def _is_offered(group: str) -> bool:
    try:
        libssl.set_groups(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), (group,))
    except ssl.SSLError:
        return False
    return True


def _tried(entry: TlsOptionsEntry) -> TlsOptionsEntry:
    """The same options, after OpenSSL has taken them."""
    try:
        make_server_context(entry, None, Secret(b""))
    except (ssl.SSLError, ValueError) as error:
        for cipher in entry.ciphers.split(":"):
            alone = msgspec.structs.replace(
                TlsOptionsEntry("trial"), ciphers=cipher, min_version=entry.min_version
            )
            try:
                make_server_context(alone, None, Secret(b""))
            except ssl.SSLError:
                raise ConfigError(
                    "cipherSuites", f"{cipher} is not available with {ssl.OPENSSL_VERSION}"
                ) from error
        raise ConfigError("", f"OpenSSL refuses these options: {error}") from error
    return entry

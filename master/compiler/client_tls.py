"""What a transport's TLS options mean: files read, names translated, contradictions refused.

An authority or a certificate that cannot be read disables the transport. The original goes on without it, and
so trusts or shows something else than was asked for.

Source: spec v2 sections 10.1 to 10.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Protocol

import msgspec

from shared.client_tls import make_client_context
from shared.config.diagnostics import nearest_name
from shared.config.dynamic import CertificatePair, Spiffe
from shared.config.static import WorkloadApi
from shared.errors import ConfigError
from shared.table.client_tls import ClientCertificate, ClientTlsEntry
from shared.table.secret import Secret
from shared.tls.vocabulary import CIPHER_SIGNALS, CIPHERS, TLS13_CIPHERS, VERSIONS

MAX_PEM_BYTES = 1_048_576
"""A certificate, key or authorities file larger than this is refused; all of the system's take 230 kB."""
MAX_SHOWN_CHARS = 128
"""Of a path in a message."""
NOT_CONFIGURED = "SPIFFE is enabled for this transport, but not configured"
BOTH = "TLS and SPIFFE configuration cannot be defined at the same time"
NO_CLIENT_YET = "SPIFFE needs a client of the Workload API, which this version does not have"

ReadPem = Callable[[str], bytes]
"""The content of a file. Raises ``ConfigError`` without a path."""

_PEM = "-----BEGIN"
_CIPHER_NAMES = frozenset((*CIPHERS, *TLS13_CIPHERS, *CIPHER_SIGNALS))
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_PATH = re.compile(r"(?:/[a-zA-Z0-9._-]+)*")


class ClientTlsOptions(Protocol):
    """What all transports say about TLS."""

    @property
    def insecure_skip_verify(self) -> bool:
        """Trust everybody."""

    @property
    def root_cas(self) -> tuple[str, ...]:
        """Paths or PEM."""

    @property
    def server_name(self) -> str:
        """To ask for and to check."""

    @property
    def certificates(self) -> tuple[CertificatePair, ...]:
        """To show."""

    @property
    def peer_cert_uri(self) -> str:
        """That the certificate must name."""

    @property
    def spiffe(self) -> Spiffe | None:
        """Identities instead of names."""


def read_pem(path: str) -> bytes:
    """A file, relative to the working directory.

    Raises:
        ConfigError: it cannot be read, or is too large to be what it should be.
    """
    try:
        with FilePath(path).open("rb") as file:
            content = file.read(MAX_PEM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise ConfigError("", f"cannot read {_shown(path)}: {reason}") from error
    if len(content) > MAX_PEM_BYTES:
        raise ConfigError("", f"{path} is larger than {MAX_PEM_BYTES} bytes")
    return content


def resolve_client_tls(
    options: ClientTlsOptions,
    workload_api: WorkloadApi | None,
    read: ReadPem,
    *,
    min_version: str = "",
    max_version: str = "",
    cipher_suites: Sequence[str] = (),
) -> ClientTlsEntry:
    """The entry that options mean, checked to be one that OpenSSL takes.

    Args:
        options: as configured.
        workload_api: where SPIFFE identities would come from.
        read: reads files.
        min_version, max_version, cipher_suites: as configured; HTTP transports have them.

    Raises:
        ConfigError: something is unreadable, unknown or contradictory; ``path`` names the option.
    """
    others = (*options.root_cas, *options.certificates, *cipher_suites, min_version, max_version)
    if options.spiffe is not None:
        named = options.server_name or options.peer_cert_uri or options.insecure_skip_verify
        _refuse_spiffe(options.spiffe, workload_api, has_others=bool(named) or any(others))
    low, high = _version(min_version, "minVersion"), _version(max_version, "maxVersion")
    if low and high and low > high:
        raise ConfigError("minVersion", f"{min_version} is above maxVersion {max_version}")
    entry = ClientTlsEntry(
        server_name=options.server_name,
        # A URI stands instead of the host's name, not instead of the chain.
        is_verified=not options.insecure_skip_verify or bool(options.peer_cert_uri),
        checks_name=not options.insecure_skip_verify,
        root_cas=_authorities(options.root_cas, read),
        certificates=tuple(_certificate(each, at, read) for at, each in enumerate(options.certificates)),
        min_version=low,
        max_version=high,
        ciphers=_ciphers(cipher_suites),
        peer_cert_uri=options.peer_cert_uri,
    )
    make_client_context(
        msgspec.structs.replace(entry, is_verified=False)
    )  # the system's authorities are good
    return entry


def _version(name: str, path: str) -> int:
    if name and name not in VERSIONS:
        raise ConfigError(path, f"invalid TLS version: {name}", nearest_name(name, VERSIONS))
    return VERSIONS[name].value if name else 0


def _ciphers(names: Sequence[str]) -> str:
    """OpenSSL's list. Those of TLS 1.3 are always on; naming nothing else changes nothing."""
    for number, name in enumerate(names):
        if name not in _CIPHER_NAMES:
            path = f"cipherSuites[{number}]"
            raise ConfigError(path, f"invalid CipherSuite: {name}", nearest_name(name, _CIPHER_NAMES))
    return ":".join(dict.fromkeys(CIPHERS[name] for name in names if name in CIPHERS))


def _authorities(given: Sequence[str], read: ReadPem) -> bytes:
    return b"\n".join(_content(each, f"rootCAs[{number}]", read) for number, each in enumerate(given))


def _certificate(pair: CertificatePair, number: int, read: ReadPem) -> ClientCertificate:
    chain = _content(pair.cert_file, f"certificates[{number}].certFile", read)
    return ClientCertificate(chain, Secret(_content(pair.key_file, f"certificates[{number}].keyFile", read)))


def _content(path_or_pem: str, path: str, read: ReadPem) -> bytes:
    if _PEM in path_or_pem:
        return path_or_pem.encode("utf-8", "surrogateescape")
    if not path_or_pem:
        raise ConfigError(path, "is missing")
    try:
        content = read(path_or_pem)
    except ConfigError as error:
        raise ConfigError(path, error.reason) from error
    if _PEM.encode() not in content:
        raise ConfigError(path, f"{_shown(path_or_pem)} holds nothing in PEM form")
    return content


def _shown(path: str) -> str:
    """A path for people; what is too long for one may be a key that somebody put in its place."""
    return path if len(path) <= MAX_SHOWN_CHARS and path.isprintable() else "what is given"


def _refuse_spiffe(spiffe: Spiffe, workload_api: WorkloadApi | None, *, has_others: bool) -> None:
    """Check what is said, then refuse: there is nobody yet who could bring an identity.

    Raises:
        ConfigError: always.
    """
    if has_others:
        raise ConfigError("spiffe", BOTH)
    if workload_api is None or not workload_api.workload_api_addr:
        raise ConfigError("spiffe", NOT_CONFIGURED)
    for number, each in enumerate(spiffe.ids):
        _check_id(each, f"spiffe.ids[{number}]")
    if spiffe.trust_domain and not spiffe.ids:
        _check_domain(spiffe.trust_domain)
    raise ConfigError("spiffe", NO_CLIENT_YET)


def _check_id(text: str, path: str) -> None:
    """Source: SPIFFE-ID section 2."""
    scheme, _, rest = text.partition("://")
    domain, slash, tail = rest.partition("/")
    if scheme != "spiffe":
        raise ConfigError(path, "invalid SPIFFE ID: scheme is missing or invalid")
    if _TRUST_DOMAIN.fullmatch(domain) is None:
        raise ConfigError(path, "invalid SPIFFE ID: trust domain is missing or has a bad character")
    if _PATH.fullmatch(slash + tail) is None or any(part in (".", "..") for part in tail.split("/")):
        raise ConfigError(
            path, "invalid SPIFFE ID: the path has an empty or a dot segment, or a bad character"
        )


def _check_domain(text: str) -> None:
    if _TRUST_DOMAIN.fullmatch(text.removeprefix("spiffe://").partition("/")[0]) is None:
        raise ConfigError("spiffe.trustDomain", f"invalid SPIFFE trust domain: {text}")

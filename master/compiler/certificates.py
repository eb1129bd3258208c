"""Certificates from configuration: files or PEM text in, a chain that fits its key out.

Files are read again when they changed on disk, so that whatever makes us compile (a reload, a changed
document) also takes up a renewed certificate. A pair that cannot be used now
keeps the form in which it last could. Nothing that comes from a key is in any message.
"""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from shared.errors import ConfigError
from shared.hosts import lower_ascii
from shared.table.secret import Secret
from shared.table.streams import CertificateEntry, TlsOptionsEntry
from shared.tls.contexts import make_server_context

MAX_PEM_BYTES = 1_048_576
"""A certificate, key or authorities file larger than this is refused (about 500 certificates)."""

_BEGIN = "-----BEGIN"
_TRIAL = TlsOptionsEntry("trial", ciphers="")

Tell = Callable[[str], None]
"""Takes a warning about the pair."""


class _Stamp(NamedTuple):
    inode: int
    size: int
    changed_ns: int


class _Read(NamedTuple):
    """A pair as it was read, and what came of it."""

    chain: bytes
    key: bytes
    entry: CertificateEntry
    not_before: datetime.datetime
    not_after: datetime.datetime


class PemSource:
    """Reads PEM from a path or from the setting itself; remembers files until they change."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[_Stamp, bytes]] = {}
        self._used: set[str] = set()

    def read(self, setting: str, key: str) -> bytes:
        """The PEM bytes that a setting stands for.

        Args:
            setting: a path (relative to the working directory) or PEM text.
            key: name of the setting, for errors.

        Raises:
            ConfigError: nothing is there, it cannot be read, or is too large.
        """
        if is_inline(setting):
            return setting.strip().encode("utf-8", "replace")
        if not setting:
            raise ConfigError(key, "is missing")
        try:
            found = os.stat(setting)
            stamp = _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
            self._used.add(setting)
            known = self._files.get(setting)
            if known is None or known[0] != stamp:
                known = self._files[setting] = (stamp, _read_file(setting, key))
            return known[1]
        except (OSError, ValueError) as error:
            raise ConfigError(key, f"cannot read {setting}: {_reason(error)}") from error

    def forget_unused(self) -> None:
        """At the end of a compilation: keep only what it asked for."""
        self._files = {path: known for path, known in self._files.items() if path in self._used}
        self._used = set()


class CertificateReader:
    """Reads pairs, each anew only when its bytes changed.

    Args:
        source: of their bytes.
    """

    def __init__(self, source: PemSource) -> None:
        self._source = source
        self._known: dict[tuple[str, str], _Read] = {}
        self._used: set[tuple[str, str]] = set()

    def read(self, cert_file: str, key_file: str, tell: Tell) -> CertificateEntry:
        """The certificate of a pair.

        Raises:
            ConfigError: it cannot be used; ``path`` is the setting to blame.
        """
        pair = (cert_file, key_file)
        self._used.add(pair)
        if is_inline(cert_file) != is_inline(key_file) and key_file and cert_file:
            raise ConfigError("keyFile", "certFile and keyFile are either both paths or both PEM text")
        chain = self._source.read(cert_file, "certFile")
        key = self._source.read(key_file, "keyFile")
        known = self._known.get(pair)
        if known is None or (known.chain, known.key) != (chain, key):
            entry = check_pair(chain, key)
            leaf = _leaf(entry.chain)
            validity = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
            known = self._known[pair] = _Read(chain, key, entry, *validity)
        _warn_if_outdated(known, tell)
        return known.entry

    def last_good(self, cert_file: str, key_file: str) -> CertificateEntry | None:
        """The form in which a pair could be used last, if it ever could."""
        known = self._known.get((cert_file, key_file))
        return None if known is None else known.entry

    def forget_unused(self) -> None:
        """At the end of a compilation: keep only what it asked for."""
        self._known = {pair: known for pair, known in self._known.items() if pair in self._used}
        self._used = set()


def is_inline(setting: str) -> bool:
    """Whether a setting is PEM text rather than a path."""
    return _BEGIN in setting


def check_pair(chain: bytes, key: bytes) -> CertificateEntry:
    """A certificate that a worker can serve.

    Args:
        chain: PEM, the leaf first.
        key: PEM, without password.

    Raises:
        ConfigError: one of them is broken, or they do not belong together.
    """
    leaf = _leaf(chain)
    try:
        private = load_pem_private_key(key, None)
    except TypeError as error:
        raise ConfigError("keyFile", "the private key has a password") from error
    except ValueError as error:
        raise ConfigError("keyFile", "holds no private key that can be read") from error
    public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*public) != leaf.public_key().public_bytes(*public):
        raise ConfigError("keyFile", "the private key does not belong to the certificate")
    entry = CertificateEntry(names_of(leaf), chain, Secret(key))
    try:
        make_server_context(_TRIAL, entry, Secret(b""))
    except ssl.SSLError as error:
        raise ConfigError("certFile", f"OpenSSL refuses it: {_reason(error)}") from error
    return entry


def names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """What a certificate is good for: common name, DNS names and addresses; lower-case and sorted."""
    found = {
        lower_ascii(str(each.value)) for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    }
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):  # none, or one that cannot be read
        alternatives = None
    if alternatives is not None:
        found.update(lower_ascii(name) for name in alternatives.get_values_for_type(x509.DNSName))
        found.update(str(address) for address in alternatives.get_values_for_type(x509.IPAddress))
    return tuple(sorted(found - {""}))


def match_order(entry: CertificateEntry) -> str:
    """By what the certificates of a store are tried, in reverse order (spec v2 section 7)."""
    return ",".join(entry.names)


def _leaf(chain: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise ConfigError("certFile", "holds no certificate that can be read") from error


def _warn_if_outdated(read: _Read, tell: Tell) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if read.not_after < now:
        tell(f"the certificate expired on {read.not_after:%Y-%m-%d}; it is served all the same")
    elif read.not_before > now:
        tell(f"the certificate is valid from {read.not_before:%Y-%m-%d} on only")


def _read_file(path: str, key: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_PEM_BYTES + 1)
    if len(data) > MAX_PEM_BYTES:
        raise ConfigError(key, f"{path} is larger than {MAX_PEM_BYTES} bytes")
    return data


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

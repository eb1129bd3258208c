"""Checks the TLS objects of a compilation: certificates, options, the default store, v1's entrypoints.

Everything that is broken disables just itself: a certificate is not offered, options keep the form in which
they last could be used. What becomes of routers whose options cannot be used: ``tls_material``.
"""

from __future__ import annotations

from master.compiler.catalog import Catalog, Item
from master.compiler.certificates import CertificateReader, PemSource
from master.compiler.default_certificate import default_certificate
from master.compiler.tls_material import TlsObjects, v1_options_name
from master.compiler.tls_options import OptionsReader
from shared.config.diagnostics import Diagnostics, Path
from shared.config.dynamic import CertificatePair
from shared.config.static import EntryPoint, StaticConfig
from shared.config.tls import DefaultCertificate, TlsCertificate, TlsOptions, TlsStore
from shared.errors import ConfigError
from shared.table.streams import DEFAULT_OPTIONS, CertificateEntry, TlsOptionsEntry

_KEPT = "its last good version stays live"


class TlsCompiler:
    """What goes from one compilation to the next.

    Args:
        static: effective static settings.
    """

    def __init__(self, static: StaticConfig) -> None:
        self._static = static
        self._source = PemSource()
        self._certificates = CertificateReader(self._source)
        self._options = OptionsReader(self._source)
        self._last_options: dict[str, TlsOptionsEntry] = {}

    def check(self, catalog: Catalog, found: Diagnostics) -> TlsObjects:
        """Check all TLS objects of a compilation; problems go to ``found``."""
        self._report_clashes(catalog, found)
        options = self._check_options(catalog, found)
        certificates = [
            entry
            for item in catalog.certificates
            if (entry := self._check_certificate(item, found)) is not None
        ]
        default = self._default_certificate(catalog, found)
        objects = TlsObjects(catalog, found, options, self._last_options, certificates, default)
        for name, entry_point in self._static.entry_points.items():
            if entry_point.v1 is not None and entry_point.v1.tls is not None:
                self._check_v1(name, entry_point, objects, found)
        self._last_options = dict(options)
        self._certificates.forget_unused()
        self._source.forget_unused()
        return objects

    def _report_clashes(self, catalog: Catalog, found: Diagnostics) -> None:
        for kind, item in catalog.clashing:
            what = "TLS options" if kind == "options" else "TLS store"
            item.error(
                found, f'the {what} "default" exist once, but several providers define them; none is used'
            )

    def _check_options(self, catalog: Catalog, found: Diagnostics) -> dict[str, TlsOptionsEntry]:
        good: dict[str, TlsOptionsEntry] = {}
        if DEFAULT_OPTIONS not in catalog.tls_options:
            good[DEFAULT_OPTIONS] = self._options.read(DEFAULT_OPTIONS, TlsOptions(), _nothing)
        clashing = {item.name for kind, item in catalog.clashing if kind == "options"}
        for item in catalog.tls_options.values():

            def tell(key: str, reason: str, item: Item[TlsOptions] = item) -> None:
                item.warning(found, reason, None, *_keys(key))

            last = self._last_options.get(item.name)
            try:
                if item.name in clashing:
                    raise ConfigError("", "several providers define it")
                good[item.name] = self._options.read(item.name, item.value, tell)
            except ConfigError as error:
                outcome = "they cannot be used" if last is None else _KEPT
                item.error(found, f"{error.reason}; {outcome}", error.hint, *_keys(error.path))
                if last is not None:
                    good[item.name] = last
        return good

    def _check_certificate(self, item: Item[TlsCertificate], found: Diagnostics) -> CertificateEntry | None:
        value = item.value
        if value.stores and DEFAULT_OPTIONS not in value.stores:
            item.warning(
                found, 'only the store "default" is used; the certificate is not served', None, "stores"
            )
            return None
        try:
            return self._certificates.read(
                value.cert_file, value.key_file, lambda reason: item.warning(found, reason, None, "certFile")
            )
        except ConfigError as error:
            last = self._certificates.last_good(value.cert_file, value.key_file)
            outcome = "it is not served" if last is None else _KEPT
            item.error(found, f"{error.reason}; {outcome}", error.hint, *_keys(error.path))
            return last

    def _default_certificate(self, catalog: Catalog, found: Diagnostics) -> CertificateEntry:
        clashing = {item.name for kind, item in catalog.clashing if kind == "stores"}
        for item in catalog.tls_stores.values():
            if item.name != DEFAULT_OPTIONS:
                item.warning(found, 'only the store "default" is used')
        store = catalog.tls_stores.get(DEFAULT_OPTIONS)
        pair = store.value.default_certificate if store is not None else None
        if store is None or pair is None or store.name in clashing:
            return default_certificate()
        return self._read_default(store, pair, found) or default_certificate()

    def _read_default(
        self, store: Item[TlsStore], pair: DefaultCertificate, found: Diagnostics
    ) -> CertificateEntry | None:
        place = "defaultCertificate"

        def tell(reason: str) -> None:
            store.warning(found, reason, None, place)

        try:
            return self._certificates.read(pair.cert_file, pair.key_file, tell)
        except ConfigError as error:
            last = self._certificates.last_good(pair.cert_file, pair.key_file)
            outcome = "a self-signed one is served" if last is None else _KEPT
            store.error(found, f"{error.reason}; {outcome}", error.hint, place, *_keys(error.path))
            return last

    def _check_v1(self, name: str, entry_point: EntryPoint, objects: TlsObjects, found: Diagnostics) -> None:
        """A v1 entrypoint brings its certificates and options with it."""
        assert entry_point.v1 is not None, "the caller looked"
        tls = entry_point.v1.tls
        assert tls is not None, "the caller looked"
        place: Path = ("entryPoints", name, "tls")
        options = v1_options_name(name)
        try:
            entry = self._options.read_v1(
                options, tls, lambda key, reason: found.warning((*place, *_v1_keys(key)), reason)
            )
        except ConfigError as error:
            reason = f"{error.reason}; its connections are refused"
            found.error((*place, *_v1_keys(error.path)), reason, error.hint)
            entry = TlsOptionsEntry(options, is_usable=False)
        pairs = [
            certificate
            for index, pair in enumerate(tls.certificates)
            if (certificate := self._read_v1(pair, (*place, "certificates", index), found)) is not None
        ]
        objects.add_v1(name, entry, pairs)

    def _read_v1(self, pair: CertificatePair, place: Path, found: Diagnostics) -> CertificateEntry | None:
        try:
            return self._certificates.read(
                pair.cert_file, pair.key_file, lambda reason: found.warning(place, reason)
            )
        except ConfigError as error:
            last = self._certificates.last_good(pair.cert_file, pair.key_file)
            outcome = "it is not served" if last is None else _KEPT
            found.error((*place, *_keys(error.path)), f"{error.reason}; {outcome}", error.hint)
            return last


def _keys(dotted: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdecimal() else part for part in dotted.split(".")) if dotted else ()


def _v1_keys(dotted: str) -> tuple[str | int, ...]:
    """Where v1 writes what v2 has under ``clientAuth``."""
    keys = _keys(dotted)
    if keys[:1] != ("clientAuth",):
        return keys
    return ("clientCAFiles", *keys[2:])


def _nothing(key: str, reason: str) -> None:
    """Nothing is odd about the built-in options."""

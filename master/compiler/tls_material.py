"""TLS of one compilation: which certificates and options a host name gets at which entrypoint.

Routers whose options cannot be had are disabled, with TLS to their hosts refused rather than served under
weaker options (spec v2 section 7). What cannot be used was left out before (``tls_checks``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from master.compiler.catalog import INTERNAL, Catalog, qualify
from master.compiler.certificates import match_order
from master.compiler.default_certificate import ticket_secret
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.errors import ConfigError
from shared.rules.conditions import AnyCondition
from shared.rules.domains import domains_of
from shared.table.streams import (
    DEFAULT_OPTIONS,
    CertificateEntry,
    TlsContent,
    TlsEntrance,
    TlsOptionsEntry,
)

REFUSED = "refused"
"""The name of options that refuse every connection."""


class TlsUse(NamedTuple):
    """A router that wants TLS, in one of its shapes.

    Attributes:
        name: of the shape.
        router: the qualified name of the router.
        entry_points: where it can be reached.
        options: name of the options it asks for.
        condition: its rule.
    """

    name: str
    router: str
    entry_points: tuple[str, ...]
    options: str
    condition: AnyCondition


class TlsObjects:
    """The TLS objects of one compilation, and what routers make of them.

    Args:
        catalog: to locate routers.
        found: takes the problems.
        options: usable ones by name.
        last_options: those of the compilation before, for routers that are kept from then.
        certificates: of the default store.
        default: where no certificate fits.
    """

    def __init__(
        self,
        catalog: Catalog,
        found: Diagnostics,
        options: Mapping[str, TlsOptionsEntry],
        last_options: Mapping[str, TlsOptionsEntry],
        certificates: list[CertificateEntry],
        default: CertificateEntry,
    ) -> None:
        self._catalog = catalog
        self._found = found
        self._options = dict(options)
        self._last_options = last_options
        self._certificates = certificates
        self._default = default
        self._v1: dict[str, tuple[str, list[CertificateEntry]]] = {}
        self._refused: list[tuple[tuple[str, ...], AnyCondition]] = []
        self._required: set[str] = set()

    def add_v1(
        self, entry_point: str, options: TlsOptionsEntry, certificates: list[CertificateEntry]
    ) -> None:
        """An entrypoint with certificates and options of its own."""
        self._options[options.name] = options
        self._v1[entry_point] = (options.name, certificates)

    def resolve(self, reference: str, provider: str) -> str:
        """The name of the options that a reference means.

        Args:
            reference: as written; empty for the default ones.
            provider: of the object that refers to them.

        Raises:
            ConfigError: there are none, or they cannot be used.
        """
        name = DEFAULT_OPTIONS if reference in ("", DEFAULT_OPTIONS) else qualify(reference, provider)
        if name in self._options:
            return name
        if name in self._catalog.tls_options:
            raise ConfigError("", f'the TLS options "{name}" cannot be used')
        hint = nearest_name(name, self._options)
        raise ConfigError("", f'the TLS options "{name}" do not exist', hint)

    def refuse(self, entry_points: tuple[str, ...], condition: AnyCondition) -> None:
        """A router cannot have its options: TLS to its hosts is refused, unless another router has them."""
        self._refused.append((entry_points, condition))

    def require(self, name: str) -> None:
        """A TCP router terminates with the options of this name, whatever host is asked for."""
        self._required.add(name)

    def settle(self, uses: Iterable[TlsUse]) -> tuple[dict[str, str], TlsContent]:
        """Decide which options each host gets, as they are chosen before there is a request.

        Returns:
            For each use by its name: the options its requests must have come over, if not ``default``. And
            the content for the workers.
        """
        known = list(uses)
        settled = self._agree(known) if any(each.options != DEFAULT_OPTIONS for each in known) else {}
        hosts: dict[str, dict[str, str]] = {}
        for entry_points, condition in self._refused:
            for name in entry_points:
                hosts.setdefault(name, {}).update(dict.fromkeys(domains_of(condition), REFUSED))
        if settled or hosts:
            for use in known:
                options = settled.get(use.name, DEFAULT_OPTIONS)
                for name in use.entry_points:
                    hosts.setdefault(name, {}).update(dict.fromkeys(domains_of(use.condition), options))
        return settled, self._content(hosts)

    def _agree(self, uses: list[TlsUse]) -> dict[str, str]:
        """Options by use; where a host is asked for with several, all who ask get ``default``."""
        domains = {use.name: domains_of(use.condition) for use in uses}
        current = {use.name: use.options for use in uses}
        for use in uses:
            if use.options != DEFAULT_OPTIONS and not domains[use.name] and not self._is_own(use):
                reason = f"no domain found in rule, the TLS option {use.options} cannot be applied"
                self._warn(use, reason)
                current[use.name] = DEFAULT_OPTIONS
        while True:
            asked: dict[tuple[str, str], set[str]] = {}
            for use in uses:
                for place in ((name, host) for name in use.entry_points for host in domains[use.name]):
                    asked.setdefault(place, set()).add(current[use.name])
            losers = [
                use
                for use in uses
                if current[use.name] != DEFAULT_OPTIONS
                and any(len(asked[name, host]) > 1 for name in use.entry_points for host in domains[use.name])
            ]
            for use in losers:
                current[use.name] = DEFAULT_OPTIONS
                reason = (
                    "router's TLSOptions configuration is conflicting with other routers on the same "
                    "entrypoint and host, default TLS options will be used instead"
                )
                self._warn(use, reason)
            if not losers:
                return {name: options for name, options in current.items() if options != DEFAULT_OPTIONS}

    def _is_own(self, use: TlsUse) -> bool:
        """Whether the entrypoints give these options to everybody."""
        return all(name in self._v1 and self._v1[name][0] == use.options for name in use.entry_points)

    def _warn(self, use: TlsUse, reason: str) -> None:
        item = self._catalog.routers.get(use.router)
        if item is not None and item.provider != INTERNAL:
            item.warning(self._found, reason, None, "tls", "options")
        else:
            self._found.warning((), f"router {use.router}: {reason}")

    def _content(self, hosts: Mapping[str, Mapping[str, str]]) -> TlsContent:
        store = _in_order(self._certificates)
        entries: list[CertificateEntry] = [self._default, *store]
        entrances: list[TlsEntrance] = []
        used = {DEFAULT_OPTIONS, *self._required}
        for name in sorted(hosts.keys() | self._v1.keys()):
            base, own = self._v1.get(name, (DEFAULT_OPTIONS, None))
            wanted = {host: each for host, each in sorted(hosts.get(name, {}).items()) if each != base}
            used |= {base, *wanted.values()}
            chosen: tuple[int, ...] | None = None
            if own is not None:
                chosen = tuple(range(len(entries), len(entries) + len(own)))
                entries += own
            first = chosen[0] if chosen else None
            if wanted or own is not None or base != DEFAULT_OPTIONS:
                entrances.append(TlsEntrance(name, base, wanted, chosen, first))
        return TlsContent(
            certificates=tuple(entries),
            store=tuple(range(1, len(store) + 1)),
            default_certificate=0,
            options=tuple(self._entry(name) for name in sorted(used)),
            entrances=tuple(entrances),
            ticket_secret=ticket_secret(),
        )

    def _entry(self, name: str) -> TlsOptionsEntry:
        found = self._options.get(name) or self._last_options.get(name)
        return found if found is not None else TlsOptionsEntry(name, is_usable=False)


def v1_options_name(entry_point: str) -> str:
    """The name of the options that a v1 entrypoint brings along."""
    return f"entrypoint-{entry_point}@{INTERNAL}"


def _in_order(certificates: Iterable[CertificateEntry]) -> list[CertificateEntry]:
    """The certificates of a store, in the order in which they are tried; of equal names the first stays."""
    by_names: dict[str, CertificateEntry] = {}
    for each in certificates:
        by_names.setdefault(match_order(each), each)
    return [by_names[names] for names in sorted(by_names, reverse=True)]

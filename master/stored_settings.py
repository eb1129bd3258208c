"""v1's static settings in a key-value store: read at the start, over everything else (spec v1 section 1.8).

The store is the first one that is configured of consul, etcd, zookeeper and boltdb, as in the original. When
it does not answer, the settings as they were read last count: a proxy that starts without its store must not
open other ports than before. Without such a copy the file, the environment and the flags count alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from providers.kv_provider import KeyStore, KeyValueProvider, SettingsSource, SettingsStore
from providers.registry import make_settings_store
from shared.config.layers import Setting
from shared.config.static import StaticConfig
from shared.config.stored import is_static, to_settings
from shared.errors import ConfigError, ProviderError, UsageError

FETCH_WAIT_S = 5.0
"""How long a start or a reload waits for the store."""
STORE_WAIT_S = 60.0
"""For all settings to be written."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where settings are stored.

    Attributes:
        provider: of the store.
        name: of its section.
        root: as configured.
    """

    provider: KeyValueProvider
    name: str
    root: str


def find_place(config: StaticConfig) -> Place | None:
    """Where these settings would be stored; None if v1 does not store them.

    Raises:
        ConfigError: the store's own settings cannot work.
    """
    found = make_settings_store(config)
    if found is None or config.v1 is None:
        return None
    name, provider = found
    provider.validate()
    return Place(provider, name, getattr(config.v1, name).prefix.strip("/"))


def reader(copy: Path | None) -> Callable[[StaticConfig], Sequence[Setting]]:
    """What ``load_static`` asks for stored settings. Blocks, and must not be called in trio's own thread.

    Args:
        copy: where what was read last is kept; None keeps nothing.
    """

    def read(config: StaticConfig) -> Sequence[Setting]:
        try:
            place = find_place(config)
        except ConfigError:
            return ()  # said, with its place, by whoever makes the provider
        if place is None:
            return ()
        try:
            pairs = trio.run(_fetch, place)
        except ProviderError as error:
            pairs = _load(copy)
            what = "those read last count" if pairs else "they count as none"
            _log.warning("static settings in %s: %s; %s", place.name, error.reason, what)
        else:
            _save(copy, pairs)
        return to_settings(pairs, f"{place.name}:{place.root}")

    return read


def write(config: StaticConfig, pairs: Mapping[str, str]) -> Place:
    """Store settings; returns where. Blocks.

    Raises:
        UsageError: no store is configured, or it can only be read.
        ProviderError: it does not take them.
    """
    place = find_place(config)
    if place is None:
        stores = "[consul], [etcd] or [zookeeper]"
        raise UsageError(f"storeconfig needs v1's settings with a key-value store in them: {stores}")
    trio.run(_store, place, pairs)
    return place


async def _fetch(place: Place) -> Mapping[str, bytes]:
    async def read(store: KeyStore) -> Mapping[str, bytes]:
        assert isinstance(store, SettingsSource), "those that settings are read from are"
        return await store.read_own()

    return await _in_time(place, place.provider.ask(read), FETCH_WAIT_S)


async def _store(place: Place, pairs: Mapping[str, str]) -> None:
    async def put(store: KeyStore) -> None:
        if not isinstance(store, SettingsStore):
            raise UsageError(f"{place.name} is only read; other programs write its file")
        await store.write(pairs)

    await _in_time(place, place.provider.ask(put), STORE_WAIT_S)


async def _in_time(place: Place, answer: Awaitable[T], limit_s: float) -> T:
    try:
        with trio.fail_after(limit_s):
            return await answer
    except trio.TooSlowError as error:
        raise ProviderError(place.name, f"no answer within {limit_s:g} s") from error


def _save(copy: Path | None, pairs: Mapping[str, bytes]) -> None:
    if copy is None:
        return
    kept = {key: value.decode("utf-8", "replace") for key, value in pairs.items() if is_static(key)}
    if not kept and not copy.exists():
        return  # nobody stores settings here
    new = copy.with_name(f"{copy.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        new.replace(copy)
    except OSError as error:
        _log.warning("cannot keep a copy of the stored settings: %s", error)


def _load(copy: Path | None) -> Mapping[str, bytes]:
    try:
        kept = json.loads(copy.read_text("utf-8")) if copy is not None else {}
        return {str(key): str(value).encode() for key, value in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        _log.warning("the copy of the stored settings is not usable: %s", error)
        return {}

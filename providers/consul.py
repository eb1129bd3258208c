"""Keys in Consul: recursive reads and blocking queries (spec v2 section 8.5, spec v1 section 5f).

A recursive read is of one index. While nothing happens a blocking query waits for an index above the last;
what it answers is the next reading. Its index may fall (a wipe, a restore, deletions forgotten after 15
minutes): then the query starts again without one, as a query with an index from the future sees nothing.

- An alias and its target are read in one transaction, with the target before it: whichever of them the alias
  names at that moment counts.
- A token that may not read gets an empty answer, not an error. So when there were keys and there are none,
  one of them is asked for by its name: that is refused where reading is, and what was read before stays.

Source: Consul's HTTP API, "KV store", "Blocking queries", and recorded exchanges of 1.10.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import msgspec

from providers.base import Provider
from providers.http_api import Answer, HttpApi, check_endpoints, open_api
from providers.kv import ALIAS, KeyTree, alias_of, keys_below
from providers.kv_provider import KeyStore, KeyValueProvider
from providers.kv_settings import extras_of
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import ConsulSettings

WAIT_S = 15.0
"""How long a blocking query waits, as v1's did; a dead connection is noticed soon after."""
ANSWER_S = 30.0
"""How long an answer may take beyond the wait; without a leader Consul takes 7 s to say so."""
MAX_ALIAS_TRIES = 10
"""Readings while the alias is changed to ever new targets; then it is a failure."""
MAX_OPERATIONS = 64
"""Of one transaction; Consul takes 64."""
MAX_TARGETS = 2
"""Targets of the alias that are read together: who uses it writes into two places by turns."""


class _Entry(msgspec.Struct, frozen=True):
    key: str = msgspec.field(name="Key")
    value: bytes | None = msgspec.field(name="Value")  # msgspec reads base64


class _Reading(msgspec.Struct, frozen=True):
    entries: tuple[_Entry, ...]
    index: int


class _Result(msgspec.Struct, frozen=True):
    entry: _Entry = msgspec.field(name="KV")


class _Failure(msgspec.Struct, frozen=True):
    what: str = msgspec.field(name="What", default="")


class _Outcome(msgspec.Struct, frozen=True):
    results: tuple[_Result, ...] | None = msgspec.field(name="Results", default=None)
    errors: tuple[_Failure, ...] | None = msgspec.field(name="Errors", default=None)


_READER = msgspec.json.Decoder(tuple[_Entry, ...])
_OUTCOMES = msgspec.json.Decoder(_Outcome)


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The providers of ``providers.consul``, one for each namespace, or of v1's ``[consul]``.

    Raises:
        ConfigError: an endpoint or a setting of v1's cannot be used.
    """
    settings = config.providers.consul
    assert settings is not None, "called for configured sections only"
    extras = extras_of(config, "consul")
    check_endpoints("consul", settings.endpoints, is_tls=settings.tls is not None)
    user: tuple[str, str] | None = None
    if extras.section is not None and extras.section.username:
        user = (extras.section.username, extras.section.password)
    return [
        KeyValueProvider(
            name,
            settings.endpoints,
            _Connection(name, settings, namespace, user).open,
            watch=extras.watch,
            keeps=extras.keeps,
        )
        for name, namespace in _names(settings.namespaces)
    ]


def _names(namespaces: tuple[str, ...]) -> list[tuple[str, str]]:
    """Provider names and the namespaces they read."""
    return [(f"consul-{each}", each) for each in namespaces] or [("consul", "")]


class _Connection:
    """Connects, and remembers between connections which key was there."""

    def __init__(
        self, name: str, settings: ConsulSettings, namespace: str, user: tuple[str, str] | None
    ) -> None:
        self.seen_key: str | None = None
        self._name = name
        self._settings = settings
        self._namespace = namespace
        self._user = user

    @asynccontextmanager
    async def open(self, endpoint: str) -> AsyncIterator[KeyStore]:
        """Connect to an endpoint.

        Raises:
            ProviderError: a file of the ``tls`` section cannot be used.
        """
        settings = self._settings
        async with open_api(self._name, endpoint, settings.tls, user=self._user) as api:
            if settings.token:
                api.set_secret("X-Consul-Token", settings.token)
            yield ConsulStore(api, settings.root_key, self._namespace, self)


class ConsulStore:
    """Reads and watches through one endpoint."""

    check_s = math.inf  # the blocking query comes back by itself

    def __init__(self, api: HttpApi, root: str, namespace: str, memory: _Connection) -> None:
        self._api = api
        self._root = root.strip("/")
        self._namespace = {"ns": namespace} if namespace else {}
        self._memory = memory
        self._index = self._count = 0
        self._waiting: _Reading | None = None
        self._targets: tuple[str, ...] = ()

    async def read(self) -> KeyTree:
        """The tree of one index.

        Raises:
            ProviderError: Consul does not answer, refuses, or the alias does not stand still.
        """
        reading, self._waiting = self._waiting or await self._recurse(self._root), None
        self._index, self._count = reading.index, len(reading.entries)
        if reading.entries:
            self._memory.seen_key = reading.entries[-1].key
        else:
            await self._check_emptiness()
        own = _below(self._root, reading)
        target = alias_of(own)
        for _ in range(MAX_ALIAS_TRIES):
            if target is None:
                return KeyTree(self._root, own)
            self._targets = tuple(dict.fromkeys((target, *self._targets)))[:MAX_TARGETS]
            alias, entries = await self._read_targets()
            if alias is None:  # it was removed meanwhile
                own = _below(self._root, await self._recurse(self._root))
            target = alias_of(own) if alias is None else alias
            if target in self._targets:
                return KeyTree(target, _below(target, entries), is_aliased=True)
        raise self._api.failed(f"the alias changed {MAX_ALIAS_TRIES} times while its target was read")

    async def read_own(self) -> dict[str, bytes]:
        """The keys below the root, whatever the alias says."""
        return _below(self._root, await self._recurse(self._root))

    async def write(self, pairs: Mapping[str, str]) -> None:
        """Write keys below the root, ``MAX_OPERATIONS`` in a transaction."""
        where = {"Namespace": self._namespace["ns"]} if self._namespace else {}
        operations = [
            {"KV": {"Verb": "set", "Key": f"{self._root}/{key}", "Value": value.encode(), **where}}
            for key, value in pairs.items()
        ]
        for start in range(0, len(operations), MAX_OPERATIONS):
            content = msgspec.json.encode(operations[start : start + MAX_OPERATIONS])
            answer = await self._api.request("PUT", "/v1/txn", content=content, timeout_s=ANSWER_S)
            if answer.status != httpx.codes.OK:
                raise self._api.failed(f"it refuses to be written: {answer.words or answer.status}")

    async def wait(self) -> None:
        """Return when a blocking query tells of a change, or of an index that fell."""
        while True:
            index = max(self._index, 1)
            params = {"recurse": "", "index": str(index), "wait": f"{WAIT_S:g}s"}
            reading = await self._get(f"{self._root}/", params, wait_s=WAIT_S)
            if reading.index < index:
                self._index = 0
                return
            if reading.index > index or len(reading.entries) != self._count:
                self._waiting = reading  # a token that lost its rights sees less, at the same index
                return

    async def _read_targets(self) -> tuple[str | None, _Reading]:
        """The alias, None if there is none, and the keys below all targets, at one moment."""
        asked = [
            ("get", f"{self._root}/{ALIAS}"),
            *(("get-tree", f"{each.strip('/')}/") for each in self._targets),
        ]
        where = {"Namespace": self._namespace["ns"]} if self._namespace else {}
        content = msgspec.json.encode([{"KV": {"Verb": verb, "Key": key, **where}} for verb, key in asked])
        answer = await self._api.request("PUT", "/v1/txn", content=content, timeout_s=ANSWER_S)
        try:
            if answer.status == httpx.codes.CONFLICT:
                failures = _OUTCOMES.decode(answer.body).errors or ()
                if any("doesn't exist" in each.what for each in failures):
                    return None, _Reading((), 0)
                raise self._api.failed(f"it refuses to be read: {', '.join(each.what for each in failures)}")
            if answer.status != httpx.codes.OK:
                raise self._refused(answer)
            entries = tuple(each.entry for each in _OUTCOMES.decode(answer.body).results or ())
        except msgspec.DecodeError as error:
            raise self._api.failed("it answers something that is not Consul's") from error
        reading = _Reading(entries, 0)
        return alias_of(_below(self._root, reading)), reading

    async def _recurse(self, root: str) -> _Reading:
        return await self._get(f"{root}/", {"recurse": ""})

    async def _get(self, key: str, params: dict[str, str], wait_s: float = 0.0) -> _Reading:
        """Ask for a key or a prefix; nothing there is no error."""
        path = f"/v1/kv/{quote(key)}"
        timeout_s = wait_s * 17 / 16 + ANSWER_S  # Consul waits up to a sixteenth longer
        params = {**params, **self._namespace}
        answer = await self._api.request("GET", path, params=params, timeout_s=timeout_s)
        if answer.status not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise self._refused(answer)
        index = answer.headers.get("X-Consul-Index", "")
        if not index.isdecimal():
            raise self._api.failed(f"status {answer.status} without X-Consul-Index: this is not Consul")
        if answer.status == httpx.codes.NOT_FOUND:
            return _Reading((), int(index))
        try:
            return _Reading(_READER.decode(answer.body), int(index))
        except msgspec.DecodeError as error:
            raise self._api.failed("it answers something that is not Consul's") from error

    async def _check_emptiness(self) -> None:
        """Make sure that keys which were there and are not any more are not just hidden from us."""
        if self._memory.seen_key is None:
            return
        reading = await self._get(self._memory.seen_key, {})
        if reading.entries:
            raise self._api.failed("it lists no keys, although there are some; what was read before stays")
        self._memory.seen_key = None

    def _refused(self, answer: Answer) -> Exception:
        hint = " (providers.consul.token)" if answer.status == httpx.codes.FORBIDDEN else ""
        return self._api.failed(f"it refuses to be read: {answer.words or f'status {answer.status}'}{hint}")


def _below(root: str, reading: _Reading) -> dict[str, bytes]:
    return keys_below(root, ((each.key, each.value or b"") for each in reading.entries))

"""etcd's v3 API over its JSON gateway: one transaction per reading, one watch for all that changes.

A reading is of one revision: the root in both its spellings is ranged over in one transaction, an alias's
target at the same revision. After the first, only what changed since is asked for (``min_mod_revision``) and
how many keys there are: the keys known before, with the changed ones, include all that exist, so if the
counts are equal nothing was deleted, and otherwise everything is read anew.

Source: etcd 3.4 to 3.6, ``rpc.proto`` and the gateway's mapping of it: bytes are base64, int64 are texts.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import trio

from providers.http_api import HttpApi
from providers.kv import KeyTree, alias_of, keys_below, spellings
from shared.errors import ProviderError

CHECK_S = 10.0
"""A reading of what changed is made this often in any case; without changes it costs some 100 bytes."""
ANSWER_S = 30.0
"""How long one reading may take."""
MAX_OPERATIONS = 128
"""Of one transaction (etcd's --max-txn-ops)."""
MAX_LINE_BYTES = 65_536
"""Longer lines of the watch are not looked into: they tell of changes."""


class _KeyValue(msgspec.Struct, frozen=True):
    key: bytes  # msgspec reads base64
    value: bytes = b""


class _Range(msgspec.Struct, frozen=True):
    kvs: tuple[_KeyValue, ...] = ()
    count: str = "0"


class _Response(msgspec.Struct, frozen=True):
    response_range: _Range = _Range()


class _Header(msgspec.Struct, frozen=True):
    revision: str = "0"


class _Transaction(msgspec.Struct, frozen=True):
    header: _Header
    responses: tuple[_Response, ...] = ()


_READER = msgspec.json.Decoder(_Transaction)


class _TokenRefusedError(ProviderError):
    """etcd does not know our token (any more)."""


class EtcdV3Store:
    """A connection to an etcd. Made by ``open_v3``."""

    check_s = CHECK_S

    def __init__(self, api: HttpApi, root: str, user: tuple[str, str] | None = None) -> None:
        self._api = api
        self._root = root
        self._user = user
        self._own = _Mirror(api, root)
        self._target: _Mirror | None = None
        self._changed = trio.Event()

    async def log_in(self) -> None:
        """Get a token, if there is a user.

        Raises:
            ProviderError: etcd does not answer, or refuses the user.
        """
        if self._user is not None:
            self._api.hide(self._user[1])
            self._api.drop_header("Authorization")  # one that has expired is refused even here
            self._api.set_secret("Authorization", await _log_in(self._api, *self._user))

    async def read(self) -> KeyTree:
        """The tree of the newest revision.

        Raises:
            ProviderError: etcd does not answer, or refuses.
        """
        self._changed = trio.Event()
        try:
            return await self._read()
        except _TokenRefusedError:
            if self._user is None:
                raise
        await self.log_in()  # tokens live for minutes only, whatever is done with them (JWT)
        return await self._read()

    async def _read(self) -> KeyTree:
        revision = await self._own.refresh()
        own = keys_below(self._root, self._own.items())
        target = alias_of(own)
        if target is None:
            self._target = None
            return KeyTree(self._root, own)
        if self._target is None or self._target.root != target:
            self._target = _Mirror(self._api, target)
        await self._target.refresh(revision)
        return KeyTree(target, keys_below(target, self._target.items()), is_aliased=True)

    async def read_own(self) -> dict[str, bytes]:
        """The keys below the root, whatever the alias says."""
        await self._own.refresh()
        return keys_below(self._root, self._own.items())

    async def write(self, pairs: Mapping[str, str]) -> None:
        """Write keys below the root, ``MAX_OPERATIONS`` in a transaction."""
        root = self._root.rstrip("/")
        puts = [
            {"request_put": {"key": _encoded(f"{root}/{key}"), "value": _encoded(value)}}
            for key, value in pairs.items()
        ]
        for start in range(0, len(puts), MAX_OPERATIONS):
            content = msgspec.json.encode({"success": puts[start : start + MAX_OPERATIONS]})
            answer = await self._api.request("POST", "/v3/kv/txn", content=content, timeout_s=ANSWER_S)
            if answer.status != httpx.codes.OK:
                words = _error_words(answer.body, answer.status)
                raise self._api.failed(f"it refuses to be written: {words}")

    async def wait(self) -> None:
        """Return when the watch tells of a change."""
        await self._changed.wait()

    async def run_watch(self, task_status: trio.TaskStatus[None]) -> None:
        """Watch the root; started once etcd has confirmed it.

        Raises:
            ProviderError: the watch ended.
        """
        requests = [
            {"create_request": {"key": _encoded(first), "range_end": _encoded(last)}}
            for first, last in map(_bounds, spellings(self._root))
        ]
        body = b"\n".join(map(msgspec.json.encode, requests))
        missing = len(requests)
        async with self._api.stream("POST", "/v3/watch", content=body) as response:
            if response.status_code != httpx.codes.OK:
                raise self._api.failed(f"it refuses to be watched (status {response.status_code})")
            async for line in _lines(response):
                said = self._read_line(line)
                if "created" in said and missing:
                    missing -= 1
                    if not missing:
                        task_status.started()
                if "events" in said:
                    self._changed.set()
        raise self._api.failed("the watch ended")

    def _read_line(self, line: bytes | None) -> dict[str, Any]:
        if line is None:
            return {"events": True}
        try:
            said: dict[str, Any] = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise self._api.failed("the watch says something that is not JSON") from error
        if "error" in said:
            raise self._api.failed(f"the watch failed: {_words(said['error'])}")
        result: dict[str, Any] = said.get("result", {})
        if result.get("canceled"):
            raise self._api.failed(f"the watch was cancelled: {_words(result.get('cancel_reason', ''))}")
        return result


@asynccontextmanager
async def open_v3(api: HttpApi, root: str, user: tuple[str, str] | None) -> AsyncIterator[EtcdV3Store]:
    """Log in if asked to, and watch.

    Raises:
        ProviderError: etcd does not answer, or refuses.
    """
    store = EtcdV3Store(api, root, user)
    await store.log_in()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run_watch)
        yield store
        nursery.cancel_scope.cancel()


class _Mirror:
    """The keys below one root as of one revision."""

    def __init__(self, api: HttpApi, root: str) -> None:
        self.root = root
        self._api = api
        self._ranges = [_bounds(each) for each in spellings(root)]
        self._pairs: dict[bytes, bytes] = {}
        self._revision = 0

    def items(self) -> Iterable[tuple[str, bytes]]:
        """Keys and values; keys that are not UTF-8 have their odd bytes replaced."""
        return ((key.decode("utf-8", "replace"), value) for key, value in self._pairs.items())

    async def refresh(self, revision: int = 0) -> int:
        """Read what changed, or everything. Returns the revision of what is known now.

        Args:
            revision: the one to read; the newest if 0.
        """
        if self._revision:
            at, (changed, counts) = await self._read(revision, self._changes, self._counts)
            known = self._pairs | _pairs(changed)
            if len(known) == sum(int(each.count) for each in counts):
                self._pairs, self._revision = known, at
                return at
        at, (everything,) = await self._read(revision, self._everything)
        self._pairs, self._revision = _pairs(everything), at
        return at

    def _everything(self, first: str, last: str) -> dict[str, object]:
        return {"key": _encoded(first), "range_end": _encoded(last)}

    def _changes(self, first: str, last: str) -> dict[str, object]:
        return {**self._everything(first, last), "min_mod_revision": self._revision + 1}

    def _counts(self, first: str, last: str) -> dict[str, object]:
        return {**self._everything(first, last), "count_only": True}

    async def _read(self, revision: int, *questions: Any) -> tuple[int, list[list[_Range]]]:  # noqa: ANN401
        """Ask each question about each range, in one transaction."""
        at = {"revision": revision} if revision else {}
        ranges = [
            {"request_range": {**question(*bounds), **at}}
            for question in questions
            for bounds in self._ranges
        ]
        content = msgspec.json.encode({"success": ranges})
        answer = await self._api.request("POST", "/v3/kv/txn", content=content, timeout_s=ANSWER_S)
        if answer.status != httpx.codes.OK:
            refused = self._api.failed(f"it refuses to be read: {_error_words(answer.body, answer.status)}")
            if answer.status == httpx.codes.UNAUTHORIZED:
                raise _TokenRefusedError(refused.provider, refused.reason)
            raise refused
        try:
            read = _READER.decode(answer.body)
            found = [each.response_range for each in read.responses]
            at_revision = revision or int(read.header.revision)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._api.failed("it answers something that is not etcd's") from error
        if len(found) != len(ranges):
            raise self._api.failed("it answers something that is not etcd's")
        size = len(self._ranges)
        return at_revision, [found[start : start + size] for start in range(0, len(found), size)]


async def _log_in(api: HttpApi, name: str, password: str) -> str:
    content = msgspec.json.encode({"name": name, "password": password})
    answer = await api.request("POST", "/v3/auth/authenticate", content=content)
    words = _error_words(answer.body, answer.status)
    if answer.status != httpx.codes.OK:
        if "authentication is not enabled" in words:
            return ""
        raise api.failed(f"it refuses the user name or password: {words}")
    try:
        return str(msgspec.json.decode(answer.body)["token"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise api.failed("it answers something that is not etcd's") from error


async def _lines(response: httpx.Response) -> AsyncIterator[bytes | None]:
    """The lines of a body that does not end; None stands for one that is too long to keep."""
    rest = b""
    is_long = False
    async for chunk in response.aiter_raw():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield None if is_long else line
            is_long = False
        if len(rest) > MAX_LINE_BYTES:
            rest, is_long = b"", True


def _pairs(ranges: Iterable[_Range]) -> dict[bytes, bytes]:
    return {each.key: each.value for found in ranges for each in found.kvs}


def _bounds(root: str) -> tuple[str, str]:
    """First key and end of the range of all keys below a root: ``/`` is followed by ``0``."""
    return f"{root}/", f"{root}0"


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _error_words(body: bytes, status: int) -> str:
    try:
        return _words(msgspec.json.decode(body))
    except msgspec.DecodeError:
        return f"status {status}"


def _words(error: object) -> str:
    """What etcd says went wrong: a text, or the gateway's object around one."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or "no reason given"
    return " ".join(str(error).split())[:200]

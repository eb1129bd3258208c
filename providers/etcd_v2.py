"""etcd's v2 API, as v1's documentation uses it: one recursive read, one waiting request for changes.

A recursive read is of one index. An alias's target is a second read: it counts only if the alias key, read
once more after it, was not written in between (its ``modifiedIndex`` is the same), so that both belong to the
moment of the second.

Source: etcd 3.4, "Etcd v2 API"; the v2 key space is apart from v3's.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import httpx
import msgspec

from providers.http_api import Answer, HttpApi
from providers.kv import ALIAS, KeyTree, alias_of, keys_below
from shared.errors import ProviderError

CHECK_S = 60.0
"""A whole reading is made this often in any case."""
ANSWER_S = 30.0
"""How long one reading may take."""
MAX_ALIAS_TRIES = 10
"""Readings of an alias's target while the alias itself is being changed; then it is a failure."""

KEY_NOT_FOUND = 100
NOT_A_FILE = 102
INDEX_CLEARED = 401
"""etcd keeps the last 1,000 changes; who is further behind has to read anew."""


class _Node(msgspec.Struct, frozen=True):
    key: str = ""
    value: str = ""
    dir: bool = False
    nodes: tuple[_Node, ...] = ()
    modified_index: int = msgspec.field(default=0, name="modifiedIndex")


class _Reading(msgspec.Struct, frozen=True):
    node: _Node = _Node()


class _Refusal(msgspec.Struct, frozen=True):
    error_code: int = msgspec.field(default=0, name="errorCode")
    message: str = ""


_READER = msgspec.json.Decoder(_Reading)
_REFUSALS = msgspec.json.Decoder(_Refusal)


class NoV2ApiError(ProviderError):
    """This etcd does not serve the v2 API."""


class EtcdV2Store:
    """Reads and watches through one endpoint.

    Args:
        api: the endpoint.
        root: as configured.
    """

    check_s = CHECK_S

    def __init__(self, api: HttpApi, root: str) -> None:
        self._api = api
        self._root = root
        self._index = 0

    async def read(self) -> KeyTree:
        """The tree of one index.

        Raises:
            NoV2ApiError: there is no v2 API.
            ProviderError: etcd does not answer, refuses, or the alias does not stand still.
        """
        node, self._index = await self._get(self._root, recursive=True)
        own = keys_below(self._root, _pairs(node))
        target = alias_of(own)
        if target is None:
            return KeyTree(self._root, own)
        written = _child_index(node)
        for _ in range(MAX_ALIAS_TRIES):
            below, _ = await self._get(target, recursive=True)
            alias, _ = await self._get(f"{self._root}/{ALIAS}", recursive=False)
            if alias.modified_index == written:
                return KeyTree(target, keys_below(target, _pairs(below)), is_aliased=True)
            written = alias.modified_index
            target = alias_of({ALIAS: alias.value.encode()})
            if target is None:
                return await self.read()
        raise self._api.failed(f"the alias changed {MAX_ALIAS_TRIES} times while its target was read")

    async def read_own(self) -> dict[str, bytes]:
        """The keys below the root, whatever the alias says; directories without keys end in a slash."""
        node, _ = await self._get(self._root, recursive=True)
        return keys_below(self._root, [*_pairs(node), *_empty_folders(node)])

    async def write(self, pairs: Mapping[str, str]) -> None:
        """Write keys below the root, one by one: this API has no transactions."""
        for key, value in pairs.items():
            path = _path(f"{self._root}/{key}")
            params = {"dir": "true"} if key.endswith("/") else {"value": value}
            answer = await self._api.request("PUT", path, params=params, timeout_s=ANSWER_S)
            is_folder_already = key.endswith("/") and _refusal(answer).error_code == NOT_A_FILE
            if answer.status not in (httpx.codes.OK, httpx.codes.CREATED) and not is_folder_already:
                reason = _refusal(answer).message or f"status {answer.status}"
                raise self._api.failed(f"it refuses to be written: {reason}")

    async def wait(self) -> None:
        """Return when anything below the root was written since the last reading."""
        params = {"wait": "true", "recursive": "true", "waitIndex": str(self._index + 1)}
        answer = await self._api.request("GET", _path(self._root), params=params, timeout_s=2 * CHECK_S)
        if answer.status == httpx.codes.OK:
            return
        refusal = _refusal(answer)
        if refusal.error_code != INDEX_CLEARED:
            raise self._api.failed(f"it refuses to be watched: {refusal.message or answer.status}")

    async def _get(self, key: str, *, recursive: bool) -> tuple[_Node, int]:
        """A node and etcd's index; an empty node if there is none."""
        params = {"quorum": "true", "sorted": "true", "recursive": str(recursive).lower()}
        answer = await self._api.request("GET", _path(key), params=params, timeout_s=ANSWER_S)
        index = answer.headers.get("X-Etcd-Index", "")
        if answer.status == httpx.codes.OK and index.isdecimal():
            try:
                return _READER.decode(answer.body).node, int(index)
            except (msgspec.DecodeError, RecursionError) as error:
                raise self._api.failed("it answers something that is not etcd's") from error
        refusal = _refusal(answer)
        if refusal.error_code == KEY_NOT_FOUND and index.isdecimal():
            return _Node(), int(index)
        if answer.status == httpx.codes.NOT_FOUND and not refusal.error_code:
            reason = f"{self._api.shown}: it has no v2 API (etcd's --enable-v2), only the v3 one (useAPIV3)"
            raise NoV2ApiError(self._api.provider, reason)
        raise self._api.failed(f"it refuses to be read: {refusal.message or f'status {answer.status}'}")


def _path(key: str) -> str:
    return f"/v2/keys/{quote(key.strip('/'))}"


def _refusal(answer: Answer) -> _Refusal:
    try:
        return _REFUSALS.decode(answer.body)
    except msgspec.DecodeError:
        return _Refusal()


def _pairs(root: _Node) -> list[tuple[str, bytes]]:
    """All keys of a tree that hold values, depth first."""
    found: list[tuple[str, bytes]] = []
    pending = [root]
    while pending:
        node = pending.pop()
        if node.dir:
            pending += node.nodes
        elif node.key:
            found.append((node.key, node.value.encode()))
    return found


def _empty_folders(root: _Node) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    pending = [root]
    while pending:
        node = pending.pop()
        pending += node.nodes
        if node.dir and node.key and not node.nodes:
            found.append((f"{node.key}/", b""))
    return found


def _child_index(root: _Node) -> int:
    name = f"/{ALIAS}"
    return next((each.modified_index for each in root.nodes if each.key.endswith(name)), 0)

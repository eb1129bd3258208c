"""Keys in Redis: read in one script, watched by keyspace notifications (spec v2 section 8.5; v1 has none).

A script runs alone in Redis, so the keys, their values and the alias's target are of one moment. A second
connection is subscribed to the notifications of the root's keys; Redis sends them only if
``notify-keyspace-events`` has ``K`` and the kinds of events, so otherwise the keys are read every ``POLL_S``.
Only strings count; keys of other types are left alone.

With a ``sentinel`` section the endpoints are sentinels, which name the server to read from.

Source: Redis 7, "Keyspace notifications", "Sentinel", ``EVAL``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import hiredis
import trio

from providers.base import Provider
from providers.client_tls import make_client_context
from providers.kv import KeyTree, keys_below, spellings
from providers.kv_provider import KeyStore, KeyValueProvider
from providers.redis_protocol import RedisConnection, open_redis, parse_server
from providers.redis_sentinel import check_sentinel, find_server
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import RedisSettings
from shared.errors import ProviderError

CHECK_S = 30.0
"""The keys are read this often in any case, and the subscription is asked for a sign of life."""
POLL_S = 5.0
"""... and this often where Redis sends no notifications."""
ANSWER_S = 30.0
"""How long one reading may take."""
READ_SCRIPT = r"""
local function escaped(text)
  return (string.gsub(text, '[%*%?%[%]%^\\]', '\\%0'))
end
local alias = redis.call('GET', ARGV[1] .. '/alias') or redis.call('GET', ARGV[2] .. '/alias') or ''
alias = string.gsub(string.gsub(alias, '^%s+', ''), '[%s/]+$', '')
local roots = {ARGV[1], ARGV[2]}
if alias ~= '' then
  local bare = string.gsub(alias, '^/+', '')
  roots = {bare, '/' .. bare}
end
local found = {alias}
for _, root in ipairs(roots) do
  local keys = redis.call('KEYS', escaped(root) .. '/*')
  for first = 1, #keys, 1000 do
    local part = {unpack(keys, first, math.min(first + 999, #keys))}
    local values = redis.call('MGET', unpack(part))
    for at, key in ipairs(part) do
      if values[at] then
        found[#found + 1] = key
        found[#found + 1] = values[at]
      end
    end
  end
end
return found
"""
"""Arguments are the root in both its spellings; the answer is the alias and then keys and values."""

_log = logging.getLogger(__name__)


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.redis``.

    Raises:
        ConfigError: an endpoint or the ``sentinel`` section cannot be used.
    """
    settings = config.providers.redis
    assert settings is not None, "called for configured sections only"
    for each in settings.endpoints:
        parse_server(each)
    check_sentinel(settings.sentinel)
    return [KeyValueProvider("redis", settings.endpoints, _Connection(settings).open)]


class _Connection:
    """Connects to a server, or to that which a sentinel names."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def open(self, endpoint: str) -> AsyncIterator[KeyStore]:
        """Connect, subscribe, and look whether notifications come.

        Raises:
            ProviderError: Redis does not answer, or refuses.
        """
        settings = self._settings
        context: ssl.SSLContext | None = None
        if settings.tls is not None:
            context = await trio.to_thread.run_sync(make_client_context, "redis", settings.tls)
        server = parse_server(endpoint)
        if settings.sentinel is not None:
            server = await find_server(settings.sentinel, server, settings, context)
        async with (
            _open(settings, server, context) as reading,
            _open(settings, server, context) as listening,
            trio.open_nursery() as nursery,
        ):
            store = RedisStore(reading, listening, settings.root_key, settings.db)
            await nursery.start(store.run_subscription)
            await store.choose_rhythm()
            yield store
            nursery.cancel_scope.cancel()


class RedisStore:
    """Reads through one connection and listens on another."""

    def __init__(self, reading: RedisConnection, listening: RedisConnection, root: str, db: int) -> None:
        self.check_s = CHECK_S
        self._reading = reading
        self._listening = listening
        self._root = root
        self._db = db
        self._changed = trio.Event()

    async def read(self) -> KeyTree:
        """The tree of this moment.

        Raises:
            ProviderError: Redis does not answer, or refuses.
        """
        self._changed = trio.Event()
        reply = await self._reading.ask("EVAL", READ_SCRIPT, 0, *spellings(self._root), timeout_s=ANSWER_S)
        if not isinstance(reply, list) or len(reply) % 2 != 1:
            raise self._reading.failed("it answers something that is not Redis's")
        target = reply[0].decode("utf-8", "replace")
        root = target or self._root
        keys = (each.decode("utf-8", "replace") for each in reply[1::2])
        return KeyTree(root, keys_below(root, zip(keys, reply[2::2], strict=True)), is_aliased=bool(target))

    async def wait(self) -> None:
        """Return when Redis tells of a change."""
        await self._changed.wait()

    async def choose_rhythm(self) -> None:
        """Look whether notifications are on; if they are not, read often."""
        try:
            reply = await self._reading.ask("CONFIG", "GET", "notify-keyspace-events", timeout_s=ANSWER_S)
        except ProviderError as error:
            _log.warning("%s; if notify-keyspace-events is off there, changes take up to %g s", error, POLL_S)
            self.check_s = POLL_S
            return
        kinds = reply[1].decode("ascii", "replace") if isinstance(reply, list) and len(reply) > 1 else ""
        if "K" not in kinds or not ("A" in kinds or {"$", "g"} <= set(kinds)):
            self.check_s = POLL_S
            _log.warning(
                "redis at %s sends no keyspace notifications (set notify-keyspace-events to KA); "
                "its keys are read every %g s instead",
                self._reading.shown,
                POLL_S,
            )

    async def run_subscription(self, task_status: trio.TaskStatus[None]) -> None:
        """Listen to the notifications of the root's keys; started once Redis has confirmed it.

        Raises:
            ProviderError: the subscription ended, or Redis gives no sign of life.
        """
        patterns = [f"__keyspace@{self._db}__:{_escaped(each)}/*" for each in spellings(self._root)]
        await self._listening.send("PSUBSCRIBE", *patterns)
        missing, is_asked = len(patterns), False
        while True:
            message: object = None
            with trio.move_on_after(CHECK_S):
                message = await self._listening.receive()
            if message is None and is_asked:
                raise self._listening.failed("the subscription gives no sign of life")
            is_asked = message is None
            if message is None:
                await self._listening.send("PING")
            elif isinstance(message, hiredis.ReplyError):
                raise self._listening.failed(f"it refuses PSUBSCRIBE: {message}")
            elif isinstance(message, list) and message[:1] == [b"pmessage"]:
                self._changed.set()
            elif isinstance(message, list) and message[:1] == [b"psubscribe"] and missing:
                missing -= 1
                if not missing:
                    task_status.started()


def _open(
    settings: RedisSettings, server: tuple[str, int], context: ssl.SSLContext | None
) -> AbstractAsyncContextManager[RedisConnection]:
    user = {"username": settings.username, "password": settings.password}
    return open_redis("redis", server, context, **user, db=settings.db)


def _escaped(text: str) -> str:
    """Text as a part of a glob pattern."""
    return "".join(f"\\{char}" if char in "*?[]^\\" else char for char in text)

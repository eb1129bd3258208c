"""Which Redis server to read from, as its sentinels say.

The master, unless a strategy says otherwise: ``replicaStrategy`` takes any replica, ``randomStrategy`` any
server, ``latencyStrategy`` the server that answers first. Replicas that have lost their master count only
with ``useDisconnectedReplicas``.

Source: Redis 7, "Redis Sentinel"; spec v2 section 8.5.
"""

from __future__ import annotations

import random
import ssl
from typing import Any

import trio

from providers.redis_protocol import RedisConnection, open_redis
from shared.config.static_providers import RedisSentinel, RedisSettings
from shared.errors import ConfigError, ProviderError

ANSWER_S = 5.0
"""How long a sentinel, or a server that is asked how far away it is, may take."""

Server = tuple[str, int]


def check_sentinel(sentinel: RedisSentinel | None) -> None:
    """Check the settings.

    Raises:
        ConfigError: the master has no name, or strategies exclude each other.
    """
    if sentinel is None:
        return
    where = "providers.redis.sentinel"
    if not sentinel.master_name:
        raise ConfigError(f"{where}.masterName", "the master's name is required")
    chosen = (sentinel.latency_strategy, sentinel.random_strategy, sentinel.replica_strategy)
    if sum(chosen) > 1:
        reason = "latencyStrategy, randomStrategy and replicaStrategy exclude each other; use only one"
        raise ConfigError(where, reason)


async def find_server(
    sentinel: RedisSentinel, endpoint: Server, settings: RedisSettings, context: ssl.SSLContext | None
) -> Server:
    """Ask one sentinel.

    Args:
        endpoint: the sentinel.
        settings: of the provider; its credentials are the servers', not the sentinels'.
        context: for TLS, towards both.

    Raises:
        ProviderError: it does not answer, does not know the master, or no server fits the strategy.
    """
    async with open_redis(
        "redis", endpoint, context, username=sentinel.username, password=sentinel.password
    ) as asked:
        name = sentinel.master_name
        if not (sentinel.latency_strategy or sentinel.random_strategy or sentinel.replica_strategy):
            return await _master(asked, name)
        servers = await _replicas(asked, name, use_disconnected=sentinel.use_disconnected_replicas)
        if not sentinel.replica_strategy:
            servers.append(await _master(asked, name))
        if not servers:
            raise asked.failed(f'the master "{name}" has no replica that can be used')
        if not sentinel.latency_strategy:
            return random.choice(servers)
    return await _nearest(servers, settings, context)


async def _master(asked: RedisConnection, name: str) -> Server:
    reply = await asked.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, timeout_s=ANSWER_S)
    if not isinstance(reply, list) or len(reply) != 2:
        raise asked.failed(f'the sentinel knows no master "{name}"')
    return _server(*reply)


async def _replicas(asked: RedisConnection, name: str, *, use_disconnected: bool) -> list[Server]:
    reply = await asked.ask("SENTINEL", "REPLICAS", name, timeout_s=ANSWER_S)
    servers: list[Server] = []
    for flat in reply if isinstance(reply, list) else []:
        facts: dict[bytes, Any] = dict(zip(flat[::2], flat[1::2], strict=False))
        flags = facts.get(b"flags", b"").split(b",")
        is_lost = facts.get(b"master-link-status") != b"ok"
        if b"s_down" in flags or b"o_down" in flags or (is_lost and not use_disconnected):
            continue
        servers.append(_server(facts[b"ip"], facts[b"port"]))
    return servers


async def _nearest(servers: list[Server], settings: RedisSettings, context: ssl.SSLContext | None) -> Server:
    """The server that answers first."""
    answered: list[Server] = []
    failures: list[ProviderError] = []
    async with trio.open_nursery() as nursery:

        async def ask(server: Server) -> None:
            try:
                async with open_redis(
                    "redis", server, context, username=settings.username, password=settings.password
                ) as connection:
                    await connection.ask("PING", timeout_s=ANSWER_S)
            except ProviderError as error:
                failures.append(error)
                return
            answered.append(server)
            nursery.cancel_scope.cancel()

        for each in servers:
            nursery.start_soon(ask, each)
    if not answered:
        raise failures[0]
    return answered[0]


def _server(host: bytes, port: bytes) -> Server:
    return host.decode("ascii", "replace"), int(port)

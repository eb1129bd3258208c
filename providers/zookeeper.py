"""ZooKeeper as a provider: the whole tree below the root is watched, and read as of one moment.

ZooKeeper has no reading of many nodes at once, but it keeps an order that serves as well: of a node that is
watched, a session hears the event before it sees anything newer. So all nodes are read and watched; then
nodes that changed are read again; and when one more answer has come and no event before it, everything that
is held was there at that moment (``providers.zookeeper_tree``). Whoever writes all the time into the tree in
force delays this; use ``alias``, whose other targets are neither read nor watched.

The client library works in threads. A connection that was interrupted, for however short a time, is given up
and made anew: watches of a session that moved to another server are not worth trusting.

Source: ZooKeeper programmer's guide, "Watches" and "Consistency Guarantees"; spec v1 section 5f, v2
section 8.5.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import trio
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import AuthFailedError, KazooException, NoAuthError
from kazoo.handlers.threading import KazooTimeoutError

from providers.base import Provider
from providers.kv import KeyTree
from providers.kv_provider import KeyStore, KeyValueProvider
from providers.kv_settings import extras_of
from providers.zookeeper_tree import NodeTree, read_all_nodes, write_nodes
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import ZooKeeperSettings
from shared.errors import ProviderError

NAME = "zookeeper"
CONNECT_WAIT_S = 5.0
"""For one of the servers to accept a session."""
SESSION_TIMEOUT_S = 10.0
"""A connection that is silent for two thirds of this is given up; kazoo pings more often."""
SETTLE_WAIT_S = 20.0
"""For a moment in which nobody writes; then the reading is given up, and what was read before stays."""
STOP_WAIT_S = 5.0
"""For the client's threads to end."""
CHECK_S = 10.0
"""How often to ask although nothing was said; it costs one round trip. A session that lost its right to read
is told nothing any more, so that it takes a question to find out."""

_log = logging.getLogger(__name__)
# The library logs requests, and one of them holds the password; what goes wrong is said by us.
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)


class ZooKeeperStore:
    """A session.

    Args:
        client: connected.
        root: as configured.
    """

    check_s = CHECK_S

    def __init__(self, client: KazooClient, root: str) -> None:
        self._client = client
        self._base = f"/{root.strip('/')}"
        self._changed = trio.Event()
        self._is_lost = False
        self._token = trio.lowlevel.current_trio_token()
        self._tree = NodeTree(client, root, self._note_event)
        client.add_listener(self._note_state)

    async def read(self) -> KeyTree:
        """The tree as of one moment.

        Raises:
            ProviderError: the session is lost, may not read, or finds no moment without a change.
        """
        self._changed = trio.Event()
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    async def read_own(self) -> dict[str, bytes]:
        """The keys below the root, whatever the alias says; empty nodes end in a slash."""
        return await trio.to_thread.run_sync(self._read_own, abandon_on_cancel=True)

    async def write(self, pairs: Mapping[str, str]) -> None:
        """Write nodes below the root, all in one transaction."""
        await trio.to_thread.run_sync(self._write, pairs, abandon_on_cancel=True)

    async def wait(self) -> None:
        """Return after an event.

        Raises:
            ProviderError: the session is lost.
        """
        await self._changed.wait()
        if self._is_lost:
            raise ProviderError(NAME, f"{_hosts(self._client)}: the connection is lost")

    def _read(self) -> KeyTree:
        deadline = time.monotonic() + SETTLE_WAIT_S
        with _our_errors(_hosts(self._client)):
            while not self._tree.refresh():
                if time.monotonic() > deadline:
                    why = f"{_hosts(self._client)}: written without pause for {SETTLE_WAIT_S:g} s"
                    raise ProviderError(NAME, f"{why}; write below another root, then switch alias")
            return self._tree.content()

    def _read_own(self) -> dict[str, bytes]:
        with _our_errors(_hosts(self._client)):
            return read_all_nodes(self._client, self._base)

    def _write(self, pairs: Mapping[str, str]) -> None:
        with _our_errors(_hosts(self._client)):
            write_nodes(self._client, self._base, pairs)

    # ------------------------------------------------------------------ called in the client's threads

    def _note_event(self) -> None:
        self._tell(self._wake)

    def _note_state(self, state: str) -> None:
        if state != KazooState.CONNECTED:
            self._tell(self._lose)

    def _tell(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # the master has ended; nobody is left to be told
            self._token.run_sync_soon(what)

    # ------------------------------------------------------------------ called in trio's thread

    def _wake(self) -> None:
        self._changed.set()

    def _lose(self) -> None:
        self._is_lost = True
        self._changed.set()


class ZooKeeperConnector:
    """Makes sessions.

    Args:
        settings: root and credentials.
    """

    def __init__(self, settings: ZooKeeperSettings) -> None:
        self._settings = settings

    @contextlib.asynccontextmanager
    async def connect(self, hosts: str) -> AsyncIterator[KeyStore]:
        """A session for as long as the block lasts.

        Args:
            hosts: ``HOST:PORT``, several with commas between: any server of one ensemble.

        Raises:
            ProviderError: none of them answers.
        """
        client = make_client(hosts, self._settings)
        try:
            await trio.to_thread.run_sync(_start, client, abandon_on_cancel=True)
            yield ZooKeeperStore(client, self._settings.root_key)
        finally:
            with trio.move_on_after(STOP_WAIT_S, shield=True):
                await trio.to_thread.run_sync(stop_client, client, abandon_on_cancel=True)


def make_client(hosts: str, settings: ZooKeeperSettings) -> KazooClient:
    """A client that is not connected yet."""
    who = f"{settings.username}:{settings.password}"
    return KazooClient(
        hosts=hosts,
        timeout=SESSION_TIMEOUT_S,
        auth_data=[("digest", who)] if settings.username else None,
        logger=_quiet,
    )


def stop_client(client: KazooClient) -> None:
    """End a client and its threads. Blocks."""
    try:
        client.stop()
        client.close()
    except KazooException as error:
        _log.debug("the client did not end in order: %s", type(error).__name__)  # its threads are daemons


def _start(client: KazooClient) -> None:
    _knock(client)
    with _our_errors(_hosts(client)):
        client.start(timeout=CONNECT_WAIT_S)


def _knock(client: KazooClient) -> None:
    """See whether anybody is there: the client library would not say why not, and takes its whole time."""
    reasons = []
    for host, port in client.hosts:
        try:
            socket.create_connection((host, port), CONNECT_WAIT_S).close()
        except OSError as error:
            reasons.append(f"{host}:{port}: cannot connect: {error.strerror or error}")
        else:
            return
    raise ProviderError(NAME, "; ".join(reasons))


@contextlib.contextmanager
def _our_errors(hosts: str) -> Iterator[None]:
    """Map the client library's errors."""
    try:
        yield
    except (NoAuthError, AuthFailedError) as error:
        raise ProviderError(NAME, f"{hosts}: not allowed to read; check username and password") from error
    except KazooTimeoutError as error:
        raise ProviderError(NAME, f"{hosts}: no answer") from error
    except KazooException as error:
        raise ProviderError(NAME, f"{hosts}: {type(error).__name__}") from error


def _hosts(client: KazooClient) -> str:
    return ",".join(f"{host}:{port}" for host, port in client.hosts)


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.zooKeeper`` or ``[zookeeper]``."""
    settings = config.providers.zoo_keeper
    assert settings is not None, "called for configured sections only"
    extras = extras_of(config, NAME)
    # One ensemble: the client library itself chooses among its servers.
    hosts = ",".join(each.strip() for each in settings.endpoints if each.strip())
    connector = ZooKeeperConnector(settings)
    return [KeyValueProvider(NAME, [hosts], connector.connect, watch=extras.watch, keeps=extras.keeps)]

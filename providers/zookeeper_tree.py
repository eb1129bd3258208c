"""The nodes of a ZooKeeper tree as one session has seen them. Blocking: for one thread at a time.

Held is the root, its alias, and below the root in force what configuration is made of; the rest (static
settings, other programs' nodes, targets of the alias that are not in force) is neither read nor watched.

``refresh`` brings it up to date and says whether all of it was there at one moment; the caller repeats it
until it was. Each node is read with one-shot watches on its data and on its children; events mark it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import Callback, WatchedEvent

from providers.kv import ALIAS, MAX_KEYS, KeyTree, TreeTooLargeError
from shared.config.documents import V1_ROOTS, V2_ROOTS

ANSWER_WAIT_S = 10.0
"""For the answer to one request."""
REQUESTS_AT_ONCE = 512
"""Sent before the first answer is read; a round trip costs as much as a hundred answers."""
WHOLE_S = 600.0
"""Every node is read again this often: servers drop the watches of sessions that may not read a node for a
while, and say nothing when they may again."""

_EMPTY_MEANS_REMOVE = ("customrequestheaders", "customresponseheaders")


class _Node(NamedTuple):
    data: bytes
    children: frozenset[str]


class NodeTree:
    """What is known of the tree.

    Args:
        client: connected; its session has no other watches.
        root: as configured, with or without leading slash.
        on_event: called in the client's thread after something may have changed.
    """

    def __init__(self, client: KazooClient, root: str, on_event: Callable[[], None]) -> None:
        self._client = client
        self._base = f"/{root.strip('/')}"
        self._content_root = self._base
        self._root_shown = root
        self._nodes: dict[str, _Node | None] = {}
        self._marked: set[str] = {self._base}
        self._lock = threading.Lock()
        self._on_event = on_event
        self._read_whole_at = time.monotonic()

    def refresh(self) -> bool:
        """Read what is marked or missing.

        Returns:
            Whether everything that is held was so at one moment.

        Raises:
            TreeTooLargeError: there is too much.
            KazooException: the session cannot read.
        """
        if time.monotonic() > self._read_whole_at + WHOLE_S:
            self._read_whole_at = time.monotonic()
            with self._lock:
                self._marked.update(self._nodes)
        self._load(self._take_marked())
        self._follow_alias()
        self._ask()
        self._wait_for_reports()
        with self._lock:
            return not self._marked

    def content(self) -> KeyTree:
        """The keys below the root in force, as of the last ``refresh`` that returned True."""
        prefix = self._content_root.rstrip("/") + "/"
        pairs = {
            path[len(prefix) :]: node.data
            for path, node in self._nodes.items()
            if node is not None and path.startswith(prefix) and _is_setting(path, node)
        }
        is_aliased = self._alias() is not None
        return KeyTree(self._content_root if is_aliased else self._root_shown, pairs, is_aliased)

    def _follow_alias(self) -> None:
        target = self._alias()
        wanted = f"/{target.strip('/')}" if target is not None else self._base
        if wanted == self._content_root:
            return
        kept = {self._base, f"{self._base}/{ALIAS}"}
        self._nodes = {path: node for path, node in self._nodes.items() if path in kept}
        self._content_root = wanted
        self._load({wanted})

    def _alias(self) -> str | None:
        node = self._nodes.get(f"{self._base}/{ALIAS}")
        return (node.data.decode("utf-8", "replace").strip() or None) if node is not None else None

    def _load(self, paths: Iterable[str]) -> None:
        """Read these nodes, and those below that are not known yet."""
        rest = deque(sorted(paths))
        while rest:
            batch = [rest.popleft() for _ in range(min(REQUESTS_AT_ONCE, len(rest)))]
            asked = [
                (
                    path,
                    self._client.get_async(path, watch=self._note),
                    self._client.get_children_async(path, watch=self._note),
                )
                for path in batch
            ]
            for path, data, children in asked:
                rest.extend(self._take(path, data, children))
            if len(self._nodes) > MAX_KEYS:
                raise TreeTooLargeError(f"more than {MAX_KEYS} nodes below {self._base}")

    def _take(self, path: str, data: Any, children: Any) -> list[str]:  # noqa: ANN401 - kazoo has no types
        """Note what a node is now; returns the children to read."""
        try:
            names = frozenset(children.get(timeout=ANSWER_WAIT_S))
            value = data.get(timeout=ANSWER_WAIT_S)[0] or b""
        except NoNodeError:
            return self._note_missing(path)
        before = self._nodes.get(path)
        self._nodes[path] = _Node(value, names)
        for name in before.children - names if before is not None else ():
            self._drop(_join(path, name))
        wanted = (_join(path, name) for name in sorted(names) if self._wants(path, name))
        return [each for each in wanted if self._nodes.get(each) is None]

    def _note_missing(self, path: str) -> list[str]:
        self._drop(path)
        if path not in (self._base, self._content_root):
            return []  # its parent's watch has told, or will tell
        self._nodes[path] = None
        return [path] if self._client.exists(path, watch=self._note) is not None else []

    def _drop(self, path: str) -> None:
        gone = [path]
        while gone:
            each = gone.pop()
            node = self._nodes.pop(each, None)
            if node is not None:
                gone.extend(_join(each, name) for name in node.children)

    def _wants(self, path: str, name: str) -> bool:
        if path == self._base and name == ALIAS:
            return True
        if path == self._content_root:
            return name.casefold() in V1_ROOTS or name.casefold() in V2_ROOTS
        return path != self._base

    def _take_marked(self) -> set[str]:
        with self._lock:
            marked, self._marked = self._marked, set()
        return {path for path in marked if path in self._nodes or path == self._base}

    def _ask(self) -> None:
        """A new question: what changed before its answer has been reported before it.

        Not ``exists``, which is also answered to whoever may not read.
        """
        try:
            self._client.get(self._base)
        except NoNodeError:
            return  # an answer as well; its coming is watched

    def _wait_for_reports(self) -> None:
        """Until the client has called us for every event that it received so far."""
        done = threading.Event()
        self._client.handler.dispatch_callback(Callback("watch", done.set, ()))
        if not done.wait(ANSWER_WAIT_S):
            raise KazooTimeoutError("the client's thread for events is stuck")

    def _note(self, event: WatchedEvent) -> None:
        """In the client's thread: a watch has fired.

        What changes below the alias's target is noted, so that no reading mixes old and new, but nobody is
        woken: an alias is followed when it is written (spec v1 section 5f).
        """
        if event.path:
            with self._lock:
                self._marked.add(event.path)
        if self._content_root == self._base or event.path in (None, self._base, f"{self._base}/{ALIAS}"):
            self._on_event()


def _join(path: str, name: str) -> str:
    return f"{path}/{name}"


def _is_setting(path: str, node: _Node) -> bool:
    """An empty node is a folder, with or without anything in it; but an empty header means: remove it."""
    if node.data:
        return True
    parent = path.rpartition("/")[0].rpartition("/")[2]
    return not node.children and parent.casefold() in _EMPTY_MEANS_REMOVE


def read_all_nodes(client: KazooClient, base: str) -> dict[str, bytes]:
    """Values below a node by relative path; nodes that have neither value nor children end in a slash.

    Raises:
        TreeTooLargeError: there are too many.
        KazooException: the session cannot read.
    """
    found: dict[str, bytes] = {}
    rest = deque([base])
    while rest:
        path = rest.popleft()
        try:
            data, names = client.get(path)[0] or b"", client.get_children(path)
        except NoNodeError:
            continue  # removed since it was listed
        rest.extend(_join(path, name) for name in names)
        relative = path[len(base) + 1 :]
        if relative and data:
            found[relative] = data
        elif relative and not names:
            found[f"{relative}/"] = b""
        if len(found) + len(rest) > MAX_KEYS:
            raise TreeTooLargeError(f"more than {MAX_KEYS} nodes below {base}")
    return found


def write_nodes(client: KazooClient, base: str, pairs: Mapping[str, str]) -> None:
    """Create or change nodes below another, with all that lie between, in one transaction.

    Raises:
        KazooException: it was refused, and nothing is written.
    """
    values: dict[str, bytes] = {}
    for key, value in pairs.items():
        parts = f"{base}/{key}".strip("/").split("/")
        for size in range(1, len(parts)):
            values.setdefault("/" + "/".join(parts[:size]), b"")
        values["/" + "/".join(parts)] = value.encode()
    change = client.transaction()
    for path, data in sorted(values.items()):
        if client.exists(path) is None:
            change.create(path, data)
        elif data:
            change.set_data(path, data)
    for outcome in change.commit():
        if isinstance(outcome, KazooException):
            raise outcome

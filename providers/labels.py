"""What all providers of labelled things share: the thing, and its labels as a document.

Docker, swarm, Marathon, Mesos and the Consul catalog have *workloads* (a container, a task, an instance of a
service) that carry labels. The provider says where a workload answers (``Workload``), pure translators
(``labels_v1``, ``labels_v2``) make routes of its labels, and the result is one ``LabelDocument``: a tree like
that of any file, which knows which label of which workload each setting came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.config.diagnostics import Diagnostic, Path, Position, Severity
from shared.config.documents import Dialect, Document

MAX_LABELS = 1_000
"""Labels of one workload that count; more is a mistake (not measured)."""
MAX_LABEL_CHARS = 65_536
"""A longer label's value is refused: a rule's own limit (``shared.rules.grammar``)."""

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


class Port(msgspec.Struct, frozen=True):
    """A port that a workload offers.

    Attributes:
        number: inside the workload.
        protocol: ``tcp``, ``udp`` or ``sctp``.
        host_address: the host's address it is published on; empty if it is not.
        host_number: the host's port it is published on; 0 if it is not.
    """

    number: int
    protocol: str = "tcp"
    host_address: str = ""
    host_number: int = 0


class Workload(msgspec.Struct, frozen=True):
    """One labelled thing and where it answers.

    Attributes:
        kind: what people call it: ``container``, ``task``, ``instance``.
        name: its own name, as people know it; unique within its provider.
        service_name: what its service is called when no label says.
        labels: as they are written.
        address: its IP address or host name; empty if it has none.
        ports: what it offers; without a port label the lowest is used.
        trouble: why it has no address that may be used, for people.
        is_ready: whether it may get requests now; one that is not keeps its routes and has no server.
        by_binding: use the address and port it is published on, where it is (``useBindPortIP``).
        tags: for constraints over tags (Consul catalog).
        group: the name of what it is one of (a swarm's service); empty if it stands for itself.
        template_name: what ``.Name`` is in default rules, where that is not the service's name.
    """

    kind: str
    name: str
    service_name: str
    labels: Mapping[str, str]
    address: str = ""
    ports: tuple[Port, ...] = ()
    trouble: str = ""
    is_ready: bool = True
    by_binding: bool = False
    tags: tuple[str, ...] = ()
    group: str = ""
    template_name: str = ""

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.kind} {self.name}"


class LabelDocument(Document):
    """A tree made of labels.

    Args:
        tree: the root mapping.
        origin: the provider's name.
        dialect: whose roots the tree has.
        sources: for paths, folded, which workload and label they come from.
    """

    __slots__ = ("_sources",)

    def __init__(
        self, tree: dict[str, Any], origin: str, dialect: Dialect, sources: Mapping[Path, str]
    ) -> None:
        super().__init__(tree, origin, dialect)
        self._sources = sources

    def locate(self, path: Path) -> Position | None:
        """The workload and the label that a setting, or its nearest ancestor, comes from."""
        folded = fold_path(path)
        while folded:
            if folded in self._sources:
                return Position(f"{self.origin}: {self._sources[folded]}")
            folded = folded[:-1]
        return Position(self.origin)


class Tree:
    """A tree under construction that remembers where each setting came from.

    Args:
        any_case: whether keys are matched in any case; the spelling that came first stays. (Costs a look at
            every key of a node, so it is for the trees of single workloads.)
    """

    def __init__(self, *, any_case: bool) -> None:
        self.root: dict[str, Any] = {}
        self.sources: dict[Path, str] = {}
        self._key = spelling if any_case else _as_written

    def put(self, path: tuple[str, ...], value: object, source: str) -> bool:
        """Set a value, unless something stands there already; whether it was set."""
        node = self.root
        for at, part in enumerate(path[:-1]):
            key = self._key(node, part)
            self.sources.setdefault(fold_path(path[: at + 1]), source)
            inner = node.setdefault(key, {})
            if not isinstance(inner, dict):
                return False
            node = inner
        key = self._key(node, path[-1])
        if key in node:
            return False
        node[key] = value
        self.sources[fold_path(path)] = source
        return True

    def get(self, path: tuple[str, ...]) -> object:
        """What stands at a path, None if nothing does."""
        node: object = self.root
        for part in path:
            if not isinstance(node, dict):
                return None
            node = node.get(self._key(node, part))
        return node

    def document(self, origin: str, dialect: Dialect) -> LabelDocument:
        """The finished tree."""
        return LabelDocument(self.root, origin, dialect, self.sources)


def spelling(node: Mapping[str, object], part: str) -> str:
    """The key of ``node`` that is ``part`` in any case, or ``part``."""
    if part in node:
        return part
    folded = part.casefold()
    return next((key for key in node if key.casefold() == folded), part)


def _as_written(node: Mapping[str, object], part: str) -> str:
    return part


def fold_path(path: Path) -> Path:
    """A path for comparing: without case, indexes as text."""
    return tuple(str(part).casefold() for part in path)


def normalize(text: str) -> str:
    """``text`` as a name: runs of anything but letters and digits become one dash, none at the ends.

    Source: spec v1 section 5.3, v2 section 8.1.
    """
    return _NOT_ALPHANUMERIC.sub("-", text).strip("-")


def problem(provider: str, workload: Workload, reason: str, label: str = "") -> Diagnostic:
    """An error of a workload or of one of its labels."""
    return _diagnostic(Severity.ERROR, provider, workload, reason, label)


def warning(provider: str, workload: Workload, reason: str, label: str = "") -> Diagnostic:
    """Something odd about a workload or one of its labels."""
    return _diagnostic(Severity.WARNING, provider, workload, reason, label)


def source_of(workload: Workload, label: str) -> str:
    """How messages call a label of a workload."""
    return f"{workload.title}: label {label}" if label else workload.title


def bare_host(address: str) -> str:
    """An address as it stands in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def usable_labels(provider: str, workload: Workload) -> tuple[dict[str, str], list[Diagnostic]]:
    """The labels of a workload that are within the limits, and what is to be said about the others."""
    found: list[Diagnostic] = []
    usable: dict[str, str] = {}
    for label in sorted(workload.labels):
        value = workload.labels[label]
        if len(usable) >= MAX_LABELS:
            found.append(
                problem(provider, workload, f"more than {MAX_LABELS} labels; the others are not read")
            )
            break
        if len(value) > MAX_LABEL_CHARS:
            reason = f"longer than {MAX_LABEL_CHARS} characters; it is left out"
            found.append(problem(provider, workload, reason, label))
        else:
            usable[label] = value
    return usable, found


def _diagnostic(severity: Severity, provider: str, workload: Workload, reason: str, label: str) -> Diagnostic:
    position = Position(f"{provider}: {source_of(workload, label)}")
    return Diagnostic(severity, (), reason, position=position)

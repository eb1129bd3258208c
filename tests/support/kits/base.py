"""What the contract suite needs of a provider's server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple


class Route(NamedTuple):
    """A router for a host, and its service of one server. The kit writes it as its users would."""

    name: str
    host: str
    url: str


class Kit(ABC):
    """A provider's server under test. Everything in it blocks; the suite calls it from threads.

    Attributes:
        provider: the provider's name, as behind ``@``.
        many: how many routes the large test writes: 10,000 keys, or fewer where the server cannot hold that.
        has_network: whether there is a connection to be cut.
        has_passwords: whether the server can ask for credentials.
        is_written_by_parts: whether a route can be half written.
    """

    provider: ClassVar[str]
    many: ClassVar[int] = 3_400
    has_network: ClassVar[bool] = True
    has_passwords: ClassVar[bool] = True
    is_written_by_parts: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """What this machine lacks to run the server, for people; empty if nothing."""

    @property
    @abstractmethod
    def address(self) -> tuple[str, int]:
        """Where the server listens, once started and after each restart."""

    @abstractmethod
    def start(self) -> None:
        """Start the server with what it held before; returns when it answers. Nothing if it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server; nothing if it does not run. What it holds stays for the next start."""

    def close(self) -> None:
        """Stop for good and leave nothing behind."""
        self.stop()

    @abstractmethod
    def clear(self) -> None:
        """Remove every route and every password. The server runs."""

    @abstractmethod
    def settings(self, host: str, port: int, password: str = "") -> str:
        """The static configuration, as TOML: this provider at this address, with these credentials."""

    @abstractmethod
    def write(self, routes: Sequence[Route]) -> None:
        """Add or replace routes, each whole."""

    @abstractmethod
    def remove(self, routes: Sequence[Route]) -> None:
        """Remove routes."""

    @abstractmethod
    def spoil(self, route: Route) -> str:
        """Make a route that is there unusable by a bad value; returns what the message must contain."""

    def write_half(self, route: Route) -> None:
        """Write the first half of a new route: not enough to serve it."""
        raise NotImplementedError

    def set_password(self, password: str) -> None:
        """Have the server ask for this password, also from those who are connected."""
        raise NotImplementedError

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:  # noqa: B027 - few need it
        """Shorten how long the provider waits until it calls a silent connection dead.

        Args:
            set_constant: takes a dotted name such as ``providers.etcd.CHECK_S``, and seconds.
        """

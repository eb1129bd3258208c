"""What is worked out once per compilation, by name: the result, or the same error for everyone who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from shared.errors import ConfigError

T = TypeVar("T")


class Once(Generic[T]):
    """Remembers what ``resolve`` made of each name.

    Args:
        resolve: makes the object of a name; raises ``ConfigError`` if there is none to be had.
    """

    def __init__(self, resolve: Callable[[str], T]) -> None:
        self._resolve = resolve
        self._done: dict[str, T] = {}
        self._failed: dict[str, ConfigError] = {}

    def get(self, name: str) -> T:
        """The object of this name.

        Raises:
            ConfigError: as the first time.
        """
        if name in self._failed:
            raise self._failed[name]
        if name not in self._done:
            try:
                self._done[name] = self._resolve(name)
            except ConfigError as error:
                self._failed[name] = error
                raise
        return self._done[name]

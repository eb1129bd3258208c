"""Checks middlewares and expands chains (spec v2 section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path as FilePath

from master.compiler.catalog import INTERNAL, Catalog, Item, qualify
from master.compiler.checked import CheckedMiddleware
from shared.config.checks import check_middleware
from shared.config.diagnostics import nearest_name
from shared.config.middlewares import Middleware
from shared.errors import ConfigError

MAX_CHAIN_STEPS = 256
"""More steps than this on one router are refused: a chain that long is a mistake."""
MAX_CREDENTIALS_BYTES = 16_777_216
"""A users file larger than this is refused (about 200,000 users)."""

ReadFile = Callable[[str], str]


def read_credentials(path: str) -> str:
    """The text of a users file, relative to the working directory.

    Raises:
        ConfigError: it cannot be read, is not text or is too large.
    """
    try:
        with FilePath(path).open("rb") as file:
            data = file.read(MAX_CREDENTIALS_BYTES + 1)
        if len(data) > MAX_CREDENTIALS_BYTES:
            raise ConfigError("", f"{path} is larger than {MAX_CREDENTIALS_BYTES} bytes")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("", f"cannot read {path}: {error}") from error


class MiddlewareChecker:
    """Checks each middleware once per compilation; unchanged ones come from the one before.

    Args:
        catalog: all objects.
        read_file: reads credential files.
        known: results of the compilation before, by name.
    """

    def __init__(
        self, catalog: Catalog, read_file: ReadFile, known: dict[str, tuple[object, CheckedMiddleware]]
    ) -> None:
        self._catalog = catalog
        self._read_file = read_file
        self._known = known
        self.done: dict[str, tuple[object, CheckedMiddleware]] = {}
        self._failed: dict[str, ConfigError] = {}

    def expand(
        self, names: Iterable[str], provider: str, trail: tuple[str, ...] = ()
    ) -> tuple[CheckedMiddleware, ...]:
        """The steps that a list of names stands for, chains replaced by what they hold.

        Raises:
            ConfigError: one of them is missing or wrong, or chains refer to each other in a circle.
        """
        steps: list[CheckedMiddleware] = []
        for name in names:
            steps += self._steps(qualify(name, provider), trail)
            if len(steps) > MAX_CHAIN_STEPS:
                raise ConfigError("", f"more than {MAX_CHAIN_STEPS} middlewares in one chain")
        return tuple(steps)

    def _steps(self, name: str, trail: tuple[str, ...]) -> tuple[CheckedMiddleware, ...]:
        item = self._catalog.middlewares.get(name)
        if item is None:
            hint = nearest_name(name, self._catalog.middlewares)
            raise ConfigError("", f'middleware "{name}" does not exist', hint)
        chain = item.value.chain
        if chain is None or _kinds(item.value) != 1:
            return (self._check(item),)
        if name in trail:
            raise ConfigError(
                "", f"middlewares refer to each other in a circle: {' -> '.join((*trail, name))}"
            )
        if not chain.middlewares:
            raise ConfigError("", f'middleware "{name}": a chain needs at least one middleware')
        return self.expand(chain.middlewares, item.provider, (*trail, name))

    def check_own(self, name: str, options: Middleware) -> CheckedMiddleware:
        """A middleware that we made ourselves from other settings.

        Raises:
            ConfigError: those settings were wrong.
        """
        return self._check(Item(name, INTERNAL, options))

    def _check(self, item: Item[Middleware]) -> CheckedMiddleware:
        if item.name in self.done:
            return self.done[item.name][1]
        if item.name in self._failed:
            raise self._failed[item.name]
        before = self._known.get(item.name)
        if before is not None and before[0] == item.value:
            self.done[item.name] = before
            return before[1]
        try:
            checked = CheckedMiddleware(item.name, check_middleware(item.value, self._read_file))
        except ConfigError as error:
            path = f"{error.path}: " if error.path else ""
            named = ConfigError("", f'middleware "{item.name}": {path}{error.reason}', error.hint)
            self._failed[item.name] = named
            raise named from error
        self.done[item.name] = (item.value, checked)
        return checked


def _kinds(options: Middleware) -> int:
    return sum(getattr(options, name) is not None for name in options.__struct_fields__)

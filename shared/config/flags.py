"""Command-line flags of both dialects as settings (spec v2 section 1.2; v1 sections 1.5 and 1.7).

``-name`` and ``--name`` are equal and names have no case. A value follows ``=`` or is the next argument; a
flag of a section or a truth value never takes the next argument. ``--entryPoints='Name:http ...'`` is v1's
way to write an entrypoint on one line, ``--entryPoints.http.address=...`` is v2's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from shared.config.decode import written_names
from shared.config.diagnostics import Diagnostic, Diagnostics, Position, Severity, nearest_name
from shared.config.layers import Setting
from shared.config.shapes import Shape, find_place
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Static

MAX_DEPTH = 32
"""No setting lies deeper; a longer path is refused before it becomes a tree."""

_SHORT = {"c": "configFile", "g": "graceTimeOut", "l": "logLevel", "d": "debug", "p": "port"}
_INDEX = re.compile(r"\[([0-9]+)\]")


class FlagSet(NamedTuple):
    """Flags, read.

    Attributes:
        settings: all but the special ones, in order.
        lists: those of ``settings`` that add to an earlier one of the same name.
        entry_points: the values of ``--entryPoints``, v1's one-line form.
        config_file: the value of ``--configFile``.
    """

    settings: tuple[Setting, ...]
    lists: tuple[Setting, ...]
    entry_points: tuple[str, ...]
    config_file: str | None


def read_flags(arguments: Sequence[str], found: Diagnostics) -> FlagSet:
    """Read flags; what is wrong with them is recorded, located at the flag.

    Args:
        arguments: without the program's name and sub-command.
        found: collects errors: bad syntax, missing values, words that are no flags.
    """
    reader = _Reader(found)
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            break
        if len(argument) < 2 or not argument.startswith("-"):
            reader.fail(argument, f"command not found: {argument}")
            continue
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            reader.fail(argument, f"bad flag syntax: {argument}")
        elif equals:
            reader.take(name, value)
        elif reader.takes_next(name):
            if rest:
                reader.take(name, rest.pop(0))
            else:
                reader.fail(argument, f"flag needs an argument: -{name}")
        else:
            reader.take(name, "true")
    for argument in rest:
        reader.fail(argument, f"command not found: {argument}")
    return reader.result()


def has_known_root(name: str) -> bool:
    """Whether a flag's name begins with a setting of either dialect."""
    root = _path(name)[:1]
    return any(find_place(kind, root).shape is not Shape.UNKNOWN for kind in (StaticConfig, V1Static))


class _Reader:
    def __init__(self, found: Diagnostics) -> None:
        self._found = found
        self._settings: list[Setting] = []
        self._lists: list[Setting] = []
        self._entry_points: list[str] = []
        self._config_file: str | None = None

    def fail(self, argument: str, reason: str, hint: str | None = None) -> None:
        where = Position(argument.partition("=")[0] or "command line")
        self._found.extend([Diagnostic(Severity.ERROR, (), reason, hint, where)])

    def takes_next(self, name: str) -> bool:
        """Whether a bare flag takes the next argument as its value."""
        path = _path(name)
        if path in (("configfile",), ("entrypoints",)):
            return True
        places = [find_place(kind, path) for kind in (StaticConfig, V1Static)]
        known = next((each for each in places if each.shape is not Shape.UNKNOWN), places[0])
        return not known.in_map and known.shape in (Shape.SCALAR, Shape.LIST)

    def take(self, name: str, value: str) -> None:
        path = _path(name)
        folded = tuple(part.lower() for part in path)
        if folded == ("configfile",):
            self._config_file = value
        elif folded == ("entrypoints",):
            self._entry_points.append(value)
        elif not all(path) or len(path) > MAX_DEPTH:
            self.fail(f"--{name}", f"bad flag syntax: --{name}")
        elif not has_known_root(name):
            known = (*_roots(StaticConfig), *_roots(V1Static), "configFile")
            self.fail(f"--{name}", f"unknown flag: --{name}", nearest_name(path[0], known))
        else:
            self._add(name, path, value)

    def _add(self, name: str, path: tuple[str, ...], value: str) -> None:
        places = [find_place(kind, path) for kind in (StaticConfig, V1Static)]
        setting = Setting(path, value, f"--{name}")
        self._settings.append(setting)
        if any(each.shape is Shape.LIST for each in places):
            self._lists.append(setting)

    def result(self) -> FlagSet:
        return FlagSet(
            tuple(self._settings), tuple(self._lists), tuple(self._entry_points), self._config_file
        )


def _path(name: str) -> tuple[str, ...]:
    """``domains[0].main`` as keys; short names as the long ones."""
    name = _SHORT.get(name, name)
    parts = tuple(_INDEX.sub(r".\1", name).split("."))
    return ("configfile",) if parts[0].lower() == "configfile" and len(parts) == 1 else _fold_bare(parts)


def _fold_bare(parts: tuple[str, ...]) -> tuple[str, ...]:
    return ("entrypoints",) if len(parts) == 1 and parts[0].lower() == "entrypoints" else parts


def _roots(kind: type[StaticConfig] | type[V1Static]) -> tuple[str, ...]:
    return written_names(kind)

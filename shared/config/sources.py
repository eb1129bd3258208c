"""Where static settings come from: file, environment and flags, layered over the defaults.

Each source is read in its own dialect, translated to the v2 tree and laid over the one below it, per key:
flags over environment over file over defaults. That is the layering v1 documents; v2's original lets the
first source silence the others, which is given up here on purpose.

Everything that is wrong in any source is reported together, each with its place: file, line and column, the
name of the variable, or the flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from shared.config.decode import decode, written_names
from shared.config.diagnostics import Diagnostic, Diagnostics, Position, Severity, nearest_name
from shared.config.documents import Document, DocumentError, read_document
from shared.config.effective import OWN_ENTRY_POINT, effective
from shared.config.entrypoint_text import parse_entry_point
from shared.config.environment import read_environment
from shared.config.flags import FlagSet, read_flags
from shared.config.layers import Layer, Setting, SettingsLocator, StackLocator, Tree, build_tree, merge
from shared.config.static import StaticConfig
from shared.config.static_checks import check_static
from shared.config.static_legacy import (
    DYNAMIC_V2,
    Parts,
    choose_default_entry_points,
    complete,
    protect_web,
    split,
    translate,
    web_entry_point,
)
from shared.config.static_removed import report_removed
from shared.config.static_v1 import V1Static
from shared.errors import ConfigError

FILE_NAMES = ("traefik.toml", "traefik.yaml", "traefik.yml")
SYSTEM_DIRECTORY = FilePath("/etc/traefik")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)


Stored = Callable[[StaticConfig], Sequence[Setting]]
"""Gives the settings that are stored where these settings say."""


class StaticConfigError(ConfigError):
    """Static settings that cannot be used.

    Attributes:
        found: every error and warning, in the order of the sources.
    """

    def __init__(self, found: Diagnostics) -> None:
        self.found = found
        super().__init__("", "\n".join(str(each) for each in found.errors))


class StaticLoad(msgspec.Struct, frozen=True):
    """Static settings, read.

    Attributes:
        config: effective and checked.
        file: the file that was read.
        document: the same, parsed: v1's ``[file]`` without a name finds its rules in there.
        found: warnings.
        v1_tree: v1's settings of all sources, as they were written.
    """

    config: StaticConfig
    file: FilePath | None
    document: Document | None
    found: Diagnostics
    v1_tree: Tree = {}


def load_static(
    args: Sequence[str],
    environ: Mapping[str, str],
    cwd: FilePath,
    *,
    system_directory: FilePath = SYSTEM_DIRECTORY,
    stored: Stored | None = None,
) -> StaticLoad:
    """Read all sources. Blocks: it reads a file.

    Args:
        args: flags, without the program's name, sub-command and flags of our own.
        environ: environment variables.
        cwd: what relative file names are relative to.
        system_directory: the first place that is searched for a file.
        stored: asked for settings in a key-value store, which lie over all others (spec v1 section 1.8).

    Raises:
        StaticConfigError: anything is wrong in any source.
    """
    found = Diagnostics()
    flags = read_flags(args, found)
    document = _read_file(flags.config_file, environ, cwd, system_directory, found)
    layers: list[Layer] = []
    if document is not None:
        layers.append(_file_layer(document, found))
    variables = read_environment(environ)
    if variables:
        layers.append(_settings_layer(variables, (), {}, found))
    if flags.settings or flags.entry_points:
        layers.append(_flags_layer(flags, found))
    if found.errors:
        raise StaticConfigError(found)
    combined = Diagnostics()
    config = _combine(layers, combined)
    if config is not None and config.is_v1 and stored is not None and not combined.errors:
        settings = stored(config)
        if settings:
            layers.append(_settings_layer(settings, (), {}, found))
            if found.errors:
                raise StaticConfigError(found)
            combined = Diagnostics()
            config = _combine(layers, combined)
    found.extend(combined)
    if config is None or found.errors:
        raise StaticConfigError(found)
    file = FilePath(document.origin) if document else None
    return StaticLoad(config, file, document, found, _merged_v1(layers))


def find_file(
    explicit: str | None, environ: Mapping[str, str], cwd: FilePath, system_directory: FilePath
) -> FilePath | None:
    """The static file: the one that is named, or the first that exists where files are searched.

    A directory that is named stands for the file of the usual name in it. Variables in the name are
    expanded.

    Raises:
        ConfigError: the named file does not exist. The original skips it silently in later versions, and
            then runs with other settings than the ones that were asked for.
    """
    if explicit is not None:
        named = cwd / _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], ""), explicit)
        found = _first_file([named]) if named.is_dir() else named
        if found is None or not found.exists():
            raise ConfigError("", f"Error reading file: open {explicit}: no such file or directory")
        return found
    directories = [system_directory]
    home = environ.get("HOME")
    if home:
        directories.append(FilePath(home) / ".traefik")
    if environ.get("XDG_CONFIG_HOME"):
        directories.append(FilePath(environ["XDG_CONFIG_HOME"]))
    if home:
        directories.append(FilePath(home) / ".config")
    return _first_file([*directories, cwd])


def _first_file(directories: Sequence[FilePath]) -> FilePath | None:
    candidates = (directory / name for directory in directories for name in FILE_NAMES)
    return next((each for each in candidates if each.is_file()), None)


def _read_file(
    explicit: str | None,
    environ: Mapping[str, str],
    cwd: FilePath,
    system_directory: FilePath,
    found: Diagnostics,
) -> Document | None:
    try:
        file = find_file(explicit, environ, cwd, system_directory)
        return None if file is None else read_document(file)
    except DocumentError as error:
        found.extend([error.diagnostic])
    except ConfigError as error:
        position = Position("--configFile")
        found.extend([Diagnostic(Severity.ERROR, (), error.reason, position=position)])
    return None


# ----------------------------------------------------------------------------------------------- layers


def _file_layer(document: Document, found: Diagnostics) -> Layer:
    parts = split(document.tree)
    problems = Diagnostics(document)
    v2 = _known_roots(parts, problems)
    layer = Layer(parts.v1, merge(translate(parts.v1, problems), v2), parts.is_v1, document)
    # A v2 static file may well hold templates (default rules); one with v1's rules in it should not.
    found.extend(document.notes if parts.is_v1 else ())
    found.extend(problems)
    return layer


def _known_roots(parts: Parts, problems: Diagnostics) -> Tree:
    """The v2 tree without roots that are no static settings; the original dropped them silently."""
    known = written_names(StaticConfig)
    kept: Tree = {}
    for key, value in parts.v2.items():
        if key in known:
            kept[key] = value
        elif key.lower() in DYNAMIC_V2:
            reason = "dynamic settings are not read from the static file; name a file in providers.file"
            problems.warning((key,), reason)
        elif not report_removed({key: value}, problems):
            problems.warning((key,), f'unknown key "{key}"', nearest_name(key, known))
    return kept


def _flags_layer(flags: FlagSet, found: Diagnostics) -> Layer:
    entries: Tree = {}
    for text in flags.entry_points:
        try:
            name, entry = parse_entry_point(text)
            entries[name] = entry
        except ConfigError as error:
            position = Position("--entryPoints")
            found.extend([Diagnostic(Severity.ERROR, (), error.reason, error.hint, position)])
    return _settings_layer(flags.settings, flags.lists, entries, found)


def _settings_layer(
    settings: Sequence[Setting], lists: Sequence[Setting], v1_entries: Tree, found: Diagnostics
) -> Layer:
    locator = SettingsLocator(
        [*settings, *(Setting(("entryPoints", name), "", "--entryPoints") for name in v1_entries)]
    )
    problems = Diagnostics(locator)
    parts = split(build_tree(settings, lists))
    v1 = dict(parts.v1)
    if v1_entries:
        v1["entryPoints"] = merge(v1.get("entryPoints", {}), v1_entries)
    is_v1 = True if parts.is_v1 is None and v1_entries else parts.is_v1
    layer = Layer(v1, merge(translate(v1, problems), parts.v2), is_v1, locator)
    found.extend(problems)
    return layer


# ---------------------------------------------------------------------------------------------- combine


def _combine(layers: Sequence[Layer], found: Diagnostics) -> StaticConfig | None:
    tree: dict[str, Any] = {}
    for layer in layers:
        tree = merge(tree, layer.v2)
    v1_tree = _merged_v1(layers)
    is_v1 = _is_v1(layers)
    problems = Diagnostics(StackLocator(layers))
    v1 = decode(V1Static, v1_tree, (), Diagnostics(), unknown="ignore")
    assert v1 is not None, "each layer was checked by translate"
    config = None
    tree = protect_web(tree, v1, problems)
    report_removed(tree, problems)
    if not problems.errors:
        tree = complete(tree, v1, is_v1, problems)
    if not problems.errors:
        config = decode(StaticConfig, tree, (), problems)
    if config is not None:
        config = _attach_v1(effective(config), v1, is_v1, bool(v1_tree), problems)
        check_static(config, problems)
    found.extend(problems)
    return config


def _merged_v1(layers: Sequence[Layer]) -> Tree:
    tree: Tree = {}
    for layer in layers:
        tree = merge(tree, layer.v1)
    return tree


def _is_v1(layers: Sequence[Layer]) -> bool:
    """The dialect of the whole: the file's; if that tells nothing, that of the flags, then the variables."""
    files = [layer for layer in layers if isinstance(layer.locator, Document)]
    others = [layer for layer in reversed(layers) if not isinstance(layer.locator, Document)]
    said = [layer.is_v1 for layer in (*files, *others) if layer.is_v1 is not None]
    return said[0] if said else False


def _attach_v1(
    config: StaticConfig, v1: V1Static, is_v1: bool, any_v1: bool, problems: Diagnostics
) -> StaticConfig:
    """Add what no v2 document can say."""
    entry_points = {
        name: msgspec.structs.replace(
            entry_point,
            is_v1=name in v1.entry_points or (is_v1 and name != OWN_ENTRY_POINT),
            v1=v1.entry_points.get(name) or (web_entry_point(v1) if name == OWN_ENTRY_POINT else None),
        )
        for name, entry_point in config.entry_points.items()
    }
    for name, entry in v1.entry_points.items():
        target = entry.redirect.entry_point if entry.redirect else ""
        if target and target not in entry_points:
            hint = nearest_name(target, entry_points)
            problems.error(("entryPoints", name, "redirect", "entryPoint"), f'no entrypoint "{target}"', hint)
    chosen = choose_default_entry_points(config, v1, is_v1, problems)
    return msgspec.structs.replace(
        config,
        entry_points=entry_points,
        default_entry_points=chosen,
        is_v1=is_v1,
        v1=v1 if any_v1 else None,
    )

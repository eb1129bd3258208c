"""Which files the file provider reads, and which directories must be watched to notice a change.

A look at names and ``stat`` only; nothing is read. Everything in here blocks: it runs in a thread.

What to watch: a file may change by being written, by a rename over it, by a symbolic link on the way to it
being replaced (Kubernetes swaps ``..data``), or by its directory being made again. All of these show in the
directory that holds the name which changes; so the directories of the path, of every link met on it and of
the real file are watched, each for itself. A directory that is missing is stood in for by its nearest
ancestor that exists.

Names with a leading dot are left out of directories: they are editors' locks and swap files, and the
versions behind a ConfigMap's links, which would all be read twice.
"""

from __future__ import annotations

import os
import stat

import msgspec

from shared.config.documents import FORMATS

MAX_FILES = 10_000
"""More files than this in a directory are not read: somebody named the wrong directory (not measured)."""
MAX_DIRECTORIES = 1_000
"""Each takes one inotify watch, of which a user has 8,192 on small systems."""
MAX_DEPTH = 16
"""Levels of directories below the named one."""
MAX_LINKS = 40
"""Links followed on the way to one file; the kernel's own limit (path_resolution(7))."""


class Signature(msgspec.Struct, frozen=True):
    """What changes when a file's content does, or when another file takes its name."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class FoundFile(msgspec.Struct, frozen=True):
    """A file to read: its path and what it looked like."""

    path: str
    signature: Signature


class Watched(msgspec.Struct, frozen=True):
    """A directory to watch; another directory of the same name is another one."""

    path: str
    device: int
    inode: int


class Survey(msgspec.Struct, frozen=True):
    """What one look found.

    Attributes:
        files: in order of precedence.
        watched: the directories whose entries matter.
        missing: why the place itself could not be looked at, or None.
        too_many: whether a limit cut the list of files short.
    """

    files: tuple[FoundFile, ...]
    watched: frozenset[Watched]
    missing: str | None = None
    too_many: bool = False


def survey_file(path: str) -> Survey:
    """Look at one file.

    Args:
        path: absolute.
    """
    watched = _watched(_directories_on_the_way(path))
    try:
        found = os.stat(path)
    except OSError as error:
        return Survey((), watched, missing=error.strerror or str(error))
    if stat.S_ISDIR(found.st_mode):
        return Survey((), watched, missing="it is a directory")
    return Survey((FoundFile(path, _signature(found)),), watched)


def survey_directory(path: str) -> Survey:
    """Look for files with a known ending in a directory and below it, in order of their names.

    Args:
        path: absolute.
    """
    walk = _Walk()
    missing: str | None = None
    try:
        walk.enter(path, 0)
    except OSError as error:
        missing = error.strerror or str(error)
    directories = walk.directories | _directories_on_the_way(path)
    for file in walk.files:
        if os.path.islink(file.path):
            directories |= _directories_on_the_way(file.path)
    files = tuple(walk.files[:MAX_FILES])
    return Survey(files, _watched(directories), missing, too_many=walk.too_many)


class _Walk:
    """Collects files, depth first; links to directories are followed, once each."""

    def __init__(self) -> None:
        self.files: list[FoundFile] = []
        self.directories: set[str] = set()
        self.too_many = False
        self._entered: set[tuple[int, int]] = set()

    def enter(self, directory: str, depth: int) -> None:
        found = os.stat(directory)
        if (found.st_dev, found.st_ino) in self._entered:
            return
        if depth > MAX_DEPTH or len(self.directories) >= MAX_DIRECTORIES:
            self.too_many = True
            return
        names = sorted(os.listdir(directory))
        self._entered.add((found.st_dev, found.st_ino))
        self.directories.add(directory)
        for name in names:
            if name.startswith("."):
                continue
            if len(self.files) >= MAX_FILES:
                self.too_many = True
                return
            self._visit(os.path.join(directory, name), depth)

    def _visit(self, path: str, depth: int) -> None:
        try:
            found = os.stat(path)
            if stat.S_ISDIR(found.st_mode):
                self.enter(path, depth + 1)
            elif stat.S_ISREG(found.st_mode) and os.path.splitext(path)[1].lower() in FORMATS:
                self.files.append(FoundFile(path, _signature(found)))
        except OSError:
            return  # gone since it was listed, or a link to nowhere: as if it were not there


def _signature(found: os.stat_result) -> Signature:
    return Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _directories_on_the_way(path: str) -> set[str]:
    """The directories that hold ``path``, every link met in resolving it, and what it really is."""
    directories = {os.path.dirname(path)}
    rest = path.split(os.sep)[:0:-1]  # the parts still to walk, last first
    reached = os.sep
    links = 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            reached = os.path.dirname(reached)
            continue
        step = os.path.join(reached, part)
        try:
            target = os.readlink(step)
        except OSError:  # not a link, or not there
            reached = step
            continue
        links += 1
        if links > MAX_LINKS:
            break
        directories.add(reached)
        rest += target.split(os.sep)[::-1]
        if os.path.isabs(target):
            reached = os.sep
    directories.add(os.path.dirname(reached))
    return directories


def _watched(directories: set[str]) -> frozenset[Watched]:
    found = (_nearest_existing(directory) for directory in sorted(directories)[:MAX_DIRECTORIES])
    return frozenset(each for each in found if each is not None)


def _nearest_existing(directory: str) -> Watched | None:
    while True:
        try:
            found = os.stat(directory)
            if stat.S_ISDIR(found.st_mode):
                return Watched(directory, found.st_dev, found.st_ino)
        except OSError:
            pass
        if directory == os.path.dirname(directory):
            return None
        directory = os.path.dirname(directory)

"""The file provider: rules from one file, from a directory, or (v1 ``[file]``) from the static file itself.

One loop looks (``file_survey``: names and ``stat``), reads what changed, and publishes if anything came of
it. It looks at once, whenever something stirs in a watched directory, when asked (``reread``), and every
``POLL_S`` in any case: some file systems tell nothing. Watching therefore only makes the loop faster; it
may lose events, fail, or be re-armed at any time without anything being missed for good.

- An unchanged file keeps its ``Document`` object: nobody reads it again.
- A file that cannot be read or parsed, or that was emptied (which is what half of a rewrite looks like), is
  stood in for by its last good document, and a problem is published.
- A file that left a directory is gone. A configured file or directory that is missing is a failure instead:
  what it said last stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time

import msgspec
import trio
from watchfiles import awatch

from providers.base import Provider, Publish, Snapshot
from providers.file_survey import (
    MAX_FILES,
    FoundFile,
    Signature,
    Survey,
    Watched,
    survey_directory,
    survey_file,
)
from shared.config.diagnostics import Diagnostic, Position, Severity
from shared.config.documents import FORMATS, Document, DocumentError, Format, parse_document, read_text
from shared.config.static import StaticConfig
from shared.config.static_providers import FileProviderSettings
from shared.errors import ConfigError

POLL_S = 2.0
"""How late a change is noticed where watching does not work; one look at 1,000 files takes about 5 ms."""
STEP_MS = 25
"""The watcher reports once nothing has stirred for this long; it also wakes its thread this often."""
DEBOUNCE_MS = 100
"""... but reports after this long at the latest."""
RACY_NS = 100_000_000
"""A file changed less than this long before it was read may change again without its time stamp moving:
kernels stamp with the coarse clock (4 to 10 ms; some file systems 2 s). Such a file is read once more."""

NEITHER = "error using file configuration provider, neither filename nor directory is defined"

_THREADS = trio.CapacityLimiter(1)
"""Looks of all file providers take turns: parsing keeps the processor busy, a second thread gains nothing."""

_log = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True):
    """What the last look at a file came to.

    Attributes:
        signature: what the file looked like; None means read it again in any case.
        digest: of the text that ``document`` was made of.
        document: the last good one.
        problem: what is wrong with the file as it is now.
    """

    signature: Signature | None = None
    digest: bytes | None = None
    document: Document | None = None
    problem: Diagnostic | None = None


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``[providers.file]``; in v2 a static file never holds rules."""
    settings = config.providers.file
    assert settings is not None, "called for configured sections only"
    return [FileProvider(settings, static_document if config.is_v1 else None)]


class FileProvider:
    """Publishes files.

    Args:
        settings: which, and whether to watch them.
        static_document: the static configuration, for when the rules stand in the same file.
    """

    name = "file"

    def __init__(self, settings: FileProviderSettings, static_document: Document | None = None) -> None:
        self._watch = settings.watch
        self._is_directory = bool(settings.directory)
        self._chosen = settings.directory or settings.filename
        self._known: dict[str, _Known] = {}
        if not self._chosen and static_document is not None:
            self._chosen = static_document.origin
            self._known[os.path.abspath(self._chosen)] = _Known(document=static_document)
        self._absolute = os.path.abspath(self._chosen) if self._chosen else ""
        self._watched: frozenset[Watched] = frozenset()
        self._published: tuple[tuple[Document, ...], tuple[Diagnostic, ...]] | None = None
        self._wake = trio.Event()
        self._rearm = trio.Event()
        self._asked = False

    def validate(self) -> None:
        """Check that there is something to read.

        Raises:
            ConfigError: neither a file nor a directory is named.
        """
        if not self._chosen:
            raise ConfigError("providers.file", NEITHER)

    async def run(self, publish: Publish) -> None:
        """Publish what the files say now, then whatever they come to say."""
        async with trio.open_nursery() as nursery:
            try:
                await self._look(publish)
                if self._watch:
                    nursery.start_soon(self._run_watch)
                while True:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    await self._look(publish)
            finally:
                self._rearm.set()  # else the watcher's thread would hold up the end until it next times out

    def reread(self) -> None:
        """Look now, and publish even if nothing changed, so that whoever asked knows the look is over."""
        self._asked = True
        self._wake.set()

    async def _look(self, publish: Publish) -> None:
        asked, self._asked = self._asked, False
        # Not cancelled half-way: the thread changes self._known. It ends by itself, it reads local files.
        survey, documents, problems = await trio.to_thread.run_sync(self._survey_and_read, limiter=_THREADS)
        if survey.watched != self._watched:
            self._watched = survey.watched
            self._rearm.set()
        outcome = (documents, problems)
        if asked or self._published is None or not _same(self._published, outcome):
            self._published = outcome
            publish(Snapshot(self.name, documents, problems))

    async def _run_watch(self) -> None:
        """Wake the loop when a watched directory stirs; without watching, every ``POLL_S``."""
        while True:
            self._rearm = trio.Event()
            # The loop runs only after this task has armed the watcher and waits: what happened before is
            # seen by that look, what happens after by the watcher.
            self._wake.set()
            try:
                await self._wait_for_changes([each.path for each in self._watched])
            except* (OSError, RuntimeError) as group:
                # A directory is gone again, or no watches are left. (A group, because awatch has a nursery.)
                reason = group.exceptions[0]
                _log.warning("cannot watch %s (%s); looking every %s s instead", self._chosen, reason, POLL_S)
                with trio.move_on_after(POLL_S):
                    await self._rearm.wait()

    async def _wait_for_changes(self, directories: list[str]) -> None:
        changes = awatch(
            *directories,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=self._rearm,
            rust_timeout=int(POLL_S * 1000),
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        )
        async with contextlib.aclosing(changes):
            async for _ in changes:
                self._wake.set()

    # ---------------------------------------------------------------- in a thread, one look at a time

    def _survey_and_read(self) -> tuple[Survey, tuple[Document, ...], tuple[Diagnostic, ...]]:
        survey = survey_directory(self._absolute) if self._is_directory else survey_file(self._absolute)
        problems: list[Diagnostic] = []
        if survey.missing is not None:
            problems.append(self._problem(f"cannot be read: {survey.missing}; {self._what_stays()}"))
        else:
            self._known = {file.path: self._read(file) for file in survey.files}
        if survey.too_many:
            problems.append(
                self._problem(f"more than {MAX_FILES} files or too many directories; not all read")
            )
        problems += [known.problem for known in self._known.values() if known.problem is not None]
        documents = tuple(known.document for known in self._known.values() if known.document is not None)
        return survey, documents, tuple(problems)

    def _read(self, file: FoundFile) -> _Known:
        before = self._known.get(file.path, _Known())
        if before.signature == file.signature:
            return before
        racy = abs(time.time_ns() - file.signature.modified_ns) < RACY_NS
        signature = None if racy else file.signature
        origin = self._origin(file.path)
        try:
            text = read_text(file.path, origin)
            digest = hashlib.blake2b(text.encode()).digest()
            if digest == before.digest:
                return msgspec.structs.replace(before, signature=signature, problem=None)
            if before.document is not None and before.document.tree and not text.strip():
                raise DocumentError("the file is empty (an empty table clears it)", Position(origin))
            document = parse_document(text, origin, self._format(file.path))
        except DocumentError as error:
            return self._failed(before, signature, error)
        return _Known(signature, digest, document)

    def _failed(self, before: _Known, signature: Signature | None, error: DocumentError) -> _Known:
        problem = error.diagnostic
        if before.document is not None:
            problem = msgspec.structs.replace(problem, reason=f"{problem.reason}; {self._what_stays()}")
        return _Known(signature, before.digest, before.document, problem)

    def _origin(self, path: str) -> str:
        """The file as the settings call it, which is what people look for in messages."""
        if not self._is_directory:
            return self._chosen
        return os.path.join(self._chosen, os.path.relpath(path, self._absolute))

    def _format(self, path: str) -> Format:
        # Without a known ending: v1 took any file for TOML.
        return FORMATS.get(os.path.splitext(path)[1].lower(), "toml")

    def _problem(self, reason: str) -> Diagnostic:
        return Diagnostic(Severity.ERROR, (), reason, position=Position(self._chosen))

    def _what_stays(self) -> str:
        return "what it said before stays" if self._known else "it says nothing"


def _same(
    before: tuple[tuple[Document, ...], tuple[Diagnostic, ...]],
    now: tuple[tuple[Document, ...], tuple[Diagnostic, ...]],
) -> bool:
    same_documents = len(before[0]) == len(now[0]) and all(
        old is new for old, new in zip(before[0], now[0], strict=True)
    )
    return same_documents and before[1] == now[1]

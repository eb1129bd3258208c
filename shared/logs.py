"""The program's own log: one setup for master and workers, text or JSON, to standard error or a file.

Every line carries who wrote it (``master``, ``worker 3``), the process id and, once known, the generation of
the table in force. Fields beside the message are given with ``extra={"fields": {...}}``.

Source: spec v1 section 8.2, v2 section 1.5 (log).
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from pathlib import Path
from typing import IO, Any

from shared.config.diagnostics import nearest_name
from shared.config.static import Log
from shared.errors import ConfigError

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
"""Names of both dialects. Python has nothing below DEBUG and nothing between CRITICAL and silence."""

FORMATS = ("common", "text", "json")
"""v1 and v2 call the text format ``common``."""

CHATTY_LIBRARIES = ("httpx", "httpcore", "hypercorn", "watchfiles")
"""They log every request or wake-up at INFO, where we log changes of state."""

_LEVEL_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}

_context: dict[str, object] = {}


def configure(log: Log, who: str) -> None:
    """Send everything that is logged in this process where the settings say. May be called again.

    Args:
        log: the settings.
        who: ``master`` or ``worker 3``.

    Raises:
        ConfigError: an unknown level or format, or a file that cannot be opened.
    """
    level = read_level(log.level)
    handler = _make_handler(log)
    handler.setFormatter(_make_formatter(log.format))
    _context.clear()
    _context.update(who=who, pid=os.getpid())
    root = logging.getLogger()
    for each in root.handlers[:]:
        root.removeHandler(each)
        each.close()
    root.addHandler(handler)
    root.setLevel(level)
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def read_level(name: str) -> int:
    """The level for a name of either dialect, in any case.

    Raises:
        ConfigError: no such level.
    """
    level = LEVELS.get(name.strip().lower())
    if level is None:
        known = "debug, info, warning, error, fatal or panic"
        raise ConfigError("log.level", f'no level "{name}", expected {known}', nearest_name(name, LEVELS))
    return level


def set_generation(generation: int) -> None:
    """From now on lines carry this generation."""
    _context["generation"] = generation


def reopen() -> None:
    """Open the log file anew, after it was moved away. Does nothing for standard error."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, ReopenableFileHandler):
            handler.reopen()


class ReopenableFileHandler(logging.FileHandler):
    """A file handler for files that others rotate."""

    def reopen(self) -> None:
        """Close the file and open the path again; on failure go on with the old file."""
        self.acquire()
        try:
            new: IO[str] = open(self.baseFilename, "a", encoding="utf-8")  # noqa: SIM115  # the handler owns it
        except OSError:
            logging.getLogger(__name__).exception("cannot reopen the log; going on with the old file")
            return
        else:
            old, self.stream = self.stream, new  # type: ignore[assignment]  # any text stream will do
            if old is not None:
                old.close()
        finally:
            self.release()


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678+00:00 INFO ready who=master pid=7``, one line per record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. A traceback follows on lines of its own."""
        shown = " ".join(f"{name}={_quote(value)}" for name, value in _fields(record).items())
        message = record.getMessage().replace("\n", "\\n")
        line = f"{_time(record)} {_level(record).upper():7} {message}" + (f" {shown}" if shown else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry = {
            "time": _time(record),
            "level": _level(record),
            "msg": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _make_handler(log: Log) -> logging.Handler:
    if not log.file_path:
        return logging.StreamHandler(sys.stderr)
    path = Path(log.file_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return ReopenableFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError("log.filePath", f"cannot open {path}: {error.strerror or error}") from error


def _make_formatter(name: str) -> logging.Formatter:
    folded = name.strip().lower() or "common"
    if folded not in FORMATS:
        raise ConfigError(
            "log.format", f'no format "{name}", expected common or json', nearest_name(name, FORMATS)
        )
    return JsonFormatter() if folded == "json" else TextFormatter()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {**getattr(record, "fields", {}), **_context}


def _time(record: logging.LogRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def _level(record: logging.LogRecord) -> str:
    return _LEVEL_NAMES.get(record.levelno, record.levelname.lower())


def _quote(value: object) -> str:
    text = str(value)
    plain = text and text.isprintable() and not any(each in ' "=' for each in text)
    return text if plain else json.dumps(text, ensure_ascii=False)

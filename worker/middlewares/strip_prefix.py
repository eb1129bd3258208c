"""stripPrefix: removes the first fitting prefix from the path.

Prefixes are compared with the decoded path, and as many decoded bytes are cut from the escaped path, so
that what is left keeps its escapes (``/api/a%2Fb`` minus ``/api`` is ``/a%2Fb``). A rest that is not clean is
refused: ``/api../secret`` minus ``/api`` must not become ``/../secret``. The original checks so since 2.11
and 3.x only; here it holds for the prefixes of v1 frontends as well.

Source: spec v2 section 4.1, spec v1 section 3.7.
"""

from __future__ import annotations

import re

from shared.config.middlewares import StripPrefix
from shared.paths import decoded_path, is_clean
from worker import replies
from worker.exchange import Exchange
from worker.messages import Response
from worker.pipeline import SyncStep

FORWARDED_PREFIX = b"X-Forwarded-Prefix"
_ESCAPE_BYTES = 3
_UNSAFE_IN_VALUE = re.compile(r"[\x00-\x1f\x7f]|\A |(?<!\A) \Z")


class StripPrefixStep(SyncStep):
    """Cuts the first prefix, in the order of the list, that the path starts with."""

    __slots__ = ("_force_slash", "_overwrite", "_prefixes")
    is_pure = True

    def __init__(self, options: StripPrefix) -> None:
        self._prefixes = tuple(prefix.strip() for prefix in options.prefixes)
        self._overwrite = options.overwrite_header
        self._force_slash = options.force_slash

    def on_request(self, exchange: Exchange) -> Response | None:
        """Change the path, or refuse what would be left of it."""
        decoded = decoded_path(exchange.request.path)
        for prefix in self._prefixes:
            if decoded.startswith(prefix):
                return cut_prefix(
                    exchange, prefix, overwrite_header=self._overwrite, force_slash=self._force_slash
                )
        return None


def cut_prefix(
    exchange: Exchange, prefix: str, *, overwrite_header: bool, force_slash: bool = False
) -> Response | None:
    """Remove a decoded prefix that the path is known to start with, and tell the server about it.

    Args:
        exchange: its request is changed.
        prefix: decoded text.
        overwrite_header: v1's way: replace an X-Forwarded-Prefix that is already there instead of adding a
            line, and leave a slash where nothing is left.
        force_slash: leave a slash where nothing is left; else the path is empty until something is put in
            front of it (``/api`` minus ``/api`` with the prefix ``/v2`` is ``/v2``) or it is sent as ``/``.

    Returns:
        The refusal, when the rest is not clean.
    """
    request = exchange.request
    if request.path == "*":
        return None
    cut, rest = split_escaped(request.path, len(_to_bytes(prefix)))
    # An escaped slash right behind the prefix becomes the slash that the rest needs.
    rest = rest.removeprefix("/") if rest.startswith("/") else rest.removeprefix("%2F")
    if rest or cut != request.path or force_slash or overwrite_header:
        rest = f"/{rest}"
    if not is_clean(rest):
        return replies.http_error(400, "Bad Request")
    request.path = rest
    # The prefix may come from the request (stripPrefixRegex): decoded line ends must not reach a header.
    value = _to_bytes(cut if _UNSAFE_IN_VALUE.search(prefix) else prefix)
    if overwrite_header:
        request.headers.set(FORWARDED_PREFIX, value)
    else:
        request.headers.add(FORWARDED_PREFIX, value)
    return None


def split_escaped(path: str, decoded_bytes: int) -> tuple[str, str]:
    """Split an escaped path after this many decoded bytes."""
    data = _to_bytes(path)
    end = 0
    for _ in range(decoded_bytes):
        end += _ESCAPE_BYTES if data[end : end + 1] == b"%" else 1
    return _to_text(data[:end]), _to_text(data[end:])


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

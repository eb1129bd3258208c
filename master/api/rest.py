"""PUT of a whole dynamic configuration (spec v1 section 6.1, v2 section 8.7).

One request is one transaction: a document that cannot be read whole is refused and changes nothing; otherwise
it replaces what was put before, and the answer comes when every worker serves it, or says why none does.

Checks, in v1's order: read-only, the provider's name, the body.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from master.api.v1_documents import all_v1_documents
from providers.rest import rest_provider_name
from shared.config.documents import MAX_DOCUMENT_BYTES, Document, DocumentError, parse_document
from shared.config.dynamic_reading import read_dynamic
from shared.config.effective import default_entry_points
from shared.config.static import StaticConfig

if TYPE_CHECKING:
    from master.app import Master  # the app serves this

JSON_TYPE = "application/json; charset=UTF-8"
BODY_WAIT_S = 60.0
"""For a whole body to arrive; the entrypoint's own limit may be shorter."""
MAX_BODIES = 4
"""Read and checked at a time; others wait. Each is at most ``MAX_DOCUMENT_BYTES``."""
MAX_PROBLEMS_SHOWN = 20
"""Of a document that is refused."""

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """What was put is not taken; the text is for whoever put it."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


def rest_routes(master: Master) -> list[Route]:
    """The routes of ``rest@internal``."""
    bodies = trio.CapacityLimiter(MAX_BODIES)

    async def put(request: Request) -> Response:
        static = master.static
        try:
            provider = _check_name(static, request.path_params["provider"])
            async with bodies:
                document = await _read_body(request, provider)
                await trio.to_thread.run_sync(_check, document)
        except _Refused as refusal:
            return PlainTextResponse(str(refusal), status_code=refusal.status)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        if _says_nothing(document):
            _log.warning("skipping empty configuration for provider %s; empty tables clear it", provider)
        else:
            outcome = await master.put_rules(provider, document)
            if outcome.reason:
                return PlainTextResponse(f"not live: {outcome.reason}\n", status_code=503)
        shown = (
            all_v1_documents(master.reloader.feeds, default_entry_points(static))
            if provider == "web"
            else document.tree
        )
        return Response(_go_json(shown), media_type=JSON_TYPE)

    return [Route("/api/providers/{provider}", put, methods=["PUT"])]


def _check_name(static: StaticConfig, asked: str) -> str:
    """The name of the provider that may be fed.

    Raises:
        _Refused: none may, or not this one.
    """
    name = rest_provider_name(static)
    if name is None:
        raise _Refused(404, "404 page not found\n")
    if name == "web" and static.v1 is not None and static.v1.web is not None and static.v1.web.read_only:
        raise _Refused(403, "REST API is in read-only mode")
    if asked != name:
        newline = "" if name == "web" else "\n"
        raise _Refused(400, f"Only '{name}' provider can be updated through the REST API{newline}")
    return name


async def _read_body(request: Request, provider: str) -> Document:
    """The body as a document.

    Raises:
        _Refused: too large, too slow, or no JSON.
    """
    body = bytearray()
    with trio.move_on_after(BODY_WAIT_S) as waiting:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise _Refused(413, f"larger than {MAX_DOCUMENT_BYTES} bytes\n")
    if waiting.cancelled_caught:
        raise _Refused(408, f"no whole body within {BODY_WAIT_S:g} s\n")
    return await trio.to_thread.run_sync(_parse, bytes(body), provider)


def _parse(body: bytes, provider: str) -> Document:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(400, "not UTF-8 text\n") from error
    try:
        return parse_document(text, provider, "json")
    except DocumentError as error:
        where = error.diagnostic.position
        last = text.rstrip().count("\n") + 1
        is_cut = where is not None and where.line >= last and _ends_early(text)
        reason = "unexpected end of JSON input" if is_cut else str(error.diagnostic)
        raise _Refused(400, f"{reason}\n") from error


def _ends_early(text: str) -> bool:
    """Whether the text is the beginning of some JSON (the original's parser says so in its own words)."""
    stripped = text.rstrip()
    try:
        json.loads(stripped)
    except json.JSONDecodeError as error:
        rest = stripped[error.pos :]
        return not rest or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        return False
    return False


def _check(document: Document) -> None:
    """Refuse a document of which any object has a wrong type; what it refers to is the compiler's affair.

    Raises:
        _Refused: with every problem.
    """
    errors = [str(each) for each in read_dynamic(document).found if each.severity == "error"]
    if errors:
        more = [f"and {len(errors) - MAX_PROBLEMS_SHOWN} more"] if len(errors) > MAX_PROBLEMS_SHOWN else []
        raise _Refused(400, "\n".join([*errors[:MAX_PROBLEMS_SHOWN], *more, ""]))


def _says_nothing(document: Document) -> bool:
    """Whether there is not even an empty table of objects: skipped, as in the original."""
    for root, section in document.tree.items():
        folded = str(root).casefold()
        if folded in ("frontends", "backends"):
            return False
        if folded in ("http", "tcp", "udp", "tls") and isinstance(section, Mapping) and section:
            return False
    return True


def _go_json(content: object) -> bytes:
    """Compact JSON with sorted keys, in which no browser sees markup (spec v1 section 6)."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "surrogatepass")

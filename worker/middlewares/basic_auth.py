"""basicAuth: user name and password, checked against stored hashes (spec v2 section 4.3, RFC 7617).

bcrypt takes tens of milliseconds by design and MD5-crypt about one; a worker's loop must not wait for them,
so lists that hold such hashes are checked in a thread (``ThreadedBasicAuthStep``), and lists of ``{SHA}``
hashes at once (``BasicAuthStep``), which keeps their routes in the plain lane.

Browsers repeat the password with every request, so a password that was right is remembered: not the
password, but its keyed digest with a key that this process makes at its start and tells nobody. Wrong
passwords are not remembered, and always cost the whole hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict

import trio

from shared.config.middlewares import BasicAuth
from shared.credentials import decoy_secret, is_slow, parse_basic_authorization, parse_users, verify
from shared.headers import Headers
from worker.exchange import Exchange
from worker.messages import BytesBody, Response
from worker.pipeline import OPEN_GATE, Gate, Handler, SyncStep

DEFAULT_REALM = "traefik"
MAX_VERIFIED = 1024
"""Right passwords remembered per middleware and worker: 32 bytes each and the overhead of a dict entry."""
MAX_HASHING_THREADS = 2
"""Threads that may hash at once in one worker; others wait: guessing cannot take the whole machine."""

hashing_limiter = trio.CapacityLimiter(MAX_HASHING_THREADS)
_process_key = secrets.token_bytes(32)


class _Gate:
    """Who may pass, and the answers; what both steps share."""

    __slots__ = ("_challenge", "_decoy", "_header_field", "_remove_header", "_users", "_verified")

    def __init__(self, options: BasicAuth) -> None:
        self._users = parse_users(options.users)
        self._decoy = decoy_secret(self._users)
        realm = (options.realm or DEFAULT_REALM).replace("\\", "\\\\").replace('"', '\\"')
        self._challenge = f'Basic realm="{realm}"'.encode("utf-8", "surrogateescape")
        self._header_field = options.header_field.encode("ascii")
        self._remove_header = options.remove_header
        self._verified: OrderedDict[bytes, None] = OrderedDict()

    def secret_of(self, name: str) -> tuple[str, bool]:
        """The hash to check against and whether it is the user's; for unknown users it is not."""
        secret = self._users.get(name)
        return (self._decoy, False) if secret is None else (secret, True)

    def is_verified(self, ticket: bytes) -> bool:
        """Whether this was right before."""
        if ticket not in self._verified:
            return False
        self._verified.move_to_end(ticket)
        return True

    def remember(self, ticket: bytes) -> None:
        """Keep a right one, dropping the longest unused when there are too many."""
        self._verified[ticket] = None
        if len(self._verified) > MAX_VERIFIED:
            self._verified.popitem(last=False)

    def admit(self, exchange: Exchange, name: str) -> None:
        """Note who it is and prepare the request for the server."""
        exchange.username = name
        headers = exchange.request.headers
        if self._header_field:
            headers.set(self._header_field, name.encode("utf-8", "surrogateescape"))
        if self._remove_header:
            headers.remove(b"Authorization")

    def refuse(self) -> Response:
        """Ask for a (better) password."""
        headers = Headers([(b"WWW-Authenticate", self._challenge), (b"Content-Type", b"text/plain")])
        return Response(401, headers, BytesBody(b"401 Unauthorized\n"))


class BasicAuthStep(SyncStep):
    """For lists whose hashes are quick to check."""

    __slots__ = ("_gate",)
    is_pure = True

    def __init__(self, options: BasicAuth) -> None:
        self._gate = _Gate(options)

    def on_request(self, exchange: Exchange) -> Response | None:
        """Let known users pass, ask others for a password."""
        credentials = parse_basic_authorization(exchange.request.headers.get(b"Authorization"))
        if credentials is None:
            return self._gate.refuse()
        name, password = credentials
        secret, is_known = self._gate.secret_of(name)
        if not (verify(password, secret) and is_known):
            return self._gate.refuse()
        self._gate.admit(exchange, name)
        return None


class ThreadedBasicAuthStep:
    """For lists with slow hashes: an ``AsyncStep``."""

    __slots__ = ("_gate",)

    def __init__(self, options: BasicAuth) -> None:
        self._gate = _Gate(options)

    async def __call__(self, exchange: Exchange, call_next: Handler) -> Response:
        """Let known users pass, ask others for a password."""
        credentials = parse_basic_authorization(exchange.request.headers.get(b"Authorization"))
        if credentials is None or not await self._is_right(*credentials):
            return self._gate.refuse()
        self._gate.admit(exchange, credentials[0])
        return await call_next(exchange)

    def gate(self, exchange: Exchange) -> Gate | None:
        """Pass with a password that was right before: see ``GatedStep``."""
        credentials = parse_basic_authorization(exchange.request.headers.get(b"Authorization"))
        if credentials is None:
            return None
        name, password = credentials
        secret, is_known = self._gate.secret_of(name)
        if not is_known or not self._gate.is_verified(_ticket(name, secret, password)):
            return None
        self._gate.admit(exchange, name)
        return OPEN_GATE

    async def _is_right(self, name: str, password: bytes) -> bool:
        secret, is_known = self._gate.secret_of(name)
        ticket = _ticket(name, secret, password)
        if is_known and self._gate.is_verified(ticket):
            return True
        is_match = await trio.to_thread.run_sync(verify, password, secret, limiter=hashing_limiter)
        if not (is_match and is_known):
            return False
        self._gate.remember(ticket)
        return True


def build_basic_auth(options: BasicAuth) -> BasicAuthStep | ThreadedBasicAuthStep:
    """The step that fits the list."""
    users = parse_users(options.users)
    return ThreadedBasicAuthStep(options) if any(map(is_slow, users.values())) else BasicAuthStep(options)


def _ticket(name: str, secret: str, password: bytes) -> bytes:
    """What a right password is remembered by; useless outside this process."""
    who = f"{name}\0{secret}\0".encode("utf-8", "surrogateescape")
    return hmac.digest(_process_key, hashlib.sha256(who).digest() + password, "sha256")

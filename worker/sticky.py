"""Sticky sessions: which member a request's cookie names, and the cookie that keeps a client. Pure.

Two dialects. In v2 the value is a hash of the member's name; older forms of it are understood and replaced.
In v1 the value is the server's URL itself, and it means whatever server has the same scheme, host and path.

Source: spec v2 section 3.4, spec v1 section 4.4; RFC 6265 sections 4.1.1 and 5.4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from shared.config.dynamic import Cookie, Sticky
from shared.headers import Headers

_NOT_TOKEN = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_SAME_SITE = {"none": "None", "lax": "Lax", "strict": "Strict"}
_NAME_PREFIX = "_TRAEFIK_BACKEND_"
_FNV_BASIS, _FNV_PRIME, _FNV_MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
MAX_COOKIES = 100
"""Cookies of one request that are looked at; browsers keep 50 to 180 per site."""


class Sessions(Protocol):
    """The sticky sessions of one service."""

    def find(self, headers: Headers) -> Session | None:
        """The member that a request's cookie names, if there is such a member."""

    def cookie_for(self, position: int) -> bytes:
        """The value of Set-Cookie that keeps a client on a member."""


class Session:
    """What a cookie says.

    Attributes:
        position: of the member.
        is_current: whether the cookie needs no new value.
    """

    __slots__ = ("is_current", "position")

    def __init__(self, position: int, is_current: bool) -> None:
        self.position = position
        self.is_current = is_current


class HashedSessions:
    """v2: the value is a hash.

    Args:
        service: its qualified name.
        options: of the cookie.
        members: URLs as configured, or names of child services.
    """

    def __init__(self, service: str, options: Cookie, members: Sequence[str]) -> None:
        self._name = cookie_name(options, service)
        self._attributes = attributes(options)
        self._values = [value_of(member) for member in members]
        self._current = {value: position for position, value in enumerate(self._values)}
        self._old = {
            value: position for position, member in enumerate(members) for value in old_values_of(member)
        }

    def find(self, headers: Headers) -> Session | None:
        """See ``Sessions``."""
        value = read_cookie(headers, self._name)
        if value is None:
            return None
        position = self._current.get(value)
        if position is not None:
            return Session(position, is_current=True)
        position = self._old.get(value)
        return None if position is None else Session(position, is_current=False)

    def cookie_for(self, position: int) -> bytes:
        """See ``Sessions``."""
        return f"{self._name}={self._values[position]}{self._attributes}".encode("latin-1", "replace")


class UrlSessions:
    """v1: the value is the server's URL.

    Args:
        options: of the cookie; its name is complete.
        members: URLs as configured.
    """

    def __init__(self, options: Cookie, members: Sequence[str]) -> None:
        self._name = options.name
        self._members = members
        self._positions = {_address(member): position for position, member in enumerate(members)}

    def find(self, headers: Headers) -> Session | None:
        """See ``Sessions``."""
        value = read_cookie(headers, self._name)
        position = None if value is None else self._positions.get(_address(value))
        return None if position is None else Session(position, is_current=True)

    def cookie_for(self, position: int) -> bytes:
        """See ``Sessions``."""
        return f"{self._name}={_quoted(self._members[position])}; Path=/".encode("latin-1", "replace")


def make_sessions(
    service: str, sticky: Sticky | None, members: Sequence[str], *, with_urls: bool = False
) -> Sessions | None:
    """The sessions that the options ask for; None if they ask for none.

    Args:
        service: its qualified name.
        sticky: of the service.
        members: URLs as configured, or names of child services.
        with_urls: whether the cookie's value is the URL (v1).
    """
    if sticky is None or sticky.cookie is None:
        return None
    if with_urls:
        return UrlSessions(sticky.cookie, members)
    return HashedSessions(service, sticky.cookie, members)


def cookie_name(options: Cookie, service: str) -> str:
    """The configured name with what a cookie's name may not hold replaced, or one made of the service's."""
    if options.name:
        return _NOT_TOKEN.sub("_", options.name)
    digest = hashlib.sha1(f"{_NAME_PREFIX}{service}".encode(), usedforsecurity=False).hexdigest()
    return f"_{digest[:5]}"


def value_of(member: str) -> str:
    """What stands for a member."""
    return hashlib.sha256(member.encode()).hexdigest()[:16]


def old_values_of(member: str) -> tuple[str, str, str]:
    """What stood for a member in older versions: its name, and the hash of it once and twice."""
    once = f"{_fnv1(member.encode()):x}"
    return member, once, f"{_fnv1(once.encode()):x}"


def _fnv1(data: bytes) -> int:
    """FNV-1 with 64 bits: the older order of its two steps (draft-eastlake-fnv section 2)."""
    value = _FNV_BASIS
    for byte in data:
        value = (value * _FNV_PRIME & _FNV_MASK) ^ byte
    return value


def attributes(options: Cookie) -> str:
    """Everything behind the value, in the original's order."""
    found = [f"Path={options.path}"] if options.path else []
    if options.domain:
        found.append(f"Domain={options.domain}")
    if options.max_age:
        found.append(f"Max-Age={max(options.max_age, 0)}")
    if options.http_only:
        found.append("HttpOnly")
    if options.secure:
        found.append("Secure")
    same_site = _SAME_SITE.get(options.same_site.casefold())
    if same_site is not None:
        found.append(f"SameSite={same_site}")
    return "".join(f"; {each}" for each in found)


def read_cookie(headers: Headers, name: str) -> str | None:
    """The value of the first cookie of this name."""
    for pair in _pairs(headers):
        found, equals, value = pair.strip().partition("=")
        if equals and found.strip() == name:
            value = value.strip()
            return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return None


def _pairs(headers: Headers) -> Iterable[str]:
    left = MAX_COOKIES
    for field in headers.get_all(b"cookie"):
        pairs = field.decode("latin-1").split(";", left)
        yield from pairs[:left]
        left -= len(pairs)
        if left <= 0:
            return


def _address(url: str) -> tuple[str, str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.scheme, parts.netloc, parts.path


def _quoted(value: str) -> str:
    """As Go writes a cookie's value: in quotes if it holds a space or a comma (package net/http)."""
    kept = "".join(char for char in value if " " <= char < "\x7f" and char not in '";\\')
    return f'"{kept}"' if " " in kept or "," in kept else kept

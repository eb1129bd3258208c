"""User lists of basicAuth: reading them and checking a password against a stored hash.

Three kinds of hash exist in such lists (spec v2 section 4.3): ``{SHA}`` (one SHA-1), bcrypt (``$2a$``,
``$2b$``, ``$2x$``, ``$2y$``) and MD5-crypt (``$apr1$``, ``$1$``). Anything else never matches, plain text
in particular. MD5-crypt is written out here: Python 3.13 dropped ``crypt``, and passlib, which has it, is no
longer maintained.

Pure: what is slow (bcrypt by design, MD5-crypt about a millisecond) is only marked so by ``is_slow``; the
caller decides where it runs.

Source: RFC 7617; Poul-Henning Kamp's MD5-crypt as described in FreeBSD's crypt(3) and Apache's password
formats page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

import bcrypt

from shared.errors import ConfigError

BCRYPT_PREFIXES = ("$2a$", "$2b$", "$2x$", "$2y$")
BCRYPT_MAX_BYTES = 72
"""bcrypt reads no more of a password; ``bcrypt`` >= 5 refuses longer ones instead of ignoring the rest."""
MAX_USERS = 100_000
"""Entries of one list; more is a mistake or belongs into an identity provider (not measured)."""

MAX_BCRYPT_COST = 20
"""Highest accepted cost: about a minute per check; more lets one request occupy a thread for hours."""
MAX_PASSWORD_BYTES = 4096
"""Longer passwords never match: MD5-crypt hashes the password a thousand times."""

_SHA_PREFIX = "{SHA}"
_MD5_ROUNDS = 1000
_MD5_MAX_SALT = 8
_CRYPT_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The digest's bytes are written three at a time in this order, low six bits first; the last stands alone.
_MD5_GROUPS = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_MD5_LAST = 11


def parse_users(entries: Iterable[str], path: str = "") -> dict[str, str]:
    """Read ``name:hash`` entries; a later entry replaces an earlier one of the same name.

    Raises:
        ConfigError: an entry has not exactly one colon, or asks for an absurd amount of hashing. The entry
            is named by number only: it holds a hash.
    """
    users: dict[str, str] = {}
    for index, entry in enumerate(entries):
        if entry.count(":") != 1:
            reason = f"error parsing BasicUser: entry {index + 1} is not name:hash"
            raise ConfigError(f"{path}[{index}]", reason)
        name, secret = entry.split(":")
        if _bcrypt_cost(secret) > MAX_BCRYPT_COST:
            raise ConfigError(f"{path}[{index}]", f"bcrypt cost is over {MAX_BCRYPT_COST}")
        users[name] = secret
    if len(users) > MAX_USERS:
        raise ConfigError(path, f"more than {MAX_USERS} users")
    return users


def parse_users_file(text: str) -> list[str]:
    """The entries of a users file: one per line, trimmed, blank lines and ``#`` comments left out."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def is_slow(secret: str) -> bool:
    """Whether checking a password against ``secret`` takes longer than an event loop may be held up."""
    return secret.startswith(BCRYPT_PREFIXES) or _md5_parts(secret) is not None


def decoy_secret(users: dict[str, str]) -> str:
    """The secret that an unknown user's password is checked against, so that names cannot be told by time.

    It is the one that takes longest; in a list of one kind of hash, unknown and known users cost the same.
    """
    return max(users.values(), key=lambda secret: (_bcrypt_cost(secret), is_slow(secret)), default="")


def verify(password: bytes, secret: str) -> bool:
    """Whether ``secret`` is the hash of ``password``. Never raises: a malformed hash just does not match."""
    if len(password) > MAX_PASSWORD_BYTES:
        return False
    if secret.startswith(_SHA_PREFIX):
        digest = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
        return hmac.compare_digest(digest, _to_bytes(secret.removeprefix(_SHA_PREFIX)))
    if secret.startswith(BCRYPT_PREFIXES):
        return _verify_bcrypt(password, secret)
    parts = _md5_parts(secret)
    if parts is None:
        return False
    magic, salt = parts
    return hmac.compare_digest(md5_crypt(password, _to_bytes(salt), _to_bytes(magic)), _to_bytes(secret))


def md5_crypt(password: bytes, salt: bytes, magic: bytes) -> bytes:
    """Hash a password with MD5-crypt.

    Args:
        password: of any length.
        salt: at most 8 bytes count.
        magic: ``$apr1$`` or ``$1$``; part of what is hashed.

    Returns:
        ``magic + salt + "$" + 22 characters``.
    """
    salt = salt[:_MD5_MAX_SALT]
    inner = _md5(password + salt + password)
    start = bytearray(password + magic + salt)
    start += (inner * (len(password) // len(inner) + 1))[: len(password)]
    # One byte per bit of the length, from the lowest: NUL for a 1, the first byte of the password for a 0.
    length = len(password)
    while length:
        start += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = _md5(bytes(start))
    for turn in range(_MD5_ROUNDS):
        first, last = (password, digest) if turn & 1 else (digest, password)
        digest = _md5(first + (salt if turn % 3 else b"") + (password if turn % 7 else b"") + last)
    return magic + salt + b"$" + _crypt_base64(digest)


def parse_basic_authorization(value: bytes | None) -> tuple[str, bytes] | None:
    """User name and password of an ``Authorization: Basic`` value, or None if it is not one (RFC 7617)."""
    if value is None or value[:6].lower() != b"basic " or (len(value) - 6) % 4:
        return None
    try:
        decoded = binascii.a2b_base64(value[6:], strict_mode=True)
    except binascii.Error:
        return None
    name, colon, password = decoded.partition(b":")
    return (name.decode("utf-8", "surrogateescape"), password) if colon else None


def _verify_bcrypt(password: bytes, secret: str) -> bool:
    try:
        return bcrypt.checkpw(password[:BCRYPT_MAX_BYTES], secret.encode("ascii"))
    except ValueError:  # malformed hash; UnicodeEncodeError is one of these
        return False


def _bcrypt_cost(secret: str) -> int:
    """The cost in ``$2b$10$...``; 0 for other and malformed hashes."""
    cost = secret[4:6]
    return int(cost) if secret.startswith(BCRYPT_PREFIXES) and cost.isascii() and cost.isdigit() else 0


def _md5_parts(secret: str) -> tuple[str, str] | None:
    """Magic and salt of ``$magic$salt$hash``, or None."""
    parts = secret.split("$", 3)
    if len(parts) != 4 or parts[0] or not parts[1]:
        return None
    return f"${parts[1]}$", parts[2]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _crypt_base64(digest: bytes) -> bytes:
    text = ""
    for high, middle, low in _MD5_GROUPS:
        text += _six_bit_text(digest[high] << 16 | digest[middle] << 8 | digest[low], 4)
    return (text + _six_bit_text(digest[_MD5_LAST], 2)).encode("ascii")


def _six_bit_text(value: int, characters: int) -> str:
    return "".join(_CRYPT_ALPHABET[value >> 6 * place & 0x3F] for place in range(characters))


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

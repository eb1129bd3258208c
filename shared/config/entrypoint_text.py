"""v1's entrypoint on one line: ``Name:https Address::443 TLS:cert,key Compress:on`` (spec v1 section 1.7).

Read as version D does: pieces between white space, each a key and a value parted by the first colon, keys
in any case and any order. That accepts everything the fixed order of A to C accepts; what those lost
silently (unknown keys, half a certificate pair) is an error here.
"""

from __future__ import annotations

from typing import Any

from shared.config.diagnostics import nearest_name
from shared.errors import ConfigError

_KEYS = {
    "address": "Address",
    "tls": "TLS",
    "ca": "CA",
    "redirect.entrypoint": "Redirect.EntryPoint",
    "redirect.regex": "Redirect.Regex",
    "redirect.replacement": "Redirect.Replacement",
    "redirect.permanent": "Redirect.Permanent",
    "compress": "Compress",
    "whitelistsourcerange": "WhiteListSourceRange",
    "whitelist.sourcerange": "WhiteListSourceRange",
    "proxyprotocol.trustedips": "ProxyProtocol.TrustedIPs",
    "proxyprotocol.insecure": "ProxyProtocol.Insecure",
    "forwardedheaders.trustedips": "ForwardedHeaders.TrustedIPs",
    "forwardedheaders.insecure": "ForwardedHeaders.Insecure",
}
_ON = frozenset({"true", "on", "enable"})
_OFF = frozenset({"false", "off", "disable"})


def parse_entry_point(text: str) -> tuple[str, dict[str, Any]]:
    """Read one line.

    Returns:
        The entrypoint's name and its tree, with the keys of a v1 file.

    Raises:
        ConfigError: it has no name, an unknown key or a bad value; the path is empty.
    """
    pieces = _pieces(text)
    name = pieces.pop("name", "")
    if not name:
        raise ConfigError("", f"Bad EntryPoints format: {text}")
    tree: dict[str, Any] = {}
    for key, value in pieces.items():
        if key not in _KEYS:
            hint = nearest_name(key, (*_KEYS.values(), "Name"))
            raise ConfigError("", f'Bad EntryPoints format: {text}: unknown key "{key}"', hint)
        if key != "tls" and not value:
            raise ConfigError("", f"Bad EntryPoints format: {text}: {_KEYS[key]} has no value")
        _set(tree, key, value, text)
    return name, tree


def _pieces(text: str) -> dict[str, str]:
    pieces: dict[str, str] = {}
    for piece in text.split():
        key, _, value = piece.partition(":")
        if key.lower() in pieces:
            raise ConfigError("", f"Bad EntryPoints format: {text}: {key} is written twice")
        pieces[key.lower()] = value
    return pieces


def _set(tree: dict[str, Any], key: str, value: str, text: str) -> None:
    match key.split("."):
        case ["address"]:
            tree["address"] = value
        case ["tls"]:
            tree.setdefault("tls", {})["certificates"] = _certificates(value, text)
        case ["ca"]:
            tree.setdefault("tls", {})["clientCAFiles"] = value.split(",")
        case ["redirect", part]:
            name = {"entrypoint": "entryPoint"}.get(part, part)
            tree.setdefault("redirect", {})[name] = _truth(value, text) if part == "permanent" else value
        case ["compress"]:
            tree["compress"] = _truth(value, text)
        case ["whitelistsourcerange"] | ["whitelist", "sourcerange"]:
            tree["whitelistSourceRange"] = value.split(",")
        case [section, part]:
            section = {"proxyprotocol": "proxyProtocol", "forwardedheaders": "forwardedHeaders"}[section]
            inner = tree.setdefault(section, {})
            if part == "insecure":
                inner["insecure"] = _truth(value, text)
            else:
                inner["trustedIPs"] = value.split(",")


def _certificates(value: str, text: str) -> list[dict[str, str]]:
    pairs: list[dict[str, str]] = []
    for pair in value.split(";") if value else ():
        certificate, comma, key = pair.partition(",")
        if not comma or not certificate or not key or "," in key:
            raise ConfigError(
                "", f'Bad EntryPoints format: {text}: TLS needs "certificate,key", got "{pair}"'
            )
        pairs.append({"certFile": certificate, "keyFile": key})
    return pairs


def _truth(value: str, text: str) -> bool:
    if value.lower() in _ON:
        return True
    if value.lower() in _OFF:
        return False
    raise ConfigError("", f'Bad EntryPoints format: {text}: expected true, on or enable, got "{value}"')

"""Static settings to look at: what is set, without what is secret.

For logs, ``status`` and the API. Secrets are known by their keys; a new setting that holds one is caught by
the test that walks the structs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.config.static import StaticConfig

REDACTED = "***"
SECRET_KEYS = frozenset(
    {
        *("password", "token", "users", "hmacencoded", "secretaccesskey", "accesskeyid"),
        *("dcostoken", "httpbasicpassword", "headers", "plugins", "localplugins"),
    }
)
"""Keys, folded, whose values are not shown. ``headers`` are sent to others and often carry credentials;
what a plugin is told is its own affair."""
_HARMLESS_HEADERS = frozenset({"defaultmode", "names"})


def dump_static(config: StaticConfig) -> dict[str, Any]:
    """The settings that differ from their defaults, keys as in a file, secrets redacted."""
    dumped = _redact(msgspec.to_builtins(config))
    assert isinstance(dumped, dict)
    return dumped


def _redact(value: object) -> object:
    if isinstance(value, dict):
        return {key: REDACTED if _is_secret(str(key), each) else _redact(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(each) for each in value]
    # Certificates and keys may stand in the settings themselves instead of their paths.
    return REDACTED if isinstance(value, str) and "-----BEGIN" in value else value


def _is_secret(key: str, value: object) -> bool:
    if key.lower() == "headers" and isinstance(value, dict):
        return not {each.lower() for each in value} <= _HARMLESS_HEADERS  # accessLog.fields.headers
    return key.lower() in SECRET_KEYS and bool(value)

"""Host names as rules see them: one canonical form of the Host field.

No IDNA conversion is ever done: rules are written in punycode, as the field is sent.

Source: spec v2 section 2.4; RFC 9110 section 7.2.
"""

from __future__ import annotations

import re

_WITH_PORT = re.compile(r"\A(?P<host>[^:\[\]]*):[^:\[\]]*\Z")
_BRACKETED = re.compile(r"\A\[(?P<host>[^\[\]]*)\](?::[^:\[\]]*)?\Z")


def canonical_host(host_header: str) -> str:
    """The host of a Host field: no port, no brackets around IPv6, lower-case, no blanks around it.

    What is not ``host``, ``host:port``, ``[v6]`` or ``[v6]:port`` is left as it is, in lower case. Whether a
    port is a number is for the parser to say; here ``a:b`` names ``a`` (as in Traefik 3.7.15, observed), so
    that it cannot slip past a rule about ``a``.
    """
    host = host_header.strip(" \t")
    if ":" in host or "[" in host:
        found = _WITH_PORT.match(host) or _BRACKETED.match(host)
        host = found["host"].strip(" \t") if found else host
    return lower_ascii(host)


def lower_ascii(text: str) -> str:
    """Lower-case A to Z only: host names are ASCII, and U+212A must not become ``k``."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")

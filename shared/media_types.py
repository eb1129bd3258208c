"""Media types: the type in ``text/html; charset=utf-8``.

Source: RFC 9110 section 8.3.1; a type without a subtype is read as well, as Traefik does.
"""

from __future__ import annotations

import re

from shared.errors import ConfigError

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"[ \t]*({_TOKEN}(?:/{_TOKEN})?)[ \t]*")
_PARAMETER = re.compile(rf';[ \t]*({_TOKEN})=(?:{_TOKEN}|"(?:[^"\\]|\\.)*")[ \t]*')
_END = re.compile(r"(?:;[ \t]*)*")


def media_type(text: str) -> str:
    """The type of a Content-Type, in lower case and without its parameters: ``text/html``.

    Raises:
        ConfigError: it is none, or a parameter is there twice.
    """
    found = _TYPE.match(text)
    if found is None:
        raise ConfigError("", f"{text!r} is not a media type")
    position, seen = found.end(), set()
    while (each := _PARAMETER.match(text, position)) is not None:
        name = each[1].lower()
        if name in seen:
            raise ConfigError("", f"{text!r} has the parameter {name!r} twice")
        seen.add(name)
        position = each.end()
    if _END.fullmatch(text, position) is None:
        raise ConfigError("", f"{text!r} is not a media type")
    return found[1].lower()

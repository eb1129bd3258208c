"""From a question to what a connection would have read: an entrypoint, a peer and the bytes of a head."""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.addresses import parse_ip
from shared.config.diagnostics import nearest_name
from shared.config.effective import OWN_ENTRY_POINT, parse_address
from shared.config.static import StaticConfig
from shared.errors import UsageError
from shared.explanation import Question

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r":(?P<port>[0-9]{1,5})\Z")
_LINE_ENDS = re.compile(r"[\r\n]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Arrival(NamedTuple):
    """How the request would come in.

    Attributes:
        entrypoint: the name of one that exists.
        tls: whether over TLS.
        client_ip: in its canonical form.
        raw_head: what a client would write.
    """

    entrypoint: str
    tls: bool
    client_ip: str
    raw_head: bytes


def read_question(question: Question, static: StaticConfig) -> Arrival:
    """Work out what would arrive.

    Raises:
        UsageError: the question makes no sense; whatever a client could really send is not among that.
    """
    found = _URL.fullmatch(question.url.partition("#")[0])  # a fragment never leaves the client
    if found is None:
        raise UsageError(f"expected a URL such as http://shop.example/api, got {question.url!r}")
    authority = found["authority"]
    if "@" in authority:
        raise UsageError("the URL holds a password; give it as --header 'Authorization: Basic ...'")
    scheme = found["scheme"].lower()
    client = parse_ip(question.client_ip)
    if client is None:
        raise UsageError(f"--client: expected an IP address, got {question.client_ip!r}")
    port = _PORT.search(authority)
    number = int(port["port"]) if port else _DEFAULT_PORTS[scheme]
    return Arrival(
        entrypoint=_entrypoint(question.entrypoint, static, number),
        tls=question.tls if question.tls is not None else scheme == "https",
        client_ip=str(client),
        raw_head=_raw_head(question, authority, found["target"]),
    )


def _entrypoint(wanted: str, static: StaticConfig, port: int) -> str:
    """The one that is named, else the one at the URL's port, else the only one for traffic."""
    if wanted:
        if wanted not in static.entry_points:
            hint = nearest_name(wanted, static.entry_points)
            raise UsageError(f"no entrypoint {wanted}" + (f'; did you mean "{hint}"?' if hint else ""))
        return wanted
    addresses = {name: parse_address(each.address) for name, each in static.entry_points.items()}
    names = [name for name, address in addresses.items() if address.protocol == "tcp"]
    at_port = [name for name in names if addresses[name].port == port]
    left = at_port or [name for name in names if name != OWN_ENTRY_POINT]
    if len(left) != 1:
        listed = ", ".join(f"{name} ({static.entry_points[name].address})" for name in left or names)
        raise UsageError(
            f"which entrypoint does it come in at? Say --entrypoint: {listed or 'there is none'}"
        )
    return left[0]


def _raw_head(question: Question, authority: str, target: str) -> bytes:
    if not target.startswith("/"):
        target = f"/{target}"
    given = [name.lower() for name, _ in question.headers]
    fields = list(question.headers) if "host" in given else [("Host", authority), *question.headers]
    lines = [f"{question.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    for line in lines:
        if _LINE_ENDS.search(line):
            raise UsageError(f"a line end in {line!r}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

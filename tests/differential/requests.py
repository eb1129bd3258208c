"""Raw requests: ordinary ones, odd but legal ones, and a few that no server should take."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.differential.configurations import (
    ENTRY_POINTS,
    FIELDS,
    HOSTS,
    METHODS,
    PATHS,
    Configuration,
    Hints,
)

SOURCES = ("127.0.0.1", "127.0.0.1", "127.0.0.2")
SHARE_MALFORMED = 0.04

_SEGMENTS = (
    "a",
    "b",
    "api",
    "v1",
    "A",
    "",
    "",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "..%2F",
    "%2F",
    "%2f",
    "a%2Fb",
    "a%20b",
    "%41",
    "%7e",
    "~",
    "a;b",
    "a%3Bb",
    "é",
    "%C3%A9",
    "%c3%a9",
    "%E9",
    "%25",
    "%2525",
    "%5C",
    "\\",
    "[a]",
    "%5Ba%5D",
    "a+b",
    "a:b",
    "a@b",
    "a,b",
    "a=b",
    "a&b",
    "'",
    "(a)",
    "!",
    "*",
    "$",
    "{x}",
    "|",
    '"',
    "<a>",
    "^",
    "`",
    "%00",
    "%0d%0a",
    "%3F",
    "%23",
    "%zz",
    "%",
    "%4",
    "...",
    "a.",
    ".a",
    "x",
)
_QUERY_PARTS = (
    "q=1",
    "q=2",
    "q",
    "q=",
    "k=a+b",
    "k=a%20b",
    "k=a%26b",
    "%C3%A9=%C3%BC",
    "é=ü",
    "empty",
    "empty=",
    "q=1;k=2",
    "q=%31",
    "q=%zz",
    "=x",
    "q=1=2",
    "a;b",
    "%71=1",
    "q=a/b?c",
    "q=[1]",
    'q="',
    "q='",
    "q=%2f",
    "q=|",
    "q=1&q=2",
)
_HOST_FORMS = (
    "{}",
    "{}",
    "{}",
    "{}",
    "{}",
    "{}:80",
    "{}:8080",
    "{}.",
    "{}.:80",
    "{}:",
    "x.{}",
    "{}x",
    " {} ",
    "{}..",
)
_ODD_HOSTS = (
    "",
    "[::1]",
    "[::1]:80",
    "::1",
    "a_b.test",
    "a.test:abc",
    "a.test:99999",
    "a.test:1:2",
    "a,b",
    "a b",
    "é.test",
    "a%41.test",
    "a.test/x",
    "user@a.test",
    "[::1",
    "a.test:080",
    "[::1]x",
    "[fe80::1%25eth0]",
    "*",
    "..",
    "-",
)
_FIELDS = (
    ("X-Forwarded-For", "1.2.3.4"),
    ("X-Forwarded-For", "1.2.3.4, 10.0.0.1"),
    ("X-Forwarded-For", "2001:db8::1, 127.0.0.1"),
    ("X-Forwarded-For", ""),
    ("X-Forwarded-For", "nonsense"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Host", "a.test"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Proto", "WSS"),
    ("X-Forwarded-Proto", "ftp"),
    ("X-Forwarded-Port", "1234"),
    ("X-Forwarded-Server", "evil"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Method", "EVIL"),
    ("X-Forwarded-Tls-Client-Cert", "evil"),
    ("X-Forwarded-User", "evil"),
    ("X-Real-Ip", "6.6.6.6"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("X.Forwarded.For", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6"),
    ("Connection", "close"),
    ("Connection", "keep-alive"),
    ("Connection", "X-A"),
    ("Connection", "x-a, X-B,close"),
    ("Connection", "X-Forwarded-For"),
    ("Connection", "X-Keep-Me"),
    ("Connection", "Authorization"),
    ("Connection", "Host"),
    ("Connection", "Content-Length"),
    ("Connection", "Te"),
    ("Connection", ""),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic eDp5"),
    ("Te", "trailers"),
    ("Te", "gzip"),
    ("Trailer", "X-T"),
    ("X-Keep-Me", "kept"),
    ("Cookie", "a=1"),
    ("Cookie", "b=2; c=3"),
    ("Accept-Encoding", "gzip"),
    ("User-Agent", "ua"),
    ("User-Agent", ""),
    ("Accept", "*/*"),
    ("Content-Type", "text/plain"),
    ("Referer", "http://r.test/"),
    ("X-Empty", ""),
    ("X-Spaces", "  a  b  "),
    ("X-Latin", "\xe9"),
    ("x-CASE", "Value"),
    ("X-Replaced-Path", "/evil"),
    ("Origin", "http://a.test"),
    ("Origin", "http://evil.example"),
    ("Origin", "null"),
    ("Access-Control-Request-Method", "PUT"),
    ("Access-Control-Request-Headers", "x-a"),
    ("Expect", "100-continue"),
    ("Expect", "something"),
    ("Upgrade", "h2c"),
    ("Via", "1.1 other"),
    ("Max-Forwards", "0"),
    ("Range", "bytes=0-1"),
    ("If-None-Match", '"x"'),
    ("Priority", "u=1"),
    ("X-Want", "204"),
    ("X-Want", "304"),
    ("X-Want", "500"),
    ("X-Want", "chunked"),
    ("X-Want", "trailers"),
    ("X-Want", "hop"),
    ("X-Want", "cookies"),
    ("X-Want", "cors"),
    ("X-Want", "until-close"),
    ("X-Want", "bare"),
)
_PASSWORDS = (
    "plain:password",
    "plain:wrong",
    "apache:wrong",
    "bcrypt:wrong",
    "nobody:password",
    ":",
    "plain",
)


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        number: in the run.
        entrypoint, source: where it goes, and from which address.
        raw: its bytes.
    """

    number: int
    entrypoint: str
    source: str
    raw: bytes

    @property
    def method(self) -> str:
        """The first word."""
        return self.raw.split(b" ", 1)[0].decode("latin-1")

    @property
    def target(self) -> bytes:
        """The second word, empty if there is none."""
        words = self.start_line.split(b" ")
        return words[1] if len(words) > 1 else b""

    @property
    def start_line(self) -> bytes:
        """The first line."""
        return self.raw.partition(b"\r\n")[0]

    @property
    def path(self) -> bytes:
        """The target before the question mark, without scheme and authority."""
        path = self.target.partition(b"?")[0]
        _, scheme, rest = path.partition(b"://")
        return b"/" + rest.partition(b"/")[2] if scheme and not path.startswith(b"/") else path

    @property
    def query(self) -> bytes:
        """The target behind the question mark."""
        return self.target.partition(b"?")[2]

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Its field lines, names in lower case."""
        lines = self.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        return [
            (name.lower(), value.strip(b" \t")) for name, _, value in (each.partition(b":") for each in lines)
        ]

    def values(self, name: bytes) -> list[bytes]:
        """The values of every line of a field."""
        return [value for each, value in self.fields() if each == name]


def draw_case(random: Random, number: int, configuration: Configuration) -> Case:
    """A request that comes close to the rules of a configuration."""
    hints = configuration.hints
    entrypoint = random.choices(ENTRY_POINTS, weights=(4, 2, 2, 2, 1, 1, 1, 2))[0]
    method = random.choice(hints["method"]) if random.random() < 0.5 else "GET"
    if random.random() < 0.15:
        method = random.choice((*METHODS, "get", "PATCH", "OPTIONS", "HEAD", "POST"))
    target = _target(random, hints)
    host = _host(random, hints)
    lines = [f"Host: {host}"] if host is not None else []
    lines += _field_lines(random, hints, method)
    body = b""
    if method not in ("GET", "HEAD", "OPTIONS") or random.random() < 0.05:
        framing, body = _body(random)
        lines += framing
    if random.random() < 0.3:
        random.shuffle(lines)
    version = "HTTP/1.0" if random.random() < 0.02 else "HTTP/1.1"
    if random.random() < 0.03:
        target = f"{random.choice(('http', 'HTTP', 'https'))}://{random.choice((host, 'b.test'))}{target}"
    if method == "OPTIONS" and random.random() < 0.1:
        target = "*"
    head = "\r\n".join([f"{method} {target} {version}", *lines, "", ""])
    raw = head.encode("utf-8", "surrogateescape") + body
    if random.random() < SHARE_MALFORMED:
        raw = random.choice(_SPOILERS)(raw)
    return Case(number, entrypoint, random.choice(SOURCES), raw)


def _target(random: Random, hints: Hints) -> str:
    path = random.choice(hints["path"] if random.random() < 0.75 else PATHS)
    path = path.replace(" ", "%20")
    if random.random() < 0.45:
        path = path.rstrip("/") if random.random() < 0.8 else path
        path += "/" + "/".join(random.choices(_SEGMENTS, k=random.randint(1, 3)))
    if random.random() < 0.06:
        path = "/" + "/".join(random.choices(_SEGMENTS, k=random.randint(0, 4)))
    if random.random() < 0.05:
        path = f"/chained{path}"
    if random.random() < 0.01:
        path += "#f"
    if random.random() < 0.4:
        parts = random.choices(_QUERY_PARTS, k=random.randint(0, 3))
        if hints["query"] and random.random() < 0.6:
            key, value = random.choice(hints["query"])
            parts.append(f"{key}={value.replace(' ', '+').replace('&', '%26')}")
        path += "?" + "&".join(parts)
    return path


def _host(random: Random, hints: Hints) -> str | None:
    if random.random() < 0.05:
        return random.choice(_ODD_HOSTS)
    if random.random() < 0.01:
        return None
    host = random.choice(hints["host"] if random.random() < 0.8 else HOSTS)
    if ":" in host:
        return f"[{host}]" + random.choice(("", ":80"))
    host = host.replace("*", "y")
    if random.random() < 0.1:
        host = host.upper()
    return str(random.choice(_HOST_FORMS).format(host))


def _field_lines(random: Random, hints: Hints, method: str) -> list[str]:
    chosen = random.choices(_FIELDS, k=random.choice((0, 0, 1, 1, 2, 3, 6)))
    if hints["field"] and random.random() < 0.7:
        chosen += random.choices(hints["field"], k=random.randint(1, 2))
    elif random.random() < 0.3:
        chosen.append(random.choice(FIELDS))
    if random.random() < 0.15:
        password = base64.b64encode(random.choice(_PASSWORDS).encode()).decode()
        scheme = random.choice(("Basic", "Basic", "basic", "BASIC", "Bearer", "Basic "))
        chosen.append(("Authorization", f"{scheme} {password}"))
    if random.random() < 0.02:
        chosen += [("Connection", "Upgrade"), ("Upgrade", random.choice(("websocket", "other")))]
    if method == "OPTIONS" and random.random() < 0.5:
        chosen += [("Origin", "http://a.test"), ("Access-Control-Request-Method", "PUT")]
    return [f"{name}:{random.choice((' ', ' ', ' ', '', '  '))}{value}" for name, value in chosen]


def _body(random: Random) -> tuple[list[str], bytes]:
    content = random.randbytes(random.choice((0, 1, 10, 1000, 70_000)))
    kind = random.random()
    if kind < 0.2:
        return [], b""
    if kind < 0.65:
        return [f"Content-Length: {len(content)}"], content
    size = max(1, len(content) // random.randint(1, 3))
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    extension = random.choice((b"", b"", b";x=y"))
    raw = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    trailers = random.choice((b"", b"", b"X-T: t\r\n", b"X-T: t\r\nContent-Length: 5\r\n"))
    return ["Transfer-Encoding: chunked"], raw + b"0\r\n" + trailers + b"\r\n"


def _insert(line: bytes) -> Callable[[bytes], bytes]:
    """A spoiler that puts a line behind the start line."""
    return lambda raw: raw.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


_SPOILERS = (
    _insert(b"X Bad: 1"),
    _insert(b"X-Bad : 1"),
    _insert(b": 1"),
    _insert(b"no colon"),
    _insert(b"Host: second.test"),
    _insert(b"Content-Length: 3\r\nContent-Length: 4"),
    _insert(b"Content-Length: +3"),
    _insert(b"Content-Length: -1"),
    _insert(b"Content-Length: 1, 1"),
    _insert(b"Transfer-Encoding: gzip"),
    _insert(b"Transfer-Encoding: identity"),
    _insert(b"X-Ctl: a\x01b"),
    _insert(b"X-Del: a\x7fb"),
    _insert(b"X-Fold: a\r\n b"),
    _insert(b"X-Nul: a\x00b"),
    lambda raw: raw.replace(b" HTTP/1.", b"  HTTP/1.", 1),
    lambda raw: raw.replace(b"HTTP/1.1", b"HTTP/2.0", 1),
    lambda raw: raw.replace(b"HTTP/1.1", b"HTTP/1.2", 1),
    lambda raw: raw.replace(b"HTTP/1.1", b"HTTP/1", 1),
    lambda raw: raw.replace(b"HTTP/1.1", b"http/1.1", 1),
    lambda raw: raw.replace(b" /", b" a/", 1),
    lambda raw: raw.replace(b" /", b" mailto:", 1),
    lambda raw: raw.replace(b" ", b"\t", 1),
    lambda raw: b"G(T" + raw[3:],
    lambda raw: b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
)
"""What turns a request into one that breaks a rule of the grammar."""

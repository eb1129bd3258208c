"""When a known difference explains what is seen: a condition over one case, both outcomes and one aspect.

Each is as narrow as its reason. Conditions that hold for every aspect describe cases in which everything that
follows is different, because one side refused or took another router.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.differential.outcomes import Aspect, Outcome
from tests.differential.requests import Case


@dataclass(frozen=True)
class Observed:
    """One case with both outcomes: what a condition looks at.

    Attributes:
        steps: the middlewares of the routers that answered, chains expanded, if they say their names.
        has_broken_port: whether some router redirects to a port that is no number.
    """

    case: Case
    ours: Outcome
    theirs: Outcome
    steps: list[dict[str, Any]]
    has_broken_port: bool = False

    def options(self, kind: str) -> list[dict[str, Any]]:
        """The options of all middlewares of a kind among the steps."""
        return [step[kind] for step in self.steps if kind in step]


Explains = Callable[[Observed, Aspect], bool]


_SHOW_THE_PATH = (
    "upstream.target",
    "field:location",
    "upstream.field:x-replaced-path",
    "upstream.field:x-forwarded-prefix",
)
_NON_ASCII = re.compile(r"[\x80-\xff]")
_ILLEGAL_IN_PATH = re.compile(rb'[\x80-\xff"<>\\^`{|}]')
_PLAIN_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")
_SIMPLE_HOST = re.compile(rb"[A-Za-z0-9_.\-]+(?::[0-9]+)?")
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,4}|:0[0-9]{4}|:[1-6][0-9]{4})?"
)


def _is(name: str, ours: object, theirs: object) -> Explains:
    return lambda _, aspect: (aspect.name, aspect.ours, aspect.theirs) == (name, ours, theirs)


def asks_for_gzip(observed: Observed, aspect: Aspect) -> bool:
    return (
        (aspect.name, aspect.ours, aspect.theirs) == ("upstream.field:accept-encoding", [], ["gzip"])
        and not observed.case.values(b"range")
        and observed.case.method != "HEAD"
    )


def drops_question_mark(observed: Observed, aspect: Aspect) -> bool:
    """Also where a redirectRegex sees the mark and changes it: then only Traefik redirects."""
    if not observed.case.target.endswith(b"?"):
        return False
    if (
        aspect.name in ("upstream.target", "field:location")
        and observed.ours.status == observed.theirs.status
        and _texts(aspect.theirs) == f"{_texts(aspect.ours)}?"
    ):
        return True
    expressions = len(observed.options("redirectRegex"))
    if not expressions or observed.theirs.status not in (301, 302, 307, 308):
        return False
    # The next expression may redirect what the first one leaves alone without the mark.
    return not 300 < observed.ours.status < 309 or (expressions > 1 and aspect.name == "field:location")


def _texts(values: object) -> str:
    """A text, or the only value of a field."""
    return "".join(values) if isinstance(values, list | str) else ""


def says_error_id(observed: Observed, aspect: Aspect) -> bool:
    return aspect.name == "field:x-penstock-error" and aspect.theirs == [] and observed.ours.status >= 400


def drops_lookalike(observed: Observed, aspect: Aspect) -> bool:
    return aspect.name == "upstream.field:x.forwarded.for" and aspect.ours == []


def sends_trailers(observed: Observed, aspect: Aspect) -> bool:
    if aspect.name == "upstream.field:trailer":  # Traefik announces each once, we as often as the client
        return list(dict.fromkeys(aspect.ours)) == aspect.theirs
    return (
        (aspect.name, aspect.theirs) == ("upstream.trailers", ())
        and aspect.ours == (("x-t", "t"),)
        and b"\r\nX-T: t\r\n" in observed.case.raw
    )


def refuses(condition: Callable[[Case], bool], *, ours: int, theirs: Callable[[Outcome], bool]) -> Explains:
    """Ours refuses where a condition over the request holds, Traefik does not: all aspects follow."""

    def explains(observed: Observed, _: Aspect) -> bool:
        return (
            observed.ours.status == ours
            and not observed.ours.upstream
            and theirs(observed.theirs)
            and condition(observed.case)
        )

    return explains


def has_line(pattern: bytes) -> Callable[[Case], bool]:
    wanted = re.compile(pattern, re.MULTILINE)
    return lambda case: wanted.search(case.raw.partition(b"\r\n\r\n")[0]) is not None


def repairs_target(observed: Observed, aspect: Aspect) -> bool:
    """Every aspect that shows the path, when it holds what no path may hold."""
    return aspect.name in _SHOW_THE_PATH and (
        _ILLEGAL_IN_PATH.search(observed.case.path) is not None
        or any(not _PLAIN_PATH.fullmatch(each["prefix"]) for each in observed.options("addPrefix"))
    )


def escapes_query(observed: Observed, aspect: Aspect) -> bool:
    return (
        aspect.name in ("upstream.target", "field:location")
        and any(byte > 0x7F for byte in observed.case.query)
        and _escaped(_texts(aspect.theirs)) == _texts(aspect.ours)
    )


def _escaped(text: str) -> str:
    return _NON_ASCII.sub(lambda found: f"%{ord(found[0]):02X}", text)


def closes(observed: Observed, aspect: Aspect) -> bool:
    """After refusing a request, and towards HTTP/1.0."""
    is_old = observed.case.start_line.endswith(b" HTTP/1.0")
    is_refusal = observed.ours.status == observed.theirs.status == 400 and not observed.ours.upstream
    return (
        (aspect.name, aspect.ours) == ("field:connection", ["close"])
        and aspect.theirs in ([], ["keep-alive"])
        and (is_old or is_refusal)
    )


def measures_refusals(observed: Observed, aspect: Aspect) -> bool:
    return (
        aspect.name == "field:content-length"
        and aspect.theirs == []
        and observed.ours.status == observed.theirs.status
        and observed.theirs.status in (400, 431, 501, 505)
        and (observed.theirs.values("connection") == ["close"] or observed.case.method == "HEAD")
    )


def explains_less(observed: Observed, aspect: Aspect) -> bool:
    return (
        aspect.name == "body"
        and aspect.ours in (b"400 Bad Request", b"505 HTTP Version Not Supported")
        and isinstance(aspect.theirs, bytes)
        and aspect.theirs.startswith(aspect.ours + b": ")
    )


def keeps_user_agents(observed: Observed, aspect: Aspect) -> bool:
    """Go's client sends the first value only, and that only if it is not empty."""
    return (
        aspect.name == "upstream.field:user-agent"
        and isinstance(aspect.ours, list)
        and aspect.theirs == [each for each in aspect.ours[:1] if each]
    )


def answers_before_reset(observed: Observed, _: Aspect) -> bool:
    if observed.theirs.status == 0 and observed.case.values(b"x-want") == [b"until-close"]:
        return len(observed.case.raw) > 65_536  # the origin may go while Traefik still sends the body
    return (
        observed.theirs.status == 0
        and not observed.theirs.upstream
        and observed.ours.status >= 400
        and not observed.ours.upstream
    )


def routes_what_was_sent(observed: Observed, aspect: Aspect) -> bool:
    """Anything may follow when Traefik matches and checks a path that it has decoded and escaped anew."""
    adds_odd_prefix = any(not _PLAIN_PATH.fullmatch(each["prefix"]) for each in observed.options("addPrefix"))
    return (adds_odd_prefix and observed.theirs.status == 400) or (
        _ILLEGAL_IN_PATH.search(observed.case.path) is not None
        and re.search(rb"[%()*'!\[\]]", observed.case.path) is not None
        and (
            observed.ours.router != observed.theirs.router
            or observed.ours.status != observed.theirs.status
            or [each.service for each in observed.ours.upstream]
            != [each.service for each in observed.theirs.upstream]
        )
    )


def _host_of(case: Case) -> bytes:
    return b"".join(case.values(b"host")).partition(b":")[0]


def strips_one_dot(observed: Observed, _: Aspect) -> bool:
    return _host_of(observed.case).endswith(b"..") and (
        observed.ours.router != observed.theirs.router or observed.ours.status != observed.theirs.status
    )


def reads_all_connection_lines(observed: Observed, aspect: Aspect) -> bool:
    lines = max(len(observed.case.values(b"connection")), len(observed.case.values(b"upgrade")))
    if lines > 1 and observed.case.start_line.endswith(b" HTTP/1.0"):
        return (aspect.name, aspect.ours, aspect.theirs) == ("field:connection", ["keep-alive"], [])
    return (
        aspect.name
        in ("upstream.field:x-forwarded-proto", "upstream.field:connection", "upstream.field:upgrade")
        and lines > 1
        and bool(observed.case.values(b"upgrade"))
    )


def never_upgrades_old(observed: Observed, aspect: Aspect) -> bool:
    return (
        aspect.name
        in ("upstream.field:x-forwarded-proto", "upstream.field:connection", "upstream.field:upgrade")
        and observed.case.start_line.endswith(b" HTTP/1.0")
        and bool(observed.case.values(b"upgrade"))
    )


def sends_no_empty_origin(observed: Observed, aspect: Aspect) -> bool:
    return (aspect.name, aspect.theirs) == ("field:access-control-allow-origin", [""])


def disables_broken_port(observed: Observed, _: Aspect) -> bool:
    """Traefik's answer comes from a router that we do not serve, or from that router's entrypoint."""
    if observed.has_broken_port and (observed.ours.status, observed.theirs.status) == (404, 400):
        return b"%" in observed.case.path and observed.case.entrypoint == "strict"
    return observed.ours.router != observed.theirs.router and any(
        not each.get("port", "0").isdecimal() for each in observed.options("redirectScheme")
    )


def refuses_in_order(observed: Observed, aspect: Aspect) -> bool:
    """Both refuse a head in which two things are wrong, or whose target has no known form."""
    is_refused = observed.ours.status in (400, 505) and observed.theirs.status == 400
    if not is_refused or observed.ours.upstream or observed.theirs.upstream:
        return False
    if observed.ours.status == 505:
        return not observed.case.start_line.endswith((b" HTTP/1.1", b" HTTP/1.0"))
    return (
        aspect.name in ("body", "field:content-type", "field:content-length")
        and {observed.ours.body, observed.theirs.body.partition(b":")[0]} <= {b"", b"400 Bad Request"}
        and (b"#" in observed.case.target or not observed.case.target.startswith(b"/"))
    )


def redirects_somewhere(observed: Observed, _: Aspect) -> bool:
    return bool(observed.options("redirectRegex")) and observed.theirs.values("location") == [""]


def keeps_leading_slash(observed: Observed, aspect: Aspect) -> bool:
    """What follows once replacePath or replacePathRegex has made a path without a slash in front."""
    is_relative = any(not each["path"].startswith("/") for each in observed.options("replacePath")) or any(
        not each["replacement"].strip().startswith("/") for each in observed.options("replacePathRegex")
    )
    if not is_relative:
        return False
    if observed.ours.status == 400 and observed.options("replacePathRegex"):
        return True  # of a later expression, which fits the path with the slash only
    if aspect.name in ("upstream.target", "upstream.field:x-replaced-path"):
        ours, theirs = (unquote(_texts(each).partition("?")[0]) for each in (aspect.ours, aspect.theirs))
        return ours.replace("/", "") == theirs.replace("/", "")
    if aspect.name == "upstream.field:x-forwarded-prefix":
        return "/" in aspect.ours and [each for each in aspect.ours if each != "/"] == aspect.theirs
    return bool(observed.options("redirectScheme")) and 300 < observed.ours.status < 309


def keeps_vary(observed: Observed, aspect: Aspect) -> bool:
    """Two lines of the server, and headers steps that add Origin, once each."""
    return (aspect.name, aspect.ours) == ("field:vary", ["A,B,Origin"]) and aspect.theirs in (
        ["A,Origin"],
        ["A,Origin,Origin"],
    )


def ignores_old_expectations(observed: Observed, aspect: Aspect) -> bool:
    return (aspect.name, aspect.ours) == ("upstream.field:expect", []) and observed.case.start_line.endswith(
        b" HTTP/1.0"
    )


def announces_nothing_to_old(observed: Observed, aspect: Aspect) -> bool:
    return (aspect.name, aspect.ours) == ("field:trailer", []) and observed.case.start_line.endswith(
        b" HTTP/1.0"
    )


def skips_unread_body(observed: Observed, aspect: Aspect) -> bool:
    return (
        (aspect.name, aspect.ours, aspect.theirs) == ("field:connection", [], ["close"])
        and b"100-continue" in b",".join(observed.case.values(b"expect")).lower()
        and not observed.theirs.upstream
    )


def has_unknown_form(case: Case) -> bool:
    return re.match(rb"/|(?i:https?)://[^/?#]|\*$", case.target) is None


def has_old_chunks(case: Case) -> bool:
    return case.start_line.endswith(b" HTTP/1.0") and bool(case.values(b"transfer-encoding"))


def redirects_as_sent(observed: Observed, aspect: Aspect) -> bool:
    kinds = ("addPrefix", "replacePath", "replacePathRegex", "stripPrefix", "stripPrefixRegex")
    return (
        aspect.name == "field:location"
        and b";" in observed.case.query
        and _texts(aspect.ours).replace(";", "&") == _escaped(_texts(aspect.theirs)).replace(";", "&")
        and any(observed.options(kind) for kind in kinds)
    )


def types_304(observed: Observed, aspect: Aspect) -> bool:
    return (
        (aspect.name, aspect.theirs) == ("field:content-type", [])
        and observed.ours.status == observed.theirs.status == 304
        and any(
            "Content-Type" in each.get("customResponseHeaders", {}) for each in observed.options("headers")
        )
    )


def quotes_realms(observed: Observed, aspect: Aspect) -> bool:
    return aspect.name == "field:www-authenticate" and any(
        '"' in each.get("realm", "") for each in observed.options("basicAuth")
    )


def refuses_connect(observed: Observed, _: Aspect) -> bool:
    return observed.case.method == "CONNECT" and observed.ours.status == observed.theirs.status == 501


def spells_replaced_path(observed: Observed, aspect: Aspect) -> bool:
    """The same path, spelled otherwise."""
    return (
        aspect.name == "upstream.field:x-replaced-path"
        and isinstance(aspect.ours, list)
        and isinstance(aspect.theirs, list)
        and [_unquoted(each) for each in aspect.ours] == [_unquoted(each) or "/" for each in aspect.theirs]
    )


def _unquoted(path: str) -> str:
    return unquote(path, "latin-1")


def invents_no_type(observed: Observed, aspect: Aspect) -> bool:
    return (aspect.name, aspect.ours, aspect.theirs) == (
        "field:content-type",
        [],
        ["text/plain; charset=utf-8"],
    ) and any(each.lower() == b"100-continue" for each in observed.case.values(b"expect"))


def has_malformed_host(case: Case) -> bool:
    return any(_HOST.fullmatch(each) is None for each in case.values(b"host"))


def keeps_escapes_behind_prefix(observed: Observed, aspect: Aspect) -> bool:
    """An escaped slash stood right behind a prefix that was cut, and Traefik decodes all of the rest."""
    cuts = observed.options("stripPrefix") or observed.options("stripPrefixRegex")
    if not cuts or re.search(rb"(?i)%2f", observed.case.path) is None:
        return False
    if observed.theirs.status == 400 != observed.ours.status:
        return not observed.theirs.upstream
    ours, theirs = (unquote(_texts(each).partition("?")[0]) for each in (aspect.ours, aspect.theirs))
    return aspect.name in _SHOW_THE_PATH and ours == theirs


def reads_escaped_hosts(observed: Observed, _: Aspect) -> bool:
    return (
        observed.theirs.status == 400
        and re.match(rb"(?i)https?://[^/?]*%", observed.case.target) is not None
        and b"%" in _host_of(observed.case)
    )


def redirects_absolute_targets(observed: Observed, aspect: Aspect) -> bool:
    return aspect.name == "field:location" and re.match(rb"HTTPS?://", observed.case.target) is not None


def says_sts_over_tls_only(observed: Observed, aspect: Aspect) -> bool:
    return (aspect.name, aspect.ours) == (
        "field:strict-transport-security",
        [],
    ) and observed.case.target.lower().startswith(b"https://")


def redirects_odd_hosts(observed: Observed, aspect: Aspect) -> bool:
    is_odd = any(_SIMPLE_HOST.fullmatch(each) is None for each in observed.case.values(b"host"))
    if not is_odd:
        return False
    if observed.theirs.status == 502:
        return bool(observed.options("redirectScheme") or observed.options("redirectRegex"))
    return aspect.name == "field:location" and bool(observed.options("redirectScheme"))


def sends_safe_prefix(observed: Observed, aspect: Aspect) -> bool:
    if aspect.name == "upstream.field:x-forwarded-prefix" and b"%20" in observed.case.path:
        ours, theirs = (aspect.ours[-1:], aspect.theirs[-1:])  # a blank at the end of a value is lost
        return [unquote(each).rstrip() for each in ours] == theirs
    return (
        observed.theirs.status == 500
        and bool(observed.options("stripPrefixRegex"))
        and re.search(rb"(?i)%0[0-9a-d]", observed.case.path) is not None
    )


def skips_empty_members(observed: Observed, aspect: Aspect) -> bool:
    return (
        aspect.name == "upstream.field:x-forwarded-for"
        and b"" in observed.case.values(b"x-forwarded-for")
        and isinstance(aspect.theirs, list)
        and [_without_empty(each) for each in aspect.theirs] == aspect.ours
    )


def _without_empty(members: str) -> str:
    return ", ".join(each.strip() for each in members.split(",") if each.strip())


def has_two_authorities(case: Case) -> bool:
    found = re.match(rb"(?i)https?://([^/?#]*)", case.target)
    return found is not None and [found[1].lower()] != [each.lower() for each in case.values(b"host")]


def leaves_expectations(observed: Observed, _: Aspect) -> bool:
    wanted = [each for each in observed.case.values(b"expect") if each.lower() != b"100-continue"]
    return bool(wanted) and observed.theirs.status == 417


def routes_asterisk(observed: Observed, _: Aspect) -> bool:
    return (
        observed.case.start_line.startswith(b"OPTIONS * ")
        and observed.theirs.status == 200
        and observed.theirs.body == b""
        and not observed.theirs.upstream
    )

"""Where Penstock and Traefik 3.7.15 differ on purpose: one list, rendered in docs/differences.md.

An entry explains single aspects of a case, and only under the condition that its reason speaks of. What no
entry explains fails the run; an entry that explains nothing in a whole run is stale and fails it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.differential import conditions as when
from tests.differential.configurations import Configuration
from tests.differential.outcomes import Aspect, Outcome
from tests.differential.requests import Case


@dataclass(frozen=True)
class KnownDifference:
    """One of them.

    Attributes:
        name: short, unique.
        ours, theirs: what each does, for the page.
        reason: why ours stays as it is.
        explains: whether this is what one aspect of a case shows.
        is_certain: whether every run shows it; False for what depends on timing.
    """

    name: str
    ours: str
    theirs: str
    reason: str
    explains: when.Explains
    is_certain: bool = True


def explain(
    case: Case, ours: Outcome, theirs: Outcome, aspects: Sequence[Aspect], configuration: Configuration
) -> tuple[list[Aspect], set[str]]:
    """The aspects that no entry explains, and the names of the entries that explained others."""
    steps = [step for name in {ours.router, theirs.router} for step in configuration.steps_of(name)]
    observed = when.Observed(case, ours, theirs, steps, configuration.has_broken_port)
    left: list[Aspect] = []
    used: set[str] = set()
    for aspect in aspects:
        names = [each.name for each in KNOWN if each.explains(observed, aspect)]
        if names:
            used.add(names[0])
        else:
            left.append(aspect)
    return left, used


@dataclass(frozen=True)
class KnownBehaviour:
    """One that a scenario of ``behaviours.py`` shows, with servers that misbehave."""

    name: str
    ours: str
    theirs: str
    reason: str


BEHAVIOURS: tuple[KnownBehaviour, ...] = (
    KnownBehaviour(
        "malformed-answer",
        "answers 502 when a server's answer is malformed or ends inside its head",
        "answers 500",
        "RFC 9110 section 15.6.3: an invalid response from an inbound server is a 502; breakers count it",
    ),
    KnownBehaviour(
        "idempotency-key",
        "sends a POST once, whatever its fields say, when the server dies on a kept connection",
        "sends it again if it has Idempotency-Key or X-Idempotency-Key",
        "a POST that may have been read is never repeated unless the configuration says so",
    ),
    KnownBehaviour(
        "cut-head",
        "passes the head of an answer on at once, and cuts the body where the server cut it",
        "keeps the head of a small answer with Content-Length, and cuts before it",
        "the client knows more; neither looks complete",
    ),
)
"""Of scenarios; each is named by those that show it."""

KNOWN: tuple[KnownDifference, ...] = (
    KnownDifference(
        "accept-encoding",
        "sends the request on without Accept-Encoding when the client sent none",
        "asks the server for gzip and unpacks the answer",
        "nobody asked for the work; it is the doing of its HTTP library, not a feature",
        when.asks_for_gzip,
    ),
    KnownDifference(
        "empty-query",
        "drops a question mark with nothing behind it",
        "sends it on",
        "spec v2 section 5.2: one form for one meaning",
        when.drops_question_mark,
    ),
    KnownDifference(
        "error-id",
        "puts X-Penstock-Error into its own error answers",
        "has no such field",
        "finds the log line of an error that a user reports",
        when.says_error_id,
    ),
    KnownDifference(
        "lookalike-fields",
        "drops X.Forwarded.For and the like from strangers",
        "drops the spelling with underscores only",
        "servers that build CGI variables read both as X-Forwarded-For",
        when.drops_lookalike,
    ),
    KnownDifference(
        "request-trailers",
        "sends request trailers on, announced or not",
        "sends none, not even those that it announces",
        "spec v2 section 5.2",
        when.sends_trailers,
    ),
    KnownDifference(
        "illegal-path",
        "escapes the characters that no path may hold and leaves the rest of the path as it was sent",
        "decodes such a path and escapes all of it anew: %2F becomes a slash, and ..%2F climbs",
        "a decoded %2F is another path than the one that was matched and authorised",
        when.repairs_target,
    ),
    KnownDifference(
        "slash-behind-prefix",
        "keeps the escapes behind a cut prefix that an escaped slash follows (/a%2Fb%3Bc minus /a: /b%3Bc)",
        "decodes all of the rest (/b;c), and answers 400 when that is not clean",
        "a decoded escape is another path than the one that was matched and authorised",
        when.keeps_escapes_behind_prefix,
    ),
    KnownDifference(
        "illegal-path-routing",
        "matches and checks a path that holds such characters as it was sent",
        "matches and checks the decoded one: %2F passes an entrypoint that refuses it",
        "what is checked must be what is sent",
        when.routes_what_was_sent,
    ),
    KnownDifference(
        "double-dot",
        "reads one dot at the end of a host as no dot, in rules and requests",
        "also matches a rule with one dot at the end and a request with two",
        "spec v2 section 2.2; no such name exists",
        when.strips_one_dot,
    ),
    KnownDifference(
        "connection-lines",
        "reads all lines of Connection and Upgrade",
        "reads the first one when it looks for a WebSocket, or for keep-alive of HTTP/1.0",
        "RFC 9110 section 5.3: several lines are one list",
        when.reads_all_connection_lines,
    ),
    KnownDifference(
        "old-upgrades",
        "does not change protocols for HTTP/1.0 clients",
        "sends their Upgrade on",
        "RFC 9110 section 7.8",
        when.never_upgrades_old,
    ),
    KnownDifference(
        "empty-allow-origin",
        "leaves Access-Control-Allow-Origin out when a request names no origin",
        "sends an empty one",
        "an empty value allows nothing and is not in the field's grammar",
        when.sends_no_empty_origin,
    ),
    KnownDifference(
        "redirect-port",
        "disables routers whose redirectScheme has a port that is no number",
        "serves them, and answers 502 or names the port in a redirect",
        "the mistake is told when the configuration is read",
        when.disables_broken_port,
    ),
    KnownDifference(
        "refusal-form",
        "answers a fragment in the target without a body and an unknown form of target with text",
        "decides between the two forms by what it notices first",
        "both are 400; which one is an accident of its parser",
        when.refuses_in_order,
    ),
    KnownDifference(
        "empty-location",
        "answers 502 when a redirect's replacement leaves nothing",
        "sends an empty Location",
        "clients read it as the same URL, for ever",
        when.redirects_somewhere,
    ),
    KnownDifference(
        "leading-slash",
        "puts a slash in front of a replaced path that has none",
        "sends a target without it",
        "RFC 9112 section 3.2.1: it is no request target",
        when.keeps_leading_slash,
    ),
    KnownDifference(
        "vary-lines",
        "adds Origin to all lines of Vary",
        "adds it to the first and drops the others",
        "a cache that misses a member serves wrong answers",
        when.keeps_vary,
    ),
    KnownDifference(
        "old-expectations",
        "ignores Expect in HTTP/1.0",
        "sends it on",
        "RFC 9110 section 10.1.1",
        when.ignores_old_expectations,
    ),
    KnownDifference(
        "old-trailers",
        "does not announce trailers to HTTP/1.0 clients",
        "announces them and does not send them",
        "HTTP/1.0 has no chunks to carry them",
        when.announces_nothing_to_old,
    ),
    KnownDifference(
        "target-form",
        "refuses targets that are neither a path nor an http URL (mailto:, mailto:?q)",
        "serves some of them as /",
        "RFC 9112 section 3.2",
        when.refuses(when.has_unknown_form, ours=400, theirs=lambda outcome: True),
    ),
    KnownDifference(
        "unsafe-prefix",
        "keeps the escapes of a cut prefix in X-Forwarded-Prefix when it holds line ends, or ends in a blank",
        "answers 500, or loses the blank",
        "the request is legal; only the field must not carry a line end",
        when.sends_safe_prefix,
    ),
    KnownDifference(
        "unread-body",
        "reads over a body that nobody wanted and goes on",
        "closes when the client waits for 100 Continue and gets a final answer",
        "the client sent it already; a body too large to read over ends the connection here as well",
        when.skips_unread_body,
    ),
    KnownDifference(
        "old-chunks",
        "refuses Transfer-Encoding in HTTP/1.0",
        "ignores it and takes the body for the next request, or none",
        "RFC 9112 section 6.1: the framing is faulty",
        when.refuses(when.has_old_chunks, ours=400, theirs=lambda outcome: True),
    ),
    KnownDifference(
        "redirect-semicolons",
        "redirects with the semicolons of the query as they were sent",
        "does so too, but with & once a middleware in front has changed the path",
        "a change of the path is none of the query",
        when.redirects_as_sent,
    ),
    KnownDifference(
        "type-of-304",
        "sets a configured Content-Type on a 304 as well",
        "drops it there",
        "a configured field is set on every answer; caches update what they hold (RFC 9110 section 15.4.5)",
        when.types_304,
    ),
    KnownDifference(
        "realm-quotes",
        "escapes quotes in a realm",
        "sends them raw",
        "RFC 9110 section 5.6.4: otherwise the challenge cannot be parsed",
        when.quotes_realms,
    ),
    KnownDifference(
        "query-bytes",
        "escapes bytes beyond ASCII in the query",
        "sends them raw",
        "RFC 9112 section 3.2: no request target may hold them, and strict servers refuse it",
        when.escapes_query,
    ),
    KnownDifference(
        "says-close",
        "says Connection: close before it closes, after a refusal and towards HTTP/1.0",
        "goes on after refusing an escape, and closes without a word towards HTTP/1.0",
        "RFC 9112 section 9.6; after a refused head nothing on the connection is trusted",
        when.closes,
    ),
    KnownDifference(
        "refusal-length",
        "sends refusals of malformed requests with Content-Length",
        "lets the end of the connection end them",
        "a cut answer cannot look complete",
        when.measures_refusals,
    ),
    KnownDifference(
        "refusal-text",
        "answers malformed requests with 400 Bad Request",
        "adds what was wrong",
        "the cause is in the log, under the id of the answer",
        when.explains_less,
    ),
    KnownDifference(
        "user-agent",
        "sends User-Agent on as it came: empty, or several times",
        "sends the first one, unless it is empty",
        "the fields of a client are its own; it is the HTTP library's doing, not a feature",
        when.keeps_user_agents,
    ),
    KnownDifference(
        "reset-after-refusal",
        "answers, then reads on for a moment before it closes",
        "may close with unread data, which resets the connection under its own answer",
        "RFC 9112 section 9.6",
        when.answers_before_reset,
        is_certain=False,
    ),
    KnownDifference(
        "connect",
        "refuses CONNECT with 501 and text, and closes",
        "refuses it with 501 and nothing",
        "the same form as other refusals",
        when.refuses_connect,
    ),
    KnownDifference(
        "replaced-path",
        "puts the escaped path into X-Replaced-Path, and / for an empty one",
        "puts it there as an earlier middleware wrote it, also unescaped or empty",
        "the field says what would have been sent",
        when.spells_replaced_path,
    ),
    KnownDifference(
        "type-after-100",
        "never invents a Content-Type",
        "guesses one when a 100 Continue came before",
        "spec v2 section 5.2; the original forgets there what it set up against guessing",
        when.invents_no_type,
    ),
    KnownDifference(
        "malformed-host",
        "refuses a Host that is no host and port",
        "takes it",
        "RFC 9112 section 3.2 asks for the refusal; servers read such a field in different ways",
        when.refuses(when.has_malformed_host, ours=400, theirs=lambda outcome: True),
    ),
    KnownDifference(
        "redirect-hosts",
        "redirects to every proper host: with an empty port (b.test:), IPv6 literals, a,b, a%41",
        "answers 502 to them, or keeps the colon",
        "RFC 3986 section 3.2: all are proper hosts",
        when.redirects_odd_hosts,
    ),
    KnownDifference(
        "escaped-host",
        "takes escapes in the host of an absolute target (http://a%41.test/), as in Host",
        "answers 400 to it, and takes them in Host",
        "RFC 3986 section 3.2.2: a name may hold escapes; both places mean the same",
        when.reads_escaped_hosts,
    ),
    KnownDifference(
        "absolute-redirect",
        "redirects a target with a scheme in capitals (HTTP://a.test/) like any other",
        "puts the whole target behind the host (http://a.testHTTP://a.test/)",
        "RFC 3986 section 3.1: schemes are case-insensitive",
        when.redirects_absolute_targets,
    ),
    KnownDifference(
        "sts-by-target",
        "sends Strict-Transport-Security over TLS, or as sslProxyHeaders say",
        "also when the target of a plain request begins with https:",
        "RFC 6797 section 7.2: never over plain connections",
        when.says_sts_over_tls_only,
    ),
    KnownDifference(
        "version",
        "answers 505 to versions other than 1.0 and 1.1",
        "serves HTTP/1.2 and later minor versions",
        "no such version exists; who claims it is not a client",
        when.refuses(
            when.has_line(rb"\A.* HTTP/1\.[2-9]\r?\Z|\A.* HTTP/1\.[2-9]\r$"),
            ours=505,
            theirs=lambda outcome: True,
        ),
    ),
    KnownDifference(
        "empty-member",
        "leaves empty members out of X-Forwarded-For",
        "keeps them (', 127.0.0.1')",
        "RFC 9110 section 5.6.1: a sender must not make empty list members",
        when.skips_empty_members,
    ),
    KnownDifference(
        "expectations",
        "sends an expectation that it does not know to the server",
        "answers 417",
        "RFC 9110 section 10.1.1 leaves it open, and the server may know what its client means",
        when.leaves_expectations,
    ),
    KnownDifference(
        "options-asterisk",
        "routes OPTIONS * like any request",
        "answers 200 itself, before any router",
        "the client asks about the server behind, and middlewares (authentication) hold for it",
        when.routes_asterisk,
    ),
    KnownDifference(
        "folded-lines",
        "refuses field lines that are continued on the next line",
        "joins them",
        "RFC 9112 section 5.2: parsers differ over them",
        when.refuses(when.has_line(rb"^[ \t]"), ours=400, theirs=lambda outcome: True),
    ),
    KnownDifference(
        "two-authorities",
        "refuses a target whose authority is not the one of Host",
        "believes the target",
        "whoever reads Host behind us would see another host than the one that was authorised",
        when.refuses(when.has_two_authorities, ours=400, theirs=lambda outcome: True),
    ),
    KnownDifference(
        "unknown-coding",
        "answers 400 to a Transfer-Encoding that does not end in chunked",
        "answers 501",
        "RFC 9112 section 6.3: the length cannot be known, so it is a bad request",
        when.refuses(
            when.has_line(rb"(?i)^transfer-encoding:[ \t]*(?!chunked)"),
            ours=400,
            theirs=lambda o: o.status == 501,
        ),
    ),
)
"""All of them."""


def render() -> str:
    """``docs/differences.md``."""
    lines = [
        "# Differences from Traefik",
        "",
        "What Penstock does otherwise than Traefik 3.7.15 with the same configuration and the same bytes,",
        "and why. The list is as complete as `tests/differential` has seen: generated configurations and",
        "requests go through both, and whatever differs without standing here fails the run, as does an",
        "entry that no request shows any more. What is refused as malformed or ambiguous:",
        "[strictness.md](strictness.md).",
        "",
        "Servers that flap, are slow, reset or fail are compared by scenarios; the last rows are theirs.",
        "",
        "Two more hold for configurations, not for requests: a router that becomes broken keeps its last",
        "good version, and routers of equal priority are tried in the order of their names (Traefik leaves",
        "that open).",
        "",
        "Generated by `python -m tests.differential.known_differences`; do not edit.",
        "",
        "| name | Penstock | Traefik 3.7.15 | reason |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.ours} | {each.theirs} | {each.reason} |" for each in (*KNOWN, *BEHAVIOURS)
    ]
    return "\n".join(lines).replace("||", "\\|\\|") + "\n"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "differences.md").write_text(render())

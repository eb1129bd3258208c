"""An explanation as lines for people: (text, style) pairs, top to bottom as the request travels."""

from __future__ import annotations

from collections.abc import Iterator

from shared.explanation import (
    Answer,
    ExplainedService,
    ExplainedStep,
    Explanation,
    JudgedRouter,
    Question,
    Received,
    UpstreamRequest,
)

Line = tuple[str, str | None]
_HEADING = "bold"
_GOOD = "green"
_BAD = "red"
_QUIET = "dim"


def describe(question: Question, found: Explanation) -> Iterator[Line]:
    """The whole explanation."""
    yield f"{question.method} {question.url}", _HEADING
    if found.received is not None:
        yield from _received(found.received, found.generation)
        yield from _router(found.router)
    yield from _others(found)
    for place, step in enumerate(found.chain, 1):
        if place == 1:
            yield "chain", _HEADING
        yield from _step(place, step)
    for service in found.services:
        yield from _service(service)
    if found.upstream is not None:
        yield from _upstream(found.upstream)
    if found.answer is not None:
        yield from _answer(found.answer)
    for note in found.notes:
        yield f"note: {note}", _QUIET


def _received(received: Received, generation: int) -> Iterator[Line]:
    lane = " over TLS" if received.tls else ""
    yield f"  at entrypoint {received.entrypoint}{lane}, from {received.client_ip}, table {generation}", None
    decoded = f" (decoded {received.decoded_path})" if received.decoded_path != received.path else ""
    query = f", query {received.query}" if received.query is not None else ""
    yield f"  host {received.host or 'none'}, path {received.path}{decoded}{query}", None


def _router(router: JudgedRouter | None) -> Iterator[Line]:
    yield "router", _HEADING
    if router is None:
        yield "  none matches", _BAD
        return
    yield f"  {router.name} wins: priority {router.priority}, {router.rule or '(no rule)'}", _GOOD
    for reason in router.reasons:
        yield f"    {reason}", None


def _others(found: Explanation) -> Iterator[Line]:
    if found.others:
        yield "other routers, in match order", _HEADING
    for each in found.others:
        yield f"  {each.rank}. {each.name}: priority {each.priority}, {each.rule or '(no rule)'}", None
        if each.fate == "outranked":
            yield f"    matches too, but {each.outranked_by}", None
            continue
        for reason in each.reasons:
            yield f"    {reason}", None
    if found.others_left_out:
        yield f"  and {found.others_left_out} more, whose rules are further off; --all shows them", _QUIET


def _step(place: int, step: ExplainedStep) -> Iterator[Line]:
    said = f"answers {step.answer}" if step.outcome == "answered" else step.outcome
    nothing = step.outcome == "passed on" and not step.request_changes and not step.response_changes
    style = _BAD if step.outcome == "answered" else None
    yield f"  {place}. {step.name} ({step.kind}): {'changes nothing' if nothing else said}", style
    for change in step.request_changes:
        yield f"    request: {change}", None
    for change in step.response_changes:
        yield f"    response: {change}", None


def _service(service: ExplainedService) -> Iterator[Line]:
    yield f"service {service.name}, {service.strategy}", _HEADING
    for each in service.members:
        mark = "->" if each.picked else "  "
        note = f", {each.note}" if each.note else ""
        style = _GOOD if each.picked else None
        yield f"  {mark} {each.name}: weight {each.weight}, {each.share:.0%} of requests{note}", style


def _upstream(upstream: UpstreamRequest) -> Iterator[Line]:
    yield f"{upstream.server_url} gets", _HEADING
    yield f"  {upstream.request_line}", None
    for name, value in upstream.headers:
        yield f"  {name}: {value}", None


def _answer(answer: Answer) -> Iterator[Line]:
    yield f"answer by {answer.by}: {answer.status} {answer.reason}", _HEADING
    yield f"  {answer.why}", None
    for name, value in answer.headers:
        yield f"  {name}: {value}", None
    for line in answer.body.splitlines():
        yield f"  | {line}", None

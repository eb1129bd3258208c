"""Server-sent events: the same events, however the stream is cut and whatever its line ends are."""

import pytest

from providers.event_stream import MAX_EVENT_BYTES, EventParser, ServerEvent

TEXT = (
    b': comment\n\nevent:status_update_event\ndata:{"a":\ndata: 1}\nid: 7\nretry: 10\n\n'
    b"event: nothing\n\ndata\n\nevent: other\ndata: {not json\n\n"
)
EVENTS = [
    ServerEvent("status_update_event", '{"a":\n1}'),
    ServerEvent("message", ""),
    ServerEvent("other", "{not json"),
]


def parse(*pieces):
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_pieces_are_cut(end):
    text = TEXT.replace(b"\n", end)
    assert parse(text + b"\n") == EVENTS
    assert parse(*(text[at : at + 1] for at in range(len(text)))) == EVENTS
    for at in range(len(text)):
        assert parse(text[:at], text[at:]) == EVENTS


def test_heartbeats_are_no_events():
    assert parse(b"\r", b"\n", b"\r\n", b"\n") == []


def test_an_event_without_end_is_refused():
    with pytest.raises(ValueError, match="larger than"):
        parse(*[b"x" * (1 << 20)] * (MAX_EVENT_BYTES // (1 << 20) + 1))
    with pytest.raises(ValueError, match="larger than"):
        parse(*[b"data: " + b"x" * (1 << 20) + b"\n"] * (MAX_EVENT_BYTES // (1 << 20) + 1))

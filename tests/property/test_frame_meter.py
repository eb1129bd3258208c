"""Frames, split anywhere: the same bytes for h2, the same goodbye, the same verdict."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.h2.frame_meter import HEAD_BYTES, PREFACE_BYTES, Farewell, FloodError, FrameMeter
from worker.h2.limits import CONTROL_BURST, FRAME_BYTES

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOAWAY, PING = 7, 6


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


FRAMES = st.builds(
    frame,
    st.integers(0, 12).filter(lambda kind: kind != GOAWAY),
    st.integers(0, 255),
    st.integers(0, 2**31 - 1),
    st.binary(max_size=40),
)
FAREWELLS = st.builds(
    lambda last, code, text: frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + text),
    st.integers(0, 2**31 - 1),
    st.integers(0, 20),
    st.binary(max_size=10),
)


@st.composite
def conversations(draw):
    """Frames in order, the same bytes in pieces, and whether a preface comes first."""
    frames = draw(st.lists(st.one_of(FRAMES, FAREWELLS), max_size=12))
    data = b"".join(frames)
    has_preface = draw(st.booleans())
    if has_preface:
        data = PREFACE + data
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return frames, pieces, has_preface


@given(conversations())
def test_splits_change_nothing(conversation):
    frames, pieces, has_preface = conversation
    meter = FrameMeter(0.0, PREFACE_BYTES if has_preface else 0)
    kept = b"".join(meter.feed(piece, 0.0) for piece in pieces)
    wanted = b"".join(each for each in frames if each[3] != GOAWAY)
    assert kept == (PREFACE if has_preface else b"") + wanted
    farewells = [each for each in frames if each[3] == GOAWAY]
    if farewells:
        last = farewells[-1]
        assert meter.farewell == Farewell(int.from_bytes(last[9:13]), int.from_bytes(last[13:17]))
    else:
        assert meter.farewell is None
    blocks = [each for each in frames if each[3] in (1, 9)]
    assert meter.is_in_block == bool(blocks and not blocks[-1][4] & 4)


@given(conversations(), st.binary(max_size=HEAD_BYTES - 1))
def test_a_frame_that_has_not_come_is_not_passed_on(conversation, beginning):
    _, pieces, has_preface = conversation
    meter = FrameMeter(0.0, PREFACE_BYTES if has_preface else 0)
    for piece in pieces:
        meter.feed(piece, 0.0)
    assert meter.feed(beginning, 0.0) == b""


@settings(max_examples=20)
@given(st.integers(1, 400))
def test_a_flood_is_noticed_in_pieces_of_any_size(size):
    ping = frame(PING, 0, 0, bytes(8))
    meter, data = FrameMeter(0.0), ping * CONTROL_BURST
    for begin in range(0, len(data), size):
        meter.feed(data[begin : begin + size], 0.0)
    with pytest.raises(FloodError, match="without content"):
        meter.feed(ping, 0.0)


@given(st.integers(FRAME_BYTES + 1, 2**24 - 1), st.integers(0, 255))
def test_a_frame_that_is_too_long_is_not_waited_for(length, kind):
    with pytest.raises(FloodError, match=str(length)):
        FrameMeter(0.0).feed(length.to_bytes(3) + bytes((kind, 0, 0, 0, 0, 1)), 0.0)

"""A line made from a pattern is the line of the exchange's own record, whatever the request held."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from worker.access_log import LinePattern, Record, format_common

raw = st.binary(max_size=12)
texts = raw.map(lambda data: data.decode("utf-8", "surrogateescape"))
records = st.builds(
    Record,
    started_at=st.floats(0, 4e9),
    duration_s=st.floats(0, 1e4),
    client_host=raw,
    username=texts,
    method=texts,
    target=texts,
    protocol=texts,
    status=st.integers(100, 999),
    size_bytes=st.integers(0, 1 << 40),
    referer=raw,
    user_agent=raw,
    number=st.integers(0, 1 << 40),
    router=texts,
    server_url=texts,
)


@given(records, records)
def test_a_pattern_makes_the_line_of_any_exchange_that_differs_in_figures_only(record, other):
    figures = ("started_at", "duration_s", "status", "size_bytes", "number")
    changed = msgspec.structs.replace(record, **{name: getattr(other, name) for name in figures})
    pattern = LinePattern(record)
    line = pattern.fill(other.started_at, other.duration_s, other.status, other.size_bytes, other.number)
    assert line == format_common(changed)

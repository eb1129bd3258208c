"""Sets of statuses."""

import pytest

from shared.errors import ConfigError
from shared.status_ranges import StatusRanges


def test_single_statuses_ranges_and_lists():
    ranges = StatusRanges(("404", "500-502, 504"))
    assert [status for status in range(100, 600) if status in ranges] == [404, 500, 501, 502, 504]
    assert 200 not in StatusRanges(())


@pytest.mark.parametrize(
    "text", ["", "5xx", "502-500", "99", "1000", "500-", "-500", "\u0665\u0660\u0660", "500-599-600"]
)
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ConfigError):
        StatusRanges((text,))

"""Which servers somebody means."""

from __future__ import annotations

import pytest

from master.drains import find_servers
from shared.errors import UsageError

A, B = "http://10.0.0.1:80", "http://10.0.0.2:80/base/"
KNOWN = [("shop@file", A), ("shop@file", B), ("blog@file", A), ("a/b@kv", B)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (A, [("shop@file", A), ("blog@file", A)]),
        (A + "/", [("shop@file", A), ("blog@file", A)]),
        ("10.0.0.1:80", [("shop@file", A), ("blog@file", A)]),
        (f"shop@file/{A}", [("shop@file", A)]),
        (f"shop/{A}", [("shop@file", A)]),
        ("http://10.0.0.2:80/base", [("shop@file", B), ("a/b@kv", B)]),
        (f"a/b/{B}", [("a/b@kv", B)]),
    ],
)
def test_names(text, found):
    assert find_servers(text, KNOWN) == found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("http://10.0.0.1:81", 'did you mean "http://10.0.0.1:80"?'),
        (f"shap/{A}", f'did you mean "shop@file/{A}"?'),
        (f"shop@docker/{A}", f'did you mean "shop@file/{A}"?'),
        ("http://10.0.0.2:80", "did you mean"),
        ("", "see penstock routes"),
    ],
)
def test_what_is_not_there(text, hint):
    with pytest.raises(UsageError, match="no server") as failure:
        find_servers(text, KNOWN)
    assert hint in str(failure.value)


def test_without_servers():
    with pytest.raises(UsageError, match="no server"):
        find_servers(A, [])

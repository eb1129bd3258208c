from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from shared.table.literals import literals_of


@pytest.mark.parametrize(
    ("pattern", "prefix", "suffix"),
    [
        (r"^/app7/v[0-9]+", "/app7/v", ""),
        (r"^[a-z]+\.example\.com$", "", ".example.com"),
        (r"^(?P<sub>[a-z]+)\.x\.com$", "", ".x.com"),
        (r"^(?:www|api)\.x$", "", ".x"),
        (r"^/exact$", "/exact", "/exact"),
        (r"^ab*c$", "a", "c"),
        (r"^ab?", "a", ""),
        (r"^ab{0}", "a", ""),
        (r"x/y", "", ""),
        (r"^a|b$", "", ""),
        (r"(?i)^a", "", ""),
        (r"(?m)^a$", "", ""),
        (r"^a$b", "", ""),
        (r"x\d$", "", ""),
        (r"x\$", "", ""),
        (r"\Qa$", "", ""),
        (r"[a$", "", ""),
        (r"[^$]a", "", ""),
        ("", "", ""),
    ],
)
def test_literals(pattern, prefix, suffix):
    assert literals_of(pattern) == (prefix, suffix)


pieces = st.sampled_from(
    [
        "^",
        "$",
        "a",
        "b",
        r"\.",
        ".",
        "*",
        "?",
        "+",
        "{0}",
        "{1,2}",
        "(",
        "(?:",
        "(?i)",
        ")",
        "|",
        "[ab]",
        "[^a]",
    ]
)


@given(pattern=st.lists(pieces, max_size=8).map("".join), subject=st.text("ab.A", max_size=5))
def test_every_subject_has_the_literals(pattern, subject):
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern, options).search(subject.encode()) is not None
    except re2.error:
        return
    literals = literals_of(pattern)
    if found:
        assert subject.startswith(literals.prefix)
        assert subject.endswith(literals.suffix)

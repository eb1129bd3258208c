"""Media types are read, or refused."""

import pytest

from shared.errors import ConfigError
from shared.media_types import media_type


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("text/html", "text/html"),
        (" Text/HTML ; Charset=UTF-8", "text/html"),
        (r'a/b;c="d;\"e\\";f=g;', "a/b"),
        ("text", "text"),
        ("text/plain; ;", "text/plain"),
    ],
)
def test_read(text, name):
    assert media_type(text) == name


@pytest.mark.parametrize(
    "text", ["", "/", "a/", "a/b c", "a/b; c", "a/b; c=", "a/b; c=d; C=e", 'a/b; c="d', "a/b/c", "\xe9/b"]
)
def test_refused(text):
    with pytest.raises(ConfigError):
        media_type(text)

"""Which coding a client is given, by its Accept-Encoding."""

import pytest

from shared.content_codings import choose_coding

ALL = ("gzip", "br", "zstd")


@pytest.mark.parametrize(
    ("lines", "offered", "default", "chosen"),
    [
        (["gzip, br"], ALL, "", "gzip"),
        (["gzip, br"], ("zstd", "br", "gzip"), "", "br"),
        (["gzip", "zstd;q=0.9"], ("zstd", "gzip"), "", "gzip"),
        (["gzip;q=0.5, br; q=0.8 , zstd;q=0.1"], ALL, "", "br"),
        (["GZIP;Q=1"], ALL, "", "gzip"),
        (["identity"], ALL, "", None),
        (["identity, gzip"], ALL, "", "gzip"),
        (["identity;q=1, gzip;q=0.5"], ALL, "", None),
        (["gzip;q=0, identity;q=0"], ALL, "", None),
        (["gzip;q=0", "br"], ALL, "", "br"),
        (["deflate"], ALL, "", None),
        ([""], ALL, "br", None),
        ([","], ALL, "br", None),
        (["*"], ("zstd", "br"), "", "zstd"),
        (["*"], ALL, "br", "br"),
        (["gzip, *"], ALL, "zstd", "zstd"),
        (["gzip, *;q=0.5"], ALL, "zstd", "gzip"),
        (["*, gzip;q=0"], ALL, "", "br"),
        (["*, br;q=0"], ALL, "br", "gzip"),
        (["*, gzip;q=0, br;q=0, zstd;q=0"], ALL, "", None),
        (["*;q=0"], ALL, "br", None),
        (["gzip;q=x, br;q=0.9"], ALL, "", "gzip"),
        (["gzip;q=-1"], ALL, "", "gzip"),
        (["gzip;q=nan"], ALL, "", "gzip"),
    ],
)
def test_choice(lines, offered, default, chosen):
    assert choose_coding(lines, offered, default) == chosen

"""Normal forms of paths, queries and hosts."""

from __future__ import annotations

import pytest

from shared.errors import BadRequest
from shared.hosts import canonical_host, lower_ascii
from shared.paths import (
    MAX_QUERY_PARAMETERS,
    decoded_path,
    escape_path,
    has_bad_escape,
    is_clean,
    normalise_escapes,
    query_values,
    routing_path,
    sanitise,
    semicolons,
)
from tests.support.vectors import vectors


@pytest.mark.parametrize("vector", vectors("v2", "path.sanitize"))
def test_path_vectors(vector):
    options = vector["config"]["entryPoints"]["web"]["http"]
    path = normalise_escapes(vector["request"]["requestTarget"])
    path = sanitise(path) if options["sanitizePath"] else path
    assert path == vector["expect"]["upstreamTarget"]


@pytest.mark.parametrize("vector", vectors("v2", "query.semicolon"))
def test_query_vectors(vector):
    path, _, query = vector["request"]["requestTarget"].partition("?")
    encode = vector["config"]["encodeQuerySemicolons"]
    assert f"{path}?{semicolons(query, encode)}" == vector["expect"]["upstreamTarget"]


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/%41%7a%2D%2e%5F%7E%30", "/Az-._~0"),
        ("/a%2fb%c3%a9", "/a%2Fb%C3%A9"),
        ("/%2541", "/%2541"),
        ("/a b\udcff", "/a b\udcff"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_normalise_escapes(raw, normal):
    assert normalise_escapes(raw) == normal


@pytest.mark.parametrize("bad", ["/%", "/%4", "/%4g", "/%%41", "/a%zz"])
@pytest.mark.parametrize("function", [normalise_escapes, routing_path, decoded_path])
def test_malformed_escapes_are_refused(function, bad):
    assert has_bad_escape(bad)
    with pytest.raises(BadRequest):
        function(bad)


def test_a_decoded_percent_sign_makes_no_new_escape():
    assert decoded_path("/%2541") == "/%41"
    assert routing_path("/%2541") == "/%2541"
    assert not has_bad_escape("/%25")


@pytest.mark.parametrize("byte", range(256))
def test_routing_path_keeps_just_the_reserved_escapes(byte):
    escape = f"%{byte:02X}"
    expected = (
        escape if chr(byte) in ":/?#[]@!$&'()*+,;=%" else bytes([byte]).decode("utf-8", "surrogateescape")
    )
    assert routing_path(f"/a{escape}b") == f"/a{expected}b"


def test_routing_path_keeps_upper_case_escapes_only():
    assert routing_path("/a%2fb") == "/a/b"
    assert routing_path(normalise_escapes("/a%2fb")) == "/a%2Fb"


def test_escapes_are_joined_in_bytes_before_they_become_text():
    assert routing_path("/%C3%A9") == decoded_path("/%C3%A9") == "/é"
    assert decoded_path("/\udcc3%A9") == "/é"
    assert decoded_path("/%FF") == "/\udcff"


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../", "/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/.", "/a/b"),
        ("/a/b/./", "/a/b/"),
        ("/a/..%2Fb", "/a/..%2Fb"),
        ("/a/...", "/a/..."),
        ("/.a/b..", "/.a/b.."),
        ("*", "*"),
    ],
)
def test_sanitise(path, clean):
    assert sanitise(path) == clean


def test_encoded_dots_are_removed_after_normalising():
    assert sanitise(normalise_escapes("/a/%2e%2E/b")) == "/b"


@pytest.mark.parametrize("path", ["", "/", "/a", "/a/", "/a/b.c", "a"])
def test_clean(path):
    assert is_clean(path)


@pytest.mark.parametrize("path", ["//", "/a//", "/a/..", "/../a", "/./a", "..", "a//b"])
def test_not_clean(path):
    assert not is_clean(path)


def test_escape_path():
    assert escape_path("/a b/é?#[]%!'()*") == "/a%20b/%C3%A9%3F%23%5B%5D%25%21%27%28%29%2A"
    assert escape_path("/-._~$&+,:;=@\udcff") == "/-._~$&+,:;=@%FF"
    assert escape_path("*") == "*"


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (None, []),
        ("", []),
        ("k", [""]),
        ("k=", [""]),
        ("k=1&x=2&k=3", ["1", "3"]),
        ("k=a+b%2B", ["a b+"]),
        ("%6B=1", ["1"]),
        ("K=1", []),
        ("k=a=b", ["a=b"]),
        ("k=%zz&k=2", ["2"]),
        ("k=1;x&k=2", ["2"]),
        ("&&k=1&&", ["1"]),
        ("k=%FF", ["\udcff"]),
    ],
)
def test_query_values(query, values):
    assert query_values(query, "k") == values


def test_too_many_parameters_have_no_values():
    most = "&".join(["k=1"] * MAX_QUERY_PARAMETERS)
    assert len(query_values(most, "k")) == MAX_QUERY_PARAMETERS
    assert query_values(most + "&k=1", "k") == []


def test_query_values_are_the_callers_own():
    query_values("k=1", "k").append("2")
    assert query_values("k=1", "k") == ["1"]


def test_semicolons():
    assert semicolons("a=1;b=2", encode=False) == "a=1&b=2"
    assert semicolons(None, encode=True) is None


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("Shop.TEST", "shop.test"),
        ("shop.test:80", "shop.test"),
        ("shop.test:", "shop.test"),
        (" shop.test:80 ", "shop.test"),
        ("shop.test.", "shop.test."),
        ("[2001:DB8::7]:80", "2001:db8::7"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("a:b", "a"),
        ("[::1]:b", "::1"),
        ("a:1:2", "a:1:2"),
        ("[::1", "[::1"),
        ("[::1]x", "[::1]x"),
        (":80", ""),
        ("", ""),
    ],
)
def test_canonical_host(field, host):
    assert canonical_host(field) == host


def test_only_ascii_letters_fold():
    assert lower_ascii("\u212aÄA\udcff") == "\u212aÄa\udcff"

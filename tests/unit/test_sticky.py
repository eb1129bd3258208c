"""Sticky cookies of both dialects."""

import pytest

from shared.config.dynamic import Cookie, Sticky
from shared.headers import Headers
from tests.support.vectors import vectors
from worker.sticky import attributes, cookie_name, make_sessions, old_values_of, value_of

URLS = ["http://a:1", "http://b:1"]


def cookie(text):
    return Headers([(b"Cookie", text.encode())])


def options(vector):
    raw = vector["config"].get("cookie") or vector["config"]["sticky"]["cookie"]
    names = {"httpOnly": "http_only", "sameSite": "same_site", "maxAge": "max_age"}
    return Cookie(**{names.get(key, key): value for key, value in raw.items()})


@pytest.mark.parametrize("vector", vectors("v2", "sticky.cookieName"))
def test_names(vector):
    service = vector["config"].get("service", "s@file")
    assert cookie_name(options(vector), service) == vector["expect"]["cookieName"]


@pytest.mark.parametrize("vector", vectors("v2", "sticky.value"))
def test_values(vector):
    server = vector["config"]["server"]
    assert value_of(server) == vector["expect"]["cookieValue"]
    assert list(old_values_of(server)) == vector["expect"]["acceptedLegacyValues"]


@pytest.mark.parametrize("vector", vectors("v2", "sticky.attrs"))
def test_attributes(vector):
    sessions = make_sessions("s@file", Sticky(options(vector)), [vector["request"]["server"]])
    assert sessions.cookie_for(0).decode() == vector["expect"]["setCookie"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Cookie(), "; Path=/"),
        (Cookie(path=""), ""),
        (Cookie(max_age=-1), "; Path=/; Max-Age=0"),
        (Cookie(same_site="NONE", secure=True), "; Path=/; Secure; SameSite=None"),
        (Cookie(same_site="odd"), "; Path=/"),
    ],
)
def test_attributes_that_are_left_out(given, expected):
    assert attributes(given) == expected


def test_a_client_returns_to_its_member():
    sessions = make_sessions("s@file", Sticky(Cookie(name="s")), URLS)
    assert sessions.find(Headers()) is None
    assert sessions.find(cookie("s=unknown")) is None
    assert sessions.find(cookie("other=1; t=2")) is None
    found = sessions.find(cookie(f'x=1; s="{value_of(URLS[1])}"; s={value_of(URLS[0])}'))
    assert (found.position, found.is_current) == (1, True)


@pytest.mark.parametrize("form", [0, 1, 2])
def test_older_values_are_understood_and_replaced(form):
    sessions = make_sessions("s@file", Sticky(Cookie(name="s")), URLS)
    found = sessions.find(cookie(f"s={old_values_of(URLS[1])[form]}"))
    assert (found.position, found.is_current) == (1, False)


def test_a_flood_of_cookies_is_looked_at_within_bounds():
    sessions = make_sessions("s@file", Sticky(Cookie(name="s")), URLS)
    last = f"s={value_of(URLS[0])}"
    assert sessions.find(cookie("a=1; " * 99 + last)) is not None
    assert sessions.find(cookie("a=1; " * 100 + last)) is None


@pytest.mark.parametrize("vector", vectors("v1", "sticky"))
def test_cookies_of_v1(vector):
    expected = vector["expect"].get("C")
    if expected is None or "servers" not in vector["config"]:
        return  # names are made by the translation, see test_legacy
    urls = vector["config"]["servers"]
    sessions = make_sessions("b", Sticky(Cookie(name="_TRAEFIK_BACKEND")), urls, with_urls=True)
    sent = "; ".join(f"{name}={value}" for name, value in vector["request"]["cookies"].items())
    found = sessions.find(cookie(sent) if sent else Headers())
    if expected.get("server"):
        assert urls[found.position] == expected["server"]
    if expected.get("set_cookie"):
        assert found is None
        assert sessions.cookie_for(0).decode() == expected["set_cookie"]


def test_v1_compares_scheme_host_and_path():
    sessions = make_sessions("b", Sticky(Cookie(name="s")), URLS, with_urls=True)
    assert sessions.find(cookie("s=http://b:1?query")).position == 1
    assert sessions.find(cookie("s=https://b:1")) is None
    assert sessions.find(cookie("s=http://[")) is None


def test_without_options_there_are_no_sessions():
    assert make_sessions("s", None, URLS) is None
    assert make_sessions("s", Sticky(None), URLS) is None

"""Our own answers, byte for byte."""

from __future__ import annotations

import pytest
import trio

from shared import errors
from shared.status_texts import status_text
from tests.support.vectors import vectors
from worker import replies

HTTP_ERROR_FIELDS = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
FAILURES = {
    "proxy.error-003": errors.ResponseTimeout(),
    "proxy.error-004": errors.UpstreamGone(),
    "proxy.error-005": errors.UpstreamUntrusted(),
    "proxy.error-006": errors.ClientGone(),
}


def body_of(response):
    return trio.run(response.body.receive)


@pytest.mark.parametrize(
    ("error", "status", "body", "fields"),
    [
        (errors.NoRoute(), 404, b"404 page not found\n", HTTP_ERROR_FIELDS),
        (errors.NoServerAvailable(), 503, b"no available server\n", HTTP_ERROR_FIELDS),
        (errors.TooManyInFlight(), 503, b"Service Unavailable", []),
        (errors.ConnectFailed("secret detail"), 502, b"Bad Gateway", []),
        (errors.ConnectTimeout(), 504, b"Gateway Timeout", []),
        (errors.ResponseTimeout(), 504, b"Gateway Timeout", []),
        (errors.UpstreamGone(), 502, b"Bad Gateway", []),
        (errors.UpstreamUntrusted(), 500, b"Internal Server Error", []),
        (errors.ExchangeError(), 500, b"Internal Server Error", []),
        (errors.ClientGone(), 499, b"Client Closed Request", []),
        (errors.ContentTooLarge(), 413, b"Request Entity Too Large", []),
        (errors.BadRequest("secret detail"), 400, b"400 Bad Request", HTTP_ERROR_FIELDS[:1]),
        (errors.HeadersTooLarge(), 431, b"431 Request Header Fields Too Large", HTTP_ERROR_FIELDS[:1]),
        (errors.VersionNotSupported(), 505, b"505 HTTP Version Not Supported", HTTP_ERROR_FIELDS[:1]),
    ],
)
def test_an_error_has_one_answer(error, status, body, fields):
    response = replies.for_error(error)
    assert (response.status, body_of(response), list(response.headers)) == (status, body, fields)
    assert not response.from_upstream


@pytest.mark.parametrize(
    "vector", [each for each in vectors("v2", "proxy.error") if each.values[0]["id"] in FAILURES]
)
def test_proxy_error_vector(vector):
    response = replies.for_error(FAILURES[vector["id"]])
    assert response.status == vector["expect"]["status"]
    assert body_of(response).decode() == vector["expect"]["body"]
    assert b"Content-Type" not in response.headers


@pytest.mark.parametrize("vector", vectors("v2", "notfound"))
def test_not_found_vector(vector):
    response = replies.for_error(errors.NoRoute())
    assert response.status == vector["expect"]["status"]
    assert body_of(response).decode() == vector["expect"]["body"]
    wanted = {name.encode(): value.encode() for name, value in vector["expect"]["headers"].items()}
    assert dict(response.headers) == wanted


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_body_has_none(status):
    assert body_of(replies.plain(status)) == b""


def test_an_empty_answer_says_nothing():
    response = replies.empty(400)
    assert (response.status, response.body.length, len(response.headers)) == (400, 0, 0)


def test_a_redirect_names_the_place():
    response = replies.redirect(302, "https://foo.test/a?b")
    assert list(response.headers) == [(b"Location", b"https://foo.test/a?b")]
    assert body_of(response) == b"Found"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("/a\r\nX: y", b"/a%0D%0AX:%20y"),
        ('/a"<>b?c=" |', b'/a%22%3C%3Eb?c="%20|'),
        ("http://h/%2F%zz", b"http://h/%2F%zz"),
        ("/é?é#é", b"/%C3%A9?%C3%A9#%C3%A9"),
        ("/\udcff", b"/%FF"),
        ("http://[::1]:80/", b"http://[::1]:80/"),
    ],
)
def test_a_location_cannot_leave_its_line(url, value):
    assert replies.location_value(url) == value


def test_status_texts_do_not_move_with_python():
    assert status_text(413) == "Request Entity Too Large"
    assert status_text(418) == "I'm a teapot"
    assert status_text(499) == ""
    assert status_text(999) == ""

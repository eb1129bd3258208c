"""One word for every way to fail."""

from __future__ import annotations

import socket

import pytest
import trio

from shared import errors
from shared.table.client_tls import ClientTlsEntry
from worker.causes import cause_of
from worker.dialing import Dialer
from worker.upstream import Origin

WORDS = [
    (errors.ConnectTimeout("x"), "connect-timeout"),
    (errors.ConnectFailed("x"), "connect-failed"),
    (errors.PoolTimeout("x"), "no-free-connection"),
    (errors.UpstreamUntrusted("x"), "certificate-refused"),
    (errors.UpstreamProtocolError("x"), "bad-response"),
    (errors.ResponseTimeout("x"), "response-timeout"),
    (errors.UpstreamGone("x"), "reset-before-headers"),
    (errors.ServersDown("x"), "all-servers-down"),
    (errors.NoServerAvailable("x"), "no-server"),
    (errors.BreakerOpen("x"), "breaker-open"),
    (errors.TooManyInFlight("x"), "too-many-in-flight"),
    (errors.NoRoute("x"), "no-route"),
    (errors.BadRequest("x"), "bad-request"),
    (errors.ClientGone("x"), "client-gone"),
    (errors.ExchangeError("x"), "internal"),
]


@pytest.mark.parametrize(("error", "word"), WORDS, ids=lambda each: str(each))
def test_words(error, word):
    assert cause_of(error) == word


def test_every_class_has_a_word_of_its_kind():
    def leaves(kind):
        return [kind, *(each for sub in kind.__subclasses__() for each in leaves(sub))]

    for kind in leaves(errors.UpstreamError):
        if kind is not errors.UpstreamError:
            assert cause_of(kind("x")) != "internal", kind


def test_an_end_inside_the_answer_is_another_one():
    assert cause_of(errors.UpstreamGone("x"), after_headers=True) == "reset-after-headers"


def test_a_refused_connection_is_told_from_others():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(errors.ConnectFailed) as failure:
            trio.run(Dialer(Origin("http", *bound.getsockname()), ClientTlsEntry(), 5.0).dial, ())
    assert cause_of(failure.value) == "connect-refused"


def test_a_name_that_does_not_exist(monkeypatch):
    async def find_nothing(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", find_nothing)
    with pytest.raises(errors.ConnectFailed) as failure:
        trio.run(Dialer(Origin("http", "nowhere.invalid", 80), ClientTlsEntry(), 5.0).dial, ())
    assert cause_of(failure.value) == "name-not-found"

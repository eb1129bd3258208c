"""Chains: what becomes of errors on their way out."""

from __future__ import annotations

import pytest
import trio

from shared.errors import ConnectFailed
from tests.support.chains import make_exchange
from worker.exchange import Exchange
from worker.handling import reply_to
from worker.messages import Response
from worker.pipeline import SyncStep, compose


class _Mark(SyncStep):
    def __init__(self, name: bytes) -> None:
        self._name = name

    def on_response(self, exchange: Exchange, response: Response) -> None:
        response.headers.add(b"X-Mark", self._name)


async def _fail(_: Exchange) -> Response:
    raise ConnectFailed("refused")


def test_steps_change_the_answer_to_an_error_that_passed_them():
    handler = compose([_Mark(b"outer"), _Mark(b"inner")], _fail)
    with pytest.raises(ConnectFailed) as raised:
        trio.run(handler, make_exchange())
    answer = reply_to(raised.value)
    assert answer.status == 502
    assert answer.headers.get_all(b"X-Mark") == [b"inner", b"outer"]


def test_an_error_that_a_step_caught_leaves_nothing_on_the_next_answer():
    async def retry(exchange: Exchange, call_next) -> Response:
        try:
            return await call_next(exchange)
        except ConnectFailed:
            return await call_next(exchange)

    handler = compose([_Mark(b"outer"), retry, _Mark(b"inner")], _fail)
    with pytest.raises(ConnectFailed) as raised:
        trio.run(handler, make_exchange())
    assert reply_to(raised.value).headers.get_all(b"X-Mark") == [b"inner", b"outer"]

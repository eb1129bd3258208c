"""The guard before the chunk decoder: whole and split, it lets through the grammar and nothing else."""

import pytest

from worker.chunks import MAX_LINE_BYTES, ChunkGuard
from worker.fields import MalformedFields

GOOD = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
    b'5;a="b \\" c";d=e\r\nhello\r\n0\r\n\r\n',
    b"00000000000005\r\nhello\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\n\nwhatever follows is not the body",
    b"7fffffffffffffff\r\n",
]
BAD = [
    b"0\n\r\n",
    b"0\r\n\n",
    b"0\r\r\n",
    b"\r\n",
    b" 0\r\n",
    b"0 \r\n",
    b"0x0\r\n",
    b"-0\r\n",
    b"5;\r\n",
    b"5;=a\r\n",
    b"5;a=\r\n",
    b'5;a="b\r\n',
    b'5;a="\x01"\r\n',
    b"5;a\x00\r\n",
    b"8000000000000000\r\n",
    b"00000000000000005\r\n",
    b"5\r\nhelloX",
    b"5\r\nhello\n",
    b"5\r\nhello\r\r\n",
    b"0\r\nX-A: 1\n\r\n",
    b"0\r\n X-A: 1\r\n",
    b"0\r\nX-A: 1\r\n 2\r\n",
    b"0\r\nX-A : 1\r\n",
    b"0\r\nX-A: a\rb\r\n",
    b"1" * (MAX_LINE_BYTES + 1),
    b"0\r\n" + b"X-A: 1\r\n" * (MAX_LINE_BYTES // 8 + 1),
]


@pytest.mark.parametrize("data", GOOD)
def test_the_grammar_passes(data):
    ChunkGuard().check(data)
    guard = ChunkGuard()
    for byte in data:
        guard.check(bytes([byte]))


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:30]))
def test_nothing_else_passes(data):
    with pytest.raises(MalformedFields):
        ChunkGuard().check(data)
    guard = ChunkGuard()
    with pytest.raises(MalformedFields):  # noqa: PT012
        for byte in data:
            guard.check(bytes([byte]))

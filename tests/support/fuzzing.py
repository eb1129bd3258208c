"""A campaign over the worker's readers: mutate messages, read them whole and in pieces, ask another reader.

A finding is an input for which one of these does not hold: whole and split mean the same; the end is a
message or one of our errors; what we accept the strict reader accepts with the same meaning. Each is written
to tests/corpus/seeds. One process, no coverage guidance: inputs are mutated and spliced corpus messages.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import time

from tests.support.corpus import CORPUS, read_corpus
from tests.support.readings import (
    END,
    lowered,
    requests_in,
    requests_read_strictly,
    response_in,
    response_read_strictly,
)

MAX_SEED_BYTES = 2_000
MAX_MUTATIONS = 6
MAX_FINDINGS = 20
"""Then the campaign ends: what is wrong is plain by now."""
PIECES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b'"',
    b"\x0b",
    b"\x7f",
    b"\xff",
]
PIECES += [
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"5",
]


def main() -> None:
    """Run for some minutes and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="to repeat a campaign")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    seeds = {
        kind: [e.raw for e in read_corpus(kind) if len(e.raw) <= MAX_SEED_BYTES]
        for kind in ("requests", "responses")
    }
    ends_at = time.monotonic() + options.minutes * 60
    tried, found = 0, 0
    while time.monotonic() < ends_at and found < MAX_FINDINGS:
        kind = chance.choice(("requests", "responses"))
        data = mutate(chance, seeds[kind])
        tried += 1
        if problem := judge(kind, data, chance):
            found += 1
            _keep(kind, data, problem)
    print(f"seed {seed}: {tried} inputs, {found} findings")
    raise SystemExit(1 if found else 0)


def judge(kind: str, data: bytes, chance: random.Random) -> str:
    """What is wrong with how we read this; empty if nothing."""
    try:
        return _judge_requests(data, chance) if kind == "requests" else _judge_response(data, chance)
    except BaseException as error:  # anything that is not ours is a finding
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"


def mutate(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A message made of one or two others, changed in a few places."""
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.3:
        other = chance.choice(seeds)
        data = data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]
    for _ in range(chance.randint(0, MAX_MUTATIONS)):
        at = chance.randint(0, len(data))
        width = chance.choice((0, 0, 1, 1, 2, 8))
        put = chance.choice(PIECES) if chance.random() < 0.7 else bytes([chance.randrange(256)])
        data[at : at + width] = put if chance.random() < 0.8 else b""
    return bytes(data)


def _judge_requests(data: bytes, chance: random.Random) -> str:
    whole = requests_in([data])
    if requests_in(_split(data, chance)) != whole:
        return "means something else when split"
    read = [(each[0], each[5], lowered(each[6])) for each in whole[:-1]]
    if read != requests_read_strictly(data)[: len(read)]:
        return "a strict reader reads something else"
    return ""


def _judge_response(data: bytes, chance: random.Random) -> str:
    method = chance.choice(("GET", "GET", "HEAD"))
    whole = response_in([data], method)
    if response_in(_split(data, chance), method) != whole:
        return "means something else when split"
    if whole[-1] == END:
        (status, *_), body, trailers, _ = whole[-4:]
        if response_read_strictly(data, method) != (status, body, lowered(trailers)):
            return "a strict reader reads something else"
    return ""


def _split(data: bytes, chance: random.Random) -> list[bytes]:
    if chance.random() < 0.3:
        return [bytes([byte]) for byte in data]
    edges = sorted({0, len(data), *(chance.randint(0, len(data)) for _ in range(chance.randint(1, 6)))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _keep(kind: str, data: bytes, problem: str) -> None:
    folder = CORPUS / "seeds" / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    print(f"{path.name}: {problem}: {data[:300]!r}", flush=True)


if __name__ == "__main__":
    main()

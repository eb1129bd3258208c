"""Worked examples of docs/providers/: a static configuration, and what is to be done beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import RawResponse, get
from tests.support.proxy import RunningProxy, running_proxy

PAGES = Path(__file__).resolve().parents[2] / "docs" / "providers"
BLOCK = re.compile(r"```(yaml|toml|sh|json)\n(.*?)```", re.DOTALL)
LIMIT_S = 60.0
PAUSE_S = 0.05
Expected = tuple[Callable[[RawResponse], Any], set[Any]]
"""What tells answers apart, and which there must be."""


def example(page: str, number: int = 0) -> tuple[str, str]:
    """The n-th pair of code blocks of a page."""
    blocks = BLOCK.findall((PAGES / f"{page}.md").read_text())
    return blocks[2 * number][1], blocks[2 * number + 1][1]


def proxied(stack: ExitStack, tmp_path: Path, static: str) -> RunningProxy:
    """A proxy with the configuration of a page, on a port of ours, for the length of the stack."""
    text = static.replace('":8000"', '"127.0.0.1:{web}"')
    assert "{web}" in text
    name = text.splitlines()[0].removeprefix("# ")
    flag = f"--{'providers.' if name.endswith('.yml') else ''}providersThrottleDuration=50ms"
    return stack.enter_context(
        running_proxy(tmp_path, static=text, static_name=name, flags=[flag], workers=1)
    )


def until_served(proxy: RunningProxy, target: str, expected: Expected) -> None:
    """Wait until the answers, told apart by ``expected``'s function, are all of those expected."""
    tell, wanted = expected
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        replies = [get(proxy.address(), target, host="shop.example") for _ in range(len(wanted))]
        if all(each.status == 200 for each in replies) and {tell(each) for each in replies} == wanted:
            return
        time.sleep(PAUSE_S)
    pytest.fail(f"the example is not served: {proxy.status()}")

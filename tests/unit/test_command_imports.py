"""What a command may import: a person waits for it, and every worker is a fresh interpreter.

Modules are looked at, not seconds: those depend on the machine. What is named here takes 50 to 250 ms each.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

from master import entry
from master.cli.app import load_command

HEAVY = {"pydantic", "httpx", "msgspec", "rich.console", "trio", "hypercorn", "watchfiles", "cryptography"}
NOT_FOR_WORKERS = {"typer", "rich", "httpx", "starlette", "hypercorn", "watchfiles", "pydantic", "providers"}
TIMEOUT_S = 60


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after some code."""
    script = f"import json, sys\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("argument", ["version", "--help"])
def test_a_light_command_imports_nothing_heavy(argument):
    loaded = modules_after(f"from master import entry; assert entry.run([{argument!r}]) == 0")
    assert loaded & HEAVY == set()


def test_a_worker_imports_no_library_of_the_command_line_the_api_or_the_providers():
    # What ``spawn`` does: the main module again, which is master.entry, and then the worker's function.
    loaded = modules_after("import master.entry\nfrom worker.main import run_worker")
    assert "trio" in loaded
    assert loaded & NOT_FOR_WORKERS == set()
    assert {name for name in loaded if name.startswith("master.")} == {"master.entry"}


@pytest.mark.parametrize("name", entry.COMMANDS)
def test_the_list_of_commands_says_what_their_help_says(name):
    _, summary = entry.COMMANDS[name]
    assert inspect.getdoc(load_command(name)).splitlines()[0] == summary

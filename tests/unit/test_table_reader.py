from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys

import msgspec
import pytest

from shared.errors import TableError
from shared.rules import conditions as c
from shared.table.layout import VERSION
from shared.table.listing import describe
from shared.table.reader import open_table, verify_digest
from shared.table.writer import TableWriter, write_table
from tests.support.tables import service_entry, table_of

CONTENT = table_of([c.HostIs("a"), c.All((c.HostIs("b"), c.PathStarts("/x")))])


def test_reads_in_place_from_a_map():
    data = write_table(CONTENT, 9)
    descriptor = os.memfd_create("table")
    os.write(descriptor, data)
    mapped = mmap.mmap(descriptor, len(data), access=mmap.ACCESS_READ)
    os.close(descriptor)
    verify_digest(memoryview(mapped))
    table = open_table(mapped)
    assert table.generation == 9
    assert table.router(1) == CONTENT.routers[1]
    assert table.router(1) is table.router(1)


def test_finds_services_by_name():
    services = tuple(service_entry(f"s{number}@file") for number in range(300))
    table = open_table(write_table(msgspec.structs.replace(CONTENT, services=services), 1))
    assert [table.find_service(f"s{number}@file") for number in range(300)] == list(range(300))
    assert table.find_service("s300@file") is None


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, b"NOTATABL", "magic"),
        (8, struct.pack("=I", VERSION + 1), "format"),
        (12, struct.pack("=I", 0x04030201), "byte order"),
        (16, struct.pack("=Q", 99), "header is damaged"),
    ],
)
def test_says_why_bytes_are_refused(at, value, reason):
    data = bytearray(write_table(CONTENT, 1))
    data[at : at + len(value)] = value
    with pytest.raises(TableError, match=reason):
        open_table(bytes(data))


@pytest.mark.parametrize("number", [-1, 2])
def test_there_is_no_entry_outside_of_the_table(number):
    with pytest.raises(TableError, match="no router"):
        open_table(write_table(CONTENT, 1)).router(number)


@pytest.mark.parametrize(
    "changed",
    [
        {"services": ()},
        {"middlewares": ()},
        {"transports": ()},
        {"lists": (msgspec.structs.replace(CONTENT.lists[0], routers=(2,)),)},
    ],
)
def test_references_that_lead_nowhere_are_not_written(changed):
    with pytest.raises(TableError, match=r"refers to|not all in"):
        write_table(msgspec.structs.replace(CONTENT, **changed), 1)


def test_text_that_is_not_unicode_is_named():
    with pytest.raises(TableError, match="r0@file"):
        write_table(table_of([c.HostIs("\udc80")]), 1)


def test_an_unchanged_entry_is_not_encoded_again(monkeypatch):
    writer = TableWriter()
    writer.write(CONTENT, 1)
    changed = msgspec.structs.replace(CONTENT.routers[0], rule="new")
    encoded = []
    original = sys.modules["shared.table.writer"]._encode_one
    monkeypatch.setattr(
        "shared.table.writer._encode_one", lambda entry: encoded.append(entry) or original(entry)
    )
    content = msgspec.structs.replace(CONTENT, routers=(changed, CONTENT.routers[1]))
    assert writer.write(content, 2) == write_table(content, 2)
    assert encoded[:1] == [changed]
    assert encoded.count(CONTENT.routers[1]) == 1  # by the writer without memory alone


def test_bytes_do_not_depend_on_the_process():
    """Hash seeds differ between processes; the bytes must not."""
    program = (
        "from tests.support.tables import table_of; from shared.rules.conditions import *;"
        "from shared.table.writer import write_table; import hashlib;"
        "rules = [Either((HostIs(f'h{i}'), All((PathIs(f'/{i}'), HeaderIs('x', 'y'))))) for i in range(40)];"
        "print(hashlib.sha256(write_table(table_of(rules), 1)).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs != {""}


def test_text_form_names_everything():
    text = describe(open_table(write_table(CONTENT, 1)))
    assert text == describe(open_table(write_table(CONTENT, 2)))
    assert text.splitlines()[1:] == [
        "entrypoint web",
        "  r0@file",
        "  r1@file",
        "router r0@file",
        "  rule rule 0",
        "  priority 0",
        "  middleware add@file",
        "  service app@file",
        "router r1@file",
        "  rule rule 1",
        "  priority -1",
        "  middleware add@file",
        "  service app@file",
        "middleware add@file",
        "  kind add_prefix",
        "service app@file",
        "  kind load_balancer",
        "  server http://127.0.0.1:1",
        "  transport default@internal",
        "transport default@internal",
    ]

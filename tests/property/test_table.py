"""The index is the linear scan; the bytes are a pure function of the content; damage is always noticed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import TableError
from shared.rules import conditions as c
from shared.rules.predicates import compile_predicate
from shared.table import index_memory, index_writer
from shared.table.entries import RouterList, TableContent
from shared.table.layout import HEADER_BYTES, verify_digest
from shared.table.listing import describe
from shared.table.reader import open_table
from shared.table.writer import TableWriter, write_table
from tests.support.oracle import PlainRequest, linear_match
from tests.support.tables import ENTRYPOINT, table_of
from worker.matching import match

HOSTS = ["a", "b", "a.b", "b.b", "a.b.b", "b.b.b.", "a.", "", ".", "a..", "ü.b", "a.\udc80"]
PATHS = ["/", "/a", "/a/", "/a/b", "/a/b/a", "/ab", "/b", "/b/a", "*", "", "/ü", "/a\udcff", "/a/üb"]
VALUES = ["", "a", "b", "ab", "A", "ü"]
NAMES = ["x-a", "x-b"]
PATTERNS = [
    "^a", "b$", "^/a/[a-z]",
    r"^/a/b$", r"^[a-z]+\.b$", "a|b", "^a|b$", "(?i)^A", "^a?", "^ab*", "(a|b)b$", ".*",
    "^(?:a|/b)", "^/a+b?$", "[ab]b", "^$", "", r"^a\.b", r"\.b$", "^(a)?b", "b{2}$", r"^\/a", "[^$]", "ü$",
    "^/a.$", r"^a\..$", r"\x{FFFD}", "[^a]$",
]  # fmt: skip

hosts = st.sampled_from(HOSTS)
paths = st.sampled_from(PATHS)
values = st.sampled_from(VALUES)
names = st.sampled_from(NAMES)
patterns = st.sampled_from(PATTERNS)
booleans = st.booleans()
leaves = st.one_of(
    st.just(c.Always()),
    st.builds(c.HostIs, hosts, booleans),
    st.builds(c.HostUnder, st.sampled_from(["b", "b.b", "b.", "a"])),
    st.builds(c.HostMatches, patterns),
    st.builds(c.PathIs, paths, booleans),
    st.builds(c.PathStarts, paths, booleans),
    st.builds(c.PathMatches, patterns, booleans),
    st.builds(c.MethodIs, st.sampled_from(["GET", "PUT"])),
    st.builds(c.HeaderIs, names, values),
    st.builds(c.HeaderMatches, names, patterns),
    st.builds(c.QueryIs, names, values, booleans),
    st.builds(c.QueryMatches, names, patterns, booleans),
    st.builds(c.ClientIn, st.sampled_from(["10.0.0.0/8", "127.0.0.1/32"])),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(c.Not, inner),
        st.builds(c.All, st.lists(inner, max_size=4).map(tuple)),
        st.builds(c.Either, st.lists(inner, max_size=4).map(tuple)),
    ),
    max_leaves=6,
)
pairs = st.lists(st.tuples(names, values), max_size=4)
requests = st.builds(
    PlainRequest,
    host=hosts,
    path=paths,
    method=st.sampled_from(["GET", "PUT", "get"]),
    headers=pairs,
    query=pairs,
    client_ip=st.sampled_from(["10.1.1.1", "127.0.0.1"]),
    decoded_path=paths,
)
rule_lists = st.lists(conditions, max_size=40)


def winner(content: TableContent, data: bytes, request, entrypoint=ENTRYPOINT) -> int | None:
    table = open_table(data)
    return match(
        table, lambda number: compile_predicate(table.router(number).condition), entrypoint, False, request
    )


@settings(max_examples=300)
@given(rules=rule_lists, asked=st.lists(requests, min_size=1, max_size=8))
def test_index_is_the_linear_scan(rules, asked):
    content = table_of([rule for rule in rules if _encodable(rule)])
    data = write_table(content, 1)
    for request in asked:
        expected = linear_match(content, ENTRYPOINT, False, request)
        assert winner(content, data, request) == expected


@settings(max_examples=150)
@given(rules=rule_lists, asked=st.lists(requests, min_size=1, max_size=8))
def test_index_is_the_linear_scan_when_every_node_is_split(rules, asked):
    content = table_of([rule for rule in rules if _encodable(rule)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "LEAF_ROUTERS", 0)
        patch.setattr(index_writer, "PATTERN_LEAF_ROUTERS", 0)
        patch.setattr(index_writer, "MAX_SHARE", 1.0)
        patch.setattr(index_writer, "MAX_LENGTHS", 2)
        data = write_table(content, 1)
    for request in asked:
        assert winner(content, data, request) == linear_match(content, ENTRYPOINT, False, request)


@given(rules=rule_lists, order=st.randoms(use_true_random=False), request=requests)
def test_match_order_is_the_order_of_the_list(rules, order, request):
    rules = [rule for rule in rules if _encodable(rule)]
    routers = list(range(len(rules)))
    order.shuffle(routers)
    routers = routers[: len(routers) // 2 + 1]
    content = table_of(rules, (RouterList("other", False, tuple(routers)),))
    data = write_table(content, 1)
    assert winner(content, data, request, "other") == linear_match(content, "other", False, request)
    assert winner(content, data, request, "web") is None


@given(rules=rule_lists, more=rule_lists, data=st.data())
def test_what_is_kept_of_the_last_index_never_shows(rules, more, data):
    """Routers keep their names, and so their claims and the subtrees of these are the last table's."""
    named = [(f"r{number}", rule) for number, rule in enumerate(rules + more[:3]) if _encodable(rule)]
    before = named[: len(rules)]
    after = data.draw(st.one_of(st.just(named), st.permutations(named)))[data.draw(st.integers(0, 2)) :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "LEAF_ROUTERS", data.draw(st.integers(0, 4)))
        patch.setattr(index_writer, "PATTERN_LEAF_ROUTERS", data.draw(st.integers(0, 4)))
        patch.setattr(index_memory, "MAX_SUBTREE_CLAIMS", data.draw(st.sampled_from([2, 8, 256])))
        writer = TableWriter()
        for each in (before, after, before):
            content = table_of([rule for _, rule in each], names=[name for name, _ in each])
            assert writer.write(content, 1) == write_table(content, 1)


@given(rules=rule_lists, other=rule_lists, generation=st.integers(0, 2**64 - 1))
def test_bytes_depend_on_content_alone(rules, other, generation):
    content, before = (table_of([each for each in some if _encodable(each)]) for some in (rules, other))
    writer = TableWriter()
    writer.write(before, 0)
    reused = writer.write(content, generation)
    assert reused == write_table(content, generation)
    assert writer.payload_digest(reused) == writer.payload_digest(writer.write(content, generation ^ 1))
    assert describe(open_table(reused)) == describe(open_table(write_table(content, 0)))


@given(rules=rule_lists)
def test_what_was_written_is_read(rules):
    content = table_of([rule for rule in rules if _encodable(rule)])
    data = write_table(content, 7)
    verify_digest(memoryview(data))
    table = open_table(data)
    read = TableContent(
        tuple(table.router(number) for number in range(table.router_count)),
        tuple(table.middleware(number) for number in range(table.middleware_count)),
        tuple(table.service(number) for number in range(table.service_count)),
        tuple(table.transport(number) for number in range(table.transport_count)),
        tuple(table.lists()),
    )
    assert read == content
    assert table.generation == 7


@settings(max_examples=300)
@given(
    rules=st.lists(conditions, max_size=12), at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255)
)
def test_a_changed_byte_is_refused(rules, at, flip):
    data = bytearray(write_table(table_of([rule for rule in rules if _encodable(rule)]), 3))
    position = int(at * len(data))
    data[position] ^= flip
    with pytest.raises(TableError):
        verify_digest(memoryview(data))
    if position < HEADER_BYTES:
        with pytest.raises(TableError):
            open_table(bytes(data))


def test_no_byte_can_change_unseen():
    """Each byte alone, header and generation and the gaps for alignment included."""
    data = write_table(table_of([c.HostIs("a", True), c.PathStarts("/b", True), c.HostMatches("^a")]), 3)
    verify_digest(memoryview(data))
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            with pytest.raises(TableError):
                verify_digest(memoryview(damaged))


@given(rules=st.lists(conditions, max_size=12), keep=st.floats(0, 1, exclude_max=True))
def test_a_cut_table_is_refused(rules, keep):
    data = write_table(table_of([rule for rule in rules if _encodable(rule)]), 3)
    with pytest.raises(TableError):
        open_table(data[: int(keep * len(data))])


@given(data=st.binary(max_size=HEADER_BYTES * 3))
def test_foreign_bytes_are_refused(data):
    with pytest.raises(TableError):
        open_table(data)
    with pytest.raises(TableError):
        verify_digest(memoryview(data))


@settings(max_examples=300)
@given(
    rules=st.lists(conditions, min_size=5, max_size=30),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=40
    ),
    asked=st.lists(requests, min_size=1, max_size=5),
)
def test_damage_that_nobody_verified_ends_in_table_errors(rules, changes, asked):
    """Without the digest, damaged content may give other answers, but never another exception."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_writer, "LEAF_ROUTERS", 1)
        patch.setattr(index_writer, "PATTERN_LEAF_ROUTERS", 1)
        data = bytearray(write_table(table_of([rule for rule in rules if _encodable(rule)]), 3))
    for at, flip in changes:
        data[HEADER_BYTES + int(at * (len(data) - HEADER_BYTES))] ^= flip
    _use_everything(bytes(data), asked)


def _use_everything(data: bytes, asked) -> None:
    try:
        table = open_table(data)
    except TableError:
        return
    uses = [lambda: table.warm(), lambda: table.find_service("app@file"), lambda: describe(table)]
    uses += [lambda request=request: table.candidates(ENTRYPOINT, False, request) for request in asked]
    for use in uses:
        try:
            use()
        except TableError:
            continue


def _encodable(condition) -> bool:
    """Configuration is text: rules with lone surrogates never reach a table."""
    match condition:
        case c.All(parts) | c.Either(parts):
            return all(_encodable(part) for part in parts)
        case c.Not(part):
            return _encodable(part)
        case c.HostIs(text) | c.PathIs(text) | c.PathStarts(text):
            return text.isprintable()
    return True

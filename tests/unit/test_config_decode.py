"""Mappings to structs: leniency, strictness, and that all problems of a document are told at once."""

import time
from typing import Annotated

import pytest

from shared.config.decode import decode, decode_each, written_names
from shared.config.diagnostics import Diagnostics, Position
from shared.config.dynamic import Router, RouterTls, Service
from shared.config.kinds import Duration, EmptySection, Internal, Section
from shared.config.middlewares import Middleware


class Switch(EmptySection, frozen=True):
    level: int = 3


class Item(Section, frozen=True):
    main: str = ""
    sans: tuple[str, ...] = ()


class Sample(Section, frozen=True):
    some_text: str = "x"
    flag: bool = False
    count: int | None = None
    ratio: float = 0.0
    wait: Duration = 1.0
    words: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    items: tuple[Item, ...] = ()
    labels: dict[str, str] | None = None
    by_name: dict[str, Item] | None = None
    switch: Switch | None = None
    inner: Item = Item()
    hidden: Annotated[int, Internal] = 0


def read(raw, **options):
    found = Diagnostics()
    return decode(Sample, raw, ("root",), found, **options), [str(each) for each in found]


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        ({"SOMETEXT": "a"}, "some_text", "a"),
        ({"sometext": 5}, "some_text", "5"),
        ({"someText": True}, "some_text", "true"),
        ({"flag": "T"}, "flag", True),
        ({"flag": "0"}, "flag", False),
        ({"flag": 1}, "flag", True),
        ({"count": "-7"}, "count", -7),
        ({"count": 7.0}, "count", 7),
        ({"count": None}, "count", None),
        ({"ratio": "0.25"}, "ratio", 0.25),
        ({"ratio": 2}, "ratio", 2.0),
        ({"wait": "1m30s"}, "wait", 90.0),
        ({"wait": 90}, "wait", 90.0),
        ({"wait": "90"}, "wait", 90.0),
        ({"words": "a, b ,c"}, "words", ("a", "b", "c")),
        ({"words": ["a,b", "c"]}, "words", ("a,b", "c")),
        ({"words": {"0": "a", "1": "b"}}, "words", ("a", "b")),
        ({"words": ""}, "words", ()),
        ({"words": [1, True]}, "words", ("1", "true")),
        ({"words": 500}, "words", ("500",)),
        ({"numbers": "1,2"}, "numbers", (1, 2)),
        ({"items": [{"MAIN": "m", "sans": "a,b"}]}, "items", (Item(main="m", sans=("a", "b")),)),
        ({"items": {"0": {"main": "m"}}}, "items", (Item(main="m"),)),
        ({"labels": {"Case": 1}}, "labels", {"Case": "1"}),
        ({"byName": {"A": {}, "b": None}}, "by_name", {"A": Item()}),
        ({"switch": True}, "switch", Switch()),
        ({"switch": "TRUE"}, "switch", Switch()),
        ({"switch": "false"}, "switch", None),
        ({"switch": "yes"}, "switch", None),
        ({"switch": {}}, "switch", Switch()),
        ({"inner": {}}, "inner", Item()),
    ],
)
def test_values_are_converted(raw, field, value):
    sample, problems = read(raw)
    assert problems == []
    assert getattr(sample, field) == value


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"wait": "abc"}, 'root.wait: expected a duration such as 10s or 1m30s, got "abc"'),
        ({"wait": float("nan")}, "root.wait: expected a duration such as 10s or 1m30s, got nan"),
        ({"flag": "yes"}, 'root.flag: expected true or false, got "yes"'),
        ({"flag": 2}, "root.flag: expected true or false, got 2"),
        ({"count": True}, "root.count: expected a whole number, got true"),
        ({"count": "1_000"}, 'root.count: expected a whole number, got "1_000"'),
        ({"count": 2**63}, "root.count: 9223372036854775808 does not fit into 64 bits"),
        ({"ratio": "nan"}, 'root.ratio: expected a number, got "nan"'),
        ({"ratio": 10**400}, "root.ratio: expected a number, got 1" + "0" * 59 + "..."),
        ({"someText": []}, "root.someText: expected text, got a list"),
        ({"words": {"a": "b"}}, "root.words: expected a list, got a table"),
        ({"numbers": ["1", "x"]}, 'root.numbers[1]: expected a whole number, got "x"'),
        ({"items": "a"}, 'root.items: expected a list of tables, got "a"'),
        ({"items": ["a"]}, 'root.items[0]: expected a table, got "a"'),
        ({"labels": "a"}, 'root.labels: expected a table, got "a"'),
        ({"inner": True}, "root.inner: inner cannot be a standalone element"),
        ({"inner": []}, "root.inner: expected a table, got a list"),
        ({"Flagg": 1}, 'root.Flagg: unknown key "Flagg"; did you mean "flag"?'),
        ({"hidden": 1}, 'root.hidden: unknown key "hidden"'),
        ({"flag": True, "FLAG": False}, 'root.FLAG: "FLAG" is written twice, in different spellings'),
        (5, "root: root cannot be a standalone element"),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(raw, problem):
    assert read(raw) == (None, [problem])


def test_all_problems_are_told_together():
    sample, problems = read({"flag": "x", "items": [{"main": []}, {"mian": "a"}], "switch": {"level": "y"}})
    assert sample is None
    assert [each.split(":")[0] for each in problems] == [
        *("root.flag", "root.items[0].main", "root.items[1].mian", "root.switch.level")
    ]


@pytest.mark.parametrize(("unknown", "count"), [("warning", 2), ("ignore", 0)])
def test_unknown_keys_may_be_tolerated_at_any_depth(unknown, count):
    sample, problems = read({"foo": 1, "inner": {"bar": 2, "main": "m"}}, unknown=unknown)
    assert sample.inner == Item(main="m")
    assert len(problems) == count


def test_absent_means_defaults():
    assert read(None) == (Sample(), [])


def test_positions_come_from_the_locator():
    class Fixed:
        def locate(self, path):
            return Position("f.yml", 3, len(path))

    found = Diagnostics(Fixed())
    assert decode(Sample, {"inner": {"mian": 1}}, (), found) is None
    assert str(found.errors[0]) == 'f.yml:3:2: inner.mian: unknown key "mian"; did you mean "main"?'


def test_entries_of_a_map_fail_one_by_one():
    found = Diagnostics()
    raw = {"good": {"rule": "Host(`a`)"}, "bad": {"rul": "x"}, "none": None, "tls": {"tls": "true"}}
    good, broken = decode_each(Router, raw, ("http", "routers"), found)
    assert good == {"good": Router(rule="Host(`a`)"), "tls": Router(tls=RouterTls())}
    assert broken == {"bad"}
    assert [each.path for each in found] == [("http", "routers", "bad", "rul")]


def test_a_map_that_is_none_is_empty_and_one_that_is_text_is_an_error():
    found = Diagnostics()
    assert decode_each(Router, None, (), found) == ({}, set())
    assert len(found) == 0
    assert decode_each(Router, "x", ("http", "routers"), found) == ({}, set())
    assert str(found.errors[0]) == 'http.routers: expected a table, got "x"'


@pytest.mark.parametrize("raw", [{"retry": {}}, {"retry": True}, {"retry": "true"}])
def test_a_middleware_that_says_nothing_is_refused(raw):
    found = Diagnostics()
    assert decode(Middleware, raw, ("m",), found) is None
    assert str(found.errors[0]) == "m.retry: retry cannot be a standalone element"


def test_a_middleware_that_needs_no_options_may_be_empty():
    found = Diagnostics()
    assert decode(Middleware, {"compress": {}}, (), found) == decode(
        Middleware, {"compress": True}, (), found
    )
    assert len(found) == 0


def test_internal_kinds_cannot_be_named():
    assert "slashRedirect" not in written_names(Middleware)


def test_ten_thousand_routers_and_services_decode_in_time():
    routers = {
        f"r{n}": {"rule": f"Host(`a{n}.test`)", "service": f"s{n}", "middlewares": ["a", "b"]}
        for n in range(10_000)
    }
    services = {f"s{n}": {"loadBalancer": {"servers": [{"url": "http://a:1"}]}} for n in range(10_000)}
    began = time.process_time()
    assert len(decode_each(Router, routers, (), Diagnostics())[0]) == 10_000
    assert len(decode_each(Service, services, (), Diagnostics())[0]) == 10_000
    # 0.25 s when measured; the limit only catches a change of order.
    assert time.process_time() - began < 2.5

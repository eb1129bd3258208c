"""Every vector of the areas that are claimed is run by some test: none is forgotten or filtered away.

The parameters that the tests were really given are counted, not the areas that they ask for: a filter on the
way would hide what it drops.
"""

from __future__ import annotations

import ast
import importlib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.support.vectors import FILES, all_vectors, deviations

TESTS = Path(__file__).parents[1]
MIDDLEWARES = (
    *("addPrefix", "basicAuth", "chain", "encodedCharacters", "headers", "invalid", "ipAllowList"),
    *("ipWhiteList", "redirectRegex", "redirectScheme", "replacePath", "replacePathRegex"),
    *("stripPrefix", "stripPrefixRegex"),
)
CLAIMED = {
    "v1": (
        *("circuitbreaker", "cli", "constraints", "consulcatalog", "docker", "drr", "duration", "forward"),
        *("healthcheck", "kv", "marathon", "maxconn", "redirect", "retry", "rules", "static", "sticky"),
        *("throttle", "wrr"),
    ),
    "v2": (
        *("provider.docker", "provider.docker.merge", "provider.file.merge"),
        *("tls.*", "middleware.passTLSClientCert"),
        *("forwardedHeaders", "notfound", "path.*", "priority", "proxy.*", "query.*", "static.*"),
        *("provider.kv", "rule.v2", "rule.v2.invalid", "rule.v3", "rule.v3.invalid"),
        *(f"middleware.{kind}" for kind in MIDDLEWARES),
        *("lb.*", "sticky.*", "middleware.circuitBreaker", "middleware.compress", "middleware.inFlightReq"),
        *("middleware.rateLimit", "middleware.retry"),
        *("tcp.router", "tcp.sharing", "tcp.rule.v2", "tcp.rule.v3", "tcp.rule.v3.invalid"),
    ),
}
"""Areas by file, as shell patterns. Whoever builds another area adds it here."""

BY_NAME = {
    "forwardedHeaders-010": "test_forwarded.py",
}
"""Vectors that a test has written out, since its form does not fit theirs; the file must name the id."""

NOT_BUILT = {}
"""Vectors of claimed areas that need what does not exist yet."""


def modules_with_vectors() -> list[str]:
    """Names of the test modules that import ``vectors``."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        imports = (each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.ImportFrom))
        if any(
            each.module == "tests.support.vectors" and "vectors" in {alias.name for alias in each.names}
            for each in imports
        ):
            found.append(".".join(("tests", *path.relative_to(TESTS).with_suffix("").parts)))
    return found


def ids_given_to_tests() -> set[str]:
    """The ids of all vectors that some test has as a parameter."""
    found: set[str] = set()
    for name in modules_with_vectors():
        for test in vars(importlib.import_module(name)).values():
            for mark in getattr(test, "pytestmark", ()) if callable(test) else ():
                if mark.name == "parametrize" and mark.args[0] == "vector":
                    found.update(parameter.values[0]["id"] for parameter in mark.args[1])
    return found


def claimed(file: str) -> dict[str, str]:
    """The area of each vector that is claimed, by id."""
    return {
        each["id"]: each["area"]
        for each in all_vectors(file)
        if any(fnmatchcase(each["area"], pattern) for pattern in CLAIMED[file])
    }


@pytest.mark.parametrize("file", FILES)
def test_every_claimed_vector_is_run(file):
    run = ids_given_to_tests()
    missing = {name: area for name, area in claimed(file).items() if name not in run}
    assert missing.keys() == {name for name in (*BY_NAME, *NOT_BUILT) if name in claimed(file)}


@pytest.mark.parametrize("file", FILES)
def test_every_claim_stands_for_vectors(file):
    areas = set(claimed(file).values())
    assert [each for each in CLAIMED[file] if not any(fnmatchcase(area, each) for area in areas)] == []


def test_vectors_written_out_are_where_it_is_said():
    for name, file in BY_NAME.items():
        assert any(name in path.read_text() for path in TESTS.rglob(file)), name


def test_a_vector_that_nobody_runs_is_seen():
    """That of an area which is not built, or is not run that way, must not count as run."""
    known = {each["id"] for file in FILES for each in all_vectors(file)}
    assert ids_given_to_tests() < known


def test_deviations_are_of_claimed_areas_or_of_vectors_that_tests_have():
    allowed = {name for file in FILES for name in claimed(file)} | ids_given_to_tests()
    assert set(deviations()) <= allowed

"""The behaviour vectors as test parameters, less the deliberate deviations."""

from __future__ import annotations

import functools
import json
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "vectors"
FILES = ("v1", "v2")


def vectors(file: str, *areas: str) -> list[Any]:
    """The vectors of some areas, each a ``pytest.param`` with its id.

    Args:
        file: ``v1`` or ``v2``.
        areas: names or shell patterns (``rule.v3*``); each must find something.

    Returns:
        Parameters of one dict each; deviating ones are marked as skipped, with the reason.
    """
    found = [each for each in all_vectors(file) if any(fnmatchcase(each["area"], area) for area in areas)]
    for area in areas:
        assert any(fnmatchcase(each["area"], area) for each in found), f"{file} has no area {area}"
    return [_parameter(each) for each in found]


@functools.cache
def all_vectors(file: str) -> list[dict[str, Any]]:
    """Every vector of a file, in its order."""
    return json.loads((FOLDER / f"{file}.json").read_text("utf-8"))


@functools.cache
def deviations() -> dict[str, str]:
    """Why a vector is not followed, by its id."""
    return tomllib.loads((FOLDER / "deviations.toml").read_text("utf-8"))


def v1_expectation(vector: dict[str, Any], frontends: dict[str, Any]) -> dict[str, Any]:
    """The outcome of a v1 rule to follow: advice, else the columns in order of how near they are to v1.3."""
    expect = vector["expect"]
    routes = [route for each in frontends.values() for route in each.get("routes", {}).values()]
    columns = "BA" if any(route.get("value") for route in routes) else "CDBA"
    column = "all" if "all" in expect else next(each for each in columns if each in expect)
    advice = vector.get("advice", {})
    if "frontend" in advice or "forward_uri" in advice:
        return {"status": 200, "frontend": "f1", **advice}
    return expect[column]


def _parameter(vector: dict[str, Any]) -> Any:
    reason = deviations().get(vector["id"])
    marks = [pytest.mark.skip(reason=f"deviation {vector['id']}: {reason}")] if reason else []
    return pytest.param(vector, id=vector["id"], marks=marks)

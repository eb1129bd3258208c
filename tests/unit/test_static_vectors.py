"""The published vectors of static settings, through the whole reading of sources."""

import json

import msgspec
import pytest

from shared.config.effective import default_entry_points
from shared.config.sources import StaticConfigError, load_static
from shared.units import format_duration
from tests.support.vectors import vectors

COLUMNS = {"ep-lower": "D", "sc-missing-A": "A"}
"""Whose behaviour is followed where the versions of v1 differ; column C if not listed."""


WITHOUT_ADDRESS = {"static.cli-012", "static.env-003"}
"""Fragments that show a grammar with an entrypoint that has no address, which is refused as a whole."""


def load(folder, args=(), env=None):
    return load_static(args, env or {}, folder, system_directory=folder / "etc").config


def shown(value, key=""):
    """A setting as the vectors write it: all keys, durations as Go prints them."""
    if isinstance(value, msgspec.Struct):
        infos = msgspec.structs.fields(value)
        return {each.encode_name: shown(getattr(value, each.name), each.encode_name) for each in infos}
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [shown(each) for each in value]
    return format_duration(value) if key.endswith("Duration") else value


def assert_contains(tree, expected):
    """Everything that is expected stands somewhere in the tree, under its key."""
    for key, value in expected.items():
        candidates = list(find(tree, key))
        assert any(fits(each, value) for each in candidates), f"{key}: {value} not in {candidates}"


def find(tree, key):
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == key:
            yield value
        yield from find(value, key)


def fits(value, expected):
    if isinstance(expected, dict) and isinstance(value, dict):
        return all(key in value and fits(value[key], each) for key, each in expected.items())
    if isinstance(expected, list) and isinstance(value, list):
        return len(value) == len(expected) and all(map(fits, value, expected))
    return value == expected


@pytest.mark.parametrize("vector", vectors("v2", "static.cli", "static.env"))
def test_v2_settings(vector, tmp_path):
    args = list(vector["config"].get("args", ()))
    if vector["id"] in WITHOUT_ADDRESS:
        args.append("--entryPoints.web.address=:80")
    config = load(tmp_path, args, vector["config"].get("env"))
    if vector["expect"].get("ignored"):
        assert config == load(tmp_path)
    else:
        assert_contains(shown(config), vector["expect"])


@pytest.mark.parametrize("vector", vectors("v2", "static.cli.error"))
def test_v2_flag_errors(vector, tmp_path):
    with pytest.raises(StaticConfigError) as caught:
        load(tmp_path, vector["config"]["args"])
    assert vector["expect"]["error"] in str(caught.value)


@pytest.mark.parametrize("vector", vectors("v2", "static.effective"))
def test_v2_effective_settings(vector, tmp_path):
    (tmp_path / "own.json").write_text(json.dumps(vector["config"]))
    expect = vector["expect"]
    if "error" in expect:
        with pytest.raises(StaticConfigError) as caught:
            load(tmp_path, ["--configFile=own.json"])
        assert expect["error"] in str(caught.value)
        return
    config = load(tmp_path, ["--configFile=own.json"])
    checks = {
        "entryPoints": lambda wanted: sorted(config.entry_points) == sorted(wanted),
        "traefikAddress": lambda wanted: config.entry_points["traefik"].address == wanted,
        "defaultEntryPoints": lambda wanted: list(default_entry_points(config)) == wanted,
    }
    for key, wanted in expect.items():
        assert checks[key](wanted), key


@pytest.mark.parametrize("vector", vectors("v2", "static.precedence"))
def test_v2_precedence(vector):
    pytest.fail("every vector of this area is a listed deviation")


@pytest.mark.parametrize("vector", vectors("v1", "cli"))
def test_v1_entry_point_lines(vector, tmp_path):
    expect = vector["expect"].get("all") or vector["expect"][COLUMNS.get(vector["id"], "C")]
    if "error" in expect:
        with pytest.raises(StaticConfigError):
            load(tmp_path, vector["config"]["args"])
        return
    config = load(tmp_path, vector["config"]["args"])
    for name, wanted in expect.items():
        entry = shown(config.v1.entry_points[name])
        if entry["tls"]:
            entry["tls"]["certificates"] = [
                [pair["certFile"], pair["keyFile"]] for pair in entry["tls"]["certificates"]
            ]
        assert fits(entry, wanted)
        assert config.entry_points[name].address == entry["address"]


@pytest.mark.parametrize("vector", vectors("v1", "static"))
def test_v1_static(vector, tmp_path):
    expect = vector["expect"]
    if vector["id"] == "sc-missing-A":
        with pytest.raises(StaticConfigError) as caught:
            load(tmp_path, vector["config"]["args"])
        assert expect["A"]["message_contains"] in str(caught.value)
        return
    (tmp_path / "traefik.toml").write_text(vector["config"])
    config = load(tmp_path)
    if "file.filename" in expect:  # no name: the provider reads the static document itself
        assert config.v1.file.filename == ""
    else:
        assert_contains(shown(config.v1), expect)

"""Whatever a static document, a flag or a variable says: settings or problems with places, nothing else."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.decode import decode, written_names
from shared.config.diagnostics import Diagnostics
from shared.config.dynamic import DynamicConfig
from shared.config.sources import StaticConfigError, load_static
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_v1 import V1EntryPoint, V1Static
from shared.units import NANOSECONDS, format_nanoseconds, parse_duration

NAMES = sorted(
    {name for kind in (StaticConfig, V1Static, EntryPoint, V1EntryPoint) for name in written_names(kind)}
    | {"frontends", "backends", "http", "tls", "web", "routers", "services", "0", "insecure", "endpoint"}
)
keys = st.sampled_from(NAMES) | st.text(max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
scalars |= st.sampled_from(["true", "false", "10s", ":80", "a,b", "-----BEGIN"])
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(keys, trees, max_size=5)


def outcome(arguments, environ, folder):
    """The settings, or the error."""
    try:
        return load_static(arguments, environ, folder, system_directory=folder / "etc"), None
    except StaticConfigError as error:
        return None, error


def check_outcome(loaded, error):
    """Either settings that can be used, or problems that all have a place."""
    if error is None:
        assert loaded.config.entry_points
        assert not loaded.found.errors
    else:
        assert error.found.errors
        assert all(each.position is not None for each in error.found.errors)


@settings(max_examples=300, deadline=None)
@given(documents)
def test_any_document_gives_settings_or_located_problems(tree):
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "f.json").write_text(json.dumps(tree))
        check_outcome(*outcome(["--configFile=f.json"], {}, Path(name)))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(keys, min_size=1, max_size=4).map(".".join) | st.text(max_size=10), max_size=5),
    st.dictionaries(st.lists(keys, min_size=1, max_size=3).map("_".join), st.text(max_size=5), max_size=3),
    st.sampled_from(["", "=true", "=x", "=10s", "=:80", "=Name:a Address::1"]),
)
def test_any_flags_and_variables_give_settings_or_located_problems(names, variables, value):
    environ = {f"TRAEFIK_{name.upper()}": text for name, text in variables.items()}
    check_outcome(*outcome([f"--{name}{value}" for name in names], environ, Path("/nowhere")))


@settings(max_examples=300, deadline=None)
@given(trees)
@pytest.mark.parametrize("kind", [StaticConfig, V1Static, DynamicConfig])
def test_decoding_never_raises_and_is_all_or_nothing(kind, tree):
    found = Diagnostics()
    assert (decode(kind, tree, (), found) is None) == bool(found.errors)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_printed_duration_means_itself(nanoseconds):
    assert parse_duration(format_nanoseconds(nanoseconds)) == nanoseconds / NANOSECONDS

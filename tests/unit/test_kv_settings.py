"""Sections of key-value stores to providers: both dialects, endpoints, and what v1 says beyond v2."""

import pytest

from providers.kv import document_of, tree_of
from providers.kv_settings import extras_of
from providers.registry import make_providers
from shared.config.sources import load_static
from shared.errors import ConfigError


def load(tmp_path, text):
    path = tmp_path / "static.toml"
    path.write_text(text)
    return load_static([f"--configFile={path}"], {}, tmp_path).config


def names(tmp_path, text):
    return [each.name for each in make_providers(load(tmp_path, text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[providers.etcd]\n", ["etcd"]),
        ("[providers.redis]\n", ["redis"]),
        ("[providers.consul]\n", ["consul"]),
        ('[providers.consul]\nnamespaces = ["a", "b"]\n', ["consul-a", "consul-b"]),
        ('[etcd]\nendpoint = "127.0.0.1:4001"\n', ["etcd"]),
        ('[consul]\nendpoint = "127.0.0.1:8500"\n', ["consul"]),
    ],
)
def test_each_section_has_its_provider(tmp_path, text, expected):
    assert names(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (
            '[providers.etcd]\nendpoints = ["ftp://u:pw@h"]\n',
            "providers.etcd.endpoints",
            "expected HOST:PORT",
        ),
        ('[providers.consul]\nendpoints = ["h:x"]\n', "providers.consul.endpoints", "expected HOST:PORT"),
        ('[providers.redis]\nendpoints = ["u:pw@h:1"]\n', "providers.redis.endpoints", "expected HOST:PORT"),
        ("[providers.redis.sentinel]\n", "providers.redis.sentinel.masterName", "required"),
        (
            '[providers.redis.sentinel]\nmasterName = "m"\nrandomStrategy = true\nreplicaStrategy = true\n',
            "providers.redis.sentinel",
            "exclude each other",
        ),
        ("[providers.etcd]\nendpoints = []\n", "providers.etcd.endpoints", "no endpoint"),
        ('[etcd]\nfilename = "etcd.tmpl"\n', "etcd.filename", "templates are not executed"),
        ('[consul]\nconstraints = ["tag=x"]\n', "consul.constraints", "not of the form"),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_not_quoted(tmp_path, text, path, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        make_providers(load(tmp_path, text))
    assert refused.value.path == path
    assert "pw" not in str(refused.value)


def test_v1_says_more(tmp_path):
    config = load(
        tmp_path, 'constraints = ["tag!=old"]\n[etcd]\nwatch = false\nconstraints = ["tag==blue*"]\n'
    )
    extras = extras_of(config, "etcd")
    assert extras.watch is False
    pairs = {
        f"traefik/backends/b/servers/{name}/{key}": value.encode()
        for name, tags in (("s1", "blue1"), ("s2", "green"), ("s3", "blue,old"), ("s4", None))
        for key, value in (("url", f"http://{name}"), ("tags", tags))
        if value is not None
    }
    made, problems = document_of(tree_of("traefik", pairs), "etcd", extras.keeps)
    assert list(made.tree["backends"]["b"]["servers"]) == ["s1"]
    assert problems == ()


def test_v2_follows_everything(tmp_path):
    extras = extras_of(load(tmp_path, "[providers.etcd]\n"), "etcd")
    assert (extras.section, extras.watch, extras.keeps([""])) == (None, True, True)

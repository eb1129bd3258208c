"""v1's static settings as keys, there and back."""

from pathlib import Path

import pytest

from shared.config.sources import load_static
from shared.config.stored import to_pairs, to_settings
from shared.errors import ConfigError

FULL = """
logLevel = "INFO"
graceTimeOut = 7
debug = true
defaultEntryPoints = ["http", "https"]
ProvidersThrottleDuration = "5s"
[entryPoints]
  [entryPoints.http]
  address = ":8000"
  [entryPoints.Https]
  address = ":8443"
    [entryPoints.Https.tls]
      [[entryPoints.Https.tls.certificates]]
      certFile = "a.crt"
      keyFile = "a.key"
      [[entryPoints.Https.tls.certificates]]
      certFile = "b.crt"
      keyFile = "b.key"
[consul]
endpoint = "127.0.0.1:1"
[docker]
[retry]
attempts = 3
"""


def load(tmp_path, text="", *flags, stored=None):
    path = tmp_path / "traefik.toml"
    path.write_text(text)
    return load_static(
        [f"--configFile={path}", *flags], {}, tmp_path, system_directory=Path("/nonexistent"), stored=stored
    )


def as_stored(pairs):
    return lambda config: to_settings({key: value.encode() for key, value in pairs.items()}, "consul:traefik")


def test_the_layout_is_the_originals(tmp_path):
    pairs = to_pairs(load(tmp_path, FULL).v1_tree)
    expected = {
        "loglevel": "INFO",
        "gracetimeout": "7",
        "debug": "true",
        "defaultentrypoints/0": "http",
        "defaultentrypoints/1": "https",
        "providersthrottleduration": "5s",
        "entrypoints/http/": "",
        "entrypoints/http/address": ":8000",
        "entrypoints/Https/": "",
        "entrypoints/Https/address": ":8443",
        "entrypoints/Https/tls/": "",
        "entrypoints/Https/tls/certificates/0/": "",
        "entrypoints/Https/tls/certificates/0/certfile": "a.crt",
        "entrypoints/Https/tls/certificates/0/keyfile": "a.key",
        "entrypoints/Https/tls/certificates/1/": "",
        "entrypoints/Https/tls/certificates/1/certfile": "b.crt",
        "entrypoints/Https/tls/certificates/1/keyfile": "b.key",
        "consul/": "",
        "consul/endpoint": "127.0.0.1:1",
        "docker/": "",
        "retry/": "",
        "retry/attempts": "3",
    }
    assert pairs == expected


def test_what_is_written_is_read_back(tmp_path):
    written = load(tmp_path, FULL)
    again = load(tmp_path, "", "--consul.endpoint=127.0.0.1:1", stored=as_stored(to_pairs(written.v1_tree)))
    assert again.config == written.config


def test_flags_are_stored_as_well(tmp_path):
    flags = ("--defaultEntryPoints=http,web", "--entryPoints=Name:http Address::81", "--docker", "--web")
    pairs = to_pairs(load(tmp_path, "", *flags, "--entryPoints=Name:web Address::82").v1_tree)
    assert pairs["defaultentrypoints/1"] == "web"
    assert pairs["entrypoints/http/address"] == ":81"
    assert {"docker/", "web/"} <= pairs.keys()


def test_stored_settings_lie_over_all_others(tmp_path):
    stored = as_stored(
        {"loglevel": "WARN", "docker/": "", "backends/b/servers/s/url": "http://x", "alias": "y"}
    )
    loaded = load(tmp_path, "logLevel = 'INFO'\n[consul]\n", "--logLevel=DEBUG", stored=stored)
    assert loaded.config.log.level == "WARN"
    assert loaded.config.providers.docker is not None
    assert loaded.config.providers.consul is not None
    assert list(loaded.found) == []


def test_a_bad_value_is_named_by_its_key(tmp_path):
    with pytest.raises(ConfigError, match="consul:traefik/gracetimeout: graceTimeOut"):
        load(tmp_path, "[consul]\n", stored=as_stored({"gracetimeout": "soon"}))


def test_v2_settings_are_not_looked_for(tmp_path):
    def asked(config):
        raise AssertionError("v2 stores no static settings")

    load(tmp_path, "[entryPoints.web]\naddress = ':80'\n[providers.consul]\n", stored=asked)

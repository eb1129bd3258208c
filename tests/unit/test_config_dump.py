"""What is shown of the settings never holds a secret."""

import re

import msgspec
import pytest

from shared.config.decode import decode
from shared.config.diagnostics import Diagnostics
from shared.config.dump import REDACTED, dump_static
from shared.config.shapes import Shape, find_place
from shared.config.sources import load_static
from shared.config.static import StaticConfig

SUSPICIOUS = re.compile("pass|token|secret|hmac|credential|apikey", re.IGNORECASE)


def suspicious_paths(kind=StaticConfig, prefix=()):
    """Every path of a setting whose name sounds like a secret."""
    for info in msgspec.structs.fields(kind):
        path = (*prefix, info.encode_name)
        place = find_place(StaticConfig, path)
        if place.shape is Shape.SECTION:
            yield from suspicious_paths(section_type(info.type), path)
        elif place.shape is Shape.SCALAR and SUSPICIOUS.search(info.encode_name):
            yield path


def section_type(kind):
    while not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        kind = next(each for each in kind.__args__ if each is not type(None))
    return kind


def test_there_are_secrets_to_hide():
    assert ("providers", "redis", "password") in set(suspicious_paths())


@pytest.mark.parametrize("path", list(suspicious_paths()), ids=".".join)
def test_everything_that_sounds_secret_is_hidden(path):
    tree = "s3cret"
    for part in reversed(path):
        tree = {part: tree}
    config = decode(StaticConfig, tree, (), Diagnostics())
    assert "s3cret" in str(config)
    dumped = str(dump_static(config))
    assert "s3cret" not in dumped
    assert REDACTED in dumped


def test_v1_secrets_are_hidden_and_the_rest_is_shown(tmp_path):
    arguments = [
        "--marathon.dcosToken=s3cret",
        "--marathon.basic.httpBasicPassword=s3cret",
        "--etcd.password=s3cret",
        "--providers.http.endpoint=http://a",
        "--providers.http.headers.Authorization=s3cret",
        "--entryPoints=Name:http Address::81",
    ]
    (tmp_path / "traefik.toml").write_text("[entryPoints.http.auth.basic]\nusers=['a:s3cret']")
    dumped = dump_static(load_static(arguments, {}, tmp_path, system_directory=tmp_path / "etc").config)
    assert "s3cret" not in str(dumped)
    assert dumped["entryPoints"]["http"]["address"] == ":81"


def test_inline_keys_are_hidden():
    tree = {"providers": {"docker": {"tls": {"key": "-----BEGIN EC PRIVATE KEY-----\nx", "cert": "c.pem"}}}}
    dumped = dump_static(decode(StaticConfig, tree, (), Diagnostics()))
    assert dumped["providers"]["docker"]["tls"] == {"key": REDACTED, "cert": "c.pem"}

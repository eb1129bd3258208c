"""Flags, variables and v1's entrypoint on one line."""

import pytest

from shared.config.diagnostics import Diagnostics
from shared.config.entrypoint_text import parse_entry_point
from shared.config.environment import read_environment
from shared.config.flags import read_flags
from shared.config.layers import Setting, build_tree, merge
from shared.config.sources import StaticConfigError, load_static
from shared.errors import ConfigError


def flags(*arguments):
    found = Diagnostics()
    return read_flags(arguments, found), [each.reason for each in found]


def tree(*arguments):
    read, problems = flags(*arguments)
    assert problems == []
    return build_tree(read.settings, read.lists)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--api"], {"api": "true"}),
        (["-api.insecure"], {"api": {"insecure": "true"}}),
        (["--log.level", "INFO"], {"log": {"level": "INFO"}}),
        (["--log.level", "--api"], {"log": {"level": "--api"}}),
        (["--log.level="], {"log": {"level": ""}}),
        (["--log.level=a=b"], {"log": {"level": "a=b"}}),
        (["--LOG.level=a", "--log.LEVEL=b"], {"LOG": {"level": "b"}}),
        (["--entrypoints.web.http.middlewares=a", "--entrypoints.WEB.http.middlewares=b,c"],
         {"entrypoints": {"web": {"http": {"middlewares": "a,b,c"}}}}),
        (["--entrypoints.web.http.tls", "--api"],
         {"entrypoints": {"web": {"http": {"tls": "true"}}}, "api": "true"}),
        (["--entrypoints.web.http.tls.domains[1].main=b", "--entrypoints.web.http.tls.domains.0.main=a"],
         {"entrypoints": {"web": {"http": {"tls": {"domains": {"0": {"main": "a"}, "1": {"main": "b"}}}}}}}),
        (["--providers.docker.endpoint=x", "--providers.docker=false"], {"providers": {"docker": "false"}}),
        (["--providers.docker.endpoint=x", "--providers.docker"],
         {"providers": {"docker": {"endpoint": "x"}}}),
        (["-l", "DEBUG", "-g", "5", "-d"], {"logLevel": "DEBUG", "graceTimeOut": "5", "debug": "true"}),
        (["--docker", "--docker.watch=false"], {"docker": {"watch": "false"}}),
        (["--defaultEntryPoints=http", "--defaultentrypoints", "https"],
         {"defaultEntryPoints": "http,https"}),
        (["--api", "--"], {"api": "true"}),
    ],
)  # fmt: skip
def test_flags_make_a_tree(arguments, expected):
    assert tree(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (["--api..debug"], "bad flag syntax: --api..debug"),
        (["--api." + "a." * 40 + "a"], "bad flag syntax: --api." + "a." * 40 + "a"),
        (["serve"], "command not found: serve"),
        (["-"], "command not found: -"),
        (["--api", "x"], "command not found: x"),
        (["--", "--api"], "command not found: --api"),
        (["--ping.entryPoint"], "flag needs an argument: -ping.entryPoint"),
        (["--configFile"], "flag needs an argument: -configFile"),
        (["--entryPoints"], "flag needs an argument: -entryPoints"),
        (["--foo.bar"], "unknown flag: --foo.bar"),
    ],
)
def test_bad_flags_are_told(arguments, reason):
    assert flags(*arguments)[1] == [reason]


def test_all_bad_flags_are_told_with_a_hint():
    found = Diagnostics()
    read_flags(["--apii=1", "serve"], found)
    assert [str(each) for each in found] == [
        '--apii: unknown flag: --apii; did you mean "api"?',
        "serve: command not found: serve",
    ]


@pytest.mark.parametrize("arguments", [["-c", "f.toml"], ["--configFile=f.toml"], ["--configfile", "f.toml"]])
def test_the_file_is_no_setting(arguments):
    read, _ = flags(*arguments)
    assert read.config_file == "f.toml"
    assert read.settings == ()


def test_a_bare_value_inside_a_map_is_not_taken_from_the_next_argument():
    read, problems = flags("--entrypoints.web.address", ":81")
    assert read.settings[0].value == "true"
    assert problems == ["command not found: :81"]


def test_variables_begin_with_a_known_root():
    settings = read_environment(
        {
            "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS": ":81",
            "TRAEFIK_PORT": "tcp://10.0.0.1:80",
            "TRAEFIK_APIX": "1",
            "TRAEFIK_LOGLEVEL": "debug",
            "TRAEFIK_LOG_LEVEL": "info",
            "OTHER": "x",
        }
    )
    assert [each.path for each in settings] == [
        ("apix",),
        ("entrypoints", "web", "address"),
        ("logLevel",),
        ("log", "level"),
    ]


def test_a_flag_replaces_one_value_and_leaves_its_neighbours():
    file = {"providers": {"docker": {"endpoint": "a", "watch": True}, "file": {"filename": "f"}}}
    over = {"Providers": {"Docker": {"ENDPOINT": "b"}, "file": "true"}}
    assert merge(file, over) == {
        "providers": {"docker": {"endpoint": "b", "watch": True}, "file": {"filename": "f"}}
    }
    assert merge(file, {"providers": {"docker": "false"}})["providers"]["docker"] == "false"
    assert file["providers"]["docker"]["endpoint"] == "a"


def test_index_order_does_not_follow_writing_order():
    settings = [Setting(("a", str(n)), str(n), "") for n in (10, 2, 0)]
    assert list(build_tree(settings)["a"]) == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Name:http Address::80", "http", {"address": ":80"}),
        ("name:foo address::8000 compress:on", "foo", {"address": ":8000", "compress": True}),
        ("Address::80 Name:late Compress:enable", "late", {"address": ":80", "compress": True}),
        ("Name:h Compress:false", "h", {"compress": False}),
        ("Name:s TLS", "s", {"tls": {"certificates": []}}),
        ("Name:s TLS:a,b;c,d CA:x,y", "s", {
            "tls": {
                "certificates": [{"certFile": "a", "keyFile": "b"}, {"certFile": "c", "keyFile": "d"}],
                "clientCAFiles": ["x", "y"],
            }
        }),
        ("Name:h Redirect.EntryPoint:https", "h", {"redirect": {"entryPoint": "https"}}),
        ("Name:h Redirect.Regex:^http://a/(.*) Redirect.Replacement:http://b/$1", "h",
         {"redirect": {"regex": "^http://a/(.*)", "replacement": "http://b/$1"}}),
        ("Name:h WhiteListSourceRange:10.0.0.0/8,::1", "h", {"whitelistSourceRange": ["10.0.0.0/8", "::1"]}),
        ("Name:h ProxyProtocol.TrustedIPs:1.2.3.4 ProxyProtocol.Insecure:true", "h",
         {"proxyProtocol": {"trustedIPs": ["1.2.3.4"], "insecure": True}}),
        ("Name:h ForwardedHeaders.Insecure:off", "h", {"forwardedHeaders": {"insecure": False}}),
    ],
)  # fmt: skip
def test_an_entry_point_on_one_line(text, name, expected):
    assert parse_entry_point(text) == (name, expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Address::80",
        "Name: Address::80",
        "Name:h Adress::80",
        "Name:h Address:",
        "Name:h Address::1 address::2",
        "Name:h TLS:only",
        "Name:h TLS:a,b,c",
        "Name:h Compress:maybe",
    ],
)
def test_a_bad_line_is_refused(text):
    with pytest.raises(ConfigError, match="Bad EntryPoints format"):
        parse_entry_point(text)


def test_a_short_flag_of_v1_is_named_where_its_value_ends_up_wrong(tmp_path):
    with pytest.raises(StaticConfigError) as caught:
        load_static(["--port", "--="], {}, tmp_path, system_directory=tmp_path / "etc")
    assert [str(each.position) for each in caught.value.found.errors] == ["--port"]

"""Files, variables and flags together: precedence, dialects, positions."""

import pytest

from shared.config.sources import StaticConfigError, load_static
from shared.config.static import EntryPoint
from shared.config.static_v1 import V1Redirect


@pytest.fixture
def load(tmp_path):
    def load(text=None, *args, env=None, name="traefik.toml"):
        if text is not None:
            (tmp_path / name).write_text(text)
        return load_static(args, env or {}, tmp_path, system_directory=tmp_path / "etc")

    return load


@pytest.fixture
def fail(load, tmp_path):
    def fail(*args, **options):
        with pytest.raises(StaticConfigError) as caught:
            load(*args, **options)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return fail


# -------------------------------------------------------------------------------------------------- files


def test_nothing_means_defaults(load):
    loaded = load()
    assert loaded.config.entry_points == {"http": EntryPoint(address=":80")}
    assert (loaded.file, loaded.document, len(loaded.found), loaded.config.is_v1) == (None, None, 0, False)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["etc/traefik.yml", "home/.traefik/traefik.toml", "traefik.toml"], "etc/traefik.yml"),
        (["home/.traefik/traefik.yaml", "xdg/traefik.toml"], "home/.traefik/traefik.yaml"),
        (["xdg/traefik.toml", "home/.config/traefik.toml"], "xdg/traefik.toml"),
        (["home/.config/traefik.yml", "traefik.toml"], "home/.config/traefik.yml"),
        (["traefik.yaml", "traefik.yml"], "traefik.yaml"),
    ],
)
def test_the_first_file_that_exists_is_read(load, tmp_path, files, found):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    env = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load(env=env).file == tmp_path / found


def test_a_named_file_comes_first_and_may_be_named_by_a_variable(load, tmp_path):
    (tmp_path / "own.yaml").write_text("log: {level: INFO}")
    loaded = load("logLevel = 'DEBUG'", "--configFile=$DIR/own.yaml", env={"DIR": str(tmp_path)})
    assert (loaded.file, loaded.config.log.level) == (tmp_path / "own.yaml", "INFO")


def test_a_named_directory_holds_the_file(load, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "traefik.yml").write_text("log: {level: INFO}")
    assert load(None, "-c", "conf").file == tmp_path / "conf" / "traefik.yml"


def test_a_named_file_that_is_missing_is_an_error(fail):
    assert fail("", "--configFile=non/existent.toml") == [
        "--configFile: Error reading file: open non/existent.toml: no such file or directory"
    ]


def test_an_unknown_ending_is_an_error(fail, tmp_path):
    (tmp_path / "traefik.ini").write_text("")
    assert "unsupported file extension: .ini" in fail(None, "--configFile=traefik.ini")[0]


def test_broken_text_is_an_error_with_its_place(fail):
    assert fail("a = \n")[0].startswith("traefik.toml:1:")


# ---------------------------------------------------------------------------------------------- layering


def test_flags_lie_over_variables_over_the_file_over_defaults_per_key(load):
    text = "[log]\nlevel='INFO'\nformat='json'\nfilePath='f'\n[providers.docker]\nendpoint='tcp://a:1'\nwatch=false"
    loaded = load(
        text,
        "--log.level=DEBUG",
        "--providers.docker.endpoint=tcp://b:1",
        "--ping",
        env={"TRAEFIK_LOG_LEVEL": "WARN", "TRAEFIK_LOG_FORMAT": "common", "TRAEFIK_API": "true"},
    )
    log, docker = loaded.config.log, loaded.config.providers.docker
    assert (log.level, log.format, log.file_path, log.no_color) == ("DEBUG", "common", "f", False)
    assert (docker.endpoint, docker.watch, docker.exposed_by_default) == ("tcp://b:1", False, True)
    assert loaded.config.api is not None
    assert loaded.config.ping is not None


def test_variables_and_flags_find_names_of_the_file_in_any_case(load):
    loaded = load(
        "[entryPoints.webSecure]\naddress=':443'\nasDefault=true",
        "--entrypoints.WEBSECURE.reuseport",
        env={"TRAEFIK_ENTRYPOINTS_WEBSECURE_ADDRESS": ":444"},
    )
    entry_point = loaded.config.entry_points["webSecure"]
    assert list(loaded.config.entry_points) == ["webSecure"]
    assert (entry_point.address, entry_point.as_default, entry_point.reuse_port) == (":444", True, True)


def test_a_flag_switches_a_section_of_the_file_off(load):
    assert load("[providers.docker]\nwatch=true", "--providers.docker=false").config.providers.docker is None


def test_a_v1_flag_works_over_a_v2_file(load):
    loaded = load(
        "[providers.docker]\nnetwork='n'\n[log]\nlevel='INFO'", "--docker.endpoint=tcp://b:1", "-l", "WARN"
    )
    assert (loaded.config.providers.docker.network, loaded.config.providers.docker.endpoint) == (
        "n",
        "tcp://b:1",
    )
    assert loaded.config.log.level == "WARN"
    assert loaded.config.is_v1 is False


def test_a_v2_flag_works_over_a_v1_file(load):
    loaded = load(
        "logLevel='INFO'\n[docker]\ndomain='d.test'", "--log.level=DEBUG", "--providers.docker.watch=false"
    )
    config = loaded.config
    assert (config.log.level, config.providers.docker.watch, config.v1.docker.domain) == (
        "DEBUG",
        False,
        "d.test",
    )
    assert config.is_v1 is True


# ---------------------------------------------------------------------------------------------- problems


def test_all_problems_of_all_sources_are_told_with_their_places(fail):
    text = "log:\n  levle: INFO\nproviders:\n  docker:\n    watch: maybe\n"
    lines = fail(text, "--api.dashbord=true", env={"TRAEFIK_PING_FOO": "1"}, name="traefik.yml")
    assert sorted(lines) == [
        '--api.dashbord: api.dashbord: unknown key "dashbord"; did you mean "dashboard"?',
        'TRAEFIK_PING_FOO: ping.foo: unknown key "foo"',
        'traefik.yml:2:3: log.levle: unknown key "levle"; did you mean "level"?',
        'traefik.yml:5:5: providers.docker.watch: expected true or false, got "maybe"',
    ]


def test_the_source_that_wins_is_the_one_that_is_blamed(fail):
    lines = fail("[entryPoints.web]\naddress=':80'", "--entrypoints.web.address=:x")
    assert lines[0].startswith("--entrypoints.web.address: entryPoints.web.address: expected an address")


def test_unknown_roots_of_a_file_are_warnings_and_those_of_flags_errors(load, fail):
    found = [str(each).split(": ", 1)[1] for each in load("[provider]\nx=1\n[http]\n[log]").found]
    assert found[0] == 'provider: unknown key "provider"; did you mean "providers"?'
    assert found[1].startswith("http: dynamic settings are not read from the static file")
    assert fail(None, "--provider.x=1") == [
        '--provider.x: unknown flag: --provider.x; did you mean "providers"?'
    ]


def test_a_variable_that_only_begins_like_a_root_is_an_error(fail):
    assert fail(env={"TRAEFIK_APIX": "1"}) == ['TRAEFIK_APIX: apix: unknown key "apix"; did you mean "api"?']


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[providers.docker]\nswarmMode=true", "use providers.swarm"),
        ("[providers.marathon]", "[marathon]"),
        ("[pilot]\ntoken='x'", "remove the section"),
        ("[tracing.jaeger]", "use tracing.otlp"),
    ],
)
def test_what_version_3_removed_is_refused_with_the_way_out(fail, text, reason):
    lines = fail(text + "\n[log]\n")
    assert len(lines) == 1
    assert "no longer supported" in lines[0]
    assert reason in lines[0]


# ----------------------------------------------------------------------------------------------------- v1


def test_a_v1_file_is_moved_onto_the_model(load):
    config = load(
        """
        graceTimeOut = "5s"
        TraefikLogsFile = "t.log"
        accessLogsFile = "a.log"
        ProvidersThrottleDuration = "3s"
        MaxIdleConnsPerHost = 7
        InsecureSkipVerify = true
        IdleTimeout = "60s"
        constraints = ["tag==a"]
        defaultEntryPoints = ["https"]
        [entryPoints.https]
        address = ":443"
        compress = true
          [entryPoints.https.tls]
            [[entryPoints.https.tls.certificates]]
            CertFile = "c"
            KeyFile = "k"
        [retry]
        attempts = 3
        [forwardingTimeouts]
        dialTimeout = "1s"
        [web]
        address = ":9090"
        [etcd]
        endpoint = "a:1, b:2"
        prefix = "p"
        """
    ).config
    entry = config.entry_points["https"]
    assert entry.is_v1
    assert entry.transport.life_cycle.grace_time_out == 5.0
    assert entry.transport.responding_timeouts.idle_timeout == 60.0
    assert entry.transport.responding_timeouts.read_timeout == 0.0
    assert (entry.http.sanitize_path, entry.forwarded_headers.insecure) == (False, True)
    assert entry.http.tls is not None
    assert (entry.v1.compress, entry.v1.tls.certificates[0].key_file) == (True, "k")
    assert (config.log.file_path, config.access_log.file_path) == ("t.log", "a.log")
    assert config.providers.providers_throttle_duration == 3.0
    assert config.servers_transport.max_idle_conns_per_host == 7
    assert config.servers_transport.insecure_skip_verify is True
    assert config.servers_transport.forwarding_timeouts.dial_timeout == 1.0
    assert (config.v1.constraints, config.v1.retry.attempts) == (("tag==a",), 3)
    assert (config.api.insecure, config.providers.rest.insecure) == (True, True)
    own = config.entry_points["traefik"]
    assert (own.address, own.is_v1, own.http.sanitize_path) == (":9090", False, True)
    assert (config.providers.etcd.endpoints, config.providers.etcd.root_key) == (("a:1", "b:2"), "p")
    assert (config.default_entry_points, config.is_v1) == (("https",), True)


def test_v1_without_entry_points_has_http_and_nothing_else(load):
    config = load("defaultEntryPoints = ['https']\n[docker]").config
    assert config.entry_points["http"].address == ":80"
    assert config.entry_points["http"].is_v1
    assert config.default_entry_points == ("http",)


def test_v1_port_is_the_address_of_the_implied_entry_point(load):
    assert load(None, "--port=8000", "--docker").config.entry_points["http"].address == ":8000"
    assert load(None, "-p", ":8001", "--docker").config.entry_points["http"].address == ":8001"


@pytest.mark.parametrize(("names", "chosen"), [(["http", "other"], ("http",)), (["b", "a"], ("a", "b"))])
def test_v1_without_default_entry_points_follows_the_documentation_and_says_so(load, names, chosen):
    text = "logLevel='INFO'\n" + "\n".join(f"[entryPoints.{name}]\naddress=':1'" for name in names)
    loaded = load(text)
    assert loaded.config.default_entry_points == chosen
    assert ["defaultEntryPoints" in str(each) for each in loaded.found] == [True]


def test_v1_default_entry_points_that_do_not_exist_are_told(load):
    text = "defaultEntryPoints=['htp', 'http']\n[entryPoints.http]\naddress=':1'"
    loaded = load(text)
    assert loaded.config.default_entry_points == ("http",)
    assert 'no entrypoint "htp"; did you mean "http"?' in str(next(iter(loaded.found)))


def test_v1_trust_that_is_written_is_kept(load):
    entry = "address=':1'\nforwardedHeaders={trustedIPs=['10.0.0.0/8']}"
    text = f"[docker]\n[entryPoints.http]\n{entry}"
    trust = load(text).config.entry_points["http"].forwarded_headers
    assert (trust.insecure, trust.trusted_ips) == (False, ("10.0.0.0/8",))


def test_v1_unknown_keys_are_warnings_and_wrong_types_errors_with_places(load, fail):
    loaded = load("logLevl = 'x'\n[docker]\nendpont = 'y'")
    assert [each.position.line for each in loaded.found] == [1, 3]
    assert fail("logLevel = 'x'\n[docker]\nwatch = 'maybe'") == [
        'traefik.toml:3:1: docker.watch: expected true or false, got "maybe"'
    ]


def test_v1_rules_may_stand_in_the_static_file(load):
    loaded = load("[file]\n[backends.b.servers.s]\nurl='http://a'\n[frontends.f]\nbackend='b'")
    assert loaded.config.providers.file.filename == ""
    assert loaded.config.v1.file is not None
    assert loaded.document.tree["frontends"] == {"f": {"backend": "b"}}
    assert len(loaded.found) == 0


def test_v1_redirect_must_name_an_entry_point(load, fail):
    arguments = ["--entryPoints=Name:http Address::1 Redirect.EntryPoint:https"]
    assert fail(None, *arguments)[0].endswith(
        'entryPoints.http.redirect.entryPoint: no entrypoint "https"; did you mean "http"?'
    )
    config = load(None, *arguments, "--entryPoints", "Name:https Address::2 TLS:a,b").config
    assert config.entry_points["http"].v1.redirect == V1Redirect(entry_point="https")
    assert config.is_v1


def test_a_bad_entry_point_line_is_an_error(fail):
    assert fail(None, "--entryPoints=Address::80")[0].startswith("--entryPoints: Bad EntryPoints format")


def test_v1_sections_by_their_bare_flag(load):
    config = load(None, "--docker", "--web", "--consul.endpoint=a:1", "--marathon").config
    assert config.providers.docker.endpoint == "unix:///var/run/docker.sock"
    assert config.providers.consul.endpoints == ("a:1",)
    assert config.v1.marathon.endpoint == "http://127.0.0.1:8080"
    assert config.entry_points["traefik"].address == ":8080"
    assert config.api.insecure is True
    assert load(None, "--web.cerFile=c").config.v1.web.cert_file == "c"
    assert load(None, "--docker=false", "-d").config.providers.docker is None


def test_v1_debug_raises_the_log_level(load):
    assert load("debug = true\nlogLevel = 'ERROR'").config.log.level == "DEBUG"


def test_an_entry_point_alone_is_v2_unless_it_redirects(load):
    assert load("[entryPoints.web]\naddress=':1'").config.is_v1 is False
    assert load("[entryPoints.web]\naddress=':1'\n[entryPoints.web.redirect]\nregex='a'").config.is_v1 is True
    assert load("[entryPoints.web]\naddress=':1'", "--docker").config.is_v1 is True


def test_v1_web_with_a_password_is_not_opened_without_it(load):
    loaded = load("[web]\n[web.auth.basic]\nusers=['a:b']", "--web")
    assert loaded.config.api.insecure is False
    assert loaded.config.providers.rest.insecure is True  # behind the password
    assert "traefik.toml:2" in str(next(iter(loaded.found)))
    assert load("[web]\ncertFile='c'\nkeyFile='k'").config.api.insecure is True  # over TLS
    assert load("[web]\ncertFile='c'").config.api.insecure is False

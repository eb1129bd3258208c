"""`penstock check`, `penstock explain` and the ids of failed exchanges, with the installed program."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import bcrypt
import httpx
import pytest

from tests.support.proxy import COMMAND_TIMEOUT_S, PENSTOCK, running_proxy

GOLDEN = Path(__file__).parents[1] / "golden" / "check"
STATIC = """
entryPoints:
  web: {address: ":8000"}
  admin: {address: ":9000"}
providers:
  file: {filename: rules.yml}
"""
RULES = """
http:
  routers:
    api:
      rule: "Host(`shop.test`) && PathPrefix(`/api`)"
      middlewares: [without-api]
      service: shop
      entryPoints: [web]
    host:
      rule: "Host(`shop.test`)"
      priority: 1
      service: shop
      entryPoints: [web]
    private:
      rule: "Host(`shop.test`) && PathPrefix(`/private`)"
      middlewares: [login, without-api]
      service: shop
      entryPoints: [web]
    empty: {rule: "Host(`empty.test`)", service: empty, entryPoints: [web]}
  middlewares:
    without-api: {stripPrefix: {prefixes: [/api]}}
    # bob:hunter2, bcrypt at its lowest cost: the step that waits for a thread
    login: {basicAuth: {users: ["bob:USER_HASH"]}}
  services:
    shop:
      loadBalancer:
        servers:
          - {url: "http://127.0.0.1:9001", weight: 3}
          - {url: "http://127.0.0.1:9002"}
    empty: {loadBalancer: {servers: []}}
"""


def penstock(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PENSTOCK), *arguments],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static.yml").write_text(STATIC)
    user_hash = bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)).decode()
    (tmp_path / "rules.yml").write_text(RULES.replace("USER_HASH", user_hash))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "flags", "code"),
    [
        ("clean", [], 0),
        ("clean", ["--strict"], 0),
        ("suspicious", [], 0),
        ("suspicious", ["--strict"], 1),
        ("mistakes", [], 2),
        ("mistakes", ["--strict"], 2),
    ],
)
def test_check_prints_and_exits(name, flags, code):
    rules = ["--entryPoints.web.address=:8000", f"--providers.file.filename={name}.yml"]
    done = penstock("check", *flags, *rules, cwd=GOLDEN)
    assert done.returncode == code, done.stderr
    assert done.stdout == (GOLDEN / f"{name}.txt").read_text()
    assert done.stderr == ""


def test_check_as_json(folder):
    (folder / "rules.yml").write_text('http: {routers: {a: {rule: "Hots(`a`)", service: noop@internal}}}\n')
    done = penstock("check", "-c", "static.yml", "--format", "json", cwd=folder)
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert {key: said[key] for key in ("errors", "warnings", "routers", "disabled")} == {
        "errors": 1, "warnings": 0, "routers": 1, "disabled": 1,
    }  # fmt: skip
    assert said["problems"] == [
        {
            "severity": "error",
            "file": "rules.yml",
            "line": 1,
            "column": 22,
            "path": "http.routers.a.rule",
            "reason": "unsupported function: Hots; the router is disabled",
            "hint": "Host",
        }
    ]


def explained(folder: Path, *arguments: str) -> dict:
    done = penstock("explain", "-c", "static.yml", "--format=json", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_explain_the_winner_its_chain_and_what_the_server_gets(folder):
    said = explained(folder, "-H", "X-A: 1", "--client=192.0.2.7", "http://shop.test:8000/api/x?q=1")
    assert said["received"]["entrypoint"] == "web"
    assert said["router"]["name"] == "api@file"
    fates = {each["name"]: each["fate"] for each in said["others"]}
    assert fates == {"private@file": "failed", "host@file": "outranked", "empty@file": "failed"}
    assert said["chain"][0]["request_changes"] == [
        "path '/api/x' -> '/x'",
        "header X-Forwarded-Prefix none -> '/api'",
    ]
    [service] = said["services"]
    assert [(each["share"], each["picked"]) for each in service["members"]] == [(0.75, True), (0.25, False)]
    assert said["upstream"]["request_line"] == "GET /x?q=1 HTTP/1.1"
    fields = dict(said["upstream"]["headers"])
    assert fields["X-A"] == "1"
    assert fields["X-Forwarded-For"] == "192.0.2.7"
    assert said["answer"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "by"),
    [
        (["http://nobody.test:8000/"], 404, "penstock"),
        (["http://empty.test:8000/"], 503, "penstock"),
        (["http://shop.test:8000/%zz"], 400, "penstock"),
        (["http://shop.test:8000/private"], 401, "login@file"),
        (["-H", "Authorization: Basic Ym9iOndyb25n", "http://shop.test:8000/private"], 401, "login@file"),
    ],
    ids=["no route", "no server", "refused head", "no password", "wrong password"],
)
def test_explain_what_is_answered_without_a_server(folder, arguments, status, by):
    said = explained(folder, *arguments)
    assert (said["answer"]["status"], said["answer"]["by"]) == (status, by)
    assert said["upstream"] is None


def test_explain_a_step_that_computes_in_a_thread(folder):
    right = "Authorization: Basic Ym9iOmh1bnRlcjI="
    said = explained(folder, "-H", right, "http://shop.test:8000/private")
    assert said["upstream"]["request_line"] == "GET /private HTTP/1.1"
    assert [each["outcome"] for each in said["chain"]] == ["passed on", "passed on"]
    assert said["chain"][0]["request_changes"] == ["user none -> 'bob'"]


def test_explain_for_people_is_plain_where_it_is_no_terminal(folder):
    done = penstock("explain", "-c", "static.yml", "http://shop.test:8000/api/x", cwd=folder)
    assert done.returncode == 0
    assert "api@file wins: priority" in done.stdout
    assert "matches too, but api@file has priority 39, over 1" in done.stdout
    assert "-> http://127.0.0.1:9001: weight 3, 75% of requests" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["shop.test/api"], "expected a URL"),
        (["http://shop.test/"], "which entrypoint"),
        (["--entrypoint=wbe", "http://shop.test/"], 'did you mean "web"?'),
        (["--client=nobody", "http://shop.test:8000/"], "expected an IP address"),
        (["-H", "X-A", "http://shop.test:8000/"], "expected 'NAME: VALUE'"),
        (["-H", "X-A: 1\r\nX-B: 2", "http://shop.test:8000/"], "a line end"),
    ],
)
def test_a_question_that_makes_no_sense_is_a_usage_error(folder, arguments, reason):
    done = penstock("explain", "-c", "static.yml", *arguments, cwd=folder)
    assert done.returncode == 2
    assert reason in done.stderr


def test_explain_without_a_proxy_names_the_way_out(tmp_path):
    done = penstock("explain", f"--runtimeDir={tmp_path}", "http://shop.test/", cwd=tmp_path)
    assert done.returncode == 1
    assert "-c FILE" in done.stderr


def test_explain_asks_the_running_proxy_and_ids_lead_to_the_log(tmp_path):
    rules = """
http:
  routers:
    shop: {rule: "Host(`shop.test`) && Path(`/only`)", service: gone}
  services:
    gone: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}
"""
    with running_proxy(tmp_path, dynamic=rules, workers=1) as proxy:
        said = json.loads(
            proxy.command("explain", "--format=json", "http://shop.test/only", "--entrypoint=web").stdout
        )
        assert said["router"]["name"] == "shop@file"
        assert said["upstream"]["server_url"] == "http://127.0.0.1:1"
        assert said["generation"] == proxy.status()["generation"]
        nonsense = proxy.command("explain", "ftp://shop.test/", check=False)
        assert nonsense.returncode == 2
        for path, status in (("/other", 404), ("/only", 502)):
            answer = asked(proxy.url(), path)
            assert answer.status_code == status
            error_id = answer.headers["X-Penstock-Error"]
            line = proxy.wait_for_log(re.escape(error_id))
            assert f"{status} at entrypoint web for GET shop.test{path}" in line
        assert "nearest: shop@file (path is '/only': no)" in proxy.log


def asked(url: str, path: str):
    with httpx.Client(trust_env=False) as client:
        return client.get(url + path, headers={"Host": "shop.test"})

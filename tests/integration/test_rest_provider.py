"""PUT of whole configurations over the proxy's own entrypoint: live everywhere before the answer comes."""

import base64
import json
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.authority import Authority
from tests.support.clients import exchange, get
from tests.support.origins import echo, running_origin
from tests.support.proxy import running_proxy
from tests.support.vectors import all_vectors

ROUNDS = 12
LARGE = 5_000
V1 = {"static_name": "traefik.toml", "entrypoints": ("web", "traefik")}
PASSWORD = "correct horse"
THROTTLED = "\nproviders: {providersThrottleDuration: 60s, rest: {insecure: true}}\nlog: {level: INFO}\n"


def v2_static(ports):
    return (
        f"entryPoints:\n  web: {{address: '127.0.0.1:{ports['web']}'}}\n"
        f"  traefik: {{address: '127.0.0.1:{ports['traefik']}'}}\n" + THROTTLED
    )


def v1_static(extra=""):
    def text(ports):
        return (
            f"defaultEntryPoints = ['http']\n[entryPoints.http]\naddress = '127.0.0.1:{ports['web']}'\n"
            f"[web]\naddress = '127.0.0.1:{ports['traefik']}'\n{extra}"
        )

    return text


def put(proxy, provider, content, path="/api/providers/", fields=()):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = [
        f"PUT {path}{provider} HTTP/1.1",
        "Host: proxy",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in fields),
        "Connection: close",
    ]
    return exchange(proxy.address("traefik"), "\r\n".join([*head, "", ""]).encode() + body)


def text(answer):
    return answer.content.decode()


def v2_rules(name, url):
    return {
        "http": {
            "routers": {"r": {"rule": "Host(`a.test`)", "service": name, "entryPoints": ["web"]}},
            "services": {name: {"loadBalancer": {"servers": [{"url": url}]}}},
        }
    }


def v1_rules(url, host="a.test"):
    return {
        "frontends": {"f": {"backend": "b", "routes": {"r": {"rule": f"Host:{host}"}}}},
        "backends": {"b": {"servers": {"s": {"URL": url, "weight": 1}}}},
    }


def basic(user, password):
    return ("Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")


def test_the_answer_comes_when_every_worker_serves_it(tmp_path):
    """Although the throttle is a minute: whoever puts rules waits for them, nobody else does."""
    with (
        running_origin(echo("one")) as one,
        running_origin(echo("two")) as two,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik"), workers=2) as proxy,
    ):
        for round_number in range(ROUNDS):
            name, origin = (("one", one), ("two", two))[round_number % 2]
            rules = v2_rules(name, origin.url)
            answer = put(proxy, "rest", rules)
            assert (answer.status, answer.json()) == (200, rules)
            assert answer.header("content-type") == "application/json; charset=UTF-8"
            served = {get(proxy.address(), "/", host="a.test").json()["name"] for _ in range(8)}
            assert served == {name}
        (status,) = proxy.status()["providers"]
        assert (status["name"], status["failure"]) == ("rest", "")


def test_a_large_document(tmp_path):
    """More than any buffer on the way; every router of it serves when the answer comes."""
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik")) as proxy,
    ):
        rules = v2_rules("one", one.url)
        rules["http"]["routers"] |= {
            f"r{number}": {"rule": f"Host(`h{number}.test`)", "service": "one", "entryPoints": ["web"]}
            for number in range(LARGE)
        }
        assert len(json.dumps(rules)) > 262_144
        assert put(proxy, "rest", rules).status == 200
        for number in (0, LARGE // 2, LARGE - 1):
            assert get(proxy.address(), "/", host=f"h{number}.test").status == 200


def test_what_cannot_be_read_whole_changes_nothing(tmp_path):
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik")) as proxy,
    ):
        assert put(proxy, "rest", v2_rules("one", one.url)).status == 200
        broken = v2_rules("one", one.url)
        broken["http"]["routers"]["extra"] = {"rule": 7, "priority": "high"}
        refused = {
            b"{": "unexpected end of JSON input",
            b'{"http": {"rou': "unexpected end of JSON input",
            b'{"http": }': "rest:1:10: Expecting value",
            b"[1]": "expected a table at the top",
            b"\xff": "not UTF-8 text",
            json.dumps(broken).encode(): "http.routers.extra.priority",
        }
        for body, reason in refused.items():
            answer = put(proxy, "rest", body)
            assert (answer.status, reason in text(answer)) == (400, True), text(answer)
            assert get(proxy.address(), "/", host="a.test").status == 200


def test_an_empty_document_is_skipped_and_empty_tables_clear(tmp_path):
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik")) as proxy,
    ):
        assert put(proxy, "rest", v2_rules("one", one.url)).status == 200
        assert put(proxy, "rest", {}).status == 200
        assert get(proxy.address(), "/", host="a.test").status == 200
        proxy.wait_for_log("skipping empty configuration for provider rest")
        assert put(proxy, "rest", {"http": {"routers": {}}}).status == 200
        assert get(proxy.address(), "/", host="a.test").status == 404


def test_what_was_put_survives_reload_and_changed_static_settings(tmp_path):
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik")) as proxy,
    ):
        assert put(proxy, "rest", v2_rules("one", one.url)).status == 200
        proxy.reload()
        assert get(proxy.address(), "/", host="a.test").status == 200
        proxy.static_file.write_text(proxy.static_file.read_text() + "ping: {}\n")
        proxy.reload()
        assert get(proxy.address("traefik"), "/ping", host="x").status == 200
        assert get(proxy.address(), "/", host="a.test").status == 200


def test_what_is_put_while_workers_are_replaced_is_not_lost(tmp_path):
    """It comes while the new worker is being started, which takes some hundred times longer than a PUT."""
    with (
        running_origin(echo("one")) as one,
        running_origin(echo("two")) as two,
        running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik"), workers=1) as proxy,
        ThreadPoolExecutor() as pool,
    ):
        assert put(proxy, "rest", v2_rules("one", one.url)).status == 200
        proxy.static_file.write_text(proxy.static_file.read_text() + "ping: {}\n")
        reloaded = pool.submit(proxy.reload)
        proxy.wait_for_log("static settings changed: replacing all workers")
        assert put(proxy, "rest", v2_rules("two", two.url)).status == 200
        assert get(proxy.address(), "/", host="a.test").json()["name"] == "two"
        reloaded.result()
        assert get(proxy.address("traefik"), "/ping", host="x").status == 200
        assert get(proxy.address(), "/", host="a.test").json()["name"] == "two"


def test_v15_rest_section_names_its_entrypoint(tmp_path):
    def static(ports):
        return (
            f"defaultEntryPoints = ['http']\n[entryPoints.http]\naddress = '127.0.0.1:{ports['web']}'\n"
            f"[entryPoints.admin]\naddress = '127.0.0.1:{ports['traefik']}'\n[rest]\nentryPoint = 'admin'\n"
        )

    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=static, **V1) as proxy,
    ):
        assert put(proxy, "rest", v1_rules(one.url)).status == 200
        assert get(proxy.address(), "/", host="a.test").json()["name"] == "one"
        wrong = put(proxy, "web", {})
        assert "Only 'rest' provider can be updated" in text(wrong)


def test_other_names_methods_and_paths(tmp_path):
    with running_proxy(tmp_path, static=v2_static, entrypoints=("web", "traefik")) as proxy:
        other = put(proxy, "file", {})
        assert (other.status, text(other)) == (
            400,
            "Only 'rest' provider can be updated through the REST API\n",
        )
        assert put(proxy, "rest/more", {}).status == 404
        assert get(proxy.address("traefik"), "/api/providers/rest", host="x").status == 405
        # Nothing of the admin socket can be reached through the gateway.
        assert put(proxy, "../../stop", {}).status == 404
        assert get(proxy.address("traefik"), "/api/providers/../../status", host="x").status == 404


def test_rest_without_insecure_is_behind_the_users_own_router(tmp_path):
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()

    def static(ports):
        return (
            f"entryPoints:\n  web: {{address: '127.0.0.1:{ports['web']}'}}\n"
            f"  traefik: {{address: '127.0.0.1:{ports['traefik']}'}}\n"
            "providers: {rest: {}, file: {directory: dynamic}}\n"
        )

    rules = (
        "http:\n  routers:\n    rest:\n      rule: PathPrefix(`/api/providers`)\n"
        "      entryPoints: [traefik]\n"
        "      service: rest@internal\n      middlewares: [me]\n"
        f"  middlewares:\n    me: {{basicAuth: {{users: ['me:{hashed}']}}}}\n"
    )
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=static, dynamic=rules, entrypoints=("web", "traefik")) as proxy,
    ):
        assert put(proxy, "rest", v2_rules("one", one.url)).status == 401
        assert put(proxy, "rest", v2_rules("one", one.url), fields=[basic("me", "wrong")]).status == 401
        assert get(proxy.address(), "/", host="a.test").status == 404
        assert put(proxy, "rest", v2_rules("one", one.url), fields=[basic("me", PASSWORD)]).status == 200
        assert get(proxy.address(), "/", host="a.test").status == 200
        assert PASSWORD not in proxy.log


def test_rest_internal_without_the_provider_is_refused(tmp_path):
    rules = "http: {routers: {r: {rule: 'PathPrefix(`/x`)', service: rest@internal}}}\n"
    with running_proxy(tmp_path, dynamic=rules) as proxy:
        assert get(proxy.address(), "/x", host="x").status == 404
        proxy.wait_for_log("rest is not enabled")


def test_v1_web_answers_with_the_document_of_get_api(tmp_path):
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v1_static(), **V1) as proxy,
    ):
        answer = put(proxy, "web", v1_rules(one.url))
        assert answer.status == 200
        assert answer.header("content-type") == "application/json; charset=UTF-8"
        frontend = {
            "backend": "b",
            "basicAuth": None,
            "entryPoints": ["http"],
            "priority": 0,
            "routes": {"r": {"rule": "Host:a.test"}},
        }
        backend = {"loadBalancer": {"method": "wrr"}, "servers": {"s": {"url": one.url, "weight": 1}}}
        assert answer.json() == {"web": {"backends": {"b": backend}, "frontends": {"f": frontend}}}
        assert get(proxy.address(), "/", host="a.test").json()["name"] == "one"
        assert "\\u003c" in text(put(proxy, "web", v1_rules(one.url, "<b>")))
        assert put(proxy, "web", {"backends": {}, "frontends": {}}).status == 200
        assert get(proxy.address(), "/", host="a.test").status == 404


def test_v1_vectors_of_put(tmp_path):
    wanted = ("api-other", "api-badjson", "api-put", "api-put-empty2", "api-post")
    vectors = {each["id"]: each for each in all_vectors("v1") if each["id"] in wanted}
    assert sorted(vectors) == sorted(wanted)
    with running_proxy(tmp_path, static=v1_static(), **V1) as proxy:
        for vector in vectors.values():
            request, expect = vector["request"], vector["expect"]
            raw = (
                f"{request['method']} {request['target']} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                f"Content-Length: {len(request['body'])}\r\n\r\n{request['body']}"
            )
            answer = exchange(proxy.address("traefik"), raw.encode())
            assert answer.status == expect.get("status", 200), vector["id"]
            if "content_type" in expect:
                assert answer.header("content-type") == expect["content_type"]
            elif "body" in expect:
                assert text(answer) == expect["body"], vector["id"]


def test_v1_read_only(tmp_path):
    with running_proxy(tmp_path, static=v1_static("readOnly = true\n"), **V1) as proxy:
        for provider in ("web", "docker"):
            answer = put(proxy, provider, {})
            assert (answer.status, text(answer)) == (403, "REST API is in read-only mode")


@pytest.mark.parametrize("path", ["/", "/admin/"])
def test_v1_password_and_root_path(tmp_path, path):
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    extra = f"path = '{path}'\n[web.auth.basic]\nusers = ['me:{hashed}']\n"
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v1_static(extra), **V1) as proxy,
    ):
        where = f"{path}api/providers/"
        assert put(proxy, "web", v1_rules(one.url), where).status == 401
        assert get(proxy.address(), "/", host="a.test").status == 404
        assert put(proxy, "web", v1_rules(one.url), where, [basic("me", PASSWORD)]).status == 200
        assert get(proxy.address(), "/", host="a.test").status == 200


def test_v1_certificate_makes_it_tls(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("127.0.0.1")
    extra = f"certFile = '{pair.certificate}'\nkeyFile = '{pair.key}'\n"
    with (
        running_origin(echo("one")) as one,
        running_proxy(tmp_path, static=v1_static(extra), **V1) as proxy,
    ):
        host, port = proxy.address("traefik")
        trust = ssl.create_default_context(cafile=authority.certificate)
        url = f"https://{host}:{port}/api/providers/web"
        answer = httpx.put(url, json=v1_rules(one.url), verify=trust, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        assert get(proxy.address(), "/", host="a.test").json()["name"] == "one"
        with pytest.raises(httpx.HTTPError):
            httpx.put(url.replace("https", "http"), json={}, trust_env=False, timeout=30).raise_for_status()

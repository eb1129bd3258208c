"""TLS as it is compiled: which certificate and options a name gets, and what is wrong stays alone."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from master.compiler.default_certificate import COMMON_NAME
from shared.config.dynamic import CertificatePair
from shared.config.static import EntryPoint, EntryPointHttp, EntryPointTls
from shared.config.static_v1 import V1EntryPoint, V1Tls
from tests.support.tls import Authority, InMemory
from tests.support.vectors import vectors
from tests.unit.test_compiler import Bench, messages, states, table
from worker.tls.material import Contexts, TlsMaterial, TlsRefused

AUTHORITY = Authority()
SERVICES = {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:1"}]}}}


def pem(*names, **how):
    """A certificate of the configuration, for these names; the first is its common name."""
    pair = AUTHORITY.issue(names[0], *names, **how)
    return {"certFile": pair.certificate, "keyFile": pair.key}


def document(certificates=(), options=None, store=None, **routers):
    """A dynamic document; routers are pairs of a rule and a tls section."""
    tls = {"certificates": list(certificates), "options": options or {}}
    if store is not None:
        tls["stores"] = {"default": {"defaultCertificate": store}}
    made = {name: {"rule": rule, "service": "s", "tls": tls} for name, (rule, tls) in routers.items()}
    return json.dumps({"http": {"routers": made, "services": SERVICES}, "tls": tls})


class Chooser:
    """The choices of a worker."""

    def __init__(self, compiled):
        self.compiled = compiled
        self.material = TlsMaterial(table(compiled).streams().tls)
        self.contexts = Contexts()

    def certificate(self, name, entrypoint="web", local_ip="127.0.0.1"):
        choice = self.material.choose(self.contexts, entrypoint, name, local_ip)
        return InMemory(choice.context).certificate_name

    def options(self, name, entrypoint="web"):
        return self.material.choose(self.contexts, entrypoint, name, "127.0.0.1").options


def chooser(*texts, bench=None, **entry_points):
    return Chooser((bench or Bench(**entry_points)).compile(*texts))


@pytest.mark.parametrize("vector", vectors("v2", "tls.certSelect"))
def test_certificate_vectors(vector):
    found = chooser(document([pem(name) for name in vector["config"]["certs"]]))
    assert found.certificate(vector["request"]["sni"]) == vector["expect"]["cert"]


def test_certificate_by_name():
    two = AUTHORITY.issue("", "x.test", "*.y.test", "127.0.0.9")
    found = chooser(
        document(
            [
                pem("a.test"),
                pem("*.b.test", "b.test"),
                {"certFile": two.certificate, "keyFile": two.key},
                pem("UPPER.test"),
            ],
            store=pem("fallback"),
        )
    )
    assert found.certificate("a.test") == "a.test"
    assert found.certificate("b.test") == "*.b.test"
    assert found.certificate("1.b.test") == "*.b.test"
    assert found.certificate("1.2.b.test") == "fallback"
    assert found.certificate("upper.test") == "UPPER.test"
    assert found.certificate("") == "fallback"
    x_test = found.material.choose(found.contexts, "web", "x.test", "").context
    assert found.material.choose(found.contexts, "web", "q.y.test", "").context is x_test
    assert found.material.choose(found.contexts, "web", "", "127.0.0.9").context is x_test


def test_of_two_certificates_for_the_same_names_the_first_stays():
    first, second = (AUTHORITY.issue("a.test", "a.test") for _ in range(2))
    pairs = [{"certFile": each.certificate, "keyFile": each.key} for each in (first, second)]
    found = chooser(document(pairs))
    store = [found.material.content.certificates[number] for number in found.material.content.store]
    assert [each.chain for each in store] == [first.certificate.strip().encode()]


def test_without_certificates_there_is_one_of_ours_the_same_for_all_workers():
    one, other = (chooser(document()) for _ in range(2))
    assert one.certificate("a.test") == COMMON_NAME
    assert one.compiled.digest == other.compiled.digest


# --- what is wrong


def test_a_bad_certificate_is_left_out_alone_and_said_with_its_place(tmp_path):
    other_key = AUTHORITY.issue("a.test", "a.test").key
    good = pem("a.test")
    (tmp_path / "empty.pem").write_text("")
    bad = [
        ({**pem("b.test"), "keyFile": other_key}, "keyFile", "the private key does not belong"),
        ({"certFile": "missing.pem", "keyFile": "missing.key"}, "certFile", "cannot read missing.pem"),
        (
            {"certFile": str(tmp_path / "empty.pem"), "keyFile": str(tmp_path / "empty.pem")},
            "certFile",
            "holds no",
        ),
        ({"certFile": pem("c.test")["certFile"], "keyFile": "c.key"}, "keyFile", "both paths or both PEM"),
        ({"certFile": pem("d.test")["certFile"]}, "keyFile", "is missing"),
    ]
    found = chooser(document([*(each for each, _, _ in bad), good], a=("Host(`a.test`)", {})))
    assert found.certificate("a.test") == "a.test"
    for index, (_, key, reason) in enumerate(bad):
        line = next(
            line
            for line in messages(found.compiled).splitlines()
            if f"tls.certificates[{index}].{key}: " in line
        )
        assert reason in line
        assert line.startswith("0-rules.yml:1:")
    assert states(found.compiled) == {"a@file": "enabled"}
    assert "PRIVATE KEY" not in messages(found.compiled)


def test_a_key_that_openssl_finds_too_weak_is_told():
    weak = AUTHORITY.issue("a.test", "a.test", key=ec.generate_private_key(ec.SECP192R1()))
    found = chooser(document([{"certFile": weak.certificate, "keyFile": weak.key}]))
    assert "OpenSSL refuses it" in messages(found.compiled) or found.certificate("a.test") == "a.test"


def test_a_certificate_keeps_its_last_good_form(tmp_path):
    one = AUTHORITY.issue("a.test", "a.test")
    cert, key = one.write(tmp_path, "a")
    text = document([{"certFile": str(cert), "keyFile": str(key)}])
    bench = Bench()
    assert chooser(text, bench=bench).certificate("a.test") == "a.test"
    key.write_text("rubbish")
    found = chooser(text, bench=bench)
    assert "its last good version stays live" in messages(found.compiled)
    assert found.certificate("a.test") == "a.test"


def test_a_file_that_changed_is_read_again(tmp_path):
    text = document([{"certFile": str(tmp_path / "a.crt"), "keyFile": str(tmp_path / "a.key")}])
    bench = Bench()
    shown = []
    for number in range(3):
        AUTHORITY.issue(f"number {number}", "a.test").write(tmp_path, "a")
        shown.append(chooser(text, bench=bench).certificate("a.test"))
    assert shown == ["number 0", "number 1", "number 2"]


def test_an_expired_certificate_is_served_with_a_warning():
    found = chooser(document([pem("a.test", days=-1)]))
    assert found.certificate("a.test") == "a.test"
    assert "the certificate expired on" in messages(found.compiled)


@pytest.mark.parametrize(
    ("options", "place", "reason"),
    [
        ({"minVersion": "VersionTLS9"}, "minVersion", 'unknown TLS version "VersionTLS9"; the'),
        ({"minVersion": "VersionTLS13", "maxVersion": "VersionTLS12"}, "minVersion", "is above maxVersion"),
        ({"cipherSuites": ["TLS_NO_SUCH"]}, "cipherSuites", 'unknown cipher suite "TLS_NO_SUCH"'),
        (
            {"cipherSuites": ["TLS_RSA_WITH_RC4_128_SHA"]},
            "cipherSuites",
            "RC4-SHA is not available with OpenSSL",
        ),
        ({"curvePreferences": ["P999"]}, "curvePreferences", 'unknown curve "P999"'),
        (
            {"clientAuth": {"clientAuthType": "Sometimes"}},
            "clientAuth.clientAuthType",
            "unknown clientAuthType",
        ),
        ({"clientAuth": {"caFiles": ["nowhere.pem"]}}, "clientAuth.caFiles[0]", "cannot read nowhere.pem"),
        (
            {"clientAuth": {"caFiles": [Authority("Old", -1).pem]}},
            "clientAuth.caFiles",
            "none of the authorities",
        ),
    ],
)
def test_bad_options_disable_their_routers_and_refuse_their_hosts(options, place, reason):
    found = chooser(
        document(
            options={"bad": options},
            a=("Host(`a.test`)", {"options": "bad"}),
            b=("Host(`b.test`)", {}),
        )
    )
    assert states(found.compiled) == {"a@file": "disabled", "b@file": "enabled"}
    assert f"tls.options.bad.{place}: " in messages(found.compiled)
    assert reason.partition(";")[0] in messages(found.compiled)
    with pytest.raises(TlsRefused):
        found.options("a.test")
    assert found.options("b.test") == "default"


@pytest.mark.parametrize("vector", vectors("v2", "tls.clientAuth"))
def test_client_auth_vectors(vector):
    found = chooser(document(options={"o": vector["config"]}))
    assert vector["expect"]["error"] in messages(found.compiled)


def test_options_that_do_not_exist_have_a_hint():
    found = chooser(document(options={"strict": {}}, a=("Host(`a.test`)", {"options": "strikt"})))
    assert states(found.compiled) == {"a@file": "disabled"}
    assert 'did you mean "strict@file"' in messages(found.compiled)


def test_options_keep_their_last_good_form():
    bench = Bench()
    router = {"a": ("Host(`a.test`)", {"options": "o"})}
    chooser(document(options={"o": {"sniStrict": True}}, **router), bench=bench)
    found = chooser(document(options={"o": {"minVersion": "VersionTLS9"}}, **router), bench=bench)
    assert states(found.compiled) == {"a@file": "enabled"}
    assert "its last good version stays live" in messages(found.compiled)
    with pytest.raises(TlsRefused, match="sniStrict"):
        found.options("a.test")


def test_an_expired_authority_is_left_out_alone():
    cas = [Authority("Old", -1).pem + AUTHORITY.pem]
    found = chooser(
        document(options={"o": {"clientAuth": {"caFiles": cas}}}, a=("Host(`a.test`)", {"options": "o"}))
    )
    assert "the authority CN=Old expired on" in messages(found.compiled)
    assert states(found.compiled) == {"a@file": "enabled"}
    assert found.options("a.test") == "o@file"


def test_a_curve_that_this_openssl_lacks_is_left_out():
    found = chooser(document(options={"o": {"curvePreferences": ["SecP384r1MLKEM1024", "X25519"]}}))
    entry = next(each for each in table(found.compiled).streams().tls.options if each.name == "default")
    assert entry.groups == ()
    assert "SecP384r1MLKEM1024 is not available" in messages(found.compiled)


def test_two_providers_with_default_options_have_none():
    bench = Bench()
    bench.compile(document(options={"default": {}}, a=("Host(`a.test`)", {})))
    from providers.base import Snapshot
    from shared.config.documents import parse_document

    bench.aggregator.take(
        Snapshot("other", (parse_document(document(options={"default": {}}), "o.json", "json"),))
    )
    compiled = bench.aggregator.compile(9)
    assert "several providers define" in messages(compiled)


# --- options by host


def test_options_by_host():
    found = chooser(
        document(
            options={"o": {}, "p": {}},
            a=("Host(`a.test`) || Host(`b.test`)", {"options": "o"}),
            w=("Host(`*.w.test`)", {"options": "p"}),
            c=("Host(`c.test`)", {}),
        )
    )
    assert [found.options(name) for name in ("a.test", "b.test", "c.test", "x.w.test", "w.test", "")] == [
        *("o@file", "o@file", "default", "p@file", "default", "default")
    ]
    entries = {each.name: each.tls_options for each in map(table(found.compiled).router, range(3))}
    assert entries == {"a@file": "o@file", "w@file": "p@file", "c@file": ""}


@pytest.mark.parametrize("vector", vectors("v2", "tls.conflict"))
def test_conflict_vectors(vector):
    config = vector["config"]["routers"]
    wanted = {each["tls"]["options"] for each in config.values()}
    routers = {name: (each["rule"], each["tls"]) for name, each in config.items()}
    found = chooser(document(options={key: {} for key in wanted}, **routers))
    assert found.options(vector["request"]["sni"]) == vector["expect"]["tlsOptionsUsed"]
    assert all(status == "enabled" for status in states(found.compiled).values())
    assert messages(found.compiled).count("default TLS options will be used instead") == len(routers)


def test_options_without_a_host_cannot_be_applied():
    found = chooser(document(options={"o": {}}, a=("PathPrefix(`/`)", {"options": "o"})))
    assert "no domain found in rule" in messages(found.compiled)
    assert table(found.compiled).router(0).tls_options == ""


def test_options_of_an_entrypoint():
    web = EntryPoint(address=":1", http=EntryPointHttp(tls=EntryPointTls(options="o@file")))
    found = chooser(
        json.dumps(
            {
                "http": {"routers": {"a": {"rule": "Host(`a.test`)", "service": "s"}}, "services": SERVICES},
                "tls": {"options": {"o": {}}},
            }
        ),
        web=web,
    )
    assert found.options("a.test") == "o@file"
    assert found.options("b.test") == "default"


# --- v1


def v1(*pairs, **tls):
    given = tuple(CertificatePair(cert_file=each.certificate, key_file=each.key) for each in pairs)
    settings = V1EntryPoint(tls=V1Tls(certificates=given, **tls))
    return EntryPoint(address=":1", http=EntryPointHttp(tls=EntryPointTls()), is_v1=True, v1=settings)


V1_RULES = """
[frontends.f]
backend = "b"
[frontends.f.routes.r]
rule = "Host:a.test"
[backends.b.servers.s]
url = "http://127.0.0.1:1"
"""


def test_a_v1_entrypoint_has_its_own_certificates_and_the_first_is_for_all_other_names():
    pairs = [AUTHORITY.issue("first", "*.a.test", "zzz.test"), AUTHORITY.issue("second", "b.a.test")]
    found = chooser(document([pem("b.a.test")]), web=v1(*pairs))
    assert found.certificate("x.a.test") == "first"
    assert found.certificate("b.a.test") == "second"
    assert found.certificate("unknown") == "first"
    assert found.certificate("") == "first"


def test_a_v1_entrypoint_can_want_client_certificates():
    pair = AUTHORITY.issue("first", "a.test")
    found = chooser(document(a=("Host(`a.test`)", {})), web=v1(pair, client_ca_files=(AUTHORITY.pem,)))
    name = found.options("whatever")
    assert next(each for each in found.material.content.options if each.name == name).client_auth == "verify"


def test_bad_v1_options_refuse_their_entrypoint_alone():
    pair = AUTHORITY.issue("first", "a.test")
    found = chooser(document(), web=v1(pair, cipher_suites=("NONE",)), other=EntryPoint(address=":2"))
    assert "entryPoints.web.tls.cipherSuites: unknown cipher suite" in messages(found.compiled)
    with pytest.raises(TlsRefused):
        found.options("a.test")
    assert found.options("a.test", "other") == "default"


# --- contexts of a worker


def test_contexts_go_on_with_what_did_not_change_and_let_go_of_the_rest(monkeypatch):
    bench = Bench()
    one, two = pem("a.test"), pem("b.test")
    first = chooser(document([one, two]), bench=bench)
    before = first.material.choose(first.contexts, "web", "a.test", "").context
    gone = first.material.choose(first.contexts, "web", "b.test", "").context
    second = TlsMaterial(table(bench.compile(document([one, pem("c.test")]))).streams().tls)
    first.contexts.keep_only(second.content)
    assert second.choose(first.contexts, "web", "a.test", "").context is before
    assert second.choose(first.contexts, "web", "b.test", "").context is not gone
    monkeypatch.setattr("worker.tls.material.MAX_CONTEXTS", 1)
    third = Contexts()
    kept = second.choose(third, "web", "a.test", "").context
    assert second.choose(third, "web", "a.test", "").context is kept
    second.choose(third, "web", "c.test", "")
    assert second.choose(third, "web", "a.test", "").context is not kept

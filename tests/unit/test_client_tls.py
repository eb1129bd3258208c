"""What the TLS options of transports mean, and what is said when they mean nothing."""

import base64
import ssl

import pytest

from master.compiler.client_tls import BOTH, NO_CLIENT_YET, NOT_CONFIGURED, read_pem, resolve_client_tls
from shared.client_tls import make_client_context, names_uri
from shared.config.dynamic import CertificatePair, ServersTransport, Spiffe, TcpClientTls
from shared.config.static import WorkloadApi
from shared.errors import ConfigError
from shared.table.client_tls import ClientTlsEntry
from tests.support.authority import Authority

API = WorkloadApi(workload_api_addr="unix:///run/spire.sock")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def resolve(options, api=None, **more):
    return resolve_client_tls(options, api, read_pem, **more)


def test_nothing_said_means_the_systems_authorities_and_the_hosts_name():
    assert resolve(ServersTransport()) == resolve(TcpClientTls()) == ClientTlsEntry()
    context = make_client_context(ClientTlsEntry())
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] >= 0


def test_named_authorities_replace_the_systems(authority):
    for given in (str(authority.certificate), authority.pem):
        entry = resolve(ServersTransport(root_cas=(given,)))
        assert make_client_context(entry).cert_store_stats()["x509_ca"] == 1


def test_a_uri_keeps_the_chain_checked():
    entry = resolve(ServersTransport(insecure_skip_verify=True, peer_cert_uri="spiffe://a/b"))
    assert (entry.is_verified, entry.checks_name) == (True, False)
    assert not resolve(ServersTransport(insecure_skip_verify=True)).is_verified


def test_versions_and_ciphers_reach_openssl():
    options = ServersTransport()
    suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]
    entry = resolve(options, min_version="VersionTLS10", max_version="VersionTLS12", cipher_suites=suites)
    context = make_client_context(entry)
    assert context.minimum_version is ssl.TLSVersion.TLSv1
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    old = [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert old == ["ECDHE-RSA-AES128-GCM-SHA256"]


@pytest.mark.parametrize(
    ("more", "path", "reason"),
    [
        ({"min_version": "VersionTLS14"}, "minVersion", "invalid TLS version: VersionTLS14"),
        ({"max_version": "TLS12"}, "maxVersion", "invalid TLS version: TLS12"),
        ({"min_version": "VersionTLS13", "max_version": "VersionTLS12"}, "minVersion", "is above maxVersion"),
        (
            {"cipher_suites": ["TLS_RSA_WITH_NULL"]},
            "cipherSuites[0]",
            "invalid CipherSuite: TLS_RSA_WITH_NULL",
        ),
    ],
)
def test_names_that_do_not_exist(more, path, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        resolve(ServersTransport(), **more)
    assert error.value.path == path


def test_files_that_cannot_be_used_are_named_and_keys_never_shown(authority, tmp_path):
    pair = authority.issue("client.test")
    secret = base64.b64encode(pair.key.read_bytes()).decode()
    empty = tmp_path / "empty"
    empty.touch()
    cases = {
        (str(pair.certificate), "no-such"): ("keyFile", "cannot read no-such: No such file"),
        (str(pair.certificate), ""): ("keyFile", "is missing"),
        (str(empty), str(pair.key)): ("certFile", "holds nothing in PEM form"),
        (str(pair.certificate), secret): ("keyFile", "cannot read what is given"),
        (str(pair.certificate), secret[:100] + "\n"): ("keyFile", "cannot read what is given"),
        (str(pair.key), str(pair.key)): ("", "not usable"),
    }
    for (certificate, key), (path, reason) in cases.items():
        options = ServersTransport(certificates=(CertificatePair(cert_file=certificate, key_file=key),))
        with pytest.raises(ConfigError, match=reason) as error:
            resolve(options)
        assert error.value.path == f"certificates[0].{path}".rstrip(".")
        assert secret[:40] not in str(error.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(authority, tmp_path):
    from cryptography.hazmat.primitives import serialization

    pair = authority.issue("client.test")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    options = ServersTransport(
        certificates=(CertificatePair(cert_file=str(pair.certificate), key_file=str(locked)),)
    )
    with pytest.raises(ConfigError, match="the key is encrypted"):
        resolve(options)


def test_entries_do_not_show_their_keys(authority):
    pair = authority.issue("client.test")
    entry = resolve(
        ServersTransport(
            certificates=(CertificatePair(cert_file=str(pair.certificate), key_file=str(pair.key)),)
        )
    )
    assert pair.key.read_bytes() in entry.certificates[0].key.value
    assert "PRIVATE" not in repr(entry)


@pytest.mark.parametrize(
    ("options", "api", "reason"),
    [
        (ServersTransport(spiffe=Spiffe()), None, NOT_CONFIGURED),
        (ServersTransport(spiffe=Spiffe()), WorkloadApi(), NOT_CONFIGURED),
        (ServersTransport(spiffe=Spiffe(), server_name="a"), API, BOTH),
        (TcpClientTls(spiffe=Spiffe(), insecure_skip_verify=True), API, BOTH),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe://td/a", "http://td/a"))), API, "invalid SPIFFE ID"),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe:///a",))), API, "invalid SPIFFE ID"),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe://TD/a",))), API, "invalid SPIFFE ID"),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe://td/a/",))), API, "invalid SPIFFE ID"),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe://td/../a",))), API, "invalid SPIFFE ID"),
        (ServersTransport(spiffe=Spiffe(trust_domain="a b")), API, "invalid SPIFFE trust domain: a b"),
        (ServersTransport(spiffe=Spiffe(trust_domain="spiffe://td")), API, NO_CLIENT_YET),
        (ServersTransport(spiffe=Spiffe(ids=("spiffe://td",))), API, NO_CLIENT_YET),
    ],
)
def test_spiffe_is_checked_and_refused(options, api, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        resolve(options, api)
    assert error.value.path.startswith("spiffe")


def test_a_uri_is_looked_for_in_any_case():
    certificate = {"subjectAltName": (("DNS", "spiffe://a/b"), ("URI", "spiffe://A/b"))}
    assert names_uri(certificate, "SPIFFE://a/B")
    assert not names_uri(certificate, "spiffe://a/c")
    assert not names_uri(None, "spiffe://a/b")

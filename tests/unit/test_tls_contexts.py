"""Contexts: what a client can agree on with them, and which sessions go on where."""

import ssl

import msgspec
import pytest

from master.compiler.certificates import check_pair
from shared.table.secret import Secret
from shared.table.streams import TlsOptionsEntry
from shared.tls import libssl
from shared.tls.contexts import make_server_context
from tests.support.tls import Authority, InMemory, client_context

AUTHORITY = Authority()
OPTIONS = TlsOptionsEntry("default", min_version=int(ssl.TLSVersion.TLSv1_2), protocols=("http/1.1",))
SECRET = Secret(b"s" * 32)


def certificate(name="a.test"):
    pair = AUTHORITY.issue(name, name)
    return check_pair(pair.certificate.encode(), pair.key.encode())


CERTIFICATE = certificate()


def context(secret=SECRET, pair=CERTIFICATE, **changes):
    return make_server_context(msgspec.structs.replace(OPTIONS, **changes), pair, secret)


def test_the_settings_of_openssl_can_be_reached():
    """Here they can; elsewhere what needs them is refused, so a silent no would hide that."""
    assert libssl.is_available()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_goes_on_in_another_process(version):
    """Two contexts made alike stand for two workers."""
    client = client_context()
    client.maximum_version = version
    first = InMemory(context(), client)
    assert not first.client.session_reused
    again = InMemory(context(), client, session=first.client.session)
    assert again.client.session_reused


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": Secret(b"t" * 32)},
        {"pair": certificate("b.test")},
        {"name": "other@file"},
        {"client_auth": "verify-if-given", "client_cas": AUTHORITY.pem.encode()},
        {"has_tickets": False},
    ],
)
def test_a_session_ends_with_what_it_was_made_under(changes):
    client = client_context()
    first = InMemory(context(), client)
    assert first.client.session is not None
    again = InMemory(context(**changes), client, session=first.client.session)
    assert not again.client.session_reused


def test_without_tickets_there_are_no_sessions():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = client_context()
        client.maximum_version = version
        server = context(has_tickets=False)
        first = InMemory(server, client)
        session = first.client.session
        assert session is None or not InMemory(server, client, session=session).client.session_reused


def test_a_session_does_not_get_round_a_client_certificate():
    """TLS 1.3 resumption across options was a hole of several servers (CVE-2025-23419)."""
    client = client_context()
    first = InMemory(context(), client)
    demanding = context(name="strict@file", client_auth="verify", client_cas=AUTHORITY.pem.encode())
    with pytest.raises(ssl.SSLError):
        InMemory(demanding, client, session=first.client.session)


@pytest.fixture
def own(tmp_path):
    """A client's certificate by who signed it."""
    stranger = Authority("Stranger")
    return {
        "ours": AUTHORITY.issue("client").write(tmp_path, "ours"),
        "theirs": stranger.issue("client").write(tmp_path, "theirs"),
        "nobody": None,
    }


@pytest.mark.parametrize(
    ("mode", "good"),
    [
        ("none", {"ours", "theirs", "nobody"}),
        ("request", {"ours", "theirs", "nobody"}),
        ("require", {"ours", "theirs"}),
        ("verify-if-given", {"ours", "nobody"}),
        ("verify", {"ours"}),
    ],
)
def test_client_certificates(mode, good, own):
    cas = AUTHORITY.pem.encode() if mode.startswith("verify") else b""
    server = context(client_auth=mode, client_cas=cas)
    passed = set()
    for who, files in own.items():
        try:
            found = InMemory(server, client_context(own=files))
        except ssl.SSLError:
            continue
        passed.add(who)
        shows = found.server.getpeercert(binary_form=True) is not None
        assert shows == (mode != "none" and files is not None)
    assert passed == good


def test_versions():
    server = context(min_version=int(ssl.TLSVersion.TLSv1_3))
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        InMemory(server, old)
    assert InMemory(server).client.version() == "TLSv1.3"
    assert InMemory(context(max_version=int(ssl.TLSVersion.TLSv1_2))).client.version() == "TLSv1.2"


def test_ciphers_and_curves():
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    chosen = "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert InMemory(context(ciphers=chosen), client).client.cipher()[0] == chosen
    client = client_context()  # of TLS 1.3, where the curve of the certificate is another matter
    client.set_ecdh_curve("secp521r1")
    with pytest.raises(ssl.SSLError):
        InMemory(context(groups=("P-256", "X25519")), client)
    InMemory(context(groups=("P-256", "P-521")), client)


def test_the_protocol_is_ours_to_choose():
    assert (
        InMemory(context(), client_context(protocols=("x", "http/1.1"))).client.selected_alpn_protocol()
        == "http/1.1"
    )
    assert InMemory(context(), client_context(protocols=("x",))).client.selected_alpn_protocol() is None


def test_a_secret_has_no_text():
    assert "abc" not in repr(Secret(b"abc"))
    assert str(CERTIFICATE.key.value[30:60]) not in repr(CERTIFICATE)

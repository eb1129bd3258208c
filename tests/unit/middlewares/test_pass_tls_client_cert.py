"""passTLSClientCert: what the server is told about a client certificate."""

import base64
import datetime
import ssl
from urllib.parse import unquote_plus

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from shared.config.middlewares import CertInfo, CertSubjectInfo, Middleware, PassTlsClientCert
from tests.support.chains import make_exchange, run_chain
from tests.support.tls import Authority
from tests.support.vectors import vectors
from worker.tls.stream import TlsSession

AUTHORITY = Authority("Great CA")
INFO = "X-Forwarded-Tls-Client-Cert-Info"
ALL_NAMES = CertSubjectInfo(*[True] * 8)


def told(options, *ders):
    """The fields that a server gets: PEM and description."""
    exchange = make_exchange()
    exchange.session = TlsSession(client_certificates=ders)
    outcome = run_chain(Middleware(pass_tls_client_cert=options), exchange)
    fields = outcome.upstream_headers
    return fields.get(b"X-Forwarded-Tls-Client-Cert"), fields.get(INFO.encode())


def der_of(pair):
    return ssl.PEM_cert_to_DER_cert(pair.certificate)


def named(text):
    """``O=Acme,CN=cli`` as a name."""
    oids = {"O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    pairs = (part.split("=") for part in text.split(","))
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in pairs])


@pytest.mark.parametrize("vector", vectors("v2", "middleware.passTLSClientCert"))
def test_vectors(vector):
    given = vector["request"]["clientCert"]
    end = datetime.datetime.fromtimestamp(given["notAfterUnix"], datetime.UTC)
    pair = AUTHORITY.issue("", *given["dns"], *given["ips"], subject=named(given["subject"]), end=end)
    options = msgspec.convert(vector["config"]["passTLSClientCert"], PassTlsClientCert)
    _, info = told(options, der_of(pair))
    assert info.decode() == vector["expect"]["upstreamHeaders"][INFO]


def test_everything_there_is_to_say():
    kinds = [
        (NameOID.DOMAIN_COMPONENT, "org"),
        (NameOID.DOMAIN_COMPONENT, "example"),
        (NameOID.COUNTRY_NAME, "FR"),
        (NameOID.STATE_OR_PROVINCE_NAME, "P"),
        (NameOID.LOCALITY_NAME, "L"),
        (NameOID.ORGANIZATION_NAME, "A B"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "U"),
        (NameOID.SERIAL_NUMBER, "7"),
        (NameOID.COMMON_NAME, "é"),
    ]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in kinds])
    pair = AUTHORITY.issue("", "a.test", "10.0.0.1", subject=subject)
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    info = CertInfo(True, True, True, True, ALL_NAMES, ALL_NAMES)
    pem, text = told(PassTlsClientCert(pem=True, info=info), der_of(pair))
    assert base64.b64decode(pem) == der_of(pair)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    assert unquote_plus(text.decode()) == (
        'Subject="DC=org,DC=example,C=FR,ST=P,L=L,O=A B,OU=U,SN=7,CN=é";Issuer="CN=Great CA";'
        f'SerialNumber="{certificate.serial_number}";NB="{int(begin.timestamp())}";'
        f'NA="{int(end.timestamp())}";SAN="a.test,10.0.0.1"'
    )
    assert b"A+B" in text


def test_several_certificates_and_parts_that_are_empty():
    pairs = [AUTHORITY.issue("one"), AUTHORITY.issue("two")]
    info = CertInfo(
        sans=True, subject=CertSubjectInfo(common_name=True), issuer=CertSubjectInfo(country=True)
    )
    pem, text = told(PassTlsClientCert(pem=True, info=info), *map(der_of, pairs))
    assert pem.count(b",") == 1
    assert unquote_plus(text.decode()) == 'Subject="CN=one",Subject="CN=two"'


def test_without_a_certificate_nothing_is_told():
    assert told(PassTlsClientCert(pem=True, info=CertInfo(sans=True))) == (None, None)

"""What the master makes for all workers, and when it makes it anew."""

import datetime

import pytest
from cryptography import x509

from master.compiler import default_certificate as made


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, in days."""
    day = [0.5]
    monkeypatch.setattr(made.time, "monotonic", lambda: day[0] * 86_400)
    yield day
    made._certificate_of.cache_clear()
    made._secret_of.cache_clear()


def test_the_secret_is_new_every_day_and_the_certificate_every_month(clock):
    secrets, certificates = [], []
    for clock[0] in (0.5, 0.9, 1.1, 31.0):
        secrets.append(made.ticket_secret().value)
        certificates.append(made.default_certificate().chain)
    assert [each == secrets[0] for each in secrets] == [True, True, False, False]
    assert [each == certificates[0] for each in certificates] == [True, True, True, False]
    assert {len(each) for each in secrets} == {made.SECRET_BYTES}


def test_the_certificate_is_as_the_original_one():
    found = x509.load_pem_x509_certificate(made.default_certificate().chain)
    assert found.subject.rfc4514_string() == "CN=TRAEFIK DEFAULT CERT"
    assert found.public_key().key_size == 2048
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (name,) = names.get_values_for_type(x509.DNSName)
    assert name.endswith(".traefik.default")
    assert found.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=300)

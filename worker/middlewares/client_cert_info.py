"""What a client certificate says, as text in the form of Traefik's passTLSClientCert (spec v2 section 4.8).

Imported when a worker first needs it: the library behind it takes 20 ms and some megabytes to load.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from shared.config.middlewares import CertInfo, CertSubjectInfo

_PARTS: tuple[tuple[str, str, ObjectIdentifier], ...] = (
    ("domain_component", "DC", NameOID.DOMAIN_COMPONENT),
    ("country", "C", NameOID.COUNTRY_NAME),
    ("province", "ST", NameOID.STATE_OR_PROVINCE_NAME),
    ("locality", "L", NameOID.LOCALITY_NAME),
    ("organization", "O", NameOID.ORGANIZATION_NAME),
    ("organizational_unit", "OU", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("serial_number", "SN", NameOID.SERIAL_NUMBER),
    ("common_name", "CN", NameOID.COMMON_NAME),
)


def describe(der: bytes, info: CertInfo) -> str:
    """What is asked about one certificate, as text; empty if it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        return ";".join(_fields(certificate, info))
    except ValueError:  # stricter than OpenSSL, which took it
        return ""


def subject_of(der: bytes) -> str:
    """The subject in the form of RFC 4514; empty if it cannot be read."""
    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:
        return ""


def _fields(certificate: x509.Certificate, info: CertInfo) -> Iterator[str]:
    subject = _name(certificate.subject, info.subject)
    if subject:
        yield f'Subject="{subject}"'
    issuer = _name(certificate.issuer, info.issuer, is_issuer=True)
    if issuer:
        yield f'Issuer="{issuer}"'
    if info.serial_number:
        yield f'SerialNumber="{certificate.serial_number}"'
    if info.not_before:
        yield f'NB="{int(certificate.not_valid_before_utc.timestamp())}"'
    if info.not_after:
        yield f'NA="{int(certificate.not_valid_after_utc.timestamp())}"'
    if info.sans and (names := _alternatives(certificate)):
        yield f'SAN="{",".join(names)}"'


def _name(name: x509.Name, wanted: CertSubjectInfo | None, *, is_issuer: bool = False) -> str:
    if wanted is None:
        return ""
    return ",".join(
        f"{short}={_text(each.value)}"
        for attribute, short, oid in _PARTS
        if getattr(wanted, attribute) and not (is_issuer and attribute == "organizational_unit")
        for each in name.get_attributes_for_oid(oid)
    )


def _alternatives(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *found.get_values_for_type(x509.DNSName),
        *found.get_values_for_type(x509.RFC822Name),
        *map(str, found.get_values_for_type(x509.IPAddress)),
        *found.get_values_for_type(x509.UniformResourceIdentifier),
    ]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")

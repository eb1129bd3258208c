"""passTLSClientCert: tells the server about the client's certificate (spec v2 section 4.8).

``X-Forwarded-Tls-Client-Cert`` has the certificates themselves, ``X-Forwarded-Tls-Client-Cert-Info`` what
they say, in the form that Go's ``url.QueryEscape`` gives it. Of a resumed session only the client's own
certificate is known, not those that came with it.
"""

from __future__ import annotations

import base64
import functools
from urllib.parse import quote_plus

from shared.config.middlewares import PassTlsClientCert
from worker.exchange import Exchange
from worker.pipeline import SyncStep

PEM_FIELD = b"X-Forwarded-Tls-Client-Cert"
INFO_FIELD = b"X-Forwarded-Tls-Client-Cert-Info"
REMEMBERED = 256
"""Values kept per step; clients send the same certificate again and again."""


class PassTlsClientCertStep(SyncStep):
    """Adds the fields to requests whose client showed a certificate."""

    __slots__ = ("_describe", "_has_pem")
    is_pure = True

    def __init__(self, options: PassTlsClientCert) -> None:
        self._has_pem = options.pem
        self._describe = None
        if options.info is not None:
            from worker.middlewares.client_cert_info import describe

            info = options.info

            @functools.lru_cache(REMEMBERED)
            def describe_chain(chain: tuple[bytes, ...]) -> bytes:
                return quote_plus(",".join(describe(der, info) for der in chain)).encode("ascii")

            self._describe = describe_chain

    def on_request(self, exchange: Exchange) -> None:
        """Add the fields."""
        session = exchange.session
        if session is None or not session.client_certificates:
            return
        headers = exchange.request.headers
        if self._has_pem:
            headers.set(PEM_FIELD, b",".join(map(base64.b64encode, session.client_certificates)))
        if self._describe is not None:
            headers.set(INFO_FIELD, self._describe(session.client_certificates))

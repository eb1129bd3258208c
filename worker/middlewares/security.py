"""The security half of the headers middleware: allowed hosts, and the fields that protect browsers.

Fields are set on the way out, over what the server said; customResponseHeaders come after and win.
``publicKey`` is accepted without effect (browsers dropped HPKP), and so are the ``ssl*`` redirects and
``featurePolicy`` of v2 (spec v2 section 4.7).
"""

from __future__ import annotations

import base64
import secrets

from shared.config.middlewares import Headers as HeadersOptions
from worker.messages import Request, Response

NONCE_BYTES = 16
"""128 bits, as the CSP specification recommends (W3C CSP3 section 7.1)."""
_NONCE = b"$NONCE"


class Security:
    """Security for one headers middleware; everything is encoded once."""

    __slots__ = (
        "_allowed_hosts",
        "_fixed",
        "_force_sts",
        "_host_headers",
        "_policies",
        "_proxy_headers",
        "_sts",
    )

    def __init__(self, options: HeadersOptions) -> None:
        allowed = () if options.is_development else options.allowed_hosts
        self._allowed_hosts = frozenset(host.casefold() for host in allowed)
        self._host_headers = tuple(_encoded(name) for name in options.hosts_proxy_headers)
        self._proxy_headers = tuple((_encoded(k), _encoded(v)) for k, v in options.ssl_proxy_headers.items())
        self._force_sts = options.force_sts_header
        self._sts = b"" if options.is_development else _sts_value(options)
        self._fixed = _fixed_fields(options)
        policies = (
            (b"Content-Security-Policy", options.content_security_policy),
            (b"Content-Security-Policy-Report-Only", options.content_security_policy_report_only),
        )
        self._policies = tuple((name, _encoded(text)) for name, text in policies if text)

    def allows_host(self, request: Request) -> bool:
        """Whether the Host, or the first proxy header that is not empty, is one of the allowed ones."""
        if not self._allowed_hosts:
            return True
        host = request.host_header
        for name in self._host_headers:
            value = request.headers.get(name)
            if value:
                host = value.decode("utf-8", "surrogateescape")
                break
        return host.casefold() in self._allowed_hosts

    @property
    def uses_nonce(self) -> bool:
        """Whether a policy gets something new with every response."""
        return any(_NONCE in policy for _, policy in self._policies)

    def on_response(self, request: Request, response: Response) -> None:
        """Set the fields."""
        headers = response.headers
        if self._sts and (self._force_sts or self._came_over_tls(request)):
            headers.set(b"Strict-Transport-Security", self._sts)
        for name, value in self._fixed:
            headers.set(name, value)
        if not self._policies:
            return
        nonce = b"'nonce-" + base64.b64encode(secrets.token_bytes(NONCE_BYTES)).rstrip(b"=") + b"'"
        for name, policy in self._policies:
            headers.set(name, policy.replace(_NONCE, nonce))

    def _came_over_tls(self, request: Request) -> bool:
        """By the connection, or by a proxy header as it stands now, after all inner steps."""
        if request.scheme == "https":
            return True
        return any(request.headers.get(name) == value for name, value in self._proxy_headers)


def _sts_value(options: HeadersOptions) -> bytes:
    if not options.sts_seconds:
        return b""
    text = f"max-age={options.sts_seconds}"
    if options.sts_include_subdomains:
        text += "; includeSubDomains"
    if options.sts_preload:
        text += "; preload"
    return text.encode("ascii")


def _fixed_fields(options: HeadersOptions) -> tuple[tuple[bytes, bytes], ...]:
    fields = (
        (b"X-Frame-Options", options.custom_frame_options_value or ("DENY" if options.frame_deny else "")),
        (b"X-Content-Type-Options", "nosniff" if options.content_type_nosniff else ""),
        (
            b"X-XSS-Protection",
            options.custom_browser_xss_value or ("1; mode=block" if options.browser_xss_filter else ""),
        ),
        (b"Referrer-Policy", options.referrer_policy),
        (b"Permissions-Policy", options.permissions_policy),
    )
    return tuple((name, _encoded(value)) for name, value in fields if value)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").strip(b" \t")

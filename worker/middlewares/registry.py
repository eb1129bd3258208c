"""Which step a middleware becomes. Adding a kind: its file, one line here, and its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.config.middlewares import Middleware
from shared.errors import TableError
from worker.blocks import Blocks
from worker.middlewares.add_prefix import AddPrefixStep
from worker.middlewares.basic_auth import build_basic_auth
from worker.middlewares.circuit_breaker import CircuitBreakerStep
from worker.middlewares.compress import CompressStep
from worker.middlewares.encoded_characters import EncodedCharactersStep
from worker.middlewares.entry_point_redirect import EntryPointRedirectStep
from worker.middlewares.headers import HeadersStep
from worker.middlewares.in_flight_req import InFlightReqStep
from worker.middlewares.ip_allow_list import IpAllowListStep
from worker.middlewares.pass_tls_client_cert import PassTlsClientCertStep
from worker.middlewares.rate_limit import RateLimitStep
from worker.middlewares.redirect_regex import RedirectRegexStep
from worker.middlewares.redirect_scheme import RedirectSchemeStep
from worker.middlewares.replace_path import ReplacePathStep
from worker.middlewares.replace_path_regex import ReplacePathRegexStep
from worker.middlewares.retry import RetryStep
from worker.middlewares.slash_redirect import SlashRedirectStep
from worker.middlewares.state import StepState
from worker.middlewares.strip_prefix import StripPrefixStep
from worker.middlewares.strip_prefix_regex import StripPrefixRegexStep
from worker.pipeline import Step

# Any: each constructor takes the options of its own kind; the decoder made sure that they are.
CONSTRUCTORS: dict[str, Callable[[Any], Step]] = {
    "add_prefix": AddPrefixStep,
    "basic_auth": build_basic_auth,
    "compress": CompressStep,
    "encoded_characters": EncodedCharactersStep,
    "entry_point_redirect": EntryPointRedirectStep,
    "headers": HeadersStep,
    "ip_allow_list": IpAllowListStep,
    "ip_white_list": IpAllowListStep,
    "pass_tls_client_cert": PassTlsClientCertStep,
    "redirect_regex": RedirectRegexStep,
    "redirect_scheme": RedirectSchemeStep,
    "replace_path": ReplacePathStep,
    "replace_path_regex": ReplacePathRegexStep,
    "retry": RetryStep,
    "slash_redirect": SlashRedirectStep,
    "strip_prefix": StripPrefixStep,
    "strip_prefix_regex": StripPrefixRegexStep,
}


STATEFUL_CONSTRUCTORS: dict[str, Callable[[Any, StepState], Step]] = {
    "circuit_breaker": CircuitBreakerStep,
    "in_flight_req": InFlightReqStep,
    "rate_limit": RateLimitStep,
}


def build_step(options: Middleware, state: StepState | None = None) -> Step:
    """The step of a middleware that ``shared.config.checks`` has passed.

    Args:
        options: checked.
        state: where it keeps what belongs to the whole proxy; without, it keeps it to itself.

    Raises:
        TableError: it has no kind that this worker can run: the table comes from another version.
    """
    for kind, construct in CONSTRUCTORS.items():
        section = getattr(options, kind)
        if section is not None:
            return construct(section)
    for kind, construct_stateful in STATEFUL_CONSTRUCTORS.items():
        section = getattr(options, kind)
        if section is not None:
            return construct_stateful(section, state if state is not None else StepState("", Blocks()))
    raise TableError("the table holds a middleware of a kind that this worker cannot run")

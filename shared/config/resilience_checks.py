"""Checks of breakers, retries and limits (spec v2 sections 4.4 and 4.5)."""

from __future__ import annotations

import msgspec

from shared.addresses import compile_client_ip_rule
from shared.config import middlewares as kinds
from shared.config.field_checks import check_field_name, check_reply_status
from shared.errors import ConfigError
from shared.identities import breaker_question
from shared.status_ranges import StatusRanges
from shared.units import format_duration

MAX_ATTEMPTS = 100
"""Tries of one request; more is a mistake, and each costs a server."""

_BREAKER_PERIODS = ("check_period", "fallback_duration", "recovery_duration")
_BREAKER_DEFAULTS = tuple(getattr(kinds.CircuitBreaker(), name) for name in _BREAKER_PERIODS)
_DEFAULT_PERIOD_S = 1.0


def check_circuit_breaker(options: kinds.CircuitBreaker) -> kinds.CircuitBreaker:
    """An expression that can be understood; periods that are not positive become the defaults.

    Raises:
        ConfigError: it cannot be honoured; the path is relative to the middleware's section.
    """
    try:
        breaker_question(options.expression)
    except ConfigError as error:
        reason = f"invalid expression {options.expression!r}: {error.reason}"
        raise ConfigError("expression", reason, error.hint) from error
    check_reply_status("responseCode", options.response_code)
    # Periods that are not positive mean the defaults, as in the original.
    periods = {
        name: default
        for name, default in zip(_BREAKER_PERIODS, _BREAKER_DEFAULTS, strict=True)
        if getattr(options, name) <= 0
    }
    return msgspec.structs.replace(options, **periods)


def check_retry(options: kinds.Retry) -> kinds.Retry:
    """Attempts, durations and statuses that mean something.

    Raises:
        ConfigError: it cannot be honoured; the path is relative to the middleware's section.
    """
    if options.attempts <= 0:
        reason = f"incorrect (or empty) value for attempt ({options.attempts})"
        raise ConfigError("attempts", reason)
    if options.disable_retry_on_network_error and not options.status:
        raise ConfigError("status", "nothing is left to retry: no status, and network errors are disabled")
    if options.attempts > MAX_ATTEMPTS:
        raise ConfigError("attempts", f"more than {MAX_ATTEMPTS} attempts")
    for name, value in (("initialInterval", options.initial_interval), ("timeout", options.timeout)):
        if value < 0:
            raise ConfigError(name, f"{value:g}s is negative")
    for index, text in enumerate(options.status):
        try:
            StatusRanges((text,))
        except ConfigError as error:
            raise ConfigError(f"status[{index}]", error.reason) from error
    return options


def check_rate_limit(options: kinds.RateLimit) -> kinds.RateLimit:
    """A rate, kept in the arena and not in Redis, and what it counts by.

    Raises:
        ConfigError: it cannot be honoured; the path is relative to the middleware's section.
    """
    if options.redis is not None:
        raise ConfigError("redis", "redis is not available in this version; all workers share one limit")
    if options.average < 0:
        raise ConfigError("average", f"{options.average} is negative")
    if options.period < 0:
        period = format_duration(options.period)
        raise ConfigError("period", f"negative value not valid for period: {period}")
    _check_source_criterion(options.source_criterion)
    return msgspec.structs.replace(options, period=options.period or _DEFAULT_PERIOD_S)


def check_in_flight_req(options: kinds.InFlightReq) -> kinds.InFlightReq:
    """What it counts by.

    Raises:
        ConfigError: it cannot be honoured; the path is relative to the middleware's section.
    """
    _check_source_criterion(options.source_criterion)
    return options


def _check_source_criterion(criterion: kinds.SourceCriterion | None) -> None:
    if criterion is None:
        return
    path = "sourceCriterion"
    if criterion.ip_strategy is not None and criterion.request_header_name:
        raise ConfigError(path, "iPStrategy and RequestHeaderName are mutually exclusive")
    if criterion.ip_strategy is not None and criterion.request_host:
        raise ConfigError(path, "iPStrategy and RequestHost are mutually exclusive")
    if criterion.request_host and criterion.request_header_name:
        raise ConfigError(path, "requestHost and RequestHeaderName are mutually exclusive")
    if criterion.request_header_name:
        check_field_name(f"{path}.requestHeaderName", criterion.request_header_name)
    compile_client_ip_rule(criterion.ip_strategy, f"{path}.ipStrategy")

"""Checks the health checks of services: what they may say, and who can tell a parent how it fares.

Source: spec v2 section 3.5, spec v1 section 4.7.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from master.compiler.catalog import Item
from master.compiler.checked import CheckedService
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import HealthCheck, LoadBalancer, Service
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1HealthCheck
from shared.errors import ConfigError
from shared.health import DEFAULT_FAILURE_WINDOW_S, GRPC, window_s

_DEFAULTS = HealthCheck()
_MODES = ("http", GRPC)
_SCHEMES = ("", "http", "https", "h2c")
_COMPOSITES = {
    "weighted": "weighted",
    "highest_random_weight": "highest random weight",
    "mirroring": "mirroring",
    "failover": "failover",
}


def settle_health_checks(
    item: Item[Service], balancer: LoadBalancer, static: StaticConfig, found: Diagnostics
) -> LoadBalancer:
    """The balancer with health checks that can be run as they stand: defaults filled in, limits positive.

    Args:
        item: the service, for positions.
        balancer: of the service.
        static: has v1's interval.
        found: takes what was repaired and what cannot be done; nothing here disables a service.
    """
    passive = balancer.passive_health_check
    if passive is not None and passive.failure_window != window_s(passive):
        reason = f"the failure window must be positive; using {DEFAULT_FAILURE_WINDOW_S:g}s"
        item.error(found, reason, None, "loadBalancer", "passiveHealthCheck", "failureWindow")
    check = balancer.health_check
    if check is None:
        return balancer
    if check.is_v1:
        settled = _with_v1_interval(check, static)
    else:
        _report(item, check, found)
        settled = _with_limits(item, check, found)
    return msgspec.structs.replace(balancer, health_check=settled)


def require_health(parent: Item[Service], child: CheckedService) -> None:
    """Who minds a child's health needs a child that tells it: every level must opt in.

    Raises:
        ConfigError: it does not.
    """
    options = child.options
    if options.load_balancer is not None:
        if options.load_balancer.health_check is None and options.load_balancer.passive_health_check is None:
            raise ConfigError("", _not_enabled(child.name, parent.name, "load-balancer"))
        return
    for kind, shown in _COMPOSITES.items():
        section = getattr(options, kind)
        if section is not None:
            if section.health_check is None:
                raise ConfigError("", _not_enabled(child.name, parent.name, shown))
            return
    raise ConfigError("", f"child service {child.name} of {parent.name} not a healthcheck.StatusUpdater")


def _not_enabled(child: str, parent: str, kind: str) -> str:
    enabled = f"healthCheck not enabled in config for this {kind} service"
    return f"cannot register {child} as updater for {parent}: {enabled}"


def _with_v1_interval(check: HealthCheck, static: StaticConfig) -> HealthCheck:
    if check.interval > 0:
        return check
    given = static.v1.health_check if static.v1 is not None else None
    interval = given.interval if given is not None and given.interval > 0 else V1HealthCheck().interval
    return msgspec.structs.replace(check, interval=interval)


def _report(item: Item[Service], check: HealthCheck, found: Diagnostics) -> None:
    place = ("loadBalancer", "healthCheck")
    if check.mode not in ("", *_MODES):
        hint = nearest_name(check.mode, _MODES)
        item.warning(found, f'no mode "{check.mode}"; checking with http', hint, *place, "mode")
    if check.scheme not in _SCHEMES:
        hint = nearest_name(check.scheme, _SCHEMES)
        reason = f'no scheme "{check.scheme}"; every check will fail'
        item.error(found, reason, hint, *place, "scheme")
    path = urlsplit(check.path)
    if path.scheme or path.netloc:
        reason = f"the path {check.path!r} must be relative to the server's URL; every check will fail"
        item.error(found, reason, None, *place, "path")


def _with_limits(item: Item[Service], check: HealthCheck, found: Diagnostics) -> HealthCheck:
    """Durations that are not positive are replaced by their defaults, as in the original."""
    wrong: dict[str, float] = {}
    for name in ("interval", "timeout"):
        if getattr(check, name) <= 0:
            wrong[name] = getattr(_DEFAULTS, name)
    if check.unhealthy_interval is not None and check.unhealthy_interval <= 0:
        wrong["unhealthy_interval"] = _DEFAULTS.interval
    for name, default in wrong.items():
        key = "unhealthyInterval" if name == "unhealthy_interval" else name
        reason = f"{key} must be positive; using {default:g}s"
        item.error(found, reason, None, "loadBalancer", "healthCheck", key)
    return msgspec.structs.replace(check, **wrong)

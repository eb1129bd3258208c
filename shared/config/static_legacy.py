"""v1's flat static keys, moved onto the v2 tree (spec v1 sections 1.4 to 1.7 and 2).

``split`` decides which keys of a source are v1's, ``translate`` moves what has a v2 name, and ``complete``
fills in, once all sources lie over each other, what v1 means where nothing is written. What has no v2 name
stays in the v1 tree, which becomes ``StaticConfig.v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shared.config.decode import decode, written_names
from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.dynamic import CertificatePair
from shared.config.effective import FALLBACK_ENTRY_POINT, OWN_ENTRY_POINT, parse_address
from shared.config.kinds import Section
from shared.config.layers import Tree, is_on
from shared.config.shapes import spell
from shared.config.static import EntryPoint, StaticConfig
from shared.config.static_v1 import V1EntryPoint, V1Static, V1Tls
from shared.errors import ConfigError


def _folded_names(kind: type[Section]) -> frozenset[str]:
    return frozenset(name.lower() for name in written_names(kind))


DYNAMIC_V1 = frozenset({"frontends", "backends"})
DYNAMIC_V2 = frozenset({"http", "tcp", "udp", "tls"})
"""Roots that belong to providers' files; beside static settings they are read by v1's ``[file]`` only."""
_V1_ROOTS = _folded_names(V1Static)
_V2_ROOTS = _folded_names(StaticConfig)
_ONLY_V1 = (_V1_ROOTS - _V2_ROOTS) | DYNAMIC_V1
_ONLY_V2 = (_V2_ROOTS - _V1_ROOTS - {"tracing", "hostresolver"}) | {"http", "tcp", "udp"}
"""v1.6 has sections of these two names as well, so they tell nothing."""
_ONLY_V1_ENTRY = _folded_names(V1EntryPoint) - _folded_names(EntryPoint)
_ONLY_V2_ENTRY = _folded_names(EntryPoint) - _folded_names(V1EntryPoint)


class Parts(NamedTuple):
    """A source's settings by dialect, each spelled as usual."""

    v1: Tree
    v2: Tree
    is_v1: bool | None


def split(tree: Mapping[Any, object]) -> Parts:
    """Part the keys of one source.

    A source is v1 when it has keys that only v1 has and none that only v2 has; then shared keys (``api``,
    ``ping``, ``metrics``, ``accessLog``) are v1's too. Entrypoints go by their own keys first. A source with
    keys of both is read as v2 that happens to have flat keys: nothing is lost.
    """
    roots = {str(key).lower() for key in tree}
    entry_keys = {
        str(key).lower()
        for root, entries in tree.items()
        if str(root).lower() == "entrypoints" and isinstance(entries, Mapping)
        for entry in entries.values()
        if isinstance(entry, Mapping)
        for key in entry
    }
    v1_entries = bool(entry_keys & _ONLY_V1_ENTRY) and not entry_keys & _ONLY_V2_ENTRY
    has_v2 = bool(roots & _ONLY_V2) or bool(entry_keys & _ONLY_V2_ENTRY)
    has_v1 = bool(roots & _ONLY_V1) or v1_entries
    is_v1 = has_v1 and not has_v2
    v1: dict[str, object] = {}
    v2: dict[str, object] = {}
    for key, value in tree.items():
        root = str(key).lower()
        if root == "entrypoints":
            in_v1 = v1_entries or is_v1
        else:
            in_v1 = root not in DYNAMIC_V1 and (is_v1 or root in _ONLY_V1)
        if root not in DYNAMIC_V1:
            (v1 if in_v1 else v2)[str(key)] = value
    if is_v1:
        v1 = {key: value for key, value in v1.items() if key.lower() not in DYNAMIC_V2}
    return Parts(
        _correct_flags(spell(V1Static, v1)), spell(StaticConfig, v2), is_v1 if has_v1 or has_v2 else None
    )


def _correct_flags(v1: Tree) -> Tree:
    """The original's documentation writes ``--web.cerFile``; both spellings are taken."""
    web = v1.get("web")
    if not isinstance(web, Mapping):
        return v1
    web = {"certFile" if key.lower() == "cerfile" else key: value for key, value in web.items()}
    return {**v1, "web": web}


# ---------------------------------------------------------------------------------------------- translate


def translate(v1: Tree, found: Diagnostics) -> Tree:
    """The v2 tree of what one source says in v1's words.

    Args:
        v1: spelled as usual, as ``split`` returns it.
        found: collects errors under the v1 paths; unknown keys are warnings, as v1 ignored them.

    Returns:
        The settings that have a v2 name; empty if there was any error.
    """
    if decode(V1Static, v1, (), found, unknown="warning") is None:
        return {}
    v1 = spell(V1Static, v1, keep_unknown=False)
    tree: Tree = {}
    for source, target in _MOVES.items():
        value = _get(v1, source)
        if value is not None:
            _put(tree, target, value)
    for name, move in _SECTIONS.items():
        section = v1.get(name)
        if isinstance(section, Mapping):
            move(tree, section)
        elif section is not None:
            move(tree, {}) if is_on(section) else _switch_off(tree, name, section)
    _move_logs(tree, v1)
    entries = v1.get("entryPoints")
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        _move_entry_point(tree, str(name), entry)
    return tree


_MOVES: dict[Path, Path] = {
    ("checkNewVersion",): ("global", "checkNewVersion"),
    ("sendAnonymousUsage",): ("global", "sendAnonymousUsage"),
    ("providersThrottleDuration",): ("providers", "providersThrottleDuration"),
    ("maxIdleConnsPerHost",): ("serversTransport", "maxIdleConnsPerHost"),
    ("insecureSkipVerify",): ("serversTransport", "insecureSkipVerify"),
    ("rootCAs",): ("serversTransport", "rootCAs"),
    ("forwardingTimeouts", "dialTimeout"): ("serversTransport", "forwardingTimeouts", "dialTimeout"),
    ("forwardingTimeouts", "responseHeaderTimeout"): (
        *("serversTransport", "forwardingTimeouts"),
        "responseHeaderTimeout",
    ),
    ("ping",): ("ping",),
    ("accessLog",): ("accessLog",),
    ("metrics",): ("metrics",),
    ("hostResolver",): ("hostResolver",),
}
"""Settings that only changed their name."""


def _move_web(tree: Tree, web: Mapping[str, Any]) -> None:
    """API, dashboard and ping without authentication on an address of their own, writable unless told."""
    _put(tree, ("entryPoints", OWN_ENTRY_POINT, "address"), _address(web.get("address", ":8080")))
    _put(tree, ("api", "insecure"), True)
    _put(tree, ("ping",), {})
    if not is_on(web.get("readOnly")):
        _put(tree, ("providers", "rest", "insecure"), True)
    metrics = web.get("metrics")
    if metrics is not None:
        _put(tree, ("metrics",), metrics)


def _move_api(tree: Tree, api: Mapping[str, Any]) -> None:
    _put(tree, ("api", "insecure"), True)
    for key in ("dashboard", "debug"):
        if key in api:
            _put(tree, ("api", key), api[key])


def _move_rest(tree: Tree, rest: Mapping[str, Any]) -> None:
    _put(tree, ("providers", "rest", "insecure"), True)


def _mover(target: str, keys: Mapping[str, str]) -> Callable[[Tree, Mapping[str, Any]], None]:
    """Moves a provider's section: v1 key -> v2 key, dotted; the others stay behind."""

    def move(tree: Tree, section: Mapping[str, Any]) -> None:
        _put(tree, ("providers", target), {})
        for key, path in keys.items():
            if key in section:
                value = section[key]
                value = [each.strip() for each in value.split(",")] if path == "endpoints" else value
                _put(tree, ("providers", target, *path.split(".")), value)

    return move


def _move_docker(tree: Tree, docker: Mapping[str, Any]) -> None:
    keys = ("endpoint", "exposedByDefault", "useBindPortIP", "network", "watch", "tls")
    target = "swarm" if is_on(docker.get("swarmMode")) else "docker"
    _mover(target, {key: key for key in keys})(tree, docker)


_KEY_VALUE = {"endpoint": "endpoints", "prefix": "rootKey"}
_WITH_USER = {**_KEY_VALUE, "username": "username", "password": "password"}
_SECTIONS: dict[str, Callable[[Tree, Mapping[str, Any]], None]] = {
    "web": _move_web,
    "api": _move_api,
    "rest": _move_rest,
    "file": _mover("file", {key: key for key in ("filename", "directory", "watch")}),
    "docker": _move_docker,
    "consul": _mover("consul", {**_KEY_VALUE, "tls": "tls"}),
    "etcd": _mover("etcd", {**_WITH_USER, "tls": "tls"}),
    "zookeeper": _mover("zooKeeper", _WITH_USER),
    "consulCatalog": _mover(
        "consulCatalog",
        {"endpoint": "endpoint.address", "prefix": "prefix", "exposedByDefault": "exposedByDefault"},
    ),
}
"""Sections that became others; marathon, mesos, boltdb and the rest exist in v1 only."""


def _switch_off(tree: Tree, name: str, value: object) -> None:
    target = {"zookeeper": "zooKeeper"}.get(name, name)
    _put(tree, (target,) if name == "api" else ("providers", target), value)


def _move_logs(tree: Tree, v1: Tree) -> None:
    for source, target in ((("traefikLogsFile",), "log"), (("accessLogsFile",), "accessLog")):
        if _get(v1, source):  # v1's "" means as if not written
            _put(tree, (target, "filePath"), _get(v1, source))
    log = v1.get("traefikLog")
    for key, value in log.items() if isinstance(log, Mapping) else ():
        _put(tree, ("log", key), value)
    if "logLevel" in v1:
        _put(tree, ("log", "level"), v1["logLevel"])
    if is_on(v1.get("debug")):
        _put(tree, ("log", "level"), "DEBUG")


def _move_entry_point(tree: Tree, name: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        return
    path = ("entryPoints", name)
    _put(tree, path, {})
    for key in ("address", "forwardedHeaders", "proxyProtocol"):
        if key in entry:
            _put(tree, (*path, key), entry[key])
    tls = entry.get("tls")
    if isinstance(tls, Mapping) or is_on(tls):
        # The certificates stay in the v1 tree; routers only need to know that connections are TLS.
        _put(tree, (*path, "http", "tls"), {})


# ----------------------------------------------------------------------------------------------- complete


def complete(tree: Tree, v1: V1Static, is_v1: bool, found: Diagnostics) -> Tree:
    """Fill in what v1 settings mean for entrypoints, unless the entrypoint says otherwise.

    Args:
        tree: all sources over each other, in v2's words.
        v1: all sources over each other, in v1's words.
        is_v1: whether the configuration as a whole is v1.
        found: gets what is wrong with the address that ``port`` says, under the name it was written with.
    """
    entries = {name: dict(entry) for name, entry in _tables(tree.get("entryPoints"))}
    own = [name for name in entries if name != OWN_ENTRY_POINT or name in v1.entry_points]
    if not own and (is_v1 or v1.port):
        address = str(_address(v1.port or ":80"))
        try:
            parse_address(str(address))
        except ConfigError as error:
            found.error(("port",), error.reason, error.hint)
        entries[FALLBACK_ENTRY_POINT] = {"address": address}
        own = [FALLBACK_ENTRY_POINT]
    for name in own:
        entry = entries[name]
        for path, value in _entry_point_defaults(v1, is_v1 or name in v1.entry_points):
            if _get(entry, path) is None:
                entry = _with(entry, path, value)
        if (is_v1 or name in v1.entry_points) and "forwardedHeaders" not in entry:
            entry["forwardedHeaders"] = {"insecure": True}
        entries[name] = entry
    return {**tree, "entryPoints": entries} if entries else tree


def protect_web(tree: Tree, v1: V1Static, found: Diagnostics) -> Tree:
    """Keep to ourselves what v1 served behind a password or TLS and we cannot.

    What is put over ``[web]`` is behind its password, which API and dashboard are not yet. Half a certificate
    is a mistake that must not end in clear text.

    Looked at only when all sources lie over each other: a bare ``--web`` must not undo the file's password.
    """
    web = v1.web
    if web is None:
        return tree
    shut: list[Path] = []
    if bool(web.cert_file) != bool(web.key_file):
        key = "certFile" if web.cert_file else "keyFile"
        found.warning(("web", key), "certFile and keyFile go together; nothing is served on this address")
        shut = [("api", "insecure"), ("providers", "rest", "insecure")]
    elif web.auth:
        found.warning(
            ("web", "auth"),
            "not supported for the API's own entrypoint, so API and dashboard are not served there; "
            "route to api@internal with a middleware instead",
        )
        shut = [("api", "insecure")]
    for path in shut:
        if _get(tree, path) is not None:
            tree = _with(tree, path, False)
    return tree


def web_entry_point(v1: V1Static) -> V1EntryPoint | None:
    """What v1 says about the entrypoint of ``[web]``: its certificate, if it has one."""
    if v1.web is None or not (v1.web.cert_file and v1.web.key_file):
        return None
    pair = CertificatePair(cert_file=v1.web.cert_file, key_file=v1.web.key_file)
    return V1EntryPoint(address=v1.web.address, tls=V1Tls(certificates=(pair,)))


def choose_default_entry_points(
    config: StaticConfig, v1: V1Static, is_v1: bool, found: Diagnostics
) -> tuple[str, ...] | None:
    """v1's list of entrypoints for frontends that name none; None leaves it to v2's rule.

    The original documents ``["http"]`` and applies nothing; the documented default is kept where it can be.
    """
    names = [name for name in config.entry_points if name != OWN_ENTRY_POINT or name in v1.entry_points]
    if is_v1 and names == [FALLBACK_ENTRY_POINT] and not v1.entry_points:
        return (FALLBACK_ENTRY_POINT,)
    for name in v1.default_entry_points:
        if name not in config.entry_points:
            found.warning(("defaultEntryPoints",), f'no entrypoint "{name}"', nearest_name(name, names))
    known = tuple(name for name in v1.default_entry_points if name in config.entry_points)
    if known:
        return known
    if not is_v1:
        return None
    chosen = (FALLBACK_ENTRY_POINT,) if FALLBACK_ENTRY_POINT in names else tuple(sorted(names))
    found.warning(
        ("defaultEntryPoints",),
        f"not set: frontends that name no entrypoint are reached through {', '.join(chosen)}",
    )
    return chosen


def _entry_point_defaults(v1: V1Static, is_v1: bool) -> list[tuple[tuple[str, ...], object]]:
    life_cycle, timeouts = ("transport", "lifeCycle"), ("transport", "respondingTimeouts")
    written = V1Static()
    defaults: list[tuple[tuple[str, ...], object]] = []
    grace = v1.life_cycle.grace_time_out if v1.life_cycle != written.life_cycle else v1.grace_time_out
    if grace != written.grace_time_out:
        defaults.append(((*life_cycle, "graceTimeOut"), grace))
    if v1.life_cycle.request_accept_grace_timeout:
        accept = v1.life_cycle.request_accept_grace_timeout
        defaults.append(((*life_cycle, "requestAcceptGraceTimeout"), accept))
    responding = v1.responding_timeouts
    said = responding != written.responding_timeouts
    if is_v1 or said:
        defaults.append(((*timeouts, "readTimeout"), responding.read_timeout))
        defaults.append(((*timeouts, "writeTimeout"), responding.write_timeout))
    idle = responding.idle_timeout if said else v1.idle_timeout
    if idle != written.idle_timeout:
        defaults.append(((*timeouts, "idleTimeout"), idle))
    if is_v1:
        defaults.append((("http", "sanitizePath"), False))
    return defaults


# -------------------------------------------------------------------------------------------------- trees


def _address(text: object) -> object:
    """``--port=8000`` without the colon is plainly meant."""
    return f":{text}" if str(text).isdecimal() else text


def _tables(raw: object) -> list[tuple[str, Mapping[str, Any]]]:
    entries = raw.items() if isinstance(raw, Mapping) else ()
    return [(name, entry) for name, entry in entries if isinstance(entry, Mapping)]


def _get(tree: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401 - a tree of anything
    value: Any = tree
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(tree: Tree, path: Path, value: object) -> None:
    *parents, last = path
    for part in parents:
        inner = tree.get(str(part))
        copy = dict(inner) if isinstance(inner, Mapping) else {}
        tree[str(part)] = copy
        tree = copy
    tree[str(last)] = value


def _with(tree: Tree, path: Path, value: object) -> Tree:
    changed = dict(tree)
    _put(changed, path, value)
    return changed

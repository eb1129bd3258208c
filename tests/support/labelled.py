"""The provider vectors as workloads, and what they expect as a comparison with what was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from providers.labels import Port, Workload, normalize
from providers.labels_constraints import label_constraints, tag_constraints
from providers.labels_containers_v1 import V1Rules
from providers.labels_rules_v2 import V2Rules, translate_v2
from providers.labels_template import compile_template
from shared.config.decode import decode, decode_each
from shared.config.diagnostics import Diagnostics
from shared.config.documents import Document
from shared.config.dynamic import DynamicConfig
from shared.config.dynamic_reading import Reading, read_dynamic
from shared.config.legacy_model import V1Backend, V1Frontend, V1Server
from shared.config.static_providers import DEFAULT_RULE


def workload(name: str, labels: Mapping[str, str], ports: Iterable[int] = (80,), **more: Any) -> Workload:
    """A container that answers at 10.0.0.1, unless told otherwise."""
    more = {"address": "10.0.0.1", "service_name": normalize(name), **more}
    offered = tuple(Port(number) for number in ports)
    return Workload("container", name, labels=labels, ports=offered, **more)


def v2_rules(**settings: Any) -> V2Rules:
    """Rules as the settings of a v2 provider say."""
    return V2Rules(
        settings.get("exposedByDefault", True),
        compile_template("providers.docker.defaultRule", settings.get("defaultRule", DEFAULT_RULE)),
        label_constraints("providers.docker.constraints", settings.get("constraints", "")),
    )


def v1_rules(**settings: Any) -> V1Rules:
    """Rules as the settings of a v1 provider say."""
    constraints = tag_constraints("docker.constraints", settings.get("constraints", ()))
    return V1Rules(settings.get("domain", ""), settings.get("exposedByDefault", True), constraints)


def read_v2(*workloads: Workload, **settings: Any) -> tuple[Reading, list[str]]:
    """What v2 labels come to, read as the proxy reads it, and every problem as text."""
    document, problems = translate_v2("docker", workloads, v2_rules(**settings))
    reading = read_dynamic(document)
    return reading, [str(each) for each in (*problems, *reading.found)]


def fits(expected: object, actual: object) -> bool:
    """Whether ``actual`` says what is expected; what is not mentioned may be anything, 0 as weight is 1."""
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and all(
            _same_weight(value, actual.get(key))
            if key == "weight"
            else fits(value, actual.get(key, _EMPTY.get(key)))
            for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(fits(one, other) for one, other in zip(expected, actual, strict=True))
        )
    return expected == actual


_EMPTY: dict[str, object] = {"entryPoints": [], "priority": 0, "tls": None}


def _same_weight(expected: object, actual: object) -> bool:
    return int(expected or 1) == int(actual or 1)  # type: ignore[call-overload]


def plain(config: DynamicConfig | msgspec.Struct) -> Any:
    """Structs as mappings with every field, in written names, durations as seconds."""
    if isinstance(config, msgspec.Struct):
        fields = msgspec.structs.fields(type(config))
        return {each.encode_name: plain(getattr(config, each.name)) for each in fields}
    if isinstance(config, Mapping):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(each) for each in config]
    return config


def container_entry(written: Mapping[str, Any], identity: str = "0") -> dict[str, Any]:
    """A container of a vector, as the engine lists it."""
    name = str(written.get("name") or f"/{written['service']}-{identity}")
    labels = dict(written.get("labels", {}))
    if "service" in written:
        labels |= {"com.docker.compose.service": written["service"], "com.docker.compose.project": ""}
        name = f"/{written['service']}"
    networks = written.get("networks") or {"bridge": written["ip"]}
    mode = written.get("networkMode") or next(iter(networks))
    health = (
        f" ({'health: ' * (written.get('health') == 'starting')}{written['health']})"
        if "health" in written
        else ""
    )
    return {
        "Id": f"{identity}-{name}",
        "Names": [name],
        "Labels": labels,
        "State": written.get("state", "running"),
        "Status": f"Up 2 seconds{health}",
        "Ports": [
            {"PrivatePort": int(port), "Type": protocol or "tcp"}
            for port, _, protocol in (each.partition("/") for each in written.get("ports", ("80/tcp",)))
        ],
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {
            "Networks": {name: {"IPAddress": "" if mode == "host" else ip} for name, ip in networks.items()}
        },
    }


def v1_columns(vector: Mapping[str, Any]) -> Any:
    """What is followed of a v1 provider vector: v1.3's column, else the nearest."""
    expect = vector["expect"]
    return next((expect[column] for column in ("all", *"CDBA") if column in expect), expect)


def v1_structs(document: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """Frontends and backends of a document, decoded, as plain mappings with every field."""
    found = Diagnostics()
    frontends, _ = decode_each(V1Frontend, document.tree["frontends"], ("frontends",), found)
    backends: dict[str, Any] = {}
    for name, written in document.tree["backends"].items():
        own = {key: each for key, each in written.items() if key != "servers"}
        servers, _ = decode_each(V1Server, written["servers"], (), found)
        backends[name] = {**plain(decode(V1Backend, own, (), found)), "servers": plain(servers)}
    return plain(frontends), backends

"""The providers a static configuration asks for.

Two tables say which settings sections this version can run and which module runs each. Modules are imported
only for configured providers: their client libraries cost memory and start-up time. To add a provider:
write its module with a ``make_providers``, and add its line here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from providers.base import Provider
from shared.config.documents import Document
from shared.config.kinds import Section
from shared.config.static import StaticConfig
from shared.errors import ConfigError

if TYPE_CHECKING:
    from providers.kv_provider import KeyValueProvider  # imported only for those who use it

_SECTIONS: dict[str, str] = {
    "file": "providers.file",
    "consul_catalog": "providers.consul_catalog",
    "docker": "providers.docker",
    "consul": "providers.consul",
    "etcd": "providers.etcd",
    "http": "providers.http",
    "redis": "providers.redis",
    "rest": "providers.rest",
    "swarm": "providers.swarm",
    "zoo_keeper": "providers.zookeeper",
}
"""Section of ``StaticConfig.providers`` to the module that runs it. v1's sections of the same meaning are
moved there (``shared.config.static_legacy``); what they say beyond it is in ``StaticConfig.v1``."""
_V1_SECTIONS: dict[str, str] = {
    "boltdb": "providers.boltdb",
    "marathon": "providers.marathon",
    "mesos": "providers.mesos",
}
"""The same for sections of ``StaticConfig.v1`` that have no v2 counterpart."""
_ONLY_IN_V1 = ("marathon", "mesos", "boltdb", "kubernetes", "ecs", "eureka", "rancher", "dynamodb")
"""v1's provider sections that no v2 section stands for."""
_MOVED_FROM_V1 = {
    "docker": "docker",
    "consul": "consul",
    "consul_catalog": "consul_catalog",
    "etcd": "etcd",
    "zookeeper": "zoo_keeper",
}
"""v1's provider sections that are run from the v2 section they were moved to."""


_SETTINGS_STORES = ("consul", "etcd", "zookeeper", "boltdb")


class MakeProviders(Protocol):
    """The function ``make_providers`` of a provider's module."""

    def __call__(self, config: StaticConfig, static_document: Document | None) -> list[Provider]:
        """Construct, without side effects, what the module's section asks for (which is there)."""


def make_providers(config: StaticConfig, static_document: Document | None = None) -> list[Provider]:
    """Construct every configured provider, without side effects, and check its settings.

    Args:
        config: the static configuration.
        static_document: the file it came from, if any; v1's ``[file]`` may hold the rules in it.

    Raises:
        ConfigError: a provider is asked for that this version does not have, or its settings cannot work.
    """
    providers = [
        provider for module in _modules(config) for provider in _maker(module)(config, static_document)
    ]
    for provider in providers:
        provider.validate()
    return providers


def make_settings_store(config: StaticConfig) -> tuple[str, KeyValueProvider] | None:
    """The store of v1's static settings: its section's name and its provider; None if there is none.

    The first that is configured counts, in the order of the original.

    Raises:
        ConfigError: its settings cannot work.
    """
    for name in _SETTINGS_STORES if config.v1 is not None and config.is_v1 else ():
        if getattr(config.v1, name) is not None:
            module = _V1_SECTIONS.get(name) or _SECTIONS[_MOVED_FROM_V1[name]]
            provider = _maker(module)(config, None)[0]
            from providers.kv_provider import KeyValueProvider

            assert isinstance(provider, KeyValueProvider), "these are"
            return name, provider
    return None


def _modules(config: StaticConfig) -> list[str]:
    """The modules to use, in the order of the settings. Better no start than a source of routes missing."""
    modules: list[str] = []
    for field in msgspec.structs.fields(config.providers):
        section = getattr(config.providers, field.name)
        if isinstance(section, Section):
            modules.append(_module(_SECTIONS, field.name, f"providers.{field.encode_name}"))
    if config.v1 is None:
        return modules
    for field in msgspec.structs.fields(config.v1):
        if getattr(config.v1, field.name) is None:
            continue
        if field.name in _ONLY_IN_V1:
            modules.append(_module(_V1_SECTIONS, field.name, field.encode_name))
        elif field.name in _MOVED_FROM_V1:
            _module(_SECTIONS, _MOVED_FROM_V1[field.name], field.encode_name)
    return modules


def _module(table: dict[str, str], section: str, path: str) -> str:
    if section not in table:
        name = path.removeprefix("providers.")
        raise ConfigError(path, f"this version cannot run the {name} provider")
    return table[section]


def _maker(module: str) -> MakeProviders:
    return cast("MakeProviders", importlib.import_module(module).make_providers)

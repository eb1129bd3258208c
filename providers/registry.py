"""The providers a static configuration asks for.

Modules are imported only for configured providers: their client libraries cost memory and start-up time.
"""

from __future__ import annotations

import msgspec

from providers.base import Provider
from shared.config.documents import Document
from shared.config.kinds import Section
from shared.config.static import StaticConfig
from shared.errors import ConfigError

_HERE = frozenset({"file"})
"""Provider sections that this version can run."""
_V1_PROVIDERS = (
    "docker",
    "marathon",
    "mesos",
    "consul",
    "consul_catalog",
    "etcd",
    "zookeeper",
    "boltdb",
    "kubernetes",
    "ecs",
    "eureka",
    "rancher",
    "dynamodb",
)
"""v1 sections that this version cannot run; ``rest`` and ``web`` are fed by the API."""


def make_providers(config: StaticConfig, static_document: Document | None = None) -> list[Provider]:
    """Construct every configured provider, without side effects, and check its settings.

    Args:
        config: the static configuration.
        static_document: the file it came from, if any; v1's ``[file]`` may hold the rules in it.

    Raises:
        ConfigError: a provider is asked for that this version does not have, or its settings cannot work.
    """
    _refuse_missing(config)
    providers: list[Provider] = []
    if config.providers.file is not None:
        from providers.file import FileProvider

        # In v2 a static file never holds rules.
        providers.append(FileProvider(config.providers.file, static_document if config.is_v1 else None))
    for provider in providers:
        provider.validate()
    return providers


def _refuse_missing(config: StaticConfig) -> None:
    """Better no start than a proxy that silently lacks a source of its routes."""
    for field in msgspec.structs.fields(config.providers):
        section = getattr(config.providers, field.name)
        if isinstance(section, Section) and field.name not in _HERE:
            raise _missing(f"providers.{field.encode_name}", field.encode_name)
    if config.v1 is None:
        return
    for field in msgspec.structs.fields(config.v1):
        if field.name in _V1_PROVIDERS and getattr(config.v1, field.name) is not None:
            raise _missing(field.encode_name, field.encode_name)


def _missing(path: str, name: str) -> ConfigError:
    return ConfigError(path, f"this version cannot run the {name} provider")

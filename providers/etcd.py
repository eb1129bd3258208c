"""Keys in etcd: the v3 API; for v1's section the v2 API, unless it says ``useAPIV3`` or etcd has none."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from providers.base import Provider
from providers.etcd_v3 import open_v3
from providers.http_api import open_api
from providers.kv_provider import KeyStore, KeyValueProvider
from shared.config.documents import Document
from shared.config.static import StaticConfig

_log = logging.getLogger(__name__)


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.etcd``, or of v1's ``[etcd]``."""
    settings = config.providers.etcd
    assert settings is not None, "called for configured sections only"
    user = (settings.username, settings.password) if settings.username else None

    @asynccontextmanager
    async def connect(endpoint: str) -> AsyncIterator[KeyStore]:
        async with (
            open_api("etcd", endpoint, settings.tls) as api,
            open_v3(api, settings.root_key, user) as store,
        ):
            yield store

    return [KeyValueProvider("etcd", settings.endpoints, connect)]

"""Keys in etcd: the v3 API; for v1's section the v2 API, unless it says ``useAPIV3`` or etcd has none."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from providers.base import Provider
from providers.etcd_v2 import EtcdV2Store, NoV2ApiError
from providers.etcd_v3 import open_v3
from providers.http_api import HttpApi, check_endpoints, open_api
from providers.kv_provider import KeyStore, KeyValueProvider
from providers.kv_settings import extras_of
from shared.config.documents import Document
from shared.config.static import StaticConfig
from shared.config.static_providers import EtcdSettings

_log = logging.getLogger(__name__)


def make_providers(config: StaticConfig, static_document: Document | None) -> list[Provider]:
    """The provider of ``providers.etcd``, or of v1's ``[etcd]``.

    Raises:
        ConfigError: an endpoint or a setting of v1's cannot be used.
    """
    settings = config.providers.etcd
    assert settings is not None, "called for configured sections only"
    extras = extras_of(config, "etcd")
    check_endpoints("etcd", settings.endpoints, is_tls=settings.tls is not None)
    connection = _Connection(settings, is_v2=extras.section is not None and not extras.section.use_api_v3)
    return [
        KeyValueProvider("etcd", settings.endpoints, connection.open, watch=extras.watch, keeps=extras.keeps)
    ]


class _Connection:
    """Connects by whichever API is meant.

    Args:
        is_v2: prefer the v2 API.
    """

    def __init__(self, settings: EtcdSettings, *, is_v2: bool) -> None:
        self._settings = settings
        self._is_v2 = is_v2
        self._user = (settings.username, settings.password) if settings.username else None

    @asynccontextmanager
    async def open(self, endpoint: str) -> AsyncIterator[KeyStore]:
        """Connect to an endpoint.

        Raises:
            ProviderError: it does not answer, or refuses.
        """
        root, tls = self._settings.root_key, self._settings.tls
        if self._is_v2:
            async with open_api("etcd", endpoint, tls, user=self._user) as api:
                if await _speaks_v2(api, root):
                    yield EtcdV2Store(api, root)
                    return
        async with open_api("etcd", endpoint, tls) as api, open_v3(api, root, self._user) as store:
            yield store


async def _speaks_v2(api: HttpApi, root: str) -> bool:
    try:
        await EtcdV2Store(api, root).read()
    except NoV2ApiError as error:
        _log.info("%s; using that", error)
        return False
    return True

"""The leading Mesos master, as ZooKeeper knows it: the candidate with the lowest number leads.

Source: Mesos documentation, high availability; the nodes ``json.info_NNNNNNNNNN`` hold a MasterInfo.
"""

from __future__ import annotations

import json
import logging
from urllib.parse import urlsplit

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from providers.api_client import Endpoint
from shared.errors import ConfigError, ProviderError

PREFIX = "json.info_"
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)  # what goes wrong is said by us


def parse_zookeeper_url(path: str, text: str) -> tuple[str, str]:
    """Servers and path of ``zk://host:port,host:port/mesos``.

    Raises:
        ConfigError: it has no server or no path, or holds credentials, which are not supported.
    """
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ConfigError(path, "credentials in a zk:// endpoint are not supported")
    if not parts.netloc or not parts.path.strip("/"):
        raise ConfigError(path, "not of the form zk://host:port,host:port/path")
    return parts.netloc, f"/{parts.path.strip('/')}"


def find_leader(servers: str, path: str, timeout_s: float) -> Endpoint:
    """Ask ZooKeeper who leads. Blocks.

    Args:
        servers: ``host:port``, joined by commas.
        path: where the masters register.
        timeout_s: to find one of the servers.

    Raises:
        ProviderError: no server answers in time, or nobody leads.
    """
    client = KazooClient(hosts=servers, read_only=True, logger=_quiet)
    place = f"zk://{servers}{path}"
    try:
        client.start(timeout=timeout_s)
        names = sorted(each for each in client.get_children(path) if each.startswith(PREFIX))
        if not names:
            raise ProviderError("mesos", f"{place}: no master leads")
        value, _ = client.get(f"{path}/{names[0]}")
        return _endpoint_of(json.loads(value))
    except (KazooException, KazooTimeoutError) as error:
        raise ProviderError("mesos", f"{place}: cannot be asked: {error or type(error).__name__}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProviderError("mesos", f"{place}: what the leader says of itself is no JSON we know") from error
    finally:
        client.stop()
        client.close()


def _endpoint_of(info: dict[str, dict[str, object]]) -> Endpoint:
    address = info["address"]
    host = str(address.get("ip") or address["hostname"])
    return Endpoint(f"http://{f'[{host}]' if ':' in host else host}:{int(str(address['port']))}")

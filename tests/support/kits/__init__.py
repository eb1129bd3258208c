"""Provider kits: for each provider a real server, or a faithful stand-in, that the contract suite drives.

To add a provider to the suite: write a module with a ``Kit``, and add its line to ``KITS``.
"""

from __future__ import annotations

import importlib

from tests.support.kits.base import Kit

KITS = {
    "consul-catalog": "tests.support.kits.consul_catalog:CatalogKit",
    "consul-catalog-v1": "tests.support.kits.consul_catalog:CatalogV1Kit",
    "boltdb": "tests.support.kits.boltdb:BoltKit",
    "consul": "tests.support.kits.consul:ConsulKit",
    "consul-v1": "tests.support.kits.consul:ConsulV1Kit",
    "docker": "tests.support.kits.docker:DockerKit",
    "marathon": "tests.support.kits.marathon:MarathonKit",
    "mesos": "tests.support.kits.mesos:MesosKit",
    "etcd-v3": "tests.support.kits.etcd:EtcdV3Kit",
    "etcd-v2": "tests.support.kits.etcd:EtcdV2Kit",
    "file": "tests.support.kits.file:FileKit",
    "http": "tests.support.kits.http:HttpKit",
    "redis": "tests.support.kits.redis:RedisKit",
    "zookeeper": "tests.support.kits.zookeeper:ZooKeeperKit",
}
"""Kit names, which are test ids, and where each is defined."""


def kit_class(name: str) -> type[Kit]:
    """The class of a kit; imported here, as it may need a client library."""
    module, _, attribute = KITS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert issubclass(found, Kit)
    return found

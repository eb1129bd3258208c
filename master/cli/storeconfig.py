"""``penstock storeconfig``: v1's static settings into a key-value store."""

from __future__ import annotations

import os
from pathlib import Path

from master import stored_settings
from master.cli.options import ConfigFile, StaticArguments, static_arguments
from shared.config.sources import load_static
from shared.config.stored import to_pairs


def storeconfig(config_file: ConfigFile = None, static: StaticArguments = None) -> None:
    """Write v1's static settings into the key-value store that they name; `start` reads them from there.

    The store is the first one that is configured of consul, etcd and zookeeper. Settings that are stored
    lie over file, environment and flags. Keys that are there and not written again stay.

    Examples:

      penstock storeconfig -c traefik.toml

      penstock storeconfig -c traefik.toml --consul.endpoint=10.0.0.3:8500
    """
    load = load_static(static_arguments(config_file, static), os.environ, Path.cwd())
    pairs = to_pairs(load.v1_tree)
    place = stored_settings.write(load.config, pairs)
    settings = sum(not key.endswith("/") for key in pairs)
    print(f"stored {settings} settings in {place.name} below {place.root}")

"""What v1's sections of key-value stores say beyond v2's: whether to watch, and constraints over tags."""

from __future__ import annotations

from typing import NamedTuple

from providers.kv_v1 import Keeps
from providers.labels_constraints import tag_constraints
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1KeyValue
from shared.errors import ConfigError


class Extras(NamedTuple):
    """The same for every store; with v2's section they are the defaults.

    Attributes:
        section: v1's section, None if there is none.
        watch: whether to follow changes.
        keeps: which servers are wanted, by their tags.
    """

    section: V1KeyValue | None
    watch: bool
    keeps: Keeps


def extras_of(config: StaticConfig, name: str) -> Extras:
    """Read v1's section of a store.

    Args:
        name: of the section, as an attribute of ``StaticConfig.v1``.

    Raises:
        ConfigError: a constraint is malformed.
    """
    section: V1KeyValue | None = getattr(config.v1, name) if config.v1 is not None else None
    if section is None or config.v1 is None:
        return Extras(None, True, lambda tags: True)
    keeps = tag_constraints("constraints", config.v1.constraints)
    keeps_too = tag_constraints(f"{name}.constraints", section.constraints)
    if section.filename:
        raise ConfigError(
            f"{name}.filename", "templates are not executed; remove it to use the keys as they are"
        )
    return Extras(section, section.watch, lambda tags: keeps(tags) and keeps_too(tags))

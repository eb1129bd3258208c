"""What v1's sections of label providers have in common: constraints, and a template that is not executed."""

from __future__ import annotations

from providers.labels_constraints import TagTest, tag_constraints
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Provider
from shared.errors import ConfigError


def v1_tag_test(config: StaticConfig, name: str, section: V1Provider) -> TagTest:
    """The global constraints and those of a section, which all have to hold.

    Args:
        config: the whole static configuration.
        name: of the section, as it is written.
        section: that section.

    Raises:
        ConfigError: a constraint is malformed, or a template is asked for.
    """
    if section.filename:
        raise ConfigError(
            f"{name}.filename", "templates are not executed; remove it to use the labels as they are"
        )
    all_of = tag_constraints("constraints", config.v1.constraints if config.v1 is not None else ())
    own = tag_constraints(f"{name}.constraints", section.constraints)
    return lambda tags: all_of(tags) and own(tags)

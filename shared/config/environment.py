"""Environment variables as settings (spec v2 section 1.3; v1 section 1.1).

``TRAEFIK_`` and the path, every ``_`` a level. Only variables that begin with a known root count, so what
container platforms inject (``TRAEFIK_PORT=tcp://...``) is left alone; from there on a mistake is an error.
v1 knew variables for its flat scalars only (``TRAEFIK_LOGLEVEL``).
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.config.decode import written_names
from shared.config.layers import Setting
from shared.config.shapes import Shape, find_place
from shared.config.static import StaticConfig
from shared.config.static_v1 import V1Static

PREFIX = "TRAEFIK_"
_NEVER = frozenset({"PORT"})
"""v1 names that platforms inject with other meanings."""


def read_environment(environ: Mapping[str, str]) -> tuple[Setting, ...]:
    """The variables that are settings, in the order of their names."""
    v2_roots = tuple(name.upper() for name in written_names(StaticConfig))
    v1_scalars = _v1_scalars()
    settings: list[Setting] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        rest = name.removeprefix(PREFIX)
        if rest in v1_scalars:
            settings.append(Setting((v1_scalars[rest],), environ[name], name))
        elif rest.startswith(v2_roots):
            settings.append(Setting(tuple(rest.lower().split("_")), environ[name], name))
    return tuple(settings)


def _v1_scalars() -> dict[str, str]:
    known = set(written_names(StaticConfig))
    scalars = (Shape.SCALAR, Shape.BOOL, Shape.LIST)
    return {
        name.upper(): name
        for name in written_names(V1Static)
        if name not in known and name.upper() not in _NEVER and find_place(V1Static, (name,)).shape in scalars
    }

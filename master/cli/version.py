"""``penstock version``: what runs here."""

from __future__ import annotations

import platform
from importlib import metadata


def version() -> None:
    """Print the version.

    Example:

      penstock version
    """
    print(f"Version:  {metadata.version('penstock')}")
    print(f"Python:   {platform.python_version()}")
    print(f"OS/Arch:  {platform.system().lower()}/{platform.machine()}")

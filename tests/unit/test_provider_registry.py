"""The table of providers: each line leads to a module that can be asked for its providers."""

import importlib

import msgspec
import pytest

from providers import registry
from shared.config.static_providers import Providers
from shared.config.static_v1 import V1Static


@pytest.mark.parametrize("module", sorted({*registry._SECTIONS.values(), *registry._V1_SECTIONS.values()}))
def test_every_module_makes_providers(module):
    assert callable(importlib.import_module(module).make_providers)


def test_tables_name_sections_that_exist():
    v2 = {field.name for field in msgspec.structs.fields(Providers)}
    v1 = {field.name for field in msgspec.structs.fields(V1Static)}
    assert registry._SECTIONS.keys() <= v2
    assert set(registry._MOVED_FROM_V1.values()) <= v2
    assert registry._MOVED_FROM_V1.keys() <= v1
    assert registry._V1_SECTIONS.keys() <= set(registry._ONLY_IN_V1) <= v1

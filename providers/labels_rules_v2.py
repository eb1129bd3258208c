"""v2's label translation as one function: workloads in, a document and problems out.

What is common to Docker, swarm and the Consul catalog: exposure, constraints, routes, merging.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from providers.labels import LabelDocument, Workload, problem
from providers.labels_constraints import LabelTest, TagTest
from providers.labels_merge import merge_routes
from providers.labels_template import Template
from providers.labels_v2 import Routes, complete_labels
from shared.config.diagnostics import Diagnostic

ENABLE = "traefik.enable"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class V2Rules(msgspec.Struct, frozen=True):
    """How a provider's settings say its labels are to be read.

    Attributes:
        exposed_by_default: what counts without ``traefik.enable``.
        default_rule: for routers without a rule.
        takes_labels: the constraints over labels.
        takes_tags: the constraints over tags (Consul catalog).
    """

    exposed_by_default: bool
    default_rule: Template
    takes_labels: LabelTest
    takes_tags: TagTest = lambda tags: True


def translate_v2(
    provider: str, workloads: Iterable[Workload], rules: V2Rules, problems: Sequence[Diagnostic] = ()
) -> tuple[LabelDocument, tuple[Diagnostic, ...]]:
    """The routes of all workloads.

    Args:
        provider: its name.
        workloads: all there are; those that are not exposed are passed over.
        rules: how to read them.
        problems: what was found before.
    """
    found = list(problems)
    routes: list[Routes] = []
    for workload in workloads:
        if not is_taken(provider, workload, rules, found):
            continue
        its_routes, its_problems = complete_labels(provider, workload, rules.default_rule)
        found += its_problems
        if its_routes is not None:
            routes.append(its_routes)
    document, conflicts = merge_routes(provider, routes)
    return document, (*found, *conflicts)


def is_taken(provider: str, workload: Workload, rules: V2Rules, found: list[Diagnostic]) -> bool:
    """Whether a workload is exposed and the constraints hold; a bad ``traefik.enable`` means it is not."""
    written = workload.labels.get(ENABLE)
    if written is None:
        exposed = rules.exposed_by_default
    elif written in _TRUE or written in _FALSE:
        exposed = written in _TRUE
    else:
        found.append(
            problem(provider, workload, f'"{written[:60]}" is not true or false; not exposed', ENABLE)
        )
        return False
    return exposed and rules.takes_labels(workload.labels) and rules.takes_tags(workload.tags)

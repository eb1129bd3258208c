"""Which workloads a provider takes: v1's list of tag constraints, v2's expression over labels or tags.

v1 (spec v1 section 5.2): every constraint has to hold; ``tag==us-*`` holds if some tag fits, ``tag!=us-*`` if
none does, ``*`` stands for any text. v2 (spec v2 section 8.3): ``Label(`key`, `value`)`` and
``LabelRegex(`key`, `expression`)``, or ``Tag`` and ``TagRegex`` of the Consul catalog, joined by ``&&``,
``||``, ``!`` and parentheses. A label that is missing is the empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from shared.errors import ConfigError
from shared.patterns import compile_pattern
from shared.rules.grammar import parse_expression
from shared.rules.tree import And, Call, Not, Or, Tree

TagTest = Callable[[Iterable[str]], bool]
"""Whether a workload with these tags is taken."""
LabelTest = Callable[[Mapping[str, str]], bool]
"""Whether a workload with these labels is taken."""

_CONSTRAINT = re.compile(r"(?P<key>[^=!]*?)\s*(?P<sign>==|!=)\s*(?P<glob>.*)", re.DOTALL)


def tag_constraints(path: str, written: Iterable[str]) -> TagTest:
    """v1's constraints as a test.

    Args:
        path: where they stand in the settings, for messages.
        written: each as ``tag==glob`` or ``tag!=glob``.

    Raises:
        ConfigError: one of them is not such an expression.
    """
    tests = [_tag_constraint(path, each) for each in written]
    return lambda tags: all(test(tags) for test in tests)


def _tag_constraint(path: str, text: str) -> TagTest:
    match = _CONSTRAINT.fullmatch(text.strip())
    if match is None or not match["glob"]:
        raise ConfigError(path, f'constraint "{text}" is not of the form tag==glob or tag!=glob')
    if match["key"] != "tag":
        raise ConfigError(path, f'constraint "{text}": only tags can be compared, as in tag==glob', "tag")
    pattern = re.compile(".*".join(map(re.escape, match["glob"].split("*"))), re.DOTALL)
    wanted = match["sign"] == "=="
    return lambda tags: any(pattern.fullmatch(tag) for tag in tags) == wanted


def label_constraints(path: str, text: str) -> LabelTest:
    """v2's expression over labels as a test; an empty one takes everything.

    Args:
        path: where it stands in the settings, for messages.
        text: the expression.

    Raises:
        ConfigError: it is no such expression.
    """

    def read(call: Call) -> LabelTest:
        key, value = _arguments(call, 2)
        if call.name == "Label":
            return lambda labels: labels.get(key, "") == value
        pattern = compile_pattern(value)
        return lambda labels: pattern.found_in(labels.get(key, ""))

    return _expression(path, text, {"Label": read, "LabelRegex": read})


def tag_expression(path: str, text: str) -> TagTest:
    """v2's expression over the tags of a Consul service as a test; an empty one takes everything.

    Raises:
        ConfigError: it is no such expression.
    """

    def read(call: Call) -> TagTest:
        (value,) = _arguments(call, 1)
        if call.name == "Tag":
            return lambda tags: value in tags
        pattern = compile_pattern(value)
        return lambda tags: any(pattern.found_in(tag) for tag in tags)

    return _expression(path, text, {"Tag": read, "TagRegex": read})


def _expression(
    path: str, text: str, known: Mapping[str, Callable[[Call], Callable[..., bool]]]
) -> Callable[..., bool]:
    if not text.strip():
        return lambda subject: True
    try:
        return _test(parse_expression(text), known)
    except ConfigError as error:
        raise ConfigError(path, f"bad constraints: {error.reason}", error.hint) from error


def _test(tree: Tree, known: Mapping[str, Callable[[Call], Callable[..., bool]]]) -> Callable[..., bool]:
    match tree:
        case And(parts):
            all_of = [_test(part, known) for part in parts]
            return lambda subject: all(test(subject) for test in all_of)
        case Or(parts):
            any_of = [_test(part, known) for part in parts]
            return lambda subject: any(test(subject) for test in any_of)
        case Not(part):
            inverted = _test(part, known)
            return lambda subject: not inverted(subject)
        case Call():
            if tree.name not in known:
                raise ConfigError("", f'unknown function "{tree.name}" (known: {", ".join(known)})')
            return known[tree.name](tree)


def _arguments(call: Call, number: int) -> tuple[str, ...]:
    if len(call.args) != number:
        raise ConfigError("", f"{call.name} takes {number} texts, not {len(call.args)}")
    return call.args

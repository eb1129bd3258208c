"""The v1 rule language: clauses joined by ``;``, in one string or in the two fields of the first releases.

A frontend's rule says more than when it matches: modifiers strip, add and replace the path. ``FrontendRule``
holds all of it, ready to be translated into one router and its middlewares. Where versions differ this
follows v1.3 and the advice given there: hosts fold case, braces do not split, blank clauses are ignored,
a template in ``PathPrefixStrip`` strips what it matched.

Source: spec v1 section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from shared.config.diagnostics import nearest_name
from shared.errors import ConfigError
from shared.hosts import lower_ascii
from shared.rules.clauses import Clause, split_clauses, split_outside_braces
from shared.rules.conditions import (
    AnyCondition,
    HeaderIs,
    HeaderMatches,
    HostIs,
    HostMatches,
    MethodIs,
    QueryIs,
    QueryMatches,
)
from shared.rules.matchers import NEVER, checked_regex, either, every, field_name
from shared.rules.templates import HOST_DEFAULT, V1_QUERY_DEFAULT, read_template
from shared.rules.v1_paths import PREFIX, WHOLE, path_condition, slash_redirects, stripped


class FrontendRule(msgspec.Struct, frozen=True):
    """All that the routes of one v1 frontend say.

    Attributes:
        text: the one-string form, which ``read_condition`` reads with the same meaning.
        text_length: bytes of the rules as written; the priority when none is set.
        condition: when it matches.
        strip_prefixes: literal prefixes to strip, longest first.
        strip_patterns: anchored RE2 texts; what the first fitting one matches is stripped.
        add_prefix, replace_path: what their last argument says.
        replace_path_regex: expression and replacement.
        add_slash: anchored RE2 texts of decoded paths to redirect to the form with a slash at the end.
        drop_slash: the same for the form without.
    """

    text: str
    text_length: int
    condition: AnyCondition
    strip_prefixes: tuple[str, ...] = ()
    strip_patterns: tuple[str, ...] = ()
    add_prefix: str | None = None
    replace_path: str | None = None
    replace_path_regex: tuple[str, str] | None = None
    add_slash: tuple[str, ...] = ()
    drop_slash: tuple[str, ...] = ()


def read_condition(text: str) -> AnyCondition:
    """When a one-string rule matches; modifiers in it add nothing. An empty text matches everything.

    Raises:
        ConfigError: a function is unknown or cannot take its arguments; the path is empty.
    """
    return _condition_of(_read_clauses(text)) if text else every([])


def read_frontend_rule(routes: Sequence[tuple[str, str]]) -> FrontendRule:
    """Read all routes of a frontend; a request must fulfil every one.

    Args:
        routes: (rule, value) of each; with an empty value the rule is the one-string form, else the rule
            names a function and the value is its argument. No routes at all match everything.

    Raises:
        ConfigError: a rule is empty, or as for ``read_condition``; the path is empty.
    """
    texts = [_one_string(rule, value) if value else rule for rule, value in routes]
    clauses = [clause for text in texts for clause in _read_clauses(text)]
    strip_prefixes, strip_patterns = stripped(clauses)
    add_slash, drop_slash = slash_redirects(clauses)
    return FrontendRule(
        text=";".join(texts),
        text_length=sum(_written_length(rule, value) for rule, value in routes),
        condition=_condition_of(clauses),
        strip_prefixes=strip_prefixes,
        strip_patterns=strip_patterns,
        add_prefix=_last_argument(clauses, "AddPrefix"),
        replace_path=_last_argument(clauses, "ReplacePath"),
        replace_path_regex=_path_replacement(_last_argument(clauses, "ReplacePathRegex")),
        add_slash=add_slash,
        drop_slash=drop_slash,
    )


def _read_clauses(text: str) -> list[Clause]:
    clauses = split_clauses(text)
    if not clauses:
        raise ConfigError("", "rule is empty")
    for clause in clauses:
        if clause.function not in _CONDITIONS and clause.function not in _MODIFIERS:
            hint = nearest_name(clause.function, [*_CONDITIONS, *_MODIFIERS])
            raise ConfigError("", f"unknown function {clause.function!r}", hint)
    return clauses


def _condition_of(clauses: Iterable[Clause]) -> AnyCondition:
    return every([_CONDITIONS[each.function](each) for each in clauses if each.function in _CONDITIONS])


def _written_length(rule: str, value: str) -> int:
    return len((f"{rule}:{value}" if value else rule).encode("utf-8", "surrogateescape"))


def _one_string(rule: str, value: str) -> str:
    """The one-string form of a two-field route (spec v1 section 3.1 with its advice)."""
    function = rule.strip()
    if function == "Host" and "{" in value:
        function = "HostRegexp"
    elif function == "Methods":
        function = "Method"
    elif function in ("Headers", "HeadersRegexp"):
        value = _header_pairs(value)
    return f"{function}:{value}"


def _header_pairs(value: str) -> str:
    """``Key:Value`` items as ``Key,Value``; with a comma before the first colon it is that already."""
    if ":" not in value.partition(",")[0]:
        return value
    return ",".join(item.replace(":", ",", 1) for item in split_outside_braces(value, ","))


def _last_argument(clauses: Iterable[Clause], function: str) -> str | None:
    """The last argument of the last clause of a modifier."""
    found = [each.arguments for each in clauses if each.function == function]
    return next(argument for argument in reversed(found[-1]) if argument) if found else None


def _path_replacement(argument: str | None) -> tuple[str, str] | None:
    if argument is None:
        return None
    words = argument.split()
    if len(words) != 2:
        raise ConfigError(
            "", f"ReplacePathRegex takes an expression, a blank and a replacement, not {argument!r}"
        )
    return checked_regex(words[0]), words[1]


def _any_of(condition: Callable[[str], AnyCondition | None]) -> Callable[[Clause], AnyCondition]:
    def read(clause: Clause) -> AnyCondition:
        live = [found for each in clause.arguments if each and (found := condition(each))]
        return either(live)

    return read


def _host_template(text: str) -> AnyCondition | None:
    """A host template, None if it is broken. Case is folded in matching, so ``\\S`` keeps its meaning."""
    try:
        template = read_template(text, HOST_DEFAULT)
        if template.is_literal:
            return HostIs(lower_ascii(text), dot_counts=True)
        return HostMatches(checked_regex(f"(?i)^{template.body}$"))
    except ConfigError:
        return None


def _headers(clause: Clause) -> AnyCondition:
    # An empty value asks for the field only.
    return every(
        [HeaderIs(name, value) if value else HeaderMatches(name, "") for name, value in _pairs(clause)]
    )


def _headers_regexp(clause: Clause) -> AnyCondition:
    return every([HeaderMatches(name, checked_regex(pattern)) for name, pattern in _pairs(clause)])


def _pairs(clause: Clause) -> Iterable[tuple[str, str]]:
    """Field names and values; of a name given twice the last value counts."""
    count = len(clause.arguments)
    if count % 2:
        raise ConfigError("", f"{clause.function} takes pairs of key and value, not {count} arguments")
    names = map(field_name, clause.arguments[::2])
    return dict(zip(names, clause.arguments[1::2], strict=True)).items()


def _query(clause: Clause) -> AnyCondition:
    return every([_query_item(item) for item in clause.arguments if item])


def _query_item(item: str) -> AnyCondition:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError("", f"query {item!r} is not key=value", f"{item}=")
    try:
        template = read_template(value, V1_QUERY_DEFAULT)
        if template.is_literal and value:
            return QueryIs(key, value, first_only=True)
        pattern = checked_regex(f"^{template.body}$") if value else ""
        return QueryMatches(key, pattern, first_only=True)
    except ConfigError:
        return NEVER


_CONDITIONS: dict[str, Callable[[Clause], AnyCondition]] = {
    "Host": _any_of(lambda host: HostIs(lower_ascii(host), dot_counts=True)),
    "HostRegexp": _any_of(_host_template),
    "Method": _any_of(lambda method: MethodIs(method.upper())),
    "Headers": _headers,
    "HeadersRegexp": _headers_regexp,
    "Query": _query,
    **dict.fromkeys(sorted(WHOLE | PREFIX), path_condition),
}
_MODIFIERS = frozenset(["AddPrefix", "ReplacePath", "ReplacePathRegex"])

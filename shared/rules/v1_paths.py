"""The path functions of v1 rules: what they match, what they strip, and which slash they insist on.

An alternative that can never match (no slash in front, a broken template) is dead: it is left out and the
others of its list go on working. ``Path`` and its relatives accept a path with or without a slash at the
end and send the client to the form that was written.

Source: spec v1 sections 3.2 to 3.4 and 3.7.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.errors import ConfigError
from shared.patterns import compile_pattern
from shared.rules.clauses import Clause
from shared.rules.conditions import AnyCondition, PathIs, PathMatches, PathStarts
from shared.rules.matchers import checked_regex, either
from shared.rules.templates import PATH_DEFAULT, Template, read_template

WHOLE = frozenset(["Path", "PathStrip", "PathStripRegex"])
PREFIX = frozenset(["PathPrefix", "PathPrefixStrip", "PathPrefixStripRegex"])
STRIP = frozenset(["PathStrip", "PathPrefixStrip"])
STRIP_REGEX = frozenset(["PathStripRegex", "PathPrefixStripRegex"])

MAX_REDIRECTED = 200
"""Whole-path arguments of one rule that are compared with each other; a rule with more redirects none."""


class Alternative(msgspec.Struct, frozen=True):
    """One live argument of a path function.

    Attributes:
        text: as written.
        is_whole: it must be the whole path, give or take a slash at the end.
        base: the template without the slash that a whole path may end with.
    """

    text: str
    is_whole: bool
    base: Template

    @property
    def ends_with_slash(self) -> bool:
        """Whether it was written with a slash at the end."""
        return self.text.endswith("/")

    @property
    def condition(self) -> AnyCondition:
        """What it matches."""
        if not self.base.is_literal:
            return PathMatches(self.pattern, decoded=True)
        if not self.is_whole:
            return PathStarts(self.text, decoded=True)
        if self.text == "/":
            return PathIs("/", decoded=True)
        other = self.base.text if self.ends_with_slash else self.text + "/"
        return either([PathIs(self.text, decoded=True), PathIs(other, decoded=True)])

    @property
    def pattern(self) -> str:
        """Anchored RE2 text of what it matches, which is also what it strips."""
        return f"^{self.base.body}/?$" if self.is_whole else f"^{self.base.body}"

    @property
    def other_form(self) -> str:
        """Anchored RE2 text of the paths that have the wrong slash at the end."""
        return f"^{self.base.body}$" if self.ends_with_slash else f"^{self.base.body}/$"

    def takes_as_written(self, path: str) -> bool:
        """Whether it accepts ``path`` without asking for another form."""
        if self.base.is_literal:
            return path == self.text
        return compile_pattern(f"^{self.base.body}{'/' if self.ends_with_slash else ''}$").found_in(path)


def live_alternatives(clause: Clause) -> list[Alternative]:
    """The arguments of a path clause that can match anything."""
    is_whole = clause.function in WHOLE
    return [found for text in clause.arguments if (found := _read_alternative(text, is_whole))]


def path_condition(clause: Clause) -> AnyCondition:
    """What a path clause matches: any of its live arguments."""
    return either([each.condition for each in live_alternatives(clause)])


def stripped(clauses: Iterable[Clause]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prefixes and the anchored expressions that a rule's clauses strip.

    The last list of each kind wins. A list with a template in it is stripped by expression as a whole, so
    that no path is stripped twice.
    """
    prefixes: list[str] = []
    from_lists: list[str] = []
    from_regex: list[str] = []
    for clause in clauses:
        if clause.function in STRIP_REGEX:
            from_regex = [each.pattern for each in live_alternatives(clause)]
        elif clause.function in STRIP:
            longest_first = sorted(live_alternatives(clause), key=lambda each: -len(each.text))
            if all(each.base.is_literal for each in longest_first):
                prefixes, from_lists = [each.text for each in longest_first], []
            else:
                prefixes, from_lists = [], [each.pattern for each in longest_first]
    return tuple(prefixes), tuple(from_regex + from_lists)


def slash_redirects(clauses: Iterable[Clause]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Anchored expressions of the decoded paths that need a slash added, and that need one dropped.

    No path is in both, nor its other form: where a rule writes both forms (``Path:/a,/a/``), or a template
    might, both are served as they come; so they are beyond ``MAX_REDIRECTED`` arguments.
    """
    wanted = [
        each
        for clause in clauses
        if clause.function in WHOLE
        for each in live_alternatives(clause)
        if each.text != "/"
    ]
    if len(wanted) > MAX_REDIRECTED:
        return (), ()
    needing = list(dict.fromkeys(each for each in wanted if not _is_disputed(each, wanted)))
    add = tuple(each.other_form for each in needing if each.ends_with_slash)
    drop = tuple(each.other_form for each in needing if not each.ends_with_slash)
    return add, drop


def _is_disputed(alternative: Alternative, all_of_rule: list[Alternative]) -> bool:
    """Whether a path that ``alternative`` would redirect is accepted as it is by another of the rule."""
    if alternative.base.is_literal:
        slash = alternative.ends_with_slash
        other = alternative.base.text if slash else alternative.text + "/"
        return any(each.takes_as_written(other) for each in all_of_rule)
    redirects = compile_pattern(alternative.other_form).found_in
    opposite = [each for each in all_of_rule if each.ends_with_slash != alternative.ends_with_slash]
    return any(not each.base.is_literal or redirects(each.text) for each in opposite)


def _read_alternative(text: str, is_whole: bool) -> Alternative | None:
    if not text.startswith("/"):
        return None
    cut = is_whole and text.endswith("/") and len(text) > 1
    try:
        base = read_template(text[:-1] if cut else text, PATH_DEFAULT)
        alternative = Alternative(text, is_whole, base)
        if not base.is_literal:
            checked_regex(alternative.pattern)
    except ConfigError:
        return None
    return alternative

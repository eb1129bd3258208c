"""The v2 and v3 expression: what parses, to what, and what is said about the rest."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.rules.grammar import MAX_DEPTH, MAX_RULE_CHARS, parse_expression
from shared.rules.tree import And, Call, Not, Or, to_text

A, B, C = (Call(name, ("x",)) for name in "ABC")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("A(`x`)", A),
        ('A ("x" ,)', A),
        ("A()", Call("A", ())),
        ("A(`x`, `y`)", Call("A", ("x", "y"))),
        ("A(`x`) && B(`x`) && C(`x`)", And((A, B, C))),
        ("A(`x`) || B(`x`) && C(`x`)", Or((A, And((B, C))))),
        ("(A(`x`) || B(`x`)) && C(`x`)", And((Or((A, B)), C))),
        ("(A(`x`) && B(`x`)) && C(`x`)", And((And((A, B)), C))),
        ("!A(`x`) && B(`x`)", And((Not(A), B))),
        ("!!(A(`x`))", Not(Not(A))),
        ("\n\nA(`x`)\n\n", A),
        ("\ufeffA(`x`)\r\n", A),
        ("A(`x`) &&\n B(`x`) ||\n C(`x`)", Or((And((A, B)), C))),
        ("(\nA(`x`))", A),
        ("A(\n`x`,\n)", A),
        ("!\nA(`x`)", Not(A)),
        ("A(`x`) /* c */ // d", A),
        ("A(`x`) // d\n", A),
        ("/* c\n */ A(`x`)", A),
        ("A(`a\nb\rc\\n`)", Call("A", ("a\nbc\\n",))),
        (r'A("\a\b\f\n\r\t\v\\\"")', Call("A", ('\a\b\f\n\r\t\v\\"',))),
        (r'A("\x41\101\u00e9\U0001F600\xc3\xa9\xff")', Call("A", ("AAé\U0001f600é\udcff",))),
        ("Ä_1(`x`)", Call("Ä_1", ("x",))),
    ],
)
def test_parses(text, tree):
    assert parse_expression(text) == tree
    assert parse_expression(to_text(tree)) == tree


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "rule is empty"),
        (" \n// only\n", "rule is empty"),
        ("A", "character 2: expected ( after A, found the end of the rule"),
        ("A(`x`) &&", "character 10: expected a matcher, found the end of the rule"),
        ("A(`x`)\n&& B(`x`)", "character 8: expected && or ||, found '&&'"),
        ("(A(`x`)\n)", "character 8: the line ends the expression; expected ) before its end"),
        ("A(`x`\n)", "character 6: the line ends the expression; expected , or ) before its end"),
        ("A\n(`x`)", "character 2: the line ends"),
        ("A(`x`) /* \n */ && B(`x`)", "expected && or ||"),
        ("A(`x`)\ufeff", "character 7: unexpected character"),
        ("A(`x`);", "character 7: unexpected character ';'"),
        ("A(`x`) B(`x`)", "character 8: expected && or ||, found 'B'"),
        ("A(x)", "character 3: expected a quoted string, found 'x'"),
        ("A(1)", "character 3: unexpected character '1'"),
        ("A('x')", "single quotes are not allowed"),
        ("A(`x", "character 3: a string is not closed"),
        ('A("x\n")', "character 3: a string is not closed"),
        ("A(`x`) & B(`x`)", "use &&"),
        ("A(`x`) /* c", "a comment is not closed"),
        ("A(,)", "expected a quoted string, found ','"),
        ("A(`x` `y`)", "expected , or )"),
        ("A(B(`x`))", "expected a quoted string, found 'B'"),
        ("A(`x`))", "found ')'"),
        ("(A)(`x`)", "expected ( after A"),
        ("a.B(`x`)", "unexpected character '.'"),
        ("A(`x`) and B(`x`)", "found 'and'"),
        ("A(`\0`)", "a string is not closed"),
        (r'A("a\.b")', r"character 5: unknown escape \. in a string"),
        (r'A("\'")', "unknown escape"),
        (r'A("\400")', "unknown escape"),
        (r'A("\ud800")', "unknown escape"),
        (r'A("\U00110000")', "unknown escape"),
        (r'A("\x4")', "unknown escape"),
    ],
)
def test_faults_say_where(text, reason):
    with pytest.raises(ConfigError) as caught:
        parse_expression(text)
    assert reason in caught.value.reason


def test_limits():
    parse_expression("!" * MAX_DEPTH + "A(`x`)")
    parse_expression("(" * MAX_DEPTH + "A(`x`)" + ")" * MAX_DEPTH)
    for prefix in ("!", "(", "!("):
        with pytest.raises(ConfigError, match="nested deeper"):
            parse_expression(prefix * (MAX_DEPTH + 1) + "A(`x`)")
    with pytest.raises(ConfigError, match="longer than"):
        parse_expression("A(`" + "x" * MAX_RULE_CHARS + "`)")


def test_a_long_flat_rule_is_no_nesting():
    text = " || ".join(["A(`x`)"] * 5_000)
    assert len(parse_expression(text).parts) == 5_000

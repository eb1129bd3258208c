"""Constraints: v1's list over tags, v2's expressions over labels and tags."""

import pytest

from providers.labels_constraints import label_constraints, tag_constraints, tag_expression
from shared.errors import ConfigError
from tests.support.vectors import vectors


@pytest.mark.parametrize("vector", vectors("v1", "constraints"))
def test_vector(vector):
    takes = tag_constraints("constraints", vector["config"]["constraints"])
    assert takes(vector["config"]["tags"]) == vector["expect"]["kept"]


@pytest.mark.parametrize(
    ("constraints", "tags", "taken"),
    [
        (["tag==a", "tag==b"], ["a", "b"], True),
        (["tag==a", "tag==b"], ["a"], False),
        (["tag == us-*-1"], ["us-east-1"], True),
        (["tag==us.*"], ["us-east"], False),
        (["tag==[a-z]"], ["b"], False),
        (["tag!=*"], ["x"], False),
        ([], [], True),
    ],
)
def test_every_constraint_has_to_hold(constraints, tags, taken):
    assert tag_constraints("constraints", constraints)(tags) == taken


@pytest.mark.parametrize("text", ["tag=a", "a", "", "tag==", "label==a", "tag===="])
def test_what_is_no_constraint_is_refused_by_name(text):
    if text == "tag====":
        assert tag_constraints("constraints", [text])(["=="])
        return
    with pytest.raises(ConfigError, match=r"^docker\.constraints: "):
        tag_constraints("docker.constraints", [text])


@pytest.mark.parametrize(
    ("text", "labels", "taken"),
    [
        ("", {}, True),
        ("Label(`a`, `1`)", {"a": "1"}, True),
        ("Label(`a`, `1`)", {}, False),
        ("Label(`a`, ``)", {}, True),
        ("!Label(`a`, `1`)", {}, True),
        ("LabelRegex(`a`, `^x.+y$`)", {"a": "xzy"}, True),
        ("LabelRegex(`a`, `^x.+y$`)", {"a": "xy"}, False),
        ("Label(`a`,`1`) && (Label(`b`,`2`) || Label(`b`,`3`))", {"a": "1", "b": "3"}, True),
        ("Label(`a`,`1`) && (Label(`b`,`2`) || Label(`b`,`3`))", {"a": "1", "b": "4"}, False),
    ],
)
def test_labels_are_compared(text, labels, taken):
    assert label_constraints("c", text)(labels) == taken


def test_tags_are_compared():
    takes = tag_expression("c", "Tag(`web`) && !TagRegex(`^dev-`)")
    assert [takes(tags) for tags in (["web"], ["web", "dev-x"], [])] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Label(`a`)", "takes 2 texts"),
        ("Host(`a`)", 'unknown function "Host"'),
        ("Label(`a`,`b`", "expected"),
        ("LabelRegex(`a`,`(`)", "bad regular expression"),
    ],
)
def test_a_bad_expression_is_refused_when_it_is_read(text, said):
    with pytest.raises(ConfigError, match=r"^providers\.docker\.constraints: bad constraints: ") as caught:
        label_constraints("providers.docker.constraints", text)
    assert said in str(caught.value)

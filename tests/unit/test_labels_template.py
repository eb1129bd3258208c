"""Default rules: what of Go's templates they may hold, and what is refused."""

import pytest

from providers.labels_template import MAX_TEMPLATE_CHARS, compile_template
from shared.errors import ConfigError

MODEL = {"Name": "my_app.v2", "ContainerName": "/x", "Labels": {"env": "prod", "com.x/y": "z", "empty": ""}}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Host(`{{ normalize .Name }}`)", "Host(`my-app-v2`)"),
        ("Host(`{{normalize .Name}}.{{.Labels.env}}`)", "Host(`my-app-v2.prod`)"),
        ('{{ index .Labels "com.x/y" }}', "z"),
        ('{{ index .Labels "none" }}|', "|"),
        ("{{ .Labels.none }}", "<no value>"),
        ('{{ .Name | trimSuffix ".v2" | upper }}', "MY_APP"),
        ('{{ if eq (index .Labels "env") "prod" }}yes{{ else }}no{{ end }}', "yes"),
        ("{{ if .Labels.empty }}a{{ else if .Name }}b{{ else }}c{{ end }}", "b"),
        ("{{ if .Labels.empty }}a{{ else if .Labels.empty }}b{{ else }}c{{ end }}!", "c!"),
        ("a {{- .ContainerName -}} b", "a/xb"),
        ("{{/* nothing */}}x", "x"),
        ('{{ printf "%s-%d%%" .Name 3 }}', "my_app.v2-3%"),
        ('{{ index (splitList "." .Name) 1 }}', "v2"),
        ('{{ .Labels.none | default "d" }}', "d"),
        ('{{ replace "_" "-" .Name }}', "my-app.v2"),
        ('{{ `}}` }}{{ "\\"" }}', '}}"'),
        ("{{ and true .Name }}{{ or false 7 }}{{ not true }}", "my_app.v27false"),
        ('{{ ternary "a" "b" (hasPrefix "my" .Name) }}', "a"),
        ("plain } { text", "plain } { text"),
        ("", ""),
    ],
)
def test_a_template_gives(text, rule):
    assert compile_template("rule", text).render(MODEL) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ .Name", "not closed"),
        ("{{ nonsense .Name }}", 'function "nonsense" is not known'),
        ("{{ range .Labels }}x{{ end }}", "not supported"),
        ("{{ $x := 1 }}", "not supported"),
        ("{{ if .Name }}x", "not closed by {{end}}"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ (.Name }}", "parenthesis"),
        ("{{ .Name .Name }}", "unexpected"),
        ("{{ }}", "unexpected 'end'"),
        ("{{ normalize | }}", "only a function"),
        ("{{" + "(" * 200 + ".Name" + ")" * 200 + "}}", "nested deeper"),
        ("x" * (MAX_TEMPLATE_CHARS + 1), "longer than"),
    ],
)
def test_what_cannot_work_is_refused_when_the_settings_are_checked(text, said):
    with pytest.raises(ConfigError, match=r"^providers\.docker\.defaultRule: ") as caught:
        compile_template("providers.docker.defaultRule", text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{{ .Nmae }}", "{{ index .Name 99 }}", "{{ trunc .Name 2 }}", "{{ .Name.x }}"]
)
def test_what_fails_for_a_workload_is_a_config_error(text):
    with pytest.raises(ConfigError):
        compile_template("rule", text).render(MODEL)

"""Documents: three formats, limits, and where settings stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import documents
from shared.config.documents import DocumentError, parse_document, read_document
from shared.config.positions import index_toml
from shared.config.yaml_reader import MAX_NESTING

TOML = """\
# rules
[http.routers.Web]   # a comment with ] and "
  rule = 'Host(`a.test`)'
  entryPoints = [
    "web", # first
    "secure",
  ]
"quoted key" . inner = 1

[[http.services.api.loadBalancer.servers]]
url = "http://127.0.0.1:1"
[[http.services.api.loadBalancer.servers]]
url = \"\"\"
http://[::1]:2
\"\"\"
weight = 3
  [http.services.api.loadBalancer.servers.nested]
  deep = true

[http.middlewares]
strip = { stripPrefix = { prefixes = ["/a", "/b"] } }
"""

YAML = """\
http:
  routers:
    Web:
      rule: Host(`a.test`)
      entryPoints: [web, secure]
  services:
    api:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:1
          - url: http://127.0.0.1:2
            weight: 3
"""

JSON = """\
{
  "http": {
    "routers": {"Web": {"rule": "Host(`a.test`)"}},
\t"services": {"api": {"loadBalancer": {"servers": [{"url": "x"},
      {"url": "y"}]}}}
  }
}
"""

SERVERS = ("http", "services", "api", "loadBalancer", "servers")


def place(text, text_format, *path):
    position = parse_document(text, "f", text_format).locate(path)
    return position.line, position.column


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("http", "routers", "Web"), (2, 15)),
        (("HTTP", "routers", "web", "RULE"), (3, 3)),
        (("http", "routers", "Web", "entrypoints", 1), (6, 5)),
        (("http", "routers", "Web", "quoted key", "inner"), (8, 16)),
        ((*SERVERS, 0, "url"), (11, 1)),
        ((*SERVERS, 1), (12, 34)),
        ((*SERVERS, 1, "weight"), (16, 1)),
        ((*SERVERS, 1, "nested", "deep"), (18, 3)),
        (("http", "middlewares", "strip", "stripPrefix", "prefixes", 1), (21, 45)),
        (("http", "middlewares", "strip", "stripPrefix", "forceSlash"), (21, 11)),
        (("http", "routers", "Web", "priority"), (2, 15)),
        (("tcp", "routers"), (0, 0)),
    ],
)
def test_toml_places(path, expected):
    assert place(TOML, "toml", *path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("http", "routers", "web", "rule"), (4, 7)),
        (("http", "routers", "Web", "entryPoints", 1), (5, 26)),
        ((*SERVERS, 1), (11, 13)),
        ((*SERVERS, 1, "weight"), (12, 13)),
        ((*SERVERS, 1, "preservePath"), (11, 13)),
    ],
)
def test_yaml_places(path, expected):
    assert place(YAML, "yaml", *path) == expected


def test_json_places():
    assert place(JSON, "json", "http", "routers", "web", "rule") == (3, 25)
    assert place(JSON, "json", *SERVERS, 1, "url") == (5, 8)


def test_a_document_of_no_text_is_located_by_name_only():
    document = documents.Document({"frontends": {}}, "docker")
    assert document.dialect == "v1"
    assert str(document.locate(("frontends", "a"))) == "docker"


NAMES = st.text("abcXYZ-_ .é\"'\\", min_size=1, max_size=6)


@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold), st.integers(0, 3))
def test_every_toml_key_is_found_on_its_line(names, blank_lines):
    quoted = ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names]
    text = "\n" * blank_lines + "".join(f"{key} = [1, 'x=1', {{ inner = 2 }}]\n" for key in quoted)
    index = index_toml(text)
    for number, name in enumerate(names):
        line = blank_lines + number + 1
        assert index.nearest((name,)) == (line, 1)
        found = index.nearest((name, 2, "inner"))
        assert found is not None
        assert text.splitlines()[line - 1][found[1] - 1 :].startswith("inner")


@pytest.mark.parametrize(
    ("text", "text_format", "message"),
    [
        ("a = 1\nb = = 2\n", "toml", r"^rules:2:5: Invalid value"),
        ("a = 1\na = 2\n", "toml", r"^rules:2:\d+: Cannot overwrite"),
        ("a:\n  b: 1\n  b: 2\n", "yaml", r'^rules:3:3: the key "b" is written twice'),
        ("a:\n  b: ~\n  b: ~\n", "yaml", r'^rules:3:3: the key "b" is written twice'),
        ("a: [1\nb: 2\n", "yaml", r"^rules:2:\d+: did not find expected"),
        ("a: 1\n---\nb: 2\n", "yaml", r"^rules:2:1: a second document"),
        ("a: !!python/object:os.system x\n", "yaml", r"^rules:1:4: the tag .* is not supported"),
        ("a: &x [*x]\n", "yaml", r'^rules:1:8: the alias "x" stands inside what it names'),
        ("a: *nothing\n", "yaml", r'^rules:1:4: the alias "nothing" names nothing'),
        ("[a, b]: 1\n", "yaml", r"^rules:1:1: a key must be a plain value"),
        ("- a\n", "yaml", r"^rules:1:1: expected a table"),
        ("a: \x00\n", "yaml", r"^rules: not YAML: unacceptable character"),
        ('{"a": 1,\n "b" 2}', "json", r"^rules:2:6: Expecting ':' delimiter"),
        ('{"a": 1, "a": 2}', "json", r'^rules: the key "a" is written twice'),
        ('{"a": NaN}', "json", r"^rules: NaN is not a number"),
        ('{"a": ' + "9" * 5000 + "}", "json", r"^rules: Exceeds the limit"),
    ],
)
def test_malformed_texts_name_the_place(text, text_format, message):
    with pytest.raises(DocumentError, match=message) as caught:
        parse_document(text, "rules", text_format)
    assert caught.value.diagnostic.position.file == "rules"


@pytest.mark.parametrize("text_format", ["toml", "yaml", "json"])
@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 500, 100_000])
def test_deep_nesting_is_refused(text_format, depth):
    inner = "[" * depth + "]" * depth
    text = {"toml": f"a = {inner}", "yaml": f"a: {inner}", "json": f'{{"a": {inner}}}'}[text_format]
    with pytest.raises(DocumentError, match=f"nested more than {MAX_NESTING} levels"):
        parse_document(text, "deep", text_format)


def test_long_dotted_keys_are_deep_too():
    with pytest.raises(DocumentError, match="nested more than"):
        parse_document(".".join("a" * (MAX_NESTING + 2)) + " = 1", "deep", "toml")


def test_aliases_cannot_explode():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(DocumentError, match="aliases stand for more than"):
        parse_document("\n".join(lines), "laughs", "yaml")


def test_aliases_and_merge_keys_work():
    text = "base: &b {weight: 1, url: a}\none: {<<: *b, url: b}\ntwo: [*b, *b]\nthree:\n  <<: [*b, {x: 1}]\n"
    tree = parse_document(text, "f", "yaml").tree
    assert tree["one"] == {"url": "b", "weight": 1}
    assert tree["two"] == [tree["base"], tree["base"]]
    assert tree["three"] == {"weight": 1, "url": "a", "x": 1}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("0x1F", 31),
        ("0o17", 15),
        ("-12", -12),
        ("1.5e3", 1500.0),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("1_000", "1_000"),
        ("9" * 40, "9" * 40),
        ("1e999", "1e999"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_yaml_scalars(written, value):
    assert parse_document(f"key: {written}", "f", "yaml").tree == {"key": value}


@pytest.mark.parametrize(
    ("text", "text_format"), [("a: ~\nb: {c: }\n", "yaml"), ('{"a":null,"b":{"c":null}}', "json")]
)
def test_nulls_are_not_written(text, text_format):
    assert parse_document(text, "f", text_format).tree == {"b": {}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_yaml_text_is_an_empty_document(text):
    assert parse_document(text, "f", "yaml").tree == {}


@pytest.mark.parametrize(
    ("roots", "dialect"), [("[Frontends]", "v1"), ("[backends]", "v1"), ("[http]", "v2"), ("", "v2")]
)
def test_the_dialect_follows_from_the_roots(roots, dialect):
    assert parse_document(roots, "f", "toml").dialect == dialect


def test_templates_are_named():
    document = parse_document('# x\na = "{{ env }}"\n', "f.toml", "toml")
    assert [str(note.position) for note in document.notes] == ["f.toml:2:6"]
    assert "templates are not executed" in document.notes[0].reason
    with pytest.raises(DocumentError, match="templates are not executed"):
        parse_document("{{ range }}\n", "f.toml", "toml")


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "rules.tml"
    path.write_bytes("\ufeff[frontends]\n".encode())
    assert read_document(path).tree == {"frontends": {}}
    assert read_document(path, origin="rules").origin == "rules"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(DocumentError, match=re.escape(f"{path}:2: not UTF-8")):
        read_document(path)
    with pytest.raises(DocumentError, match=r"unsupported file extension: \.ini"):
        read_document(tmp_path / "x.ini")
    with pytest.raises(DocumentError, match="cannot be read: No such file"):
        read_document(tmp_path / "x.toml")
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 4)
    with pytest.raises(DocumentError, match="larger than 4 bytes"):
        read_document(path)

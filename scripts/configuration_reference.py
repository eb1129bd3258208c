"""Write the generated part of docs/configuration.md from the structs, or check that it is up to date.

    scripts/configuration_reference.py          writes
    scripts/configuration_reference.py --check  exits with 1 if the file says something else

One section per struct: the path where it is written, the first sentence of its docstring, its settings with
type and default. A sentence about one setting comes from the string literal under the field, or from the
``Attributes`` of the docstring. What stands above the mark in the file is written by hand and kept.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "configuration.md"
MARK = "<!-- Below this line everything is written by scripts/configuration_reference.py. -->"
ANY_NAME = "<name>"
SCALARS = {str: "text", int: "number", float: "number", bool: "true or false", Any: "anything"}

Struct = type[msgspec.Struct]


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    from shared.config.dynamic import DynamicConfig
    from shared.config.static import StaticConfig
    from shared.config.static_v1 import V1Static

    by_hand, mark, _ = PAGE.read_text().partition(MARK)
    if not mark:
        print(f"{PAGE.relative_to(PROJECT)}: the mark is missing: {MARK}", file=sys.stderr)
        return 1
    roots: list[tuple[str, Struct]] = [
        ("Static settings", StaticConfig),
        ("Static settings of v1", V1Static),
        ("Dynamic settings", DynamicConfig),
    ]
    wanted = by_hand + MARK + "\n" + "".join(render_root(title, struct) for title, struct in roots)
    if PAGE.read_text() == wanted:
        return 0
    if arguments == ["--check"]:
        print("docs/configuration.md is out of date; run scripts/configuration_reference.py", file=sys.stderr)
        return 1
    PAGE.write_text(wanted)
    return 0


def render_root(title: str, root: Struct) -> str:
    """All sections under one root."""
    places: dict[Struct, str] = {}
    collect(root, "", places)
    sections = [render_section(struct, path, places) for struct, path in places.items()]
    return f"\n## {title}\n" + "".join(sections)


def collect(struct: Struct, path: str, places: dict[Struct, str]) -> None:
    """Note where each struct is written first; what is met again is described there."""
    if struct in places:
        return
    places[struct] = path
    for key, kind, _ in settings(struct):
        for found, suffix in sections_in(kind):
            collect(found, f"{path}.{key}{suffix}" if path else f"{key}{suffix}", places)


def settings(struct: Struct) -> Iterator[tuple[str, Any, msgspec.structs.FieldInfo]]:
    """Written key, annotation and field of every setting that a document may name."""
    hints = typing.get_type_hints(struct, include_extras=True)
    for each in msgspec.structs.fields(struct):
        if extra_kind(hints[each.name]) != "internal":
            yield each.encode_name, hints[each.name], each


def extra_kind(annotation: Any) -> str | None:
    """The kind that ``shared.config.kinds`` marks an annotation with."""
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.extra and "kind" in meta.extra:
            return str(meta.extra["kind"])
    return None


def sections_in(annotation: Any) -> Iterator[tuple[Struct, str]]:
    """The structs that stand under a setting, with what comes between: a name, an index or nothing."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation, ""
    elif get_origin(annotation) is dict:
        for found, suffix in sections_in(get_args(annotation)[1]):
            yield found, f".{ANY_NAME}{suffix}"
    elif get_origin(annotation) is tuple:
        for found, suffix in sections_in(get_args(annotation)[0]):
            yield found, f"[]{suffix}"
    else:
        for part in get_args(annotation):
            yield from sections_in(part)


def render_section(struct: Struct, path: str, places: dict[Struct, str]) -> str:
    """One struct as heading, sentence and table."""
    heading = f"\n### `{path}`\n\n" if path else "\n"
    sentences = setting_sentences(struct)
    rows = []
    for key, kind, each in settings(struct):
        cells = [f"`{key}`", type_text(kind, places), default_text(kind, each)]
        rows.append(cells + [sentences.get(each.name, "")] * bool(sentences))
    text = heading + first_sentence(struct) + "\n"
    if not rows:
        return text + "\nIt has no settings of its own; writing it switches it on.\n"
    titles = ["setting", "type", "default"] + ["meaning"] * bool(sentences)
    return text + "\n" + "".join(table_line(cells) for cells in [titles, ["---"] * len(titles), *rows])


def table_line(cells: list[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def first_sentence(struct: Struct) -> str:
    """What the struct is, without its source and the markup of docstrings."""
    text = re.sub(r"\s+", " ", inspect.cleandoc(struct.__doc__ or "").split("\n\n")[0])
    text = re.sub(r" \(spec v[12][^)]*\)", "", text).replace("``", "`")
    return re.split(r"(?<=\.) ", text)[0]


def setting_sentences(struct: Struct) -> dict[str, str]:
    """Sentences about single settings, by field name, those of base structs included."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            found |= attribute_paragraphs(base.__doc__ or "") | literals_under_fields(base)
    return found


def attribute_paragraphs(docstring: str) -> dict[str, str]:
    """The entries of an ``Attributes:`` section."""
    _, _, section = inspect.cleandoc(docstring).partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in entries}


def literals_under_fields(struct: type) -> dict[str, str]:
    """String literals that stand directly under a field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    found: dict[str, str] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for field, literal in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(literal, ast.Expr) and isinstance(literal.value, ast.Constant):
            found[field.target.id] = re.sub(r"\s+", " ", str(literal.value.value)).replace("``", "`")
    return found


def type_text(annotation: Any, places: dict[Struct, str]) -> str:
    """An annotation in the words of people who write configuration."""
    if extra_kind(annotation) == "duration":
        return "duration"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return extra_kind(annotation) or type_text(parts[0], places)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part, places) for part in parts if part is not types.NoneType)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {type_text(parts[0], places)}"
    if origin is dict:
        return f"by name: {type_text(parts[1], places)}"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"section, see `{places[annotation]}`"
    return SCALARS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def default_text(annotation: Any, each: msgspec.structs.FieldInfo) -> str:
    """A default as it would be written."""
    default = each.default
    if default is msgspec.NODEFAULT and each.default_factory is not msgspec.NODEFAULT:
        default = each.default_factory()
    if default is msgspec.NODEFAULT:
        return "required"
    if isinstance(default, msgspec.Struct) or default in ((), {}, "", None):
        return ""
    if extra_kind(annotation) == "duration" and isinstance(default, int | float):
        return f"`{default:g}s`"
    if isinstance(default, tuple):
        return ", ".join(f"`{part}`" for part in default)
    return f"`{json.dumps(default) if isinstance(default, bool | int | float) else default}`"


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main(sys.argv[1:]))

"""`avis profile`: lay a file of params/ over params.yaml, block by block, comments included."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap


def profile(
    name: Annotated[str | None, typer.Argument(help="A file of params/, without .yaml.")] = None,
) -> None:
    """Write a profile into params.yaml, or list them."""
    from rich import print as show
    from rich.markup import escape

    from components.core.run.files import write_text
    from components.core.run.params import PARAMS
    from components.tools.parameters.profiles import EXTENDS, files_of_profile, profiles

    if name is None:
        for path in profiles().values():
            first_line = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            show(f"[bold]{path.stem:18}[/bold] {escape(first_line)}")
        show("avis profile NAME writes one into params.yaml.")
        return
    before, after = read_document(PARAMS), read_document(PARAMS)
    text = PARAMS.read_text(encoding="utf-8")
    for path in files_of_profile(name):
        blocks = read_document(path)
        blocks.pop(EXTENDS, None)
        _lay_over(after, blocks)
    old_values, new_values = dict(_flat(before)), dict(_flat(after))
    changed = [key for key in {**old_values, **new_values} if old_values.get(key) != new_values.get(key)]
    if changed:
        write_text(PARAMS, text_of(after))
    for key in changed:
        old, new = (escape(str(values.get(key, "-"))) for values in (old_values, new_values))
        show(f"{key}: {old} → [bold]{new}[/bold]")
    if changed and text_of(before) != text:
        show(f"Spacing and quotes of {PARAMS} were changed elsewhere, too; its values and comments were not.")
    show(
        f"{len(changed)} values changed in {PARAMS}; `git checkout {PARAMS}` takes it back."
        if changed
        else "Nothing changed."
    )
    if after.get("dataset") == "aviseg":
        _find_download(Path(after["ingest"]["manifest"]))


def _find_download(manifest: Path) -> None:
    """Write the manifest of the AVISeg download beside it, or say where the download belongs."""
    folder = manifest.parent
    if manifest.exists():
        return
    if any(folder.glob("*/JPEGImages")):
        from components.tools.manifests.from_aviseg import manifest_from_aviseg
        from components.tools.manifests.writing import write_named

        write_named(manifest_from_aviseg(folder), manifest)
        return
    print(
        f"Next: put the AVISeg download (or a link to it) at {folder}, with train.json, train/JPEGImages, … "
        f"in it, then run: avis manifest from-aviseg {folder}"
    )


def _yaml() -> "YAML":
    """Writes what it reads: comments, quotes, flow lists, and the indentation of params.yaml."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # a long line stays one
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def read_document(path: Path) -> "CommentedMap":
    """Read a parameter file with its comments.

    Raises:
        AvisError: if the file is missing, is not YAML, or has a block that no stage knows.
    """
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    from components.core.run.params import ALLOWED_BLOCKS
    from components.tools.parameters.profiles import EXTENDS

    try:
        document = _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AvisError(
            "there is no parameter file", where=str(path), fix="Run in the repository's root."
        ) from None
    except YAMLError as error:
        raise AvisError(f"not valid YAML: {error}", where=str(path)) from None
    if not isinstance(document, CommentedMap):
        raise AvisError("the file must consist of blocks", where=str(path))
    for name in document:
        if name not in (*ALLOWED_BLOCKS, EXTENDS):
            raise AvisError(
                f"{name!r} is no known block",
                where=f"{path}, line {document.lc.key(name)[0] + 1}",
                fix=f"Allowed: {', '.join(ALLOWED_BLOCKS)}.",
            )
    return document


def text_of(document: "CommentedMap") -> str:
    """Return a parameter file's text."""
    from io import StringIO

    text = StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _lay_over(document: "CommentedMap", blocks: "CommentedMap") -> None:
    """Replace whole blocks; what stands between two blocks introduces the second one: it stays."""
    for name, value in blocks.items():
        between = _cut_end(document, name) if name in document else ""
        _cut_end(blocks, name)
        own, theirs = (part.ca.items.get(name) or [None] * 4 for part in (document, blocks))
        document[name] = value
        # ruamel keeps these comments by their place: [after the key, before it, after the value, before it]
        document.ca.items[name] = [theirs[0], own[1], *theirs[2:]]
        _add_end(document, name, between)


def _end_of(document: "CommentedMap", name: str) -> tuple[Any, Any, int]:
    """Where ruamel keeps the lines that follow a block: with its last value, wherever that is nested."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    parent: CommentedMap | CommentedSeq = document
    key: Any = name
    value = parent[key]
    while isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        parent, key = value, (list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1)
        value = parent[key]
    return parent, key, 2 if isinstance(parent, CommentedMap) else 0


def _cut_end(document: "CommentedMap", name: str) -> str:
    """Take away and return the lines after a block; a comment on its last line stays."""
    parent, key, place = _end_of(document, name)
    token = (parent.ca.items.get(key) or [None] * 4)[place]
    if token is None:
        return ""
    line, end, rest = token.value.partition("\n")
    token.value = line + end
    return str(rest)


def _add_end(document: "CommentedMap", name: str, lines: str) -> None:
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    if not lines:
        return
    parent, key, place = _end_of(document, name)
    slots = parent.ca.items.setdefault(key, [None] * (4 if place else 2))
    if slots[place] is None:
        slots[place] = CommentToken("\n", CommentMark(0), None)
    slots[place].value += lines


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

"""`avis profile`: lay a file of params/ over params.yaml, block by block, comments included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich import print as show
from rich.markup import escape

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.params import ALLOWED_BLOCKS, PARAMS

PROFILES = Path("params")
EXTENDS = "extends"


@dataclass(frozen=True, slots=True)
class Document:
    """A parameter file as text: its head, then each top-level block with the lines up to the next."""

    head: str
    blocks: dict[str, str]

    @property
    def text(self) -> str:
        """The whole file."""
        return self.head + "".join(self.blocks.values())


def list_profiles() -> None:
    """Print the names of all profiles with the first line of each file."""
    for path in _profiles():
        show(f"[bold]{path.stem:18}[/bold] {escape(path.read_text().partition(chr(10))[0].lstrip('# '))}")
    show("avis profile NAME writes one into params.yaml.")


def apply_profile(name: str) -> None:
    """Replace the blocks of params.yaml that the profile has, and print what that changed.

    For AVISeg also write the download's manifest, if that is there and has none.

    Raises:
        AvisError: if there is no such profile, or one of the files is not as it must be.
    """
    before = read_document(PARAMS)
    blocks = dict(before.blocks)
    for block, text in _read_profile(name).items():
        old = before.blocks.get(block, "")
        # What stands between two blocks introduces the second one: it stays.
        blocks[block] = text.rstrip("\n") + "\n" + _tail(old)
    after = Document(before.head, blocks)
    old_values, new_values = (dict(_flat(yaml.safe_load(d.text) or {})) for d in (before, after))
    changed = [key for key in {**old_values, **new_values} if old_values.get(key) != new_values.get(key)]
    if changed:
        write_text(PARAMS, after.text)
    for key in changed:
        old, new = (escape(str(values.get(key, "-"))) for values in (old_values, new_values))
        show(f"{key}: {old} → [bold]{new}[/bold]")
    show(
        f"{len(changed)} values changed in {PARAMS}; `git checkout {PARAMS}` takes it back."
        if changed
        else "Nothing changed."
    )
    values = yaml.safe_load(after.text)
    if values.get("dataset") == "aviseg":
        _find_download(Path(values["ingest"]["manifest"]))


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
    show(
        f"Next: put the AVISeg download (or a link to it) at {folder}, with train.json, train/JPEGImages, … "
        f"in it, then run: avis manifest from-aviseg {folder}"
    )


def read_document(path: Path) -> Document:
    """Cut a parameter file into its blocks.

    Raises:
        AvisError: if the file is missing, is not YAML, or has a block that no stage knows.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise AvisError(
            "there is no parameter file", where=str(path), fix="Run in the repository's root."
        ) from None
    except yaml.YAMLError as error:
        raise AvisError(f"not valid YAML: {error}", where=str(path)) from None
    if not isinstance(node, yaml.MappingNode):
        raise AvisError("the file must consist of blocks", where=str(path))
    lines = text.splitlines(keepends=True)
    starts = [(key.value, key.start_mark.line) for key, _ in node.value]
    for name, line in starts:
        if name not in (*ALLOWED_BLOCKS, EXTENDS):
            raise AvisError(
                f"{name!r} is no known block",
                where=f"{path}, line {line + 1}",
                fix=f"Allowed: {', '.join(ALLOWED_BLOCKS)}.",
            )
    ends = [line for _, line in starts[1:]] + [len(lines)]
    blocks = {name: "".join(lines[start:end]) for (name, start), end in zip(starts, ends, strict=True)}
    return Document("".join(lines[: starts[0][1]]), blocks)


def _read_profile(name: str) -> dict[str, str]:
    """Return the profile's blocks as text, over those of the profile that it extends."""
    paths = {path.stem: path for path in _profiles()}
    if name not in paths:
        raise AvisError(f"there is no profile {name!r}", fix=f"Profiles: {', '.join(paths) or 'none'}.")
    blocks = {block: _without_tail(text) for block, text in read_document(paths[name]).blocks.items()}
    extended = blocks.pop(EXTENDS, None)
    return {**_read_profile(yaml.safe_load(extended)[EXTENDS]), **blocks} if extended else blocks


def _profiles() -> list[Path]:
    return sorted(PROFILES.glob("*.yaml"))


def _tail(block: str) -> str:
    """Return the blank and comment lines at a block's end that begin at the margin."""
    return block[len(_without_tail(block)) :]


def _without_tail(block: str) -> str:
    lines = block.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "".join(lines)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

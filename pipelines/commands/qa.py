"""`avis qa`: the checks by hand, their list, and the repairs that need no judgement."""

import shutil
from collections import Counter
from pathlib import Path

from components.annotate.params import AnnotateParams
from components.annotate.parsing.target_folder import new_folder
from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.tools.label_repair import ON_REQUEST, Repair, fix_file


def fix(source: Path | None, out: Path | None, also: list[str]) -> None:
    """Repair annotation files and print what was done.

    Args:
        source: an AVISeg JSON file or a folder of them; by default annotate.source.
        out: the repaired file, or folder; by default beside the source.
        also: repairs that change what is labelled.

    Raises:
        AvisError: the source is missing or no AVISeg JSON, or a repair is unknown.
    """
    for name in also:
        if name not in ON_REQUEST:
            raise AvisError(
                f"There is no repair {name!r}", where="--also", fix=f"Known: {', '.join(ON_REQUEST)}."
            )
    source = source or Path(read_block("annotate", AnnotateParams).source)
    if not source.exists():
        raise AvisError("There is no such file or folder", where=str(source))
    target = out or (
        source.with_name(f"{source.name}-fixed")
        if source.is_dir()
        else source.with_name(f"{source.stem}.fixed.json")
    )
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise AvisError(
            "There is something already",
            where=str(target),
            fix="Remove it, or name another target with --out.",
        )
    repairs = _fix_folder(source, target, also) if source.is_dir() else fix_file(source, target, also)
    if not repairs:
        print(f"Nothing to repair in {source}.")
        return
    for name, number in Counter(repair.fix for repair in repairs).items():
        print(f"{name:20} {number}")
    print(f"Written to {target}; what was done: {target}{'/**/*' if source.is_dir() else ''}.repairs.csv")
    print(f"To use it, set annotate.source in params.yaml to {target}.")


class _NothingToRepairError(Exception):
    pass


def _fix_folder(source: Path, target: Path, also: list[str]) -> list[Repair]:
    """A copy of the whole folder with its .json files repaired; nothing where there is nothing to repair."""
    files = sorted(source.rglob("*.json"))
    if not files:
        raise AvisError("The folder has no .json file", where=str(source))
    repairs: list[Repair] = []
    try:
        with new_folder(target) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            for file in files:
                repairs += fix_file(file, folder / file.relative_to(source), also)
            if not repairs:
                raise _NothingToRepairError
    except _NothingToRepairError:
        return []
    return repairs

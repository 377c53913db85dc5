"""`avis qa`: the checks by hand, their list, and the repairs that need no judgement."""

import shutil
from pathlib import Path

from components.core.errors import AvisError
from components.core.params import read_block


def fix(source: Path | None, out: Path | None, also: list[str]) -> None:
    """Repair annotation files and print what was done.

    Args:
        source: an AVISeg JSON file or a folder of them; by default annotate.source.
        out: the repaired file, or folder; by default beside the source.
        also: repairs that change what is labelled.

    Raises:
        AvisError: the source is missing or no AVISeg JSON, or a repair is unknown.
    """
    from components.annotate.params import AnnotateParams
    from components.qa.fixes import ON_REQUEST, fix_file

    for name in also:
        if name not in ON_REQUEST:
            raise AvisError(
                f"There is no repair {name!r}", where="--also", fix=f"Known: {', '.join(ON_REQUEST)}."
            )
    source = source or Path(read_block("annotate", AnnotateParams).source)
    if not source.exists():
        raise AvisError("There is no such file or folder", where=str(source))
    folder = source.is_dir()
    target = out or (
        source.with_name(f"{source.name}-fixed") if folder else source.with_name(f"{source.stem}.fixed.json")
    )
    if target.resolve() == source.resolve():
        raise AvisError("The repaired file would replace its source", where="--out", fix="Name another one.")
    files = sorted(source.glob("*.json")) if folder else [source]
    if not files:
        raise AvisError("The folder has no .json file", where=str(source))
    counts: dict[str, int] = {}
    for file in files:
        for repair in fix_file(file, target / file.name if folder else target, also):
            counts[repair.fix] = counts.get(repair.fix, 0) + 1
    if not counts:
        print(f"Nothing to repair in {source}.")
        return
    if folder:  # the new folder takes the old one's place: what needed no repair belongs into it, too
        for file in sorted(source.iterdir()):
            if file.is_file() and not (target / file.name).exists():
                shutil.copy2(file, target / file.name)
    for name, count in counts.items():
        print(f"{name:20} {count}")
    print(f"Written to {target}; what was done: {target}{'/*' if folder else ''}.repairs.csv")
    print(f"To use it, set annotate.source in params.yaml to {target}.")

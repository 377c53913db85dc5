"""Profiles: files of params/ that are laid over params.yaml, block by block."""

from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.params import parse_params

EXTENDS = "extends"
_FOLDER = Path("params")


def profiles() -> dict[str, Path]:
    """Every profile's file, by its name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def files_of_profile(name: str) -> list[Path]:
    """A profile's file, behind those that it extends; of each, whole blocks take the place of earlier ones.

    Raises:
        AvisError: there is no such profile, one that it extends is missing, or it extends itself.
    """
    known, files = profiles(), list[Path]()
    wanted: str | None = name
    while wanted is not None:
        if wanted not in known:
            raise AvisError(f"there is no profile {wanted!r}", fix=f"Profiles: {', '.join(known) or 'none'}.")
        if known[wanted] in files:
            raise AvisError(f"the profile {wanted!r} extends itself", where=str(known[wanted]))
        files.append(known[wanted])
        wanted = parse_params(known[wanted]).values.get(EXTENDS)
    return files[::-1]

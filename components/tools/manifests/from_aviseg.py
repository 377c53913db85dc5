"""The manifest of an AVISeg download: what is there is taken as it is, what is missing is fetched."""

from pathlib import Path

from components.core.raw.clip_names import video_id_of
from components.core.raw.manifest import ManifestEntry
from components.core.records.annotations import SPLITS
from components.core.run.errors import AvisError
from components.tools.manifests.from_names import Named, manifest_from_names, read_names, source_text


def manifest_from_aviseg(folder: Path, *, local: Path | None = None, whole: bool = False) -> Named:
    """One entry per video, in the order of splits and names.

    A video with its folder `<split>/JPEGImages/<video>` is taken from there. One that only `<split>.json`
    names is taken as manifest_from_names does it. The video id is the video's name, with `_` for what a file
    name of ours may not hold.

    Args:
        folder: the download.
        local, whole: as of manifest_from_names.

    Raises:
        AvisError: there is no such folder, a JSON cannot be read, or two videos would have one id.
    """
    made = Named()
    seen: dict[str, str] = {}
    for split in SPLITS:
        images = folder / split / "JPEGImages"
        folders = {path.name for path in images.iterdir() if path.is_dir()} if images.is_dir() else set()
        document = folder / f"{split}.json"
        named = {name for name, _ in read_names(document)} if document.is_file() else set()
        # What nobody names, or is whole. Ingest says what is wrong with the others of nobody's.
        there = {name for name in folders if name not in named or _is_whole(folder / split, name)}
        missing = manifest_from_names(
            [(name, split) for name in sorted(named - there)], local=local, whole=whole
        )
        made.local += missing.local + len(there)
        made.left_out |= missing.left_out
        entries = [
            ManifestEntry(video_id_of(name), source_text(images / name), split=split) for name in there
        ]
        for entry in sorted([*entries, *missing.entries], key=lambda entry: entry.video_id):
            if entry.video_id in seen:
                raise AvisError(
                    f"two videos would have the id {entry.video_id!r}",
                    where=f"{seen[entry.video_id]} and {entry.source}",
                    fix="Rename one, in its annotations too.",
                )
            seen[entry.video_id] = entry.source
            made.entries.append(entry)
    if not made.entries and not made.left_out:
        raise AvisError(
            "this is no AVISeg download",
            where=str(folder),
            fix="It holds train/JPEGImages/<video>/*.jpg and train/WAVAudios/<video>.wav, or val, or test.",
        )
    return made


def _is_whole(split: Path, name: str) -> bool:
    """Whether a download has a clip's pictures and its sound."""
    pictures = (split / "JPEGImages" / name).iterdir()
    sound = split / "WAVAudios" / f"{name}.wav"
    return sound.is_file() and any(file.suffix.lower() in (".jpg", ".jpeg") for file in pictures)

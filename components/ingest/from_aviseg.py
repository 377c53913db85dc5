"""The manifest of an AVISeg download: its frames and sound are there already, nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from components.core.errors import AvisError
from components.core.files import safe_name
from components.core.records import SPLITS, ManifestEntry


def manifest_from_aviseg(folder: Path) -> list[ManifestEntry]:
    """One entry per folder `<split>/JPEGImages/<video>`, in the order of splits and names.

    The video id is the folder's name, with `_` for what a file name of ours may not hold.

    Raises:
        AvisError: there is no such folder, or two videos would have one id.
    """
    entries: dict[str, ManifestEntry] = {}
    for split in SPLITS:
        images = folder / split / "JPEGImages"
        if not images.is_dir():
            continue
        for video in sorted(path for path in images.iterdir() if path.is_dir()):
            video_id = safe_name(re.sub(r"^\.|\.(?=\.)|[^A-Za-z0-9_.-]", "_", video.name)[:128])
            if video_id in entries:
                raise AvisError(
                    f"two videos would have the id {video_id!r}",
                    where=f"{entries[video_id].source} and {video}",
                    fix="Rename one, in its annotations too.",
                )
            entries[video_id] = ManifestEntry(video_id=video_id, source=str(video), split=split)
    if not entries:
        raise AvisError(
            "this is no AVISeg download",
            where=str(folder),
            fix="It holds train/JPEGImages/<video>/*.jpg and train/WAVAudios/<video>.wav, or val, or test.",
        )
    return list(entries.values())

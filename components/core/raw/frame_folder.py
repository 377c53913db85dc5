"""A video as AVISeg publishes it: numbered JPEGs, one per second, with a WAV and perhaps audio features."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from components.core.run.files import sha256_file

FRAMES_SUFFIX = ".frames"  # of such a video's folder in data/raw
AUDIO_NAME = "audio.wav"
FEATURES_NAME = "features.npy"


def frame_files(folder: Path) -> list[Path]:
    """The JPEGs of a folder in the order of their numbers."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg")]
    return sorted(files, key=_numbers)


def _numbers(file: Path) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.stem)]


def sha256_folder(folder: Path) -> str:
    """SHA-256 over the names and the hashes of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(f"{file.name}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that is not possible (another disk, another owner)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

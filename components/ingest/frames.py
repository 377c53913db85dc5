"""Take over a video that is already there as frames: a folder in the AVISeg layout."""

import shutil
from pathlib import Path

from components.core.media.container import MediaError, MediaProblem, probe
from components.core.media.sound import read_sound
from components.core.raw.frame_folder import (
    AUDIO_NAME,
    FEATURES_NAME,
    FRAMES_SUFFIX,
    frame_files,
    link_or_copy,
    sha256_folder,
)
from components.core.raw.index import RawEntry
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder
from components.ingest.address import Source
from components.ingest.entry_row import ok_row
from components.ingest.params import IngestParams
from components.ingest.verify import Verified


def take_frames(source: Source, entry: ManifestEntry, params: IngestParams, raw: Path) -> RawEntry:
    """Take a folder of frames over to data/raw, as it is.

    Raises:
        AvisError: a part of it is asked for.
        MediaError: as link_frames, or it is not the folder that the manifest means.
    """
    if entry.start_s or entry.end_s is not None:
        raise AvisError("start_s and end_s cannot cut a folder of frames", fix="Leave them empty.")
    if source.path is None:
        raise AvisError("a folder of frames needs a path")
    target = raw / f"{entry.video_id}{FRAMES_SUFFIX}"
    with replace_folder(target) as temporary:
        verified = link_frames(source.path, temporary, min_duration_s=params.min_duration_s)
    digest = sha256_folder(target)
    if entry.sha256 is not None and digest != entry.sha256:
        shutil.rmtree(target)
        raise MediaError(f"the folder's SHA-256 is {digest}, the manifest says {entry.sha256}")
    size_bytes = sum(file.stat().st_size for file in target.iterdir())
    return ok_row(
        entry,
        params,
        verified,
        path=target.name,
        sha256=digest,
        source_sha256=digest,
        size_bytes=size_bytes,
    )


def link_frames(source: Path, target: Path, *, min_duration_s: float) -> Verified:
    """Link (or copy) a folder's JPEGs, its WAV and its features to an empty folder, decoding each once.

    Args:
        source: `<split>/JPEGImages/<video>`; the sound is `<split>/WAVAudios/<video>.wav`, features (not
            required) are `<split>/FEATAudios/<video>.npy`.
        target: receives the JPEGs under their names, audio.wav and features.npy.
        min_duration_s: less is too short.

    Raises:
        MediaError: no frames, no sound, or one that does not decode.
    """
    from PIL import Image

    frames = frame_files(source)
    if not frames:
        raise MediaError("the folder holds no JPEGs", problem=MediaProblem.NO_VIDEO, where=str(source))
    if len(frames) < min_duration_s:
        raise MediaError(
            f"there are {len(frames)} frames, one per second; {min_duration_s:g} s are needed",
            problem=MediaProblem.TOO_SHORT,
            where=str(source),
        )
    split = source.parent.parent
    audio = split / "WAVAudios" / f"{source.name}.wav"
    if not audio.is_file():
        raise MediaError("there is no sound of the frames", problem=MediaProblem.NO_AUDIO, where=str(audio))
    size = (0, 0)
    for frame in frames:
        try:
            with Image.open(frame, formats=["JPEG"]) as image:
                image.load()
                found = image.size
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise MediaError(f"a frame does not decode: {error}", where=str(frame)) from None
        if size not in ((0, 0), found):
            raise MediaError(
                f"the frame is {found[0]}x{found[1]}, others {size[0]}x{size[1]}", where=str(frame)
            )
        size = found
        link_or_copy(frame, target / frame.name)
    read_sound(audio, rate_hz=16_000)
    codec = probe(audio).audio_codec or ""
    link_or_copy(audio, target / AUDIO_NAME)
    features = split / "FEATAudios" / f"{source.name}.npy"
    if features.is_file():
        link_or_copy(features, target / FEATURES_NAME)
    return Verified(target, float(len(frames)), size[0], size[1], 1.0, "mjpeg", codec)

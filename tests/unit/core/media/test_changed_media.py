"""Small media files, changed anywhere: each is read, or refused with one message; nothing else comes out.

What crashes native code ends this process, and so does what hangs in it; `faulthandler` then prints where.
"""

import contextlib
import faulthandler
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.core.media.container import MediaError
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import read_sound
from components.core.raw.index import Status
from components.core.records.changes import Changes
from components.ingest.remux import remux
from components.ingest.verify import verify
from tests.support.clips import make_clip, make_clip_of_tracks
from tests.support.parts import make_part

OPUS = {"audio_codec": "libopus", "rate_hz": 48_000}
MP3 = {"audio_codec": "mp3"}
KINDS: dict[str, dict] = {
    "a.mp4": {},
    "a.mkv": {"rotation": 90},
    "a.webm": {"video_codec": "libvpx-vp9", **OPUS},
    "a.ts": {},
    "a.avi": {"video_codec": "mjpeg", "pix_fmt": "yuvj420p", **MP3},
    "a.mpg": {},
    "a.flv": {},
    "tracks.mkv": {},
    "tracks.ts": {},
    "a.wav": {"video_codec": None, "audio_codec": "pcm_s16le"},
    "a.mp3": {"video_codec": None, **MP3},
}
LONGEST_HEADER = 1_500
LONGEST_S = 300  # of an example that takes a tenth of a second


@cache
def whole(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        if path.stem == "tracks":
            container = {".mkv": "matroska", ".ts": "mpegts"}[path.suffix]
            tones_hz = [None, 440.0, 880.0]
            return make_clip_of_tracks(path, tones_hz, empty_pictures=True, container=container).read_bytes()
        if path.suffix == ".mpg":
            return make_part(path, 1.4, grey=60, tone_hz=440, codecs=("mpeg2video", "mp2")).read_bytes()
        return make_clip(path, seconds=1.4, size=(64, 48), flashes_s=(0.5,), **KINDS[name]).read_bytes()


@st.composite
def changed_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's name and what became of its content."""
    name = draw(st.sampled_from(sorted(KINDS)))
    content = bytearray(whole(name))
    for _ in range(draw(st.integers(1, 4))):
        way = draw(st.sampled_from(["flip", "flip header", "field", "zero", "cut", "drop", "double", "join"]))
        if len(content) < 16:
            break
        last = len(content) - 9
        at = draw(st.integers(0, min(last, LONGEST_HEADER) if way in ("flip header", "field") else last))
        length = draw(st.integers(1, 200))
        if way in ("flip", "flip header"):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif way == "field":  # a number of a header: none, the highest, the lowest below zero, any
            number = draw(st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x80\0\0\0", b"\x7f\xff\xff\xff", None]))
            content[at : at + 4] = number or draw(st.binary(min_size=4, max_size=4))
        elif way == "zero":
            content[at : at + length] = bytes(length)
        elif way == "cut":
            del content[at:]
        elif way == "drop":
            del content[at : at + length]
        elif way == "double":
            content[at:at] = content[at : at + length]
        else:
            content += whole(draw(st.sampled_from(sorted(KINDS))))
    return name, bytes(content)


@given(changed_files(), st.booleans())
def test_a_changed_file_is_read_or_refused(file: tuple[str, bytes], cuts: bool) -> None:
    name, content = file
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            changes = Changes()
            if cuts:
                kept, frame_s = remux([path], Path(folder), start_s=0.1, end_s=1.3, changes=changes)
                assert verify(kept, min_duration_s=0.5, frame_s=frame_s).duration_s > 0
            else:
                reader = ClipReader(path, threads=1)
                pictures = [picture for _, picture in reader]
                assert {(picture.dtype, picture.shape) for picture in pictures} == {
                    (np.dtype(np.uint8), pictures[0].shape)
                }
                assert len(reader.audio) == 16_000 * len(pictures)
                changes = reader.changes
            assert all(sentence.strip() for sentence in changes.sentences())
        except MediaError as error:
            refused(error, path)
        with contextlib.suppress(MediaError):
            assert read_sound(path, rate_hz=16_000).shape[1] == 1
        faulthandler.cancel_dump_traceback_later()


def refused(error: MediaError, path: Path) -> None:
    """One message with a status of the index."""
    assert Status(error.problem.value) is not Status.OK
    assert len(str(error).splitlines()) == 1 and "Traceback" not in str(error)

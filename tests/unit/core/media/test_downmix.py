"""How channels become mono: as FFmpeg mixes them, and where it is not followed."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from components.core.media import downmix
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.sound import Soundtrack, read_sound, stream_sound
from components.core.records.changes import Changes, changes_of_text
from components.core.video.clip import VideoClip
from tests.support.clips import remuxed

RATE_HZ = 48_000
TURNED = "its channels cancel each other; the sign of one was turned before they were mixed"
ONE_SIDE = "one of its two sides is silent; they were mixed all the same, at half the level"
UNNAMED = "the file does not name its channels; the first was taken"
AMBISONIC = "its channels are ambisonic; the first, which hears all directions, was taken"


def tone(seconds: float, hz: float = 440.0, level: float = 0.4) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


def frame_of(channels: NDArray[np.floating], layout: str, kind: str = "flt") -> av.AudioFrame:
    """A packed frame of [n, channels]."""
    scale = {"flt": 1.0, "s16": 32767.0, "s32": 2147483000.0}[kind]
    values = (channels * scale).astype({"flt": np.float32, "s16": np.int16, "s32": np.int32}[kind])
    frame = av.AudioFrame.from_ndarray(values.reshape(1, -1), format=kind, layout=layout)
    frame.sample_rate = RATE_HZ
    return frame


def mono_of(channels: NDArray[np.floating], layout: str, kind: str = "flt") -> tuple[NDArray, list[str]]:
    """What a Soundtrack makes of [n, channels], in -1..1, and the changes it tells."""
    sound = Soundtrack(rate_hz=RATE_HZ)
    sound.add(frame_of(channels, layout, kind), 0.0)
    samples = sound.samples(len(channels))[:, 0]
    return samples / 32768, sound.changes.sentences()


def heard(mono: NDArray) -> float:
    """RMS."""
    return float(np.sqrt(np.mean(np.square(mono))))


def write_clip(
    path: Path, channels: NDArray[np.floating], layout: str, codec: str = "pcm_s16le", **options: str
) -> Path:
    """A video of 64x48 at 10 pictures a second with this sound, [n, channels]."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        stream = output.add_stream(codec, rate=RATE_HZ, layout=layout, options=options)
        for number in range(10 * len(channels) // RATE_HZ):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            picture.pts = number
            output.mux(video.encode(picture))
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=RATE_HZ)
        for first in range(0, len(channels), 960):
            piece = frame_of(channels[first : first + 960], layout, "s16")
            piece.pts = first
            same = stream.format.name == "s16"  # FFmpeg's resampler takes no ambisonics
            for sound in [piece] if same else resampler.resample(piece):
                output.mux(stream.encode(sound))
        for stream_ in (video, stream):
            output.mux(stream_.encode(None))
    return path


def ways_of_reading(path: Path, folder: Path) -> dict[str, tuple[NDArray, list[str]]]:
    """Mono at 16 kHz and what is told of it, by each way in which the product reads a sound."""
    changes = Changes()
    whole = read_sound(path, rate_hz=16_000, changes=changes)[:, 0]
    streamed = np.concatenate(list(stream_sound(path, rate_hz=16_000)))[: len(whole), 0]
    extracted, predicted = ClipReader(path), VideoClip(path, 1.0, 32, hears=True, progress=False)
    assert len(list(extracted)) == len(list(predicted())) >= 1
    folder.mkdir()
    verified = remuxed([path], folder, 0.5, None)
    cut = ClipReader(verified.path)
    list(cut)
    told = [*changes_of_text(verified.changes or "").sentences(), *cut.changes.sentences()]
    return {
        "whole": (whole / 32768, changes.sentences()),
        "streamed": (streamed / 32768, changes.sentences()),
        "extracted": (extracted.audio / 32768, extracted.changes.sentences()),
        "predicted": (whole / 32768, predicted.changes.sentences()),
        "cut": (np.concatenate((np.zeros(8_000), cut.audio / 32768)), told),
    }


@pytest.mark.parametrize("kind", ["flt", "s16", "s32"])
@pytest.mark.parametrize(
    "layout",
    ["mono", "stereo", "downmix", "2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "6.1", "7.1",
     "7.1(wide)", "5.1.2", "7.1.4", "hexadecagonal", "22.2", "2 channels", "6 channels", "8 channels"],
)  # fmt: skip
def test_a_known_layout_is_mixed_as_ffmpeg_does(layout: str, kind: str) -> None:
    random = np.random.default_rng(0)
    channels = 0.3 * random.standard_normal((4_800, av.AudioLayout(layout).nb_channels)).clip(-3, 3)
    for rate_hz, count in ((16_000, 1), (44_100, 1), (44_100, 2)):
        sound = Soundtrack(rate_hz=rate_hz, channels=count)
        reference = av.AudioResampler(format="s16", layout="mono" if count == 1 else "stereo", rate=rate_hz)
        pieces = []
        for first in range(0, 4_800, 1_000):
            sound.add(frame_of(channels[first : first + 1_000], layout, kind), None)
            pieces += reference.resample(frame_of(channels[first : first + 1_000], layout, kind))
        expected = np.concatenate([p.to_ndarray().ravel() for p in pieces + reference.resample(None)])
        expected = expected.reshape(-1, count)
        assert np.array_equal(sound.samples(len(expected)), expected)
        told = ["their channels"] if layout in ("6 channels", "8 channels") else []
        assert len(sound.changes.sentences()) == len(told)


def test_what_ffmpeg_weighs() -> None:
    """Of ITU-R BS.775: over their sum, so that nothing clips; a centre alone is heard 10.7 dB softer."""
    for layout, weights in {
        "stereo": [1, 1],
        "5.1": [0.5**0.5, 0.5**0.5, 1, 0, 0.5, 0.5],
        "7.1": [0.5**0.5, 0.5**0.5, 1, 0, 0.5, 0.5, 0.5, 0.5],
        "quad": [1, 1, 0.5**0.5, 0.5**0.5],
    }.items():
        for channel, weight in enumerate(weights):
            channels = np.zeros((RATE_HZ, len(weights)))
            channels[:, channel] = tone(1.0)
            mono, _ = mono_of(channels, layout)
            assert heard(mono) == pytest.approx(weight / sum(weights) * heard(tone(1.0)), abs=2e-4)


@pytest.mark.parametrize("right", [-1.0, -0.9, -0.5])
def test_channels_that_cancel_are_heard(right: float) -> None:
    mono, told = mono_of(np.stack((tone(2.0), right * tone(2.0)), 1), "stereo")
    assert np.abs(mono - (1 - right) / 2 * tone(2.0)).max() < 1e-4
    assert told == [f"1 sound track guessed: {TURNED} (0 to 2 s)"]


@pytest.mark.parametrize("degrees", [0, 90, 120, -120])
def test_a_delay_between_channels_is_no_cancelling(degrees: int) -> None:
    """As between two microphones: the sum loses something, and stays what FFmpeg makes it."""
    left = tone(1.0)
    angle = 2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ
    right = 0.4 * np.sin(angle + np.radians(degrees))
    mono, told = mono_of(np.stack((left, right), 1), "stereo")
    assert np.abs(mono - (left + right) / 2).max() < 1e-4
    assert told == []


def test_channels_that_cancel_for_some_time_are_heard_all_the_time() -> None:
    sign = np.repeat([1.0, -1.0, 1.0], RATE_HZ)
    mono, told = mono_of(np.stack((tone(3.0), sign * tone(3.0)), 1), "stereo")
    assert [round(heard(second), 3) for second in mono.reshape(3, -1)] == [0.283] * 3
    assert told == [f"1 sound track guessed: {TURNED} (1 to 2 s)"]


def test_between_the_limits_it_stays_as_it_was() -> None:
    """0.17 of the energy in the sum: too little to trust it, too much to turn a sign."""
    plain, doubtful, opposite = np.ones(RATE_HZ), np.full(RATE_HZ, -0.38), np.full(RATE_HZ, -1.0)
    left = tone(3.0)
    _, told = mono_of(np.stack((left, np.concatenate((plain, doubtful, opposite)) * left), 1), "stereo")
    assert told == [f"1 sound track guessed: {TURNED} (2 to 3 s)"]
    _, told = mono_of(np.stack((left, np.concatenate((opposite, doubtful, plain)) * left), 1), "stereo")
    assert told == [f"1 sound track guessed: {TURNED} (0 to 2 s)"]


def test_the_last_part_of_a_second_is_heard(tmp_path: Path) -> None:
    sign = np.concatenate((np.ones(2 * RATE_HZ), -np.ones(RATE_HZ // 4)))
    path = write_clip(tmp_path / "a.mov", np.stack((tone(2.25), sign * tone(2.25)), 1), "stereo")
    clip = VideoClip(path, 1.0, 32, hears=True, progress=False)
    assert len(list(clip())) == 2
    assert len(clip.changes.sentences()) == 1 and "(2 to 2.25" in clip.changes.sentences()[0]


def test_noise_of_rounding_cancels_nothing() -> None:
    noise = np.random.default_rng(0).integers(-1, 2, RATE_HZ) / 32767
    assert mono_of(np.stack((noise, -noise), 1), "stereo", "s16")[1] == []


def test_surround_whose_sides_cancel_is_heard() -> None:
    channels = np.zeros((RATE_HZ, 6))
    channels[:, 0], channels[:, 1] = tone(1.0), -tone(1.0)
    mono, told = mono_of(channels, "5.1")
    assert heard(mono) == pytest.approx(2 * 0.2071 * heard(tone(1.0)), abs=1e-3)  # twice FFmpeg's weight
    assert told == [f"1 sound track guessed: {TURNED} (0 to 1 s)"]


@pytest.mark.parametrize(("silent", "name"), [(0, "left"), (1, "right")])
def test_one_silent_side_is_told(silent: int, name: str) -> None:
    channels = np.stack((tone(1.0), tone(1.0)), 1)
    channels[:, silent] = 0
    mono, told = mono_of(channels, "stereo")
    assert np.abs(mono - tone(1.0) / 2).max() < 1e-4
    assert told == [f"1 sound track guessed: {ONE_SIDE} ({name})"]


def test_two_languages_are_both_heard() -> None:
    mono, told = mono_of(np.stack((tone(1.0, 440), tone(1.0, 1_000)), 1), "stereo")
    assert np.abs(mono - (tone(1.0, 440) + tone(1.0, 1_000)) / 2).max() < 1e-4
    assert told == []


@pytest.mark.parametrize("kind", ["flt", "s16", "s32"])
@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ("ambisonic 1", AMBISONIC),
        ("ambisonic 2", AMBISONIC),
        ("ambisonic 3", AMBISONIC),
        ("ambisonic 1+stereo", AMBISONIC),
        ("4 channels", UNNAMED),
        ("9 channels", UNNAMED),
        ("16 channels", UNNAMED),
        ("11 channels", UNNAMED),
        ("2 channels (FL+LFE)", "there are no weights for its channels; the first was taken"),
    ],
)
def test_what_cannot_be_mixed_gives_its_first_channel(layout: str, why: str, kind: str) -> None:
    """The first of ambisonics is W. The others are its opposite here: a sum would be silence."""
    count = av.AudioLayout(layout).nb_channels
    channels = np.repeat(-tone(1.0)[:, None] / (count - 1), count, axis=1)
    channels[:, 0] = tone(1.0)
    mono, told = mono_of(channels, layout, kind)
    assert np.abs(mono - tone(1.0)).max() < 1e-4
    assert told == [f"1 sound track guessed: {why} (layout {layout!r})"]


@pytest.mark.parametrize("layout", ["binaural", "2 channels (BL+BR)", "2 channels (SL+SR)"])
def test_every_pair_is_stereo(layout: str) -> None:
    mono, told = mono_of(np.stack((tone(1.0, 440), tone(1.0, 1_000)), 1), layout)
    assert np.abs(mono - (tone(1.0, 440) + tone(1.0, 1_000)) / 2).max() < 1e-4
    assert told == []


@pytest.mark.parametrize("kind", ["u8", "s16p", "s32", "fltp", "dbl", "s64"])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "ambisonic 1", "4 channels"])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_converted_at_once_are_what_they_are_one_by_one(
    layout: str, kind: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = av.AudioLayout(layout).nb_channels
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (70 * 1024 + 77, count)).astype(np.float32)
    maker = av.AudioResampler(format=kind, layout=layout, rate=44_100)

    def samples() -> NDArray:
        sound = Soundtrack(rate_hz=16_000, channels=channels)
        for first in range(0, len(noise), 1024):
            frame = frame_of(noise[first : first + 1024], layout)
            frame.sample_rate = 44_100
            for piece in maker.resample(frame):
                sound.add(piece, first / 44_100)
        return sound.samples(round(len(noise) / 44_100 * 16_000))

    many = samples()
    monkeypatch.setattr(downmix, "_FRAMES_AT_ONCE", 1)
    assert np.array_equal(many, samples()) and many.any()


def opposite() -> NDArray:
    return np.stack((tone(2.5), -tone(2.5)), 1)


def around(count: int) -> NDArray:
    """A source straight ahead of which the others hear the opposite."""
    return np.stack([tone(2.5), *[-tone(2.5) / (count - 1)] * (count - 1)], 1)


@pytest.mark.parametrize(
    ("name", "layout", "channels", "codec", "options", "why"),
    [
        ("aac.mp4", "stereo", opposite(), "aac", {}, TURNED),
        ("opus.mkv", "stereo", opposite(), "libopus", {}, TURNED),
        ("foa.mkv", "ambisonic 1", around(4), "libopus", {"mapping_family": "2"}, AMBISONIC),
        ("soa.mkv", "ambisonic 2", around(9), "libopus", {"mapping_family": "2"}, AMBISONIC),
        ("quad.mov", "4 channels", around(4), "pcm_s16le", {}, UNNAMED),
    ],
)
def test_every_way_of_reading_gives_the_same(
    tmp_path: Path, name: str, layout: str, channels: NDArray, codec: str, options: dict[str, str], why: str
) -> None:
    path = write_clip(tmp_path / name, channels, layout, codec, **options)
    for way, (mono, told) in ways_of_reading(path, tmp_path / "cut").items():
        kept = mono[16_000:30_000]
        assert heard(kept) == pytest.approx(0.283, abs=0.01), way
        spectrum = np.abs(np.fft.rfft(kept * np.hanning(len(kept))))
        assert np.argmax(spectrum) * 16_000 / len(kept) == pytest.approx(440, abs=2), way
        assert len(told) == 1 and why in told[0], way

"""What happens to sound, against its definition."""

import numpy as np
import pytest
from pydantic import ValidationError

from components.core.disturbance.params import DisturbParams
from components.core.disturbance.sound import (
    add_noise,
    clip,
    code,
    disturb_sound,
    limit_band,
    make_noise,
    mute,
    reverberate,
    shift,
)

RATE_HZ = 16_000
SECONDS = 4


def chance(what: str = "") -> np.random.Generator:
    return np.random.default_rng(len(what))


def speech(seed: int = 5) -> np.ndarray:
    """Bursts of tones and noise: neither steady nor of one pitch."""
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 660, 1900))
    hiss = np.random.default_rng(seed).standard_normal(len(time_s))
    return (0.1 * (tones + 0.3 * hiss) * (np.sin(2 * np.pi * 1.3 * time_s) > 0)).astype(np.float32)


def power(sound: np.ndarray) -> float:
    return float(np.mean(np.square(sound, dtype=np.float64)))


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_noise_is_added_at_the_snr_of_the_whole_clip(kind: str, snr_db: float) -> None:
    sound = speech()
    noisy = disturb_sound(sound, DisturbParams(noise=kind, snr_db=snr_db), chance, [speech(1), speech(2)])
    assert 10 * np.log10(power(sound) / power(noisy - sound)) == pytest.approx(snr_db, abs=0.01)
    silence = np.zeros(RATE_HZ, np.float32)
    assert not add_noise(silence, make_noise("white", RATE_HZ, chance(), []), snr_db).any()


@pytest.mark.parametrize(("kind", "db_per_octave"), [("white", 0.0), ("pink", -3.01)])
def test_noise_has_its_colour(kind: str, db_per_octave: float) -> None:
    noise = make_noise(kind, 60 * RATE_HZ, chance(), [])
    density = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
    levels = [
        10 * np.log10(density[(hz >= low) & (hz < 2 * low)].mean()) for low in (125, 250, 500, 1000, 2000)
    ]
    assert np.diff(levels) == pytest.approx([db_per_octave] * 4, abs=0.2)
    assert power(noise) == pytest.approx(1, rel=1e-4)


def test_babble_is_of_the_other_clips_each_as_loud() -> None:
    low, high = (
        np.sin(2 * np.pi * hz * np.arange(3 * RATE_HZ) / RATE_HZ).astype(np.float32) for hz in (400, 3000)
    )
    babble = make_noise("babble", 5 * RATE_HZ, chance(), [low, 0.01 * high, np.zeros(9, np.float32)])
    spectrum = np.abs(np.fft.rfft(babble))
    assert spectrum[400 * 5] == pytest.approx(spectrum[3000 * 5], rel=0.01)
    with pytest.raises(Exception, match="the other clips are silent"):
        make_noise("babble", RATE_HZ, chance(), [np.zeros(9, np.float32)])


def test_in_place_of_the_sound_nothing_of_it_is_left_not_even_how_loud_it_was() -> None:
    other = speech(9)[: 2 * RATE_HZ]
    for kind in ("white", "pink", "babble", "silence", "other_clip"):
        found = [
            disturb_sound(sound, DisturbParams(replaced_by=kind), chance, [other])
            for sound in (speech(), np.zeros_like(speech()))
        ]
        assert np.array_equal(*found) and found[0].shape == speech().shape and found[0].dtype == np.float32
        if kind in ("white", "pink", "babble"):
            assert 10 * np.log10(power(found[0])) == pytest.approx(-20, abs=0.1)
    swapped = disturb_sound(speech(), DisturbParams(replaced_by="other_clip"), chance, [other])
    assert np.array_equal(swapped, np.concatenate((other, other)))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_so_many_seconds_are_muted(share: float) -> None:
    quiet = mute(np.ones(4 * RATE_HZ - 100, np.float32), share, chance())
    seconds = [quiet[n * RATE_HZ : (n + 1) * RATE_HZ] for n in range(4)]
    assert sum(not second.any() for second in seconds) == 4 * share
    assert all(second.all() for second in seconds if second.any())


@pytest.mark.parametrize("later_s", [-2.0, -0.25, 0.0, 0.5, 2.0, 9.0])
def test_the_sound_comes_so_much_later(later_s: float) -> None:
    sound = speech()
    moved, count = shift(sound, later_s), round(later_s * RATE_HZ)
    assert moved.shape == sound.shape
    for place in (0, 1, 20_000, len(sound) - 1):
        source = place - count
        assert moved[place] == (sound[source] if 0 <= source < len(sound) else 0)


@pytest.mark.parametrize("decay_s", [0.3, 1.2])
def test_reverberation_falls_by_60_db_in_its_time(decay_s: float) -> None:
    impulse = np.zeros(2 * RATE_HZ, np.float32)
    impulse[0] = 1
    heard = reverberate(impulse, decay_s, chance())
    assert power(heard) == pytest.approx(power(impulse), rel=1e-3)
    left = np.cumsum(heard[::-1] ** 2)[::-1]  # Schroeder's integral: the energy that is still to come
    level_db = 10 * np.log10(left[1:] / left[1])
    early, late = (int(np.argmax(level_db < -db)) for db in (5, 35))
    assert (late - early) / RATE_HZ * 2 == pytest.approx(decay_s, rel=0.1)
    direct = heard[0] ** 2
    assert direct == pytest.approx(np.sum(heard[1:] ** 2), rel=1e-2)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_the_loudest_samples_are_cut_off(share: float) -> None:
    sound = speech()
    cut = clip(sound, share)
    heard = sound != 0
    assert np.mean(cut[heard] != sound[heard]) == pytest.approx(share, abs=1e-3)
    assert np.array_equal(cut[np.abs(sound) < np.abs(cut).max()], sound[np.abs(sound) < np.abs(cut).max()])


def test_a_band_leaves_nothing_outside() -> None:
    white = make_noise("white", SECONDS * RATE_HZ, chance(), [])
    narrow = limit_band(white, 300, 3400)
    density, hz = np.abs(np.fft.rfft(narrow)), np.fft.rfftfreq(len(white), 1 / RATE_HZ)
    inside = (hz >= 300) & (hz <= 3400)
    assert density[~inside].max() < 1e-3 * density[inside].mean()
    assert np.allclose(density[inside], np.abs(np.fft.rfft(white))[inside], rtol=1e-3, atol=0.1)


@pytest.mark.parametrize(("codec", "rates"), [("opus", (6, 16, 64)), ("mp3", (8, 32, 64))])
def test_a_codec_loses_less_at_a_higher_rate_and_moves_nothing(codec: str, rates: tuple[int, ...]) -> None:
    sound = speech()
    lost = []
    for rate in rates:
        coded = code(sound, codec, rate)
        assert coded.shape == sound.shape and coded.dtype == np.float32
        lost.append(power(coded - sound) / power(sound))
        product = np.fft.irfft(np.fft.rfft(coded) * np.conj(np.fft.rfft(sound)))
        later = int(np.argmax(product))
        assert min(later, len(sound) - later) <= 2, "it is where it was"
    assert lost == sorted(lost, reverse=True) and lost[-1] < 0.1
    assert np.array_equal(code(sound, codec, rates[0]), code(sound, codec, rates[0]))


def test_one_disturbance_draws_nothing_from_another() -> None:
    sound, drawn = speech(), lambda what: np.random.default_rng([7, *what.encode()])
    alone = disturb_sound(sound, DisturbParams(muted_share=0.5), drawn, [])
    both = disturb_sound(sound, DisturbParams(muted_share=0.5, replaced_by="white"), drawn, [])
    silent = [not alone[n * RATE_HZ : (n + 1) * RATE_HZ].any() for n in range(SECONDS)]
    assert silent == [not both[n * RATE_HZ : (n + 1) * RATE_HZ].any() for n in range(SECONDS)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "white"}, "noise and snr_db belong together"),
        ({"bit_rate_kbps": 8}, "codec and bit_rate_kbps belong together"),
        ({"codec": "mp3", "bit_rate_kbps": 10}, "mp3 has 8, 16, 24"),
        ({"codec": "opus", "bit_rate_kbps": 5}, "opus has 6 to 256"),
        ({"band_hz": (3400, 300)}, r"band_hz is \[lowest, highest\]"),
        ({"noize": "white"}, "noize"),
    ],
)
def test_what_does_not_go_together(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DisturbParams(**settings)

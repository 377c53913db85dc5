"""`avis avsbench` on small folders: a model's masks and another program's."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from components.core.inference.params import PredictParams
from components.tools.avsbench.layouts import find_videos
from components.tools.avsbench.model_masks import FoundMasks
from components.tools.avsbench.palette import palette
from pipelines.cli import main
from tests.support.avs_folders import (
    SIZE,
    avss_classes,
    square,
    write_avss,
    write_ms3,
    write_picture,
    write_s4,
    write_sound,
)
from tests.support.tiny_model import CATEGORIES, write_finder
from tests.support.vggish_weights import write_vggish

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]
SQUARE = 16 * 16 / (SIZE[0] * SIZE[1])  # share of the frame


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with parameters: the best two candidates are found, whatever their score."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("predict:\n  score_threshold: 0.0\n  most_tracks: 2\nvariants:\n  tiny:\n")
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, as it is called in a terminal; returns what it wrote."""

    def call(*words: object) -> dict[str, Any]:
        arguments = ["avis", "avsbench", *map(str, words), "--json", "out.json"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        report: dict[str, Any] = json.loads(Path("out.json").read_text())
        return report

    return call


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command fails: its one message."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["avis", "avsbench", *map(str, words), "--json", "out.json"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert not Path("out.json").exists()
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("avis: ")
        return said

    return call


def write_given(folder: Path, name: str, masks: list[np.ndarray]) -> None:
    for k, mask in enumerate(masks):
        write_picture(folder / name / f"{name}_{k}.png", mask)


def test_a_model_that_covers_everything_on_s4(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its union is every pixel: IoU is the square's share, so is precision, recall is 1."""
    write_finder(Path("data/model/tiny"))
    report = run(write_s4(Path("s4")), "--layout", "s4", "--model", "tiny")
    f_measure = 1.3 * SQUARE / (0.3 * SQUARE + 1)
    for protocol in ("official", "corrected"):
        scores = report[protocol]
        assert scores["M_J"] == pytest.approx(100 * SQUARE)
        assert scores["M_F"] == pytest.approx(100 * f_measure)
        assert [row["video"] for row in scores["videos"]] == ["-aB3_x", "second"]
        assert scores["categories"]["race_car"] == pytest.approx(
            {"videos": 1, "M_J": 100 * SQUARE, "M_F": 100 * f_measure}
        )
        assert set(scores["categories"]) == {"race_car", "horse_clip-clop"}
        assert scores["intervals"]["M_J"] == pytest.approx([100 * SQUARE] * 2)
    assert (report["layout"], report["split"], report["unit"]) == ("s4", "test", "percent")
    assert report["model"] == "data/model/tiny" and report["score_threshold"] == 0
    said = capsys.readouterr()
    assert "AVSBench s4, test, 2 videos" in said.out
    assert f"{100 * SQUARE:.2f}" in said.out and "official" in said.out and "corrected" in said.out
    assert "avsbench: 100%" in said.err


def test_a_model_on_ms3(run: Run) -> None:
    write_finder(Path("data/model/tiny"))
    report = run(write_ms3(Path("ms3")), "--layout", "ms3")  # the first variant
    f_measure = 1.3 * SQUARE / (0.3 * SQUARE + 1)
    assert report["official"]["M_J"] == pytest.approx(100 * SQUARE * (1 + 3 / 5 + 0) / 3)
    assert report["official"]["M_F"] == pytest.approx(100 * f_measure * 2 / 3)
    assert report["corrected"]["M_F"] == pytest.approx(100 * f_measure)
    objects = [row["frames_with_object"] for row in report["official"]["videos"]]
    assert objects == [5, 3, 0]
    assert report["official"]["videos"][2]["M_F"] == 0
    assert report["corrected"]["videos"][2]["M_F"] is None
    assert "categories" not in report["official"]


def test_a_model_that_finds_nothing(run: Run) -> None:
    write_finder(Path("data/model/tiny"))
    Path("params.yaml").write_text("predict:\n  score_threshold: 1.0\n")
    report = run(write_ms3(Path("ms3")), "--layout", "ms3", "--model", "data/model/tiny")
    assert report["official"]["M_J"] == pytest.approx(100 * (0 + 2 / 5 + 1) / 3)


def favour(**biases: float) -> None:
    """The model takes everything for these categories, the more so the higher the number."""
    from models.checkpoints.saved import load_model, save_model

    folder = Path("data/model/tiny")
    model, card = load_model(folder)
    head: Any = model.video_module.class_head
    head.weight.data.zero_()
    head.bias.data.zero_()
    for number, name in CATEGORIES.items():
        head.bias.data[sorted(CATEGORIES).index(number)] = biases.get(name, 0)
    save_model(folder, model, card)


def test_a_model_on_avss(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """It sees a horn (class 4) in every pixel: it is in all frames of m1 and new_0_10000, in none of s1."""
    write_finder(Path("data/model/tiny"))
    favour(horn=5)
    report = run(write_avss(Path("avss")), "--layout", "avss", "--model", "tiny")
    classes = report["corrected"]["classes"]
    assert classes["horn"]["IoU"] == pytest.approx(100 * SQUARE * 15 / 20, rel=0.03)  # 224x224 is rounded
    assert (classes["horn"]["frames"], classes["horn"]["true_frames"]) == (20, 15)
    assert classes["bell"] == {"IoU": 0, "F": 0, "frames": 5, "true_frames": 5}
    assert classes["background"]["IoU"] == 0
    assert set(classes) == {"background", "accordion", "bell", "horn"}
    assert report["corrected"]["M_J"] == pytest.approx(classes["horn"]["IoU"] / 4)
    assert report["corrected"]["M_J_noBg"] == pytest.approx(classes["horn"]["IoU"] / 3)
    # lengthened by 5 frames twice, in which only background is true and none is predicted elsewhere
    official = report["official"]
    assert official["classes"]["background"]["IoU"] == pytest.approx(100 * 10 / 30)
    assert official["M_J"] == pytest.approx((100 / 3 + classes["horn"]["IoU"]) / 71)
    assert report["classes_of_categories"] == {"bell": "bell", "horn": "horn"}
    assert report["categories_without_class"] == [] and report["unknown_pixels"] == 0
    assert [row["subset"] for row in official["videos"]] == ["v1s", "v1m", "v2"]
    said = capsys.readouterr().out
    assert "horn" in said and "M_J_noBg" in said

    Path("map.yaml").write_text("horn: accordion\nbell: null\n")
    report = run("avss", "--layout", "avss", "--model", "tiny", "--categories", "map.yaml")
    assert report["corrected"]["classes"]["accordion"]["IoU"] > 0
    assert report["corrected"]["classes"]["horn"]["IoU"] == 0
    assert report["categories_without_class"] == ["bell"]
    assert "counted as background: bell" in capsys.readouterr().out


@pytest.mark.parametrize(("better", "worse"), [("horn", "bell"), ("bell", "horn")])
def test_where_objects_overlap_the_surer_one_is_seen(better: str, worse: str) -> None:
    write_finder(Path("data/model/tiny"))
    favour(**{better: 5, worse: 4})
    video = find_videos(write_avss(Path("avss")), "avss", "test")[0]
    masks = FoundMasks(Path("data/model/tiny"), PredictParams(score_threshold=0.0, most_tracks=8), None)
    found = masks._tracks(video, SIZE)
    assert {CATEGORIES[track.category_id] for track in found} == {"horn", "bell"}
    masks.class_of = {number: {"bell": 2, "horn": 4}[name] for number, name in CATEGORIES.items()}
    assert (masks.classes(video, SIZE) == {"bell": 2, "horn": 4}[better]).all()


def test_sound_reaches_the_model_second_by_second(here: Path) -> None:
    write_finder(Path("data/model/tiny"))
    video = find_videos(write_avss(Path("avss")), "avss", "test")[0]
    masks = FoundMasks(Path("data/model/tiny"), PredictParams(score_threshold=0.0), None)
    assert masks.hears
    write_sound(video.sound, 2.5, rate_hz=16_000)  # 5 frames: the last two are silent
    moments = list(masks._moments(video))
    assert [frame.shape for frame, _ in moments] == [(32, 38, 3)] * 5  # the model's short side
    heard = [sound for _, sound in moments if sound is not None]
    tone = 8000 / 32768 * np.sin(np.arange(16_000 * 5) * 0.2)
    for k in range(2):
        assert heard[k].shape == (16_000,)
        assert heard[k] == pytest.approx(tone[k * 16_000 : (k + 1) * 16_000], abs=2e-4)
    assert np.abs(heard[2][:8000]).max() > 0.2 and not heard[2][8100:].any()
    assert not heard[3].any() and not heard[4].any()


def test_models_that_hear_nothing_or_features(run: Run, refused: Callable[..., str]) -> None:
    write_ms3(Path("ms3"))
    write_finder(Path("data/model/deaf"), audio="none")
    for path in Path("ms3/ms3_data/audio_wav/test").iterdir():
        path.unlink()
    deaf = run("ms3", "--layout", "ms3", "--model", "data/model/deaf")
    assert deaf["official"]["M_J"] > 0
    Path("out.json").unlink()
    write_finder(Path("data/model/given"), audio="features")
    assert "hears audio features" in refused("ms3", "--layout", "ms3", "--model", "data/model/given")
    write_vggish(Path("vggish.pth"))
    with Path("params.yaml").open("a") as file:
        file.write("extract:\n  audio_weights: vggish.pth\n")
    said = refused("ms3", "--layout", "ms3", "--model", "data/model/given")
    assert said.startswith("avis: 3 of the 33 files of these videos are missing") and "first.wav" in said
    write_ms3(Path("ms3"))
    assert run("ms3", "--layout", "ms3", "--model", "data/model/given")["official"] == deaf["official"]


@pytest.mark.parametrize("layout", ["s4", "ms3"])
def test_the_truth_as_another_programs_masks(run: Run, layout: str) -> None:
    """Without frames, sound, model or parameters."""
    folder = {"s4": write_s4, "ms3": write_ms3}[layout](Path("download"))
    for video in find_videos(folder, layout, "test"):  # type: ignore[arg-type]
        masks = [np.asarray(Image.open(path).convert("L")) for path in video.masks]
        write_given(Path("given") / video.group, video.name, masks)
        for path in (*video.frames, video.sound):
            path.unlink()
    Path("params.yaml").unlink()
    report = run(folder, "--layout", layout, "--predictions", "given")
    assert report["corrected"]["M_J"] == report["corrected"]["M_F"] == 100
    assert report["official"]["M_F"] == pytest.approx(100 if layout == "s4" else 200 / 3)
    assert report["predictions"] == "given"


def test_grey_values_are_probabilities(run: Run) -> None:
    folder = write_ms3(Path("ms3"))
    for name in ("first", "pause", "silent"):
        unsure = [np.where(square(k), 100, 20).astype(np.uint8) for k in range(1, 6)]
        write_given(Path("given"), name, unsure)
    report = run(folder, "--layout", "ms3", "--predictions", "given")
    assert report["corrected"]["M_F"] == 100  # a threshold between tells them apart
    assert report["official"]["videos"][0]["M_J"] == 0  # none is above a half


@pytest.mark.parametrize("kind", ["ids", "palette", "colours"])
def test_class_ids_and_colours(run: Run, kind: str) -> None:
    folder = write_avss(Path("avss"), first_number=0)
    for name, frames, labels in (("s1", 5, (2,)), ("m1", 5, (4, 1)), ("new_0_10000", 10, (4,))):
        for k in range(frames):
            ids = avss_classes(k, labels)
            path = Path("given") / name / f"{name}_{k}.png"
            write_picture(path, palette()[ids] if kind == "colours" else ids)
            if kind == "palette":
                picture = Image.fromarray(ids, mode="P")
                picture.putpalette(palette().ravel().tolist())
                picture.save(path)
    report = run(folder, "--layout", "avss", "--predictions", "given")
    assert report["corrected"]["M_J"] == report["corrected"]["M_F"] == 100
    assert report["official"]["M_J"] == pytest.approx(100 * 4 / 71)

    # what is predicted for the frames with which a video is lengthened counts in the official numbers only
    write_picture(Path("given/s1/s1_5.png"), np.full(SIZE, 9, np.uint8))
    report = run(folder, "--layout", "avss", "--predictions", "given")
    assert report["corrected"]["M_J"] == 100
    assert report["official"]["classes"]["class-9"]["frames"] == 1


def test_colours_of_the_truth_that_are_no_class(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_avss(Path("avss"))
    for name, frames in (("s1", 5), ("m1", 5), ("new_0_10000", 10)):
        write_given(Path("given"), name, [np.zeros((224, 224), np.uint8)] * frames)
    picture = palette()[avss_classes(0, (2,))]
    picture[0, 0] = (1, 2, 3)
    Image.fromarray(picture).resize((224, 224), 0).save(folder / "v1s" / "s1" / "labels_rgb" / "0.png")
    report = run(folder, "--layout", "avss", "--predictions", "given")
    assert 0 < report["unknown_pixels"] < 100
    assert f"{report['unknown_pixels']} pixels of the true masks" in capsys.readouterr().out
    assert report["corrected"]["classes"]["background"]["frames"] == 20


def test_given_masks_that_cannot_be_scored(refused: Callable[..., str]) -> None:
    ms3 = ("ms3", "--layout", "ms3", "--predictions", "given")
    write_ms3(Path("ms3"))
    assert "there is no such folder of masks (given)" in refused(*ms3)
    for name in ("first", "pause", "silent"):
        write_given(Path("given"), name, [np.zeros(SIZE, np.uint8)] * 5)
    Path("given/pause/pause_0.png").unlink()  # as if they were numbered from 1
    write_picture(Path("given/pause/pause_5.png"), np.zeros(SIZE, np.uint8))
    assert "1 of the 15 predicted masks are missing, the first (given/pause/pause_0.png)" in refused(*ms3)
    write_picture(Path("given/pause/pause_0.png"), np.zeros((8, 9), np.uint8))
    assert "is 9x8, the true one 48x40 (given/pause/pause_0.png)" in refused(*ms3)
    write_picture(Path("given/pause/pause_0.png"), np.zeros(SIZE, np.uint8))
    mask = Path("ms3/ms3_data/gt_masks/test/pause/pause_3.png")
    write_picture(mask, np.zeros((8, 9), np.uint8))
    assert f"the mask is 9x8, the video's first one 48x40 ({mask})" in refused(*ms3)
    mask.write_bytes(b"")
    assert f"cannot be read: cannot identify image file ({mask})" in refused(*ms3)

    avss = ("avss", "--layout", "avss", "--predictions", "classes")
    write_avss(Path("avss"))
    for name, frames in (("s1", 5), ("m1", 5), ("new_0_10000", 10)):
        write_given(Path("classes"), name, [np.full((224, 224), 3, np.uint8)] * frames)
    write_picture(Path("classes/m1/m1_2.png"), np.full((224, 224), 71, np.uint8))
    assert "holds the value 71, which is no class (classes/m1/m1_2.png)" in refused(*avss)
    write_picture(Path("classes/m1/m1_2.png"), np.full((224, 224, 3), 9, np.uint8))
    assert "the colour (9, 9, 9), which is no class (classes/m1/m1_2.png, row 0" in refused(*avss)


def test_damaged_videos_for_a_model(refused: Callable[..., str]) -> None:
    write_finder(Path("data/model/tiny"))
    write_ms3(Path("ms3"))
    ms3 = ("ms3", "--layout", "ms3")
    frame = Path("ms3/ms3_data/visual_frames/pause/pause.mp4_2.png")
    write_picture(frame, np.zeros((20, 20, 3), np.uint8))
    assert "frame 1 is 32x32 and the ones before it are 38x32" in refused(*ms3)
    frame.write_bytes(frame.read_bytes()[:40])
    assert f"({frame}). Get the file again" in refused(*ms3)
    write_ms3(Path("ms3"))
    sound = Path("ms3/ms3_data/audio_wav/test/pause.wav")
    sound.write_bytes(b"RIFF")
    assert f"({sound})" in refused(*ms3)


def test_options_that_do_not_go_together(refused: Callable[..., str]) -> None:
    write_finder(Path("data/model/tiny"))
    write_ms3(Path("ms3"))
    Path("given").mkdir()
    ms3 = ("ms3", "--layout", "ms3")
    assert "cannot both be scored" in refused(*ms3, "--model", "tiny", "--predictions", "given")
    assert "--categories is for a model on avss only" in refused(*ms3, "--categories", "map.yaml")
    assert "'other' is neither a folder nor a variant" in refused(*ms3, "--model", "other")
    write_avss(Path("avss"))
    said = refused("avss", "--layout", "avss", "--categories", "map.yaml")
    assert said == "avis: The category map cannot be read (map.yaml). Correct --categories."

"""Each kind of output, read by a program that reads such files."""

import base64
import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from components.annotate.formats import find_format
from components.core.media.container import probe
from components.core.media.picture import Picture
from components.core.records.changes import Changes
from components.core.records.masks import decode
from components.core.records.results import read_results
from components.core.reports.overlay import draw_masks
from components.core.run.errors import AvisError
from components.core.video.stored_masks import EMPTY, MaskFile, StoredMasks
from components.core.video.tracks import FoundObject, VideoTracks, intervals
from components.tools.prediction.saving import chosen_savers, savers
from tests.support.clips import make_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEIGHT, WIDTH = 64, 96


def box_mask(left: int, top: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> VideoTracks:
    """A dog in seconds 0 and 1, and a <cat> & co in second 1, of three."""
    video = make_clip(tmp_path_factory.mktemp("video") / "my clip.mp4", seconds=3.0, flashes_s=(0.5,))
    masks = MaskFile()
    tracks = [
        ("dog", 4, 0.9, [masks.add(box_mask(8, 4, 20, 30)), masks.add(box_mask(12, 4, 20, 30)), EMPTY]),
        ("<cat> & co", 2, 0.5, [EMPTY, masks.add(box_mask(60, 30, 10, 8)), masks.add(box_mask(0, 0, 0, 0))]),
    ]
    objects = []
    for number, (name, category, score, places) in enumerate(tracks, start=1):
        stored = StoredMasks(masks, places)
        objects.append(FoundObject(number, category, name, score, stored, intervals(stored.on(), 1.0)))
    return VideoTracks(
        video=video,
        name=video.name,
        objects=objects,
        frames=3,
        rate_hz=1.0,
        height=HEIGHT,
        width=WIDTH,
        score_threshold=0.3,
        best_score=0.9,
        is_deaf=False,
        categories={2: "<cat> & co", 4: "dog"},
        changes=Changes(),
        progress=False,
    )


@pytest.fixture(scope="module")
def saved(found: VideoTracks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for saver in chosen_savers(["all"]):
        saver.write(folder, found)
    return folder


def test_masks_come_back_from_disk(found: VideoTracks) -> None:
    dog = found.objects[0].masks
    assert len(dog) == 3 and dog.on() == [True, True, False] and dog[2] is None
    assert np.array_equal(decode(dog[1], HEIGHT, WIDTH), box_mask(12, 4, 20, 30))
    assert [mask is None for mask in dog] == [mask is None for mask in dog[0:3]] == [False, False, True]


def test_results_are_read_as_official_ones(saved: Path) -> None:
    dog, cat = read_results(saved / "results.json")
    assert (dog.video_id, dog.category_id, dog.score, cat.category_id) == (1, 4, 0.9, 2)
    assert np.array_equal(decode(dog.segmentations[0], HEIGHT, WIDTH), box_mask(8, 4, 20, 30))
    assert [decode(mask, HEIGHT, WIDTH).sum() for mask in cat.segmentations] == [0, 80, 0]


def test_objects_say_when_and_where(saved: Path) -> None:
    answer = json.loads((saved / "objects.json").read_text())
    assert (answer["video"], answer["frames"], answer["is_deaf"]) == ("my clip.mp4", 3, False)
    assert [thing["intervals_s"] for thing in answer["objects"]] == [[[0.0, 2.0]], [[1.0, 2.0]]]
    assert answer["objects"][1]["segmentations"][0] is None


def test_the_table_has_a_row_per_object_and_second(saved: Path) -> None:
    with (saved / "seconds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [row["sounds"] for row in rows] == ["1", "1", "0", "0", "1", "0"]
    names = ("start_s", "end_s", "area_px", "x_px", "y_px", "width_px", "height_px")
    assert [rows[1][name] for name in names] == ["1", "2", "600", "12", "4", "20", "30"]


def test_ffmpeg_reads_the_subtitles(saved: Path) -> None:
    with av.open(str(saved / "sounds.vtt")) as container:
        cues = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), bytes(packet))
            for packet in container.demux()
            if packet.size
        ]
    assert cues == [(0.0, 2.0, b"dog 1 (0.90)"), (1.0, 1.0, b"&lt;cat&gt; &amp; co 2 (0.50)")]


def test_rttm_has_ten_fields_a_line(saved: Path) -> None:
    rows = [line.split(" ") for line in (saved / "sounds.rttm").read_text().splitlines()]
    assert all(len(row) == 10 for row in rows)
    assert [(row[0], row[1], row[3], row[4], row[7], row[8]) for row in rows] == [
        ("SPEAKER", "my_clip", "0.000", "2.000", "dog_1", "0.900000"),
        ("SPEAKER", "my_clip", "1.000", "1.000", "_cat_co_2", "0.500000"),
    ]


def test_pycocotools_reads_coco(saved: Path) -> None:
    coco = COCO(str(saved / "coco.json"))
    assert len(coco.getImgIds()) == 3
    (category,) = coco.getCatIds(catNms=["dog"])
    masks = [coco.annToMask(row).astype(bool) for row in coco.loadAnns(coco.getAnnIds(catIds=[category]))]
    assert len(masks) == 2 and np.array_equal(masks[0], box_mask(8, 4, 20, 30))


@pytest.mark.parametrize(
    ("file", "kind"), [("cvat.xml", "cvat"), ("ytvis.json", "aviseg"), ("coco.json", "coco_video")]
)
def test_annotation_tools_get_the_same_masks_back(
    saved: Path, found: VideoTracks, file: str, kind: str
) -> None:
    reader = find_format(kind)
    assert reader.read is not None
    reading = reader.read(saved / file)
    names = reading.annotations.categories
    (video,) = reading.annotations.videos
    assert (video.name, video.length, video.height, video.width) == ("my_clip", 3, HEIGHT, WIDTH)
    back = {names[track.category_id]: track for track in reading.annotations.tracks}
    assert set(back) == {"dog", "<cat> & co"}
    for thing in found.objects:
        for mask, other in zip(thing.masks, back[thing.category].segmentations, strict=True):
            assert np.array_equal(decode(mask, HEIGHT, WIDTH), decode(other, HEIGHT, WIDTH))


def test_pictures_of_masks_and_cutouts(saved: Path) -> None:
    assert sorted(
        path.relative_to(saved / "masks").as_posix() for path in (saved / "masks").rglob("*.png")
    ) == [*("_cat_co_2/00001.png", "dog_1/00000.png", "dog_1/00001.png")]
    mask = cv2.imread(str(saved / "masks/dog_1/00001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, box_mask(12, 4, 20, 30) * np.uint8(255))
    cutout = cv2.imread(str(saved / "cutouts/dog_1/00000.png"), cv2.IMREAD_UNCHANGED)
    assert cutout.shape == (30, 20, 4) and (cutout[..., 3] == 255).all()
    assert cutout[20:, :, :3].mean() > 200  # the flash at 0.5 s, the middle of second 0
    later = cv2.imread(str(saved / "cutouts/dog_1/00001.png"), cv2.IMREAD_UNCHANGED)
    assert later[20:, :, :3].mean() < 100


def test_the_film_tints_evenly_and_dots_what_is_held(saved: Path) -> None:
    info = probe(saved / "film.mp4")
    assert info.audio_codec == "aac" and info.duration_s == pytest.approx(3.0, abs=0.2)
    with av.open(str(saved / "film.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(pictures) == 30
    scale = 360 / HEIGHT
    row, edge = 26 + round(30 * scale), slice(26 + round(20 * scale), 26 + round(33 * scale))
    inside = [picture[row, round(18 * scale)] for picture in pictures]
    colour = [int(pixel.max() - pixel.min()) for pixel in inside]  # the clip itself is grey
    assert min(colour[:20]) > 15 > 10 > max(colour[21:])  # no picture flashes
    assert max(colour[:20]) < 60
    right = [round((28 + second * 4) * scale) - 1 for second in (0, 1)]  # the edge of the dog's mask
    outlined = [
        bool(
            ((p := picture[edge, right[k // 10] - 2 : right[k // 10] + 3]).max(2) - p.min(2) > 60)
            .any(1)
            .all()
        )
        for k, picture in enumerate(pictures[:20])
    ]
    assert [k for k, whole in enumerate(outlined) if whole] == [5, 15]  # 0.5 s and 1.5 s, of 10 a second


def test_a_held_mask_is_tinted_and_dotted() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    mask = box_mask(10, 10, 40, 40)
    held = draw_masks(picture, [mask], [""], [(255, 0, 0)], held=True, opacity=0.2)
    assert (held[15:45, 15:45] == (123, 72, 72)).all() and (held[:8] == 90).all()
    edge = (held[10, 10:50] == (255, 0, 0)).all(1)
    assert edge.any() and not edge.all()


def test_of_large_pictures_only_small_ones_wait_to_be_drawn(
    found: VideoTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_clip(tmp_path / "large.mp4", seconds=2, size=(1280, 720))
    sizes, whole = set(), Picture.rgb

    def rgb(self: Picture, **size: Any) -> np.ndarray:
        sizes.add((made := whole(self, **size)).shape)
        return made

    monkeypatch.setattr(Picture, "rgb", rgb)
    chosen_savers(["film"])[1].write(tmp_path, replace(found, video=video))
    assert sizes == {(360, 640, 3)}


def test_the_strip_of_many_objects_stays_low(found: VideoTracks, tmp_path: Path) -> None:
    heights = {}
    for count in (2, 12, 40):
        many = replace(found, objects=[*found.objects, *[found.objects[0]] * (count - 2)])
        folder = tmp_path / str(count)
        folder.mkdir()
        chosen_savers(["film"])[1].write(folder, many)
        with av.open(str(folder / "film.mp4")) as container:
            heights[count] = container.streams.video[0].height
    assert heights[2] + 160 == heights[12] == heights[40]


def test_the_page_is_one_file_and_escapes_what_it_shows(saved: Path) -> None:
    page = (saved / "page.html").read_text()
    assert 'src="data:video/mp4;base64,' in page and "http" not in page.partition("data:")[0]
    assert "&lt;cat&gt; &amp; co 2" in page and "<cat>" not in page


def test_the_page_shows_a_picture_with_masks_and_times_before_it_is_played(saved: Path) -> None:
    page = (saved / "page.html").read_text()
    coded = re.search(r'poster="data:image/jpeg;base64,([^"]+)"', page)
    assert coded is not None
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(coded[1]), np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert (picture.max(2) - picture.min(2) > 60).any()  # the clip itself is grey
    assert re.findall(r"<small>([\d.]+ s)</small>", page) == ["0.0 s", "0.8 s", "1.5 s", "2.2 s", "3.0 s"]


def test_the_page_says_above_the_film_that_nothing_was_found(found: VideoTracks, tmp_path: Path) -> None:
    for saver in chosen_savers(["page"]):
        saver.write(tmp_path, replace(found, objects=[]))
    page = (tmp_path / "page.html").read_text()
    assert 0 < page.index("Nothing that sounds was found") < page.index("<video")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.slow
def test_a_click_on_the_pages_timeline_goes_there(saved: Path, tmp_path: Path) -> None:
    script = """<script>
    film.addEventListener("loadedmetadata", () => {
      const lane = timeline.querySelector(".lane").getBoundingClientRect(), seen = [];
      const click = (target, x) => target.dispatchEvent(
        new MouseEvent("click", { clientX: x, clientY: lane.top + 5, bubbles: true }));
      click(timeline, lane.left + lane.width / 2); seen.push(film.currentTime);
      click(timeline.querySelectorAll(".span")[1], lane.left); seen.push(film.currentTime);
      document.body.dataset.seen = seen.map(time => time.toFixed(2)).join(" ");
    });
    film.addEventListener("error", () => { document.body.dataset.seen = "error"; });
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text((saved / "page.html").read_text().replace("</body>", script))
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *words, "--virtual-time-budget=8000", "--dump-dom", page.as_uri()]
    try:
        shown = subprocess.run(command, capture_output=True, check=False, timeout=600).stdout
    except subprocess.TimeoutExpired as late:  # it may stay after it has said everything
        shown = late.stdout or b""
    seen = re.search(rb'data-seen="([^"]*)"', shown)
    assert seen is not None, shown[-500:]
    # pixels are whole: the middle may be half a pixel off
    assert [float(time) for time in seen[1].split()] == pytest.approx([1.5, 1.0], abs=0.02)


def test_kinds_are_chosen_by_name() -> None:
    assert [saver.name for saver in chosen_savers([])] == ["objects", "film"]
    assert [saver.name for saver in chosen_savers(["page", "csv,vtt"])] == [
        "objects",
        "film",
        "page",
        "csv",
        "vtt",
    ]
    assert {saver.name for saver in chosen_savers(["all"])} == set(savers())
    with pytest.raises(AvisError, match=r"no output 'gif' .*There are: coco, csv"):
        chosen_savers(["gif"])

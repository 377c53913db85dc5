import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from components.annotate.clock import Clock
from components.annotate.frame_rate import frames_of_pictures
from components.annotate.params import AnnotateParams
from components.annotate.stage import Imported, annotate
from components.core.records.annotations import (
    SPLITS,
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.tracking.run import Run
from components.tools.convert import convert

HEIGHT, WIDTH, FRAMES = 12, 16, 4


def mask(size: int) -> dict[str, Any]:
    pixels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[2 : 2 + size, 3 : 3 + size] = True
    return encode(pixels)


def write_source(path: Path, names: list[str], categories: dict[int, str], first_id: int = 1) -> str:
    videos, tracks = [], []
    for number, name in enumerate(names, start=first_id):
        files = [f"{name}/{k + 1}.jpg" for k in range(FRAMES)]
        videos.append(Video(number, name, files, length=FRAMES, height=HEIGHT, width=WIDTH))
        tracks.append(
            Track(number, number, min(categories), [mask(4), None, mask(5), [[2.0, 2, 8, 2, 8, 8]]])
        )
    write_annotations(path, AnnotationSet(categories, videos, tracks, {}))
    return str(path)


def write_media(
    paths: Paths,
    frames: dict[str, int],
    failed: dict[str, str] | None = None,
    source_rate_hz: float | None = None,
) -> None:
    rows = [
        {"video_id": name, "status": "ok", "message": "", "frames": count, "width": WIDTH, "height": HEIGHT,
         "audio_samples": count * 16000, "source_rate_hz": source_rate_hz} for name, count in frames.items()
    ] + [
        {"video_id": name, "status": "corrupt", "message": message, "frames": 0, "width": 0, "height": 0,
         "audio_samples": 0} for name, message in (failed or {}).items()
    ]  # fmt: skip
    paths.media.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), paths.media / "index.parquet")


def write_manifest(path: Path, splits: dict[str, str]) -> str:
    lines = [f"{name},videos/{name}.mp4,{split}" for name, split in splits.items()]
    path.write_text("\n".join(["video_id,source,split", *lines]) + "\n")
    return str(path)


def run(paths: Paths, **block: Any) -> Imported:
    return annotate(AnnotateParams.model_validate(block), paths, Run("test"))


def test_the_manifest_splits_and_clips_without_media_are_dropped_by_name(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_source(tmp_path / "all.json", ["a", "b", "c", "gone", "torn"], {1: "dog", 2: "cow"})
    write_media(paths, {"a": FRAMES, "b": FRAMES, "c": FRAMES, "extra": FRAMES}, {"torn": "no moov atom"})
    manifest = write_manifest(tmp_path / "m.csv", {"a": "train", "b": "val", "c": "test"})
    imported = run(paths, source=source, splits={"manifest": manifest})
    assert imported.clips == {"train": 1, "val": 1, "test": 1}
    assert imported.dropped == {
        "gone": "no such video in the media index",
        "torn": "media corrupt: no moov atom",
    }
    assert imported.unlabelled == ["extra"]
    test = read_annotations(paths.annotations / "test.json")
    assert test.videos[0].id == 3  # results files refer to the source's ids
    assert test.videos[0].file_names[0] == "c/00000.jpg"
    assert decode(test.tracks[0].segmentations[2], HEIGHT, WIDTH).sum() == 25
    assert json.loads((paths.annotations / "summary.json").read_text())["dropped"] == imported.dropped


def test_files_that_number_categories_and_videos_differently_become_one_set(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "readme.txt").write_text("no annotations")
    write_source(exports / "train_1.json", ["a"], {1: "dog", 2: "cow"})
    write_source(exports / "train_2.json", ["b"], {1: "cow", 2: "Dogs"})
    write_source(exports / "test.json", ["c"], {7: "noise"})
    write_media(paths, dict.fromkeys("abc", FRAMES))
    (tmp_path / "map.yaml").write_text("Dogs: dog\nnoise: null\n")
    run(
        paths,
        source=str(exports),
        category_map=str(tmp_path / "map.yaml"),
        splits={"by": "file", "manifest": None},
    )
    train = read_annotations(paths.annotations / "train.json")
    assert train.categories == {1: "dog", 2: "cow"}
    assert [(video.id, video.name) for video in train.videos] == [(1, "a"), (2, "b")]
    assert [(track.id, track.video_id, train.categories[track.category_id]) for track in train.tracks] == [
        (1, 1, "dog"), (2, 2, "cow"),
    ]  # fmt: skip
    assert read_annotations(paths.annotations / "test.json").tracks == []
    (source,) = json.loads((paths.annotations / "summary.json").read_text())["sources"]
    assert source["name"] == str(exports) and source["format"] == "aviseg"  # one folder is one data set
    assert sorted(source["clips"]) == ["a", "b", "c"]


def test_data_sets_are_told_apart_by_folder_archive_and_format(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    for name in ("one/a.json", "two/b.json"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        write_source(tmp_path / "in" / name, [Path(name).stem], {1: "dog"})
    write_media(paths, dict.fromkeys("ab", FRAMES))
    manifest = write_manifest(tmp_path / "m.csv", {"a": "train", "b": "test"})
    run(paths, source=str(tmp_path / "in"), splits={"manifest": manifest})
    two = json.loads((paths.annotations / "summary.json").read_text())["sources"]
    assert [(Path(one["name"]).name, one["clips"]) for one in two] == [("one", ["a"]), ("two", ["b"])]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(tmp_path / "in/one/a.json", "deep/a.json")
    run(paths, source=str(tmp_path / "in.zip"), splits={"manifest": manifest})
    (one,) = json.loads((paths.annotations / "summary.json").read_text())["sources"]
    assert one == {"name": str(tmp_path / "in.zip"), "format": "aviseg", "clips": ["a"]}


def test_hash_splits_keep_the_clips_of_a_source_together(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    names = [f"{letter * 11}-1694962971939-seg{part}" for letter in "ABCDEFGH" for part in (1, 2)]
    source = write_source(tmp_path / "all.json", names, {1: "dog"})
    write_media(paths, dict.fromkeys(names, FRAMES))
    shares = {"train": 0.5, "val": 0.2, "test": 0.3}
    run(paths, source=source, splits={"by": "hash", "manifest": None, "shares": shares})
    split_of = {
        video.name: split
        for split in ("train", "val", "test")
        for video in read_annotations(paths.annotations / f"{split}.json").videos
    }
    assert sorted(split_of) == sorted(names)
    assert all(split_of[name] == split_of[name[:-1] + "1"] for name in names)
    assert len(set(split_of.values())) > 1


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_source(tmp_path / "train.json", ["a", "b"], {1: "dog"})
    contents = []
    for attempt in ("one", "two"):
        paths = Paths(tmp_path / attempt)
        write_media(paths, {"a": FRAMES, "b": FRAMES})
        run(paths, source=source, splits={"by": "file", "manifest": None})
        contents.append((paths.annotations / "train.json").read_bytes())
    assert contents[0] == contents[1]


def test_a_length_that_differs_from_the_media_names_file_video_annotation_and_lengths(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_source(tmp_path / "train.json", ["a"], {1: "dog"}, first_id=5)
    write_media(paths, {"a": FRAMES + 2})
    with pytest.raises(AvisError, match=r"Annotation 5 of the video 'a' has 4 frames, its media have 6"):
        run(paths, source=source, splits={"by": "file", "manifest": None})
    assert not paths.annotations.exists()


def test_a_mask_that_does_not_decode_names_the_source(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_source(tmp_path / "train.json", ["a"], {1: "dog"}, first_id=5)
    document = json.loads(Path(source).read_text())
    document["annotations"][0]["segmentations"][2]["counts"] = "zzzz"
    Path(source).write_text(json.dumps(document))
    write_media(paths, {"a": FRAMES})
    with pytest.raises(AvisError, match=r"does not decode.*train\.json, annotation 5, video 'a', frame 2"):
        run(paths, source=source, splits={"by": "file", "manifest": None})


def test_mistakes_get_one_clear_message(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_source(tmp_path / "train.json", ["a"], {1: "dog"})
    write_media(paths, {"b": FRAMES})
    by_file = {"by": "file", "manifest": None}
    with pytest.raises(AvisError, match="None of the 1 annotated videos has media"):
        run(paths, source=source, splits=by_file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvisError, match="folder has no annotation file"):
        run(paths, source=str(tmp_path / "empty"), splits=by_file)
    with pytest.raises(AvisError, match="no such annotation file"):
        run(paths, source=str(tmp_path / "other.json"), splits=by_file)
    (tmp_path / "map.yaml").write_text("cat: dog\n")
    with pytest.raises(AvisError, match="no source has: cat"):
        run(paths, source=source, splits=by_file, category_map=str(tmp_path / "map.yaml"))
    twice = tmp_path / "twice"
    second = write_source(twice / "train.json", ["b"], {1: "dog"})
    write_source(twice / "val.json", ["b"], {1: "dog"})
    with pytest.raises(AvisError, match="'b' is annotated twice"):
        run(paths, source=str(twice), splits=by_file)
    manifest = write_manifest(tmp_path / "m.csv", {"b": "", "c": "train"})
    with pytest.raises(AvisError, match="'b' has no split in the manifest"):
        run(paths, source=second, splits={"manifest": manifest})


def with_a_stray_mask(path: Path) -> str:
    """Datumaro JSON of a clip with a track of one mask and a mask of no track."""
    shape = {"type": "mask", "label_id": 0, "rle": mask(4)}
    item = {
        "id": "a/0", "attr": {"frame": 0}, "image": {"size": [HEIGHT, WIDTH]},
        "annotations": [{**shape, "attributes": {"track_id": 1}}, {**shape, "attributes": {}}],
    }  # fmt: skip
    document = {"categories": {"label": {"labels": [{"name": "dog"}]}}, "items": [item]}
    path.write_text(json.dumps(document))
    return str(path)


def test_what_reading_drops_is_an_error_past_the_share_or_when_strict_and_else_in_the_summary(
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path / "data")
    source = with_a_stray_mask(tmp_path / "train.json")
    write_media(paths, {"a": 1})
    block: dict[str, Any] = {"source": source, "splits": {"by": "file", "manifest": None}}
    with pytest.raises(
        AvisError, match=r"1 of 2 masks \(50\.0%\).*no attributes\.track_id.*max_changed_share"
    ):
        run(paths, **block)
    assert not (paths.annotations / "train.json").exists()
    with pytest.raises(AvisError, match=r"strict reading was asked for: 1 mask dropped"):
        run(paths, **block, max_changed_share=1.0, strict=True)
    assert run(paths, **block, max_changed_share=0.5).tracks["train"] == 1
    (row,) = json.loads((paths.annotations / "summary.json").read_text())["changes"]
    assert (row["kind"], row["unit"], row["count"]) == ("dropped", "mask", 1)


def test_conversion_is_refused_alike_and_writes_nothing(tmp_path: Path) -> None:
    source, target = Path(with_a_stray_mask(tmp_path / "train.json")), tmp_path / "out.json"
    with pytest.raises(AvisError, match=r"1 of 2 masks.*--max-changed-share"):
        convert(source, target, target_format="aviseg")
    with pytest.raises(AvisError, match="strict reading was asked for"):
        convert(source, target, target_format="aviseg", max_changed_share=1.0, strict=True)
    assert not target.exists()
    done = convert(source, target, target_format="aviseg", max_changed_share=0.5)
    assert done.changes.line() == "1 mask dropped" and len(read_annotations(target).tracks) == 1


def write_cvat(path: Path, tasks: dict[str, tuple[int, str, set[int]]], size: bool = True) -> str:
    """A CVAT project: by task its frames, its elements and the frames of its one track's polygons."""
    described, tracks, offset = "", "", 0
    told = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>" if size else ""
    for number, (name, (length, elements, shown)) in enumerate(tasks.items(), start=1):
        described += (
            f"<task><id>{number}</id><name>{name}.mp4</name><size>{length}</size>{elements}{told}</task>"
        )
        shapes = "".join(
            f'<polygon frame="{offset + k}" outside="{int(k not in shown)}" '
            'points="2.00,2.00;8.00,2.00;8.00,8.00"/>'
            for k in range(min(shown), max(shown) + 2)
        )
        tracks += f'<track id="{number}" label="dog" task_id="{number}">{shapes}</track>'
        offset += length
    path.write_text(
        f"<annotations><version>1.1</version><meta><project><tasks>{described}</tasks></project></meta>"
        f"{tracks}</annotations>"
    )
    return str(path)


def masks_of(paths: Paths, split: str = "train") -> list[list[bool]]:
    """By track: which frames have a mask."""
    tracks = read_annotations(paths.annotations / f"{split}.json").tracks
    return [[bool(mask) for mask in track.segmentations] for track in tracks]


BY_FILE = {"by": "file", "manifest": None}


@pytest.mark.parametrize(("told", "of_ingest"), [(25.0, None), (None, 25.0), (25.0, 12.0)])
def test_a_video_annotated_at_its_own_rate_is_placed_and_that_is_said(
    tmp_path: Path, told: float | None, of_ingest: float | None
) -> None:
    paths = Paths(tmp_path / "data")
    # picture k is frame 12 + 25 k: 37 and 62 are shown with a mask, 87 is not
    source = write_cvat(tmp_path / "train.xml", {"a": (200, "", set(range(37, 87)))})
    write_media(paths, {"a": 8}, source_rate_hz=of_ingest)
    imported = run(paths, source=source, splits=BY_FILE, frame_rate_hz=told)
    assert masks_of(paths) == [[False, True, True, False, False, False, False, False]]
    video = read_annotations(paths.annotations / "train.json").videos[0]
    assert (video.length, video.file_names[-1]) == (8, "a/00007.jpg")
    if told is None:
        assert [(row["kind"], row["unit"], row["examples"]) for row in imported.changes] == [
            ("guessed", "video", ["a, 200 frames at 25 a second"])
        ]
    else:
        assert not imported.changes
        assert "annotate.frame_rate_hz tells: of 200 frames, 8 are kept" in imported.notes[0]


@pytest.mark.parametrize(
    ("rate_hz", "message"),
    [
        (None, r"has 200 frames, its media have 8 "),
        (50.0, r"at the video's 50 frames a second they end after 4.00 s, the media after 8.00 s"),
        (10.0, r"end after 20.00 s"),
    ],
)  # fmt: skip
def test_frames_that_last_otherwise_than_the_media_are_refused(
    tmp_path: Path, rate_hz: float | None, message: str
) -> None:
    paths = Paths(tmp_path / "data")
    source = write_cvat(tmp_path / "train.xml", {"a": (200, "", {3})})
    write_media(paths, {"a": 8}, source_rate_hz=rate_hz)
    with pytest.raises(AvisError, match=message) as caught:
        run(paths, source=source, splits=BY_FILE)
    assert "annotate.frame_rate_hz" in str(caught.value.fix)


def test_cvats_own_step_counts_when_frames_are_placed(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    # every fifth frame from frame 3 on: the video's 8 is its second, and the last one before 12, picture 0
    head = "<start_frame>3</start_frame><frame_filter>step=5</frame_filter>"
    source = write_cvat(tmp_path / "train.xml", {"a": (40, head, {0})})
    text = Path(source).read_text().replace('frame="0"', 'frame="8"').replace('frame="1"', 'frame="13"')
    Path(source).write_text(text)
    write_media(paths, {"a": 8}, source_rate_hz=25.0)
    run(paths, source=source, splits=BY_FILE)
    assert masks_of(paths) == [[True] + [False] * 7]
    run(paths, source=source, splits=BY_FILE, frame_rate_hz=5.0)  # of the annotated frames
    assert masks_of(paths) == [[True] + [False] * 7]


def every_twelfth(folder: Path, form: str, step: int = 12) -> Path:
    """A video of 200 frames of which every twelfth was annotated, as each tool writes it."""
    numbers, shown = range(0, 200, step), {3 * step, 4 * step, 5 * step, 6 * step, 7 * step}
    size = {"height": HEIGHT, "width": WIDTH}
    shape: dict[str, Any] = {"attributes": {"track_id": 0}}
    document: dict[str, Any]
    if form == "coco_video":
        rows = [
            {
                "id": n,
                "image_id": n + 1,
                "category_id": 1,
                "segmentation": mask(4),
                "attributes": {"track_id": 0},
            }
            for n in shown
        ]
        images = [{"id": n + 1, "file_name": f"frame_{n:06d}.PNG", **size} for n in numbers]
        document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "dog"}]}
    elif form == "datumaro":
        shape |= {"type": "mask", "label_id": 0, "rle": mask(4)}
        items = [
            {"id": f"frame_{n:06d}", "annotations": [shape] * (n in shown), "attr": {"frame": n},
             "image": {"path": f"frame_{n:06d}.PNG", "size": [HEIGHT, WIDTH]}}
            for n in numbers
        ]  # fmt: skip
        document = {"items": items, "categories": {"label": {"labels": [{"name": "dog"}]}}}
    elif form == "via":
        outline = {"name": "polygon", "all_points_x": [2, 6, 6], "all_points_y": [2, 2, 6]}
        region = {"shape_attributes": outline, "region_attributes": {"track_id": "1", "label": "dog"}}
        pictures = {
            f"a/{n}.png": {"filename": f"a/{n}.png", "size": 1, "regions": [region] * (n in shown)}
            for n in numbers
        }
        document = {"_via_settings": {}, "_via_img_metadata": pictures}
        (folder / "a").mkdir()
        Image.new("L", (WIDTH, HEIGHT)).save(folder / "a" / "0.png")  # its size is that of the video
    elif form == "label_studio":
        head = {"id": "r", "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT}
        points = {"points": [[10, 10], [60, 10], [60, 60]], "closed": True, "polygonlabels": ["dog"]}
        regions = [
            {**head, "from_name": "polygon", "type": "polygonlabels", "value": points},
            {**head, "from_name": "track", "type": "number", "value": {"number": 1}},
        ]
        tasks = [
            {"id": n, "data": {"image": f"s3://bucket/a/{n}.png", "width": WIDTH, "height": HEIGHT},
             "annotations": [{"result": regions * (n in shown)}]}
            for n in numbers
        ]  # fmt: skip
        (folder / "a.json").write_text(json.dumps(tasks))
        return folder / "a.json"
    elif form == "labelme":  # it writes no file of a frame without a shape
        (folder / "a").mkdir()
        shapes = [{"label": "dog", "group_id": 1, "points": [[2, 2], [6, 2], [6, 6]]}]
        document = {"shapes": shapes, "imagePath": "", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        for n in numbers:
            (folder / "a" / f"{n}.jpg").touch()
        for n in shown:
            (folder / "a" / f"{n}.json").write_text(json.dumps(document))
        return folder
    elif form == "mots_txt":
        lines = [f"{n} 1001 1 {HEIGHT} {WIDTH} {mask(4)['counts']}\n" for n in sorted(shown)]
        other = [f"{n} 1002 1 {HEIGHT} {WIDTH} {mask(1)['counts']}\n" for n in (0, 192)]
        (folder / "labels.txt").write_text("dog")
        (folder / "a.txt").write_text("".join(lines + other))
        return folder
    else:
        kind = np.uint16 if form == "mots_png" else np.uint8
        target = folder / "a" / "001" if form == "sav" else folder / "a"
        target.mkdir(parents=True)
        (folder / "labels.txt").write_text("dog")
        for n in numbers:
            pixels = decode(mask(4), HEIGHT, WIDTH) * (n in shown) * (1001 if form == "mots_png" else 1)
            Image.fromarray(pixels.astype(kind)).save(target / f"frame_{n:06d}.png")
        return folder
    (folder / "a.json").write_text(json.dumps(document))
    return folder / "a.json"


@pytest.mark.parametrize(
    "form",
    ["coco_video", "datumaro", "mots_png", "mots_txt", "davis", "labelme", "via", "label_studio", "sav"],
)
def test_of_a_source_with_some_frames_the_nearest_are_placed_and_that_is_said(
    tmp_path: Path, form: str
) -> None:
    paths = Paths(tmp_path / "data")
    (tmp_path / "train").mkdir()
    source = every_twelfth(tmp_path / "train", form)
    write_media(paths, {"a": 8}, source_rate_hz=25.0)
    imported = run(paths, source=str(source), format=form, splits={"by": "hash", "manifest": None})
    kept = [read_annotations(paths.annotations / f"{name}.json") for name, n in imported.clips.items() if n]
    # picture k is frame 12 + 25 k: of 37, 62 and 87 the nearest are 36, 60 and 84
    shown = [False, True, True, True, False, False, False, False]
    assert [bool(found) for found in kept[0].tracks[0].segmentations] == shown
    said = [row["examples"] for row in imported.changes if "of those that it has the nearest" in row["why"]]
    if form == "sav":  # masklets have every fourth frame, say: theirs are numbered without the step
        assert next(row["examples"] for row in imported.changes) == ["a: 0, 12, … to 0, 1, …"]
    else:
        assert said == [["a, one frame of 12"]]
    done = convert(
        source,
        tmp_path / "out.json",
        source_format=form,
        target_format="aviseg",
        frame_rate_hz=25 / 12 if form == "sav" else 25,
    )
    assert [bool(found) for found in done.annotations.tracks[0].segmentations] == shown


def test_a_picture_that_labelme_wrote_no_file_of_is_annotated_without_a_shape(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = every_twelfth(tmp_path, "labelme")
    for n in (48, 72):  # every second one is left, but the pictures beside come twice as fast
        (source / "a" / f"{n}.json").unlink()
    write_media(paths, {"a": 8}, source_rate_hz=25.0)
    run(paths, source=str(source), format="labelme", splits={"by": "hash", "manifest": None})
    sets = [read_annotations(paths.annotations / f"{split}.json") for split in SPLITS]
    (track,) = [track for one in sets for track in one.tracks]
    # of 87 the nearest is 84, of 112 it is 108, which has a picture and no shape
    assert [bool(found) for found in track.segmentations] == [False, True, True, True] + [False] * 4


@pytest.mark.parametrize("form", ["sav", "davis"])
def test_frames_further_apart_than_pictures_tell_nothing_of_those_between(tmp_path: Path, form: str) -> None:
    paths = Paths(tmp_path / "data")
    (tmp_path / "train").mkdir()
    source = every_twelfth(tmp_path / "train", form, step=50)
    write_media(paths, {"a": 8}, source_rate_hz=25.0)
    with pytest.raises(AvisError, match=r"'a' lie 2 s apart, its pictures 1 s") as caught:
        run(paths, source=str(source), format=form, splits={"by": "hash", "manifest": None})
    assert "extract.frame_rate_hz to 0.5" in str(caught.value.fix)
    with pytest.raises(AvisError, match=r"At 0\.5 a second not every second has an annotated frame"):
        convert(source, tmp_path / "b.json", source_format=form, target_format="aviseg", frame_rate_hz=0.5)


def test_frames_that_the_source_has_tell_nothing_of_those_seconds_away(tmp_path: Path) -> None:
    clock = Clock(rate_hz=25.0, every=50)
    assert frames_of_pictures(200, clock, 8, 1.0) == [12 + 25 * k for k in range(8)]
    assert frames_of_pictures(176, replace(clock, every=25), 8, 1.0) == [25 * k for k in range(8)]
    assert frames_of_pictures(200, Clock(first=20, rate_hz=25.0), 8, 1.0) is None


def test_a_dropped_mask_is_measured_against_all_that_were_read(tmp_path: Path) -> None:
    path = Path(with_a_stray_mask(tmp_path / "train.json"))
    document = json.loads(path.read_text())
    (item,) = document["items"]
    later = [
        {**item, "id": f"a/{k}", "attr": {"frame": k}, "annotations": item["annotations"][:1]}
        for k in range(1, 200)
    ]
    path.write_text(json.dumps({**document, "items": [item, *later]}))
    done = convert(path, tmp_path / "out.json", target_format="aviseg", frame_rate_hz=25)
    assert done.changes.line() == "1 mask dropped"  # of 201, not of the 8 that are kept


@pytest.mark.parametrize("size", [True, False])
def test_a_video_that_ingest_lost_is_left_out_with_the_reason(tmp_path: Path, size: bool) -> None:
    paths = Paths(tmp_path / "data")
    tasks = {name: (4, "", {1}) for name in ("a", "mute", "b", "gone")}
    source = write_cvat(tmp_path / "train.xml", tasks, size)
    write_media(paths, {"a": 4, "b": 4}, {"mute": "no sound"})
    imported = run(paths, source=source, splits=BY_FILE)
    assert imported.dropped == {
        "mute": "media corrupt: no sound", "gone": "no such video in the media index",
    }  # fmt: skip
    assert masks_of(paths) == [[False, True, False, False]] * 2
    assert imported.changes == []


def test_of_lost_videos_alone_nothing_is_imported(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_cvat(tmp_path / "train.xml", {"mute": (4, "", {1})}, size=False)
    write_media(paths, {"a": 4}, {"mute": "no sound"})
    with pytest.raises(AvisError, match="None of the 1 annotated videos has media") as caught:
        run(paths, source=source, splits=BY_FILE)
    assert "mute: media corrupt: no sound" in str(caught.value.fix)


def test_label_studio_tells_the_rate_of_its_own_frames(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    box = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    # framesCount is 24 a second by Label Studio's default, whatever the video has
    sequence = [
        {**box, "frame": 30, "enabled": True, "time": 1.25},
        {**box, "frame": 90, "enabled": False, "time": 3.75},
    ]
    value = {"framesCount": 192, "duration": 8.0, "sequence": sequence, "labels": ["dog"]}
    region = {"id": "r", "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}
    tasks = [{"data": {"video": "clips/a.mp4"}, "annotations": [{"result": [region]}]}]
    source = tmp_path / "train.json"
    source.write_text(json.dumps(tasks))
    write_media(paths, {"a": 8}, source_rate_hz=30.0)
    imported = run(paths, source=str(source), splits=BY_FILE)
    assert masks_of(paths) == [[False, True, True, True, False, False, False, False]]
    assert imported.notes == [
        "1 video annotated at a rate that the source tells: of 192 frames, 8 are kept, those that the "
        "extracted ones show"
    ]


def test_frames_of_another_shape_than_the_media_are_refused_in_every_format(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_source(tmp_path / "train.json", ["a"], {1: "dog"})
    write_media(paths, {"a": FRAMES})
    table = pyarrow.parquet.read_table(paths.media / "index.parquet").to_pylist()
    for height, width, fits in ((2 * HEIGHT, 2 * WIDTH, True), (WIDTH, HEIGHT, False)):
        rows = pyarrow.Table.from_pylist([{**table[0], "height": height, "width": width}])
        pyarrow.parquet.write_table(rows, paths.media / "index.parquet")
        if fits:
            assert run(paths, source=source, splits=BY_FILE).clips["train"] == 1
            continue
        with pytest.raises(AvisError, match=f"'a' have {WIDTH}x{HEIGHT} pixels, its media {HEIGHT}x{WIDTH}"):
            run(paths, source=source, splits=BY_FILE)


def test_a_track_that_no_extracted_frame_shows_is_counted(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    source = write_cvat(tmp_path / "train.xml", {"a": (200, "", {38, 39}), "b": (200, "", {37})})
    write_media(paths, {"a": 8, "b": 8})
    imported = run(paths, source=source, splits=BY_FILE, frame_rate_hz=25.0)
    assert [(row["kind"], row["unit"], row["examples"]) for row in imported.changes] == [
        ("dropped", "track", ["a, track 1"])
    ]

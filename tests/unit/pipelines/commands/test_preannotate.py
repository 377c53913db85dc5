"""`avis preannotate` and `avis corrections`: the way to an annotation tool and back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.core.records.annotations import read_annotations
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.qa.tables.suspicions import read_suspicions
from pipelines.commands.labels.corrections import corrections
from pipelines.commands.labels.preannotate import preannotate
from pipelines.commands.labels.suspect import suspect
from pipelines.commands.options import Split
from tests.support.tiny_model import write_finder, write_square_set
from tests.support.tiny_sam import write_sam

PROMPTS = "video_id,track,category,frame,left,top,right,bottom,x,y,inside\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three clips with media and no annotations, and a model that covers every frame."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "predict: {score_threshold: 0.0, most_tracks: 2}\nvariants: {tiny: {}}\nstorage: {}\n"
    )
    paths = Paths()
    write_square_set(paths, "train")
    (paths.annotations / "train.json").unlink()
    write_finder(paths.model("tiny"))
    return tmp_path


def draft(out: str, **options: Any) -> None:
    preannotate(Path(out), **{"to": ["cvat"], "image_root": "frames/", **options})


def test_a_draft_goes_out_comes_back_and_what_was_changed_is_told(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft("out")
    tracks = read_annotations(Path("out/draft.json")).tracks
    assert len(tracks) == 6 and {track.category_id for track in tracks} <= {3, 7}
    files = sorted(Path("out/cvat").iterdir())
    assert [file.name for file in files] == ["train_bells.xml", "train_horn.xml", "train_quiet.xml"]
    # somebody deletes all shapes of the first track of one clip
    shapes = re.split(r"(?=<track )|(?<=</track>)", files[0].read_text())
    files[0].write_text("".join(shape for shape in shapes if '"track_id">1<' not in shape))
    files[2].unlink()
    capsys.readouterr()
    corrections(Path("out/draft.json"), Path("out/cvat"), Path("report"))
    said = capsys.readouterr().out
    assert "2 videos compared, 1 of the draft not corrected yet" in said
    rows = Path("report/corrections.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[1] for row in rows) == ["kept", "kept", "kept", "removed"]
    assert Path("report/report.html").is_file()


@pytest.mark.slow
def test_a_sam_model_draws_what_the_model_found_and_what_people_point_at(workspace: Path) -> None:
    sam = write_sam(Path("sam"))
    draft("out", sam=sam, video=["train_horn"], to=["cvat"])
    assert len(read_annotations(Path("out/draft.json")).tracks) == 2
    Path("prompts.csv").write_text(
        PROMPTS + "train_horn,a,horn,0,2,3,30,40,,,\ntrain_horn,b,drum,1,,,,,20,20,1\n"
    )
    draft("prompted", sam=sam, prompts=Path("prompts.csv"), to=["cvat"])
    annotations = read_annotations(Path("prompted/draft.json"))
    assert [annotations.categories[track.category_id] for track in annotations.tracks] == ["horn", "drum"]
    Path("prompts.csv").write_text(PROMPTS + "train_horn,a,horn,0,2,3,300,40,,,\n")
    with pytest.raises(AvisError, match="outside the picture of 56x48") as caught:
        draft("again", sam=sam, prompts=Path("prompts.csv"))
    assert "prompts.csv, video train_horn, track a, frame 0" in str(caught.value)
    assert not Path("again").exists()


def test_clips_that_are_annotated_are_left_out(workspace: Path) -> None:
    write = Paths().annotations / "train.json"
    write.parent.mkdir(exist_ok=True)
    files = [f"train_horn/{k:05d}.jpg" for k in range(2)]
    video = {"id": 1, "file_names": files, "length": 2, "height": 48, "width": 56}
    write.write_text(json.dumps({"categories": [], "videos": [video], "annotations": []}))
    draft("out", to=["cvat"])
    assert {video.name for video in read_annotations(Path("out/draft.json")).videos} == {
        "train_bells",
        "train_quiet",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video": ["nobody"]}, "'nobody' is not in the media index"),
        ({"prompts": Path("p.csv")}, "need a model that follows them"),
        ({"to": ["cvta"]}, "Did you mean cvat"),
        ({"model": "other"}, "neither a folder nor a variant"),
    ],
)
def test_what_cannot_be_drafted_is_refused_with_nothing_written(
    workspace: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AvisError, match=message):
        draft("out", **options)
    assert not Path("out").exists()


def test_files_with_no_common_video_are_refused(workspace: Path) -> None:
    draft("out", video=["train_horn"])
    draft("other", video=["train_quiet"])
    with pytest.raises(AvisError, match="no video in common"):
        corrections(Path("out/draft.json"), Path("other/cvat"))


def test_the_losses_of_labels_go_into_the_file_that_qa_reads(workspace: Path) -> None:
    write_square_set(Paths(), "test")
    suspect([Split.test], out=Path("doubts.csv"))
    found = read_suspicions(Path("doubts.csv"))
    tracks = {track.id for track in read_annotations(Path("data/annotations/test.json")).tracks}
    assert tracks and {one.track for one in found if one.track is not None} == tracks
    assert {one.split for one in found} == {"test"}
    document = json.loads(Path("data/annotations/test.json").read_text())
    document["categories"].append({"id": 99, "name": "drum"})
    Path("data/annotations/test.json").write_text(json.dumps(document))
    with pytest.raises(AvisError, match="does not know the category 'drum'"):
        suspect([Split.test], out=Path("doubts.csv"))


def test_label_studio_gets_predictions_of_each_frame(workspace: Path) -> None:
    draft("out", video=["train_horn"], to=["label_studio"])
    first, second = json.loads(Path("out/label_studio/train_horn.json").read_text())
    assert [task["data"]["image"] for task in (first, second)] == [
        "frames/train_horn/00000.jpg",
        "frames/train_horn/00001.jpg",
    ]
    assert first["predictions"][0]["model_version"] == "avis" and first["predictions"][0]["result"]

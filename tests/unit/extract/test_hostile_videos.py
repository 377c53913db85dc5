"""A video that does anything to its process becomes a row; the others are done. So with sound features."""

from pathlib import Path

import numpy as np
import pytest

from components.core.clips.index import MediaEntry
from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.run.files import sha256_file
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract import embed_video, extract_video, stage
from components.extract.params import ExtractParams
from tests.support.clips import make_clip
from tests.support.hostile import CAUSES, WAYS, attack
from tests.support.vggish_weights import write_vggish

pytestmark = pytest.mark.slow

_extract, _embed = extract_video.extract_video, embed_video.embed_video
ALL = CAUSES | {"loop": ("timeout", "took ")}
ENGINE = EngineParams(workers=2)


def extract_hostile(task: extract_video.Task) -> MediaEntry:
    note(Path(task.raw.folder), task.entry.video_id)  # type: ignore[attr-defined]
    attack(task.entry.video_id)
    return _extract(task)


def embed_hostile(task: embed_video.EmbedTask) -> str:
    attack(task.row.video_id)
    return _embed(task)


def note(folder: Path, name: str) -> None:
    with (folder / f"{name}.tried").open("a") as tried:
        tried.write("x")


@pytest.fixture(scope="module", autouse=True)
def workers_that_have_torch() -> None:
    """Import PyTorch once for all workers of these tests, not in each."""
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["components.extract.embed_video"])
    forkserver.ensure_running()


@pytest.fixture()
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.raw.mkdir()
    clip = make_clip(paths.raw / "good.mp4", seconds=2)
    entries = []
    for name in ("good", *WAYS, "better"):
        path = paths.raw / f"{name}.mp4"
        path.write_bytes(clip.read_bytes())
        entries.append(
            RawEntry(
                name, Status.OK, "", 1, "somewhere", None, None, "x", path=path.name, sha256=sha256_file(path)
            )
        )
    write_raw_index(paths.raw / "index.parquet", entries)
    return paths


def check(rows: list[MediaEntry]) -> None:
    found = {row.video_id: row for row in rows}
    assert (found["good"].status, found["better"].status) == ("ok", "ok")
    for name, (status, cause) in ALL.items():
        assert found[name].status == status, found[name].message
        assert cause in found[name].message


def test_each_is_a_row_and_the_rerun_leaves_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "extract_video", extract_hostile)
    params = ExtractParams(item_timeout_s=4.0)
    rows = stage.extract(params, ENGINE, paths)
    check(rows)
    tried = {path.stem: path.stat().st_size for path in paths.raw.glob("*.tried")}
    assert tried["segfault"] == 2
    again = stage.extract(params, ENGINE, paths)
    assert "extract: 3 videos are not tried again" in capsys.readouterr().err
    check(again)
    tried |= {"strange": tried["strange"] + 2}  # as it may be our own mistake, mended meanwhile
    assert {path.stem: path.stat().st_size for path in paths.raw.glob("*.tried")} == tried
    stage.extract(params.model_copy(update={"item_timeout_s": 5.0}), ENGINE, paths)
    assert (paths.raw / "segfault.tried").stat().st_size == 4


def test_sound_features(paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embed_video, "embed_video", embed_hostile)
    params = ExtractParams(audio_weights=str(write_vggish(tmp_path / "vggish.pth")), item_timeout_s=10.0)
    rows = stage.extract(params, ENGINE, paths)
    check(rows)
    good = next(row for row in rows if row.video_id == "good")
    assert np.load(paths.media / "features" / "good.npy").shape == (good.frames, 128)

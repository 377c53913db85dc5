"""A file that does anything to the process that reads it becomes a row; the others are done."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from components.core.run.journal import Journal
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest import stage
from components.ingest.params import IngestParams
from components.ingest.schedule import Task, Tried
from components.ingest.verify import verify
from tests.support.clips import make_clip
from tests.support.hostile import CAUSES, WAYS, attack

pytestmark = pytest.mark.slow

_bring = stage._bring


def hostile_verify(path: Path, **settings: Any) -> Any:
    with (path.parents[3] / f"{path.parent.name}.tried").open("a") as tried:
        tried.write("x")
    attack(path.parent.name)  # .parts/<video_id>
    return verify(path, **settings)


def bring(task: Task) -> Tried:
    stage.verify = hostile_verify
    return _bring(task)


@pytest.fixture()
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IngestParams:
    monkeypatch.setattr(stage, "_bring", bring)
    names = [*WAYS, "good", "better"]
    rows = [f"{name},{make_clip(tmp_path / f'{name}.mp4', seconds=2)}\n" for name in names]
    (tmp_path / "manifest.csv").write_text("video_id,source\n" + "".join(rows))
    return IngestParams(manifest=str(tmp_path / "manifest.csv"), item_timeout_s=8.0)


def tries(paths: Paths) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in paths.root.glob("*.tried")}


def test_each_is_a_row_and_the_rerun_leaves_it(tmp_path: Path, params: IngestParams, capsys: Any) -> None:
    paths = Paths(tmp_path / "data")
    engine = EngineParams(workers=2)
    rows = {row.video_id: row for row in stage.ingest(params, engine, paths)}
    assert (rows["good"].status, rows["better"].status) == ("ok", "ok")
    causes = CAUSES | {"loop": ("too_heavy", "took ")}
    for name, (status, cause) in causes.items():
        assert rows[name].status == status, rows[name].message
        assert cause in rows[name].message

    stage.check_share(stage.RawIndex(paths.raw / "index.parquet"), 1.0)
    assert "not tried again while the file" in capsys.readouterr().err

    again = {row.video_id: row for row in stage.ingest(params, engine, paths)}
    same = {name: row for name, row in rows.items() if name != "strange"}
    assert {name: row for name, row in again.items() if name != "strange"} == same
    tried = tries(paths)
    assert tried["segfault"] == 2  # a second chance, and none in the second run
    assert (tried["allocate"], tried["loop"], tried["strange"]) == (1, 1, 2)


def test_a_changed_file_or_limit_is_tried_again(tmp_path: Path, params: IngestParams) -> None:
    paths, engine = Paths(tmp_path / "data"), EngineParams(workers=2)
    (tmp_path / "manifest.csv").write_text(
        f"video_id,source\nsegfault,{tmp_path}/segfault.mp4\ngood,{tmp_path}/good.mp4\n"
    )
    stage.ingest(params, engine, paths)
    before = tries(paths)["segfault"]
    stage.ingest(params.model_copy(update={"item_timeout_s": 9.0}), engine, paths)
    make_clip(tmp_path / "segfault.mp4", seconds=3)
    stage.ingest(params.model_copy(update={"item_timeout_s": 9.0}), engine, paths)
    assert tries(paths)["segfault"] == 3 * before


def test_a_line_of_the_journal_that_is_no_row_costs_its_entry_only(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=2)
    (tmp_path / "manifest.csv").write_text(f"video_id,source\na,{clip}\nb,{clip}\n")
    params, paths = IngestParams(manifest=str(tmp_path / "manifest.csv")), Paths(tmp_path / "data")
    rows = list(stage.ingest(params, EngineParams(workers=2), paths))
    (paths.raw / "index.parquet").unlink()
    journal = Journal(paths.raw / ".journal", "ingest 1")
    journal.record("a", {"video_id": 7, "status": "none such"})
    journal.record("b", asdict(rows[1]))
    journal.close()
    assert list(stage.ingest(params, EngineParams(workers=2), paths)) == rows

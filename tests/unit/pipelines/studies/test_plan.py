"""How long a study will take: at rates of its own cells, of other studies, or of the checkout's model."""

import json
from pathlib import Path

from components.core.run.paths import Paths
from components.tools.studies.results import ABOUT, Result, folder_of
from pipelines.studies.plan import _rate


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_the_nearest_measured_rate_is_taken(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert _rate([], paths, "avism") is None
    write(paths.model("avism"), metrics={"seconds": 90.0, "steps": 30})
    write(paths.predictions("avism"), timing={"seconds": 7.0})
    assert _rate([], paths, "avism") == (3.0, 7.0)
    trained = {"seconds": {"train": 80.0, "predict": 6.0, "evaluate": 4.0}}
    write(folder_of(paths, "one"), cell=trained, training={"seconds": 80.0, "steps": 40})
    write(
        folder_of(paths, "tested"), cell={"seconds": {"predict": 2.0}}, training={"seconds": 8.0, "steps": 1}
    )
    write(folder_of(paths, "released"), cell={"seconds": {"train": 9.0, "predict": 2.0}}, training={})
    (folder_of(paths, "damaged")).mkdir()
    (folder_of(paths, "damaged") / ABOUT).write_text("{")
    assert _rate([], paths, "avism") == (2.0, 2.0)
    own = Result(tmp_path, trained, {"seconds": 200.0, "steps": 40}, {}, {}, None)
    assert _rate([own], paths, "avism") == (5.0, 10.0)

"""A model from Python: frames one by one, with the objects that sound in them."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from components.core.run.errors import AvisError
from components.core.video import load
from tests.support.clips import grey, make_clip
from tests.support.tiny_model import CATEGORIES, write_finder


def test_a_video_is_tracked_frame_by_frame(tmp_path: Path) -> None:
    folder = write_finder(tmp_path / "tiny")
    video = make_clip(tmp_path / "clip.mp4", seconds=2.5, flashes_s=(0.5,))
    model = load(folder, score_threshold=0.0, most_tracks=2, device="cpu")
    assert model.categories == CATEGORIES and model.assumed == []
    frames = list(model.track(video))
    assert [(frame.number, frame.time_s) for frame in frames] == [(0, 0.5), (1, 1.5)]
    assert grey(frames[0].picture) > 200 > 100 > grey(frames[1].picture)
    for frame in frames:
        assert [thing.number for thing in frame.objects] == [1, 2]
        assert all(thing.mask.shape == (64, 96) and thing.mask.all() for thing in frame.objects)
    assert frames[0].objects[0].name == frames[1].objects[0].name
    assert len(list(model.track(video, rate_hz=4.0))) == 10
    found = model.find(video)
    assert np.isclose(found.objects[0].score, frames[0].objects[0].score)
    with pytest.raises(AvisError, match="no such video"):
        next(model.track(tmp_path / "nowhere.mp4"))


def test_the_notebook_goes_from_a_file_to_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    given = {
        "MODEL": str(write_finder(tmp_path / "tiny")),
        "VIDEO": str(make_clip(tmp_path / "clip.mp4", seconds=2.5, flashes_s=(0.5,))),
        "SCORE_THRESHOLD": 0.3,
    }
    cells = json.loads(Path("docs/track-a-video.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= given
    assert "[(0.0, 2.0)]" in capsys.readouterr().out
    pictures, bars = (plt.figure(number) for number in plt.get_fignums())
    assert [axis.get_title() for axis in pictures.axes] == ["0.5 s", "1.5 s"]
    assert len(bars.axes[0].get_yticklabels()) == len(names["found"].objects) > 0  # type: ignore[attr-defined]
    plt.close("all")

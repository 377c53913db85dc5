"""What a small file may ask for: work that its size does not justify is refused before it is begun."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.annotate import effort
from components.annotate.effort import Effort
from components.annotate.exports import read_sources
from components.core.run.errors import AvisError

SHAPE = '<polygon frame="{}" outside="0" points="1,1;9,1;9,9"/>'
MASK = '<mask frame="{}" outside="0" rle="0, 128000000" left="0" top="0" width="16000" height="8000"/>'


def cvat(frames: int, tracks: str, size: str = "<width>854</width><height>480</height>") -> str:
    return (
        "<annotations><version>1.1</version><meta><task><id>1</id><name>v</name>"
        f"<size>{frames}</size><original_size>{size}</original_size></task></meta>{tracks}</annotations>"
    )


def track(*shapes: str) -> str:
    return f'<track label="dog">{"".join(shapes)}</track>'


def coco(tracks: int, last: int, videos: int = 1, polygon: tuple[float, ...] = (1, 1, 9, 1, 9, 9)) -> str:
    sizes = {"height": 8000, "width": 16000}
    document: dict[str, Any] = {
        "categories": [{"id": 1, "name": "dog"}],
        "videos": [{"id": k, "name": f"v{k}", "length": last + 1, **sizes} for k in range(videos)],
        "images": [{"id": 1, "video_id": 0, "frame_id": last, **sizes}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "track_id": k, "segmentation": [polygon]}
            for k in range(tracks)
        ],
    }
    return json.dumps(document)


ZIGZAG = tuple(float(x) for k in range(4) for x in (k % 2 * 400_000, k))


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.xml", cvat(1_000_000, track(SHAPE.format(0)) * 50), "Track track 0 of the video 'v' with 1"),
        ("a.xml", cvat(90_000, track(SHAPE.format(0), SHAPE.format(89_999)) * 9), "This mask"),
        ("a.xml", cvat(99, track(MASK.format(0)), "<width>16000</width><height>8000</height>"),
         "A mask of 128,000,000 pixels"),
        ("a.json", coco(300, 999_999), "Track 0 of the video 'v0' with 1,000,000 frames"),
        ("a.json", coco(0, 999_999, videos=400), "The video 'v1' with 1,000,000 frames"),
        ("a.json", coco(999, 0, polygon=ZIGZAG), "This mask, with all that stands before it,"),
    ],
)  # fmt: skip
def test_a_small_file_that_asks_for_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, what: str
) -> None:
    monkeypatch.setattr(effort, "_FREE_S", 1.0)
    (tmp_path / name).write_text(content)
    spent: list[float] = []
    spend = Effort.spend

    def watched(self: Effort, seconds: float, *rest: str) -> None:
        spent.append(seconds)
        spend(self, seconds, *rest)

    monkeypatch.setattr(Effort, "spend", watched)
    with pytest.raises(AvisError, match="is more work than a source of 0") as caught:
        read_sources(tmp_path / name)
    assert what in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert sum(spent) < 4  # seconds: it stops at the first thing that is too much


def test_a_long_video_of_few_tracks_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(cvat(90_000, track(SHAPE.format(7)) * 20))  # an hour
    (source,) = read_sources(tmp_path / "a.xml")
    (first, *_) = source.reading.annotations.tracks
    assert len(first.segmentations) == 90_000 and first.segmentations[7]
    assert [k for k, mask in enumerate(first.segmentations) if mask] == [7]


def test_xml_of_elements_that_hold_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(cvat(1, "<a/>" * 20_000))
    with pytest.raises(AvisError, match="its elements have fewer than 12 bytes each"):
        read_sources(tmp_path / "a.xml")

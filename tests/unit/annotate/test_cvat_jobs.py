"""Jobs of one CVAT task, exported one by one."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.annotate.exports import Source, read_sources
from components.core.records.masks import area
from components.core.run.errors import AvisError
from tests.unit.annotate.test_changed_files import LONGEST_S, refused_or_comes_back
from tests.unit.annotate.test_cvat import change

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>'
LABELS = "<labels><label><name>dog</name></label><label><name>cello</name></label></labels>"


def mask(frame: int, left: int = 2, width: int = 5, track_id: str = "") -> str:
    """A mask of one frame, as CVAT exports it: a track of its own; 4 * width pixels."""
    own = f'<attribute name="track_id">{track_id}</attribute>' if track_id else ""
    return (
        f'<track id="0" label="dog" source="manual"><mask frame="{frame}" keyframe="1" outside="0" '
        f'occluded="0" rle="0, {4 * width}" left="{left}" top="3" width="{width}" height="4" z_order="0">'
        f"{own}</mask></track>"
    )


def polygons(start: int, stop: int, left: int = 2, *, ended: bool = False) -> str:
    """A track of 64 pixels a frame, which CVAT interpolates and writes frame by frame."""
    points = ";".join(f"{left + x}.00,{2 + y}.00" for x, y in ((0, 0), (8, 0), (8, 8), (0, 8)))
    shapes = "".join(
        f'<polygon frame="{k}" keyframe="{int(k == start)}" outside="0" occluded="0" points="{points}" '
        'z_order="0"></polygon>'
        for k in range(start, stop)
    )
    if ended:
        shapes += (
            f'<polygon frame="{stop}" keyframe="1" outside="1" occluded="0" points="{points}"></polygon>'
        )
    return f'<track id="0" label="dog" source="manual">{shapes}</track>'


def job(
    path: Path, start: int, stop: int, *tracks: str, first: int = 0, step: int = 1, wide: int = 40
) -> None:
    """Frames start to stop - 1 of the task, as JobData._init_meta tells them."""
    begins, ends = first + start * step, first + (stop - 1) * step
    path.write_text(
        f"{HEAD}<job><id>{start}</id><size>{stop - start}</size><mode>interpolation</mode>"
        f"<overlap>2</overlap><start_frame>{begins}</start_frame><stop_frame>{ends}</stop_frame>"
        f"<frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter><segments><segment><id>1</id>"
        f"<start>{start}</start><stop>{stop - 1}</stop><url>u</url></segment></segments><owner></owner>"
        f"<assignee></assignee>{LABELS}</job><dumped>d</dumped><original_size><width>{wide}</width>"
        f"<height>30</height></original_size></meta>{''.join(tracks)}</annotations>"
    )


def read(folder: Path) -> Source:
    (source,) = read_sources(folder)
    return source


def areas(source: Source) -> list[list[int]]:
    return [
        [0 if one is None else area(one, 30, 40) for one in track.segmentations]
        for track in source.reading.annotations.tracks
    ]


def test_a_track_id_goes_on_in_the_next_job(tmp_path: Path) -> None:
    job(tmp_path / "clip.job_8.xml", 3, 6, mask(20 + 5 * 5, track_id="7"), first=20, step=5)
    job(tmp_path / "clip.job_9.xml", 0, 3, mask(20 + 5 * 1, track_id="7"), first=20, step=5)
    source = read(tmp_path)
    (video,) = source.reading.annotations.videos
    assert (video.name, video.length, video.height, video.width) == ("clip", 6, 30, 40)
    assert areas(source) == [[0, 20, 0, 0, 0, 20]]
    assert [track.id for track in source.reading.annotations.tracks] == [7]
    assert not source.reading.changes
    assert (source.reading.clocks["clip"].first, source.reading.clocks["clip"].step) == (20, 5)
    assert "clip.job_8.xml and " in source.name


def test_an_object_that_both_jobs_show_in_shared_frames_is_one_and_that_is_said(tmp_path: Path) -> None:
    job(tmp_path / "clip.job_1.xml", 0, 5, polygons(1, 5), polygons(0, 5, 24))
    job(tmp_path / "clip.job_2.xml", 3, 8, polygons(3, 8, 24), polygons(3, 7, ended=True))
    source = read(tmp_path)
    assert areas(source) == [[0, 64, 64, 64, 64, 64, 64, 0], [64] * 8]
    assert source.reading.changes.line() == "2 tracks merged"


def test_of_frames_that_two_jobs_have_differently_the_earlier_jobs_are_taken(tmp_path: Path) -> None:
    job(tmp_path / "clip.job_1.xml", 0, 4, *(mask(k, track_id="1") for k in range(4)))
    later = [mask(2, track_id="1"), mask(3, 4, track_id="1"), mask(3, 20, track_id="2")]
    job(tmp_path / "clip.job_2.xml", 2, 6, *later, mask(4, 4, 6, track_id="1"))
    source = read(tmp_path)
    assert areas(source) == [[20, 20, 20, 20, 24, 0]]
    assert [str(change).partition(" (")[0] for change in source.reading.changes] == [
        "2 masks dropped: an earlier job of the task has its frame, too, and has it not or otherwise"
    ]


def test_jobs_without_shared_frames_have_objects_of_their_own_and_that_is_said(tmp_path: Path) -> None:
    job(tmp_path / "clip.job_1.xml", 0, 2, polygons(0, 2))
    job(tmp_path / "clip.job_2.xml", 2, 4, polygons(2, 3, ended=True))
    source = read(tmp_path)
    assert areas(source) == [[64, 64, 0, 0], [0, 0, 64, 0]]
    assert source.reading.changes.line() == "1 track guessed"


def test_a_missing_job_and_jobs_of_two_tasks_are_refused(tmp_path: Path) -> None:
    job(tmp_path / "clip.job_2.xml", 2, 4, polygons(2, 3, ended=True))
    with pytest.raises(AvisError, match=r"No job tells of the frames 0 to 1 of the video 'clip'.*job_2\.xml"):
        read_sources(tmp_path)
    job(tmp_path / "clip.job_1.xml", 0, 3, wide=41)
    with pytest.raises(AvisError, match=r"not of one task: size.*job_1\.xml and .*job_2\.xml"):
        read_sources(tmp_path)


def test_a_job_of_a_whole_task_is_read_alone(tmp_path: Path) -> None:
    job(tmp_path / "clip.xml", 0, 3, mask(1))
    assert areas(read(tmp_path)) == [[0, 20, 0]]
    assert read(tmp_path).name.endswith("clip.xml")


def test_jobs_of_images_have_their_own_frames_too(tmp_path: Path) -> None:
    for start, stop in ((0, 2), (2, 4)):
        path = tmp_path / f"clip.job_{start}.xml"
        job(path, start, stop)
        shape = '<mask label="dog" rle="0, 20" left="2" top="3" width="5" height="4">'
        shape += '<attribute name="track_id">3</attribute></mask>'
        images = "".join(
            f'<image id="{k}" name="{k}.jpg" width="40" height="30">{shape if k in (1, 2) else ""}</image>'
            for k in range(start, stop)
        )
        path.write_text(path.read_text().replace("</annotations>", f"{images}</annotations>"))
    source = read(tmp_path)
    assert areas(source) == [[0, 20, 20, 0]]
    assert not source.reading.changes


@pytest.mark.timeout(LONGEST_S)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_changed_jobs_are_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    job(folder / "clip.job_1.xml", 0, 5, polygons(1, 5), polygons(0, 5, 24), mask(2, track_id="3"))
    job(folder / "clip.job_2.xml", 3, 8, polygons(3, 8, 24), mask(4, track_id="3"))
    for path in sorted(folder.iterdir()):
        document = ElementTree.parse(path)
        change(document.getroot(), data)
        document.write(path, encoding="utf-8", xml_declaration=True)
    refused_or_comes_back(folder, "cvat", folder.with_suffix(".json"))

from pathlib import Path

import pytest

from components.annotate.params import Shares, SplitParams
from components.annotate.splits import settle_shared_sources, split_by_hash, split_of_file
from components.core.raw.clip_names import source_of
from components.core.raw.manifest import ManifestEntry
from components.core.run.errors import AvisError

ADDRESS = "https://www.youtube.com/watch?v=9h7btHpA52U&t=3s"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("9h7btHpA52U-00.22.53.668-00.23.54.504-seg2", "9h7btHpA52U"),
        ("9h7btHpA52U-00.22.53.668-00.23.54.504", "9h7btHpA52U"),
        ("04Xa26YOfcw-1694962971939-seg1-1695387405621", "04Xa26YOfcw"),
        ("-XodpwTymzg-1695002109814-seg1-1695386779184", "-XodpwTymzg"),
        ("WHsrzLP6XdQ-cut-merged-1694916583649", "WHsrzLP6XdQ"),
        ("-wgEIkAongk", "-wgEIkAongk"),
        ("00000002", "00000002"),
        ("my-own_video.2", "my-own_video.2"),
        ("short-1694962971939", "short-1694962971939"),  # no 11 characters before the stamp
    ],
)
def test_the_source_is_read_off_the_name(name: str, source: str) -> None:
    assert source_of(name) == source


@pytest.mark.parametrize(
    ("name", "manifest_source", "source"),
    [
        ("a", ADDRESS, "9h7btHpA52U"),
        ("a", "https://youtu.be/9h7btHpA52U", "9h7btHpA52U"),
        ("9h7btHpA52U", ADDRESS, "9h7btHpA52U"),
        ("9h7btHpA52U-00.22.53.668-00.23.54.504", "https://example.org/x.mp4", "9h7btHpA52U"),
        ("a1", "https://example.org/long.mp4", "https://example.org/long.mp4"),
        ("clip_07", "data/sample/videos/clip_07.mp4", "clip_07"),
    ],
)
def test_the_manifest_helps_where_the_name_does_not_tell(
    name: str, manifest_source: str, source: str
) -> None:
    assert source_of(name, manifest_source) == source


@pytest.mark.parametrize(
    ("file", "split"),
    [("train.json", "train"), ("instances_val.json", "val"), ("valid.json", "val"), ("x.test.json", "test")],
)
def test_split_of_file(file: str, split: str) -> None:
    assert split_of_file(Path(file)) == split


@pytest.mark.parametrize("file", ["annotations.json", "training.json", "train_and_test.json"])
def test_a_file_name_that_tells_no_single_split_is_refused(file: str) -> None:
    with pytest.raises(AvisError, match="does not tell its split"):
        split_of_file(Path(file))


def test_hash_splits_follow_the_shares_and_the_seed() -> None:
    sources = [f"source{number}" for number in range(4000)]
    drawn = [split_by_hash(source, Shares(train=0.7, val=0.1, test=0.2), seed=1) for source in sources]
    assert drawn.count("train") / 4000 == pytest.approx(0.7, abs=0.03)
    assert drawn.count("val") / 4000 == pytest.approx(0.1, abs=0.03)
    assert drawn == [
        split_by_hash(source, Shares(train=0.7, val=0.1, test=0.2), seed=1) for source in sources
    ]
    assert drawn != [
        split_by_hash(source, Shares(train=0.7, val=0.1, test=0.2), seed=2) for source in sources
    ]


LEAKING = {
    "AAAAAAAAAAA-1694962971939-seg1": "train",
    "AAAAAAAAAAA-1694962971939-seg2": "test",
    "AAAAAAAAAAA-1694962971939-seg3": "val",
    "b1": "train",
    "b2": "val",
    "alone": "train",
}
MANIFEST = {
    name: ManifestEntry(name, "https://example.org/b.mp4", None, None, None, None, None, None)
    for name in ("b1", "b2")
}


def test_clips_of_a_shared_source_are_dropped_in_favour_of_the_test_split() -> None:
    dropped = settle_shared_sources(LEAKING, MANIFEST, SplitParams(shared_sources="drop"))
    assert set(dropped) == {"AAAAAAAAAAA-1694962971939-seg1", "AAAAAAAAAAA-1694962971939-seg3", "b1"}


def test_shared_sources_are_refused_by_name_unless_kept() -> None:
    with pytest.raises(AvisError, match=r"2 source videos .*AAAAAAAAAAA.*seg2 \(test\)"):
        settle_shared_sources(LEAKING, MANIFEST, SplitParams())
    assert settle_shared_sources(LEAKING, MANIFEST, SplitParams(shared_sources="keep")) == {}

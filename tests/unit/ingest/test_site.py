"""What a site says about a video is kept; which of its formats is taken can be said."""

from pathlib import Path

import pytest

from components.core.raw.index import RawEntry, Status, read_raw_index, write_raw_index
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest.fetch import _options, _said, check_format
from components.ingest.params import IngestParams
from components.ingest.stage import ingest

URL = "https://example.org/v"


@pytest.mark.parametrize(
    ("said", "uploader", "license"),
    [
        ({"uploader": " The \n Band ", "license": "CC BY"}, "The Band", "CC BY"),
        ({"channel": "Chan", "uploader": ""}, "Chan", None),
        ({"entries": [None, {"uploader": "Band"}]}, "Band", None),
        ({"uploader": ["no", "text"]}, None, None),
        ({"uploader": "x" * 900}, "x" * 200, None),
        (None, None, None),
    ],
)
def test_words_of_a_site_are_one_line(said: object, uploader: str | None, license: str | None) -> None:
    assert _said(said, "uploader", "channel", "creator") == uploader
    assert _said(said, "license") == license


def test_they_stay_and_the_manifest_has_the_last_word(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    paths.raw.mkdir(parents=True)
    (paths.raw / "a.mp4").write_bytes(b"film")
    params = IngestParams(manifest=str(tmp_path / "manifest.csv"))
    row = RawEntry(
        video_id="a",
        status=Status.OK,
        message="",
        attempts=1,
        source=URL,
        start_s=None,
        end_s=None,
        fingerprint=params.fingerprint(is_local=False),
        path="a.mp4",
        size_bytes=4,
        time="2026-11-25T00:00:00+00:00",
        site_license="CC BY",
        site_uploader="Band",
    )
    write_raw_index(paths.raw / "index.parquet", [row])
    for manifest, expected in [
        (ManifestEntry("a", URL), ("CC BY", "Band")),
        (ManifestEntry("a", URL, license="mine", uploader="me"), ("mine", "me")),
        (ManifestEntry("a", URL), ("CC BY", "Band")),
    ]:
        write_manifest(tmp_path / "manifest.csv", [manifest])
        ingest(params, EngineParams(workers=1), paths)
        [found] = read_raw_index(paths.raw / "index.parquet")
        assert (found.license, found.uploader) == expected


def test_formats_are_checked_before_anything_is_asked_for() -> None:
    check_format(None)
    check_format("bv*[height<=480]+ba/b")
    with pytest.raises(AvisError, match=r"'\(best' selects no formats.*params.yaml, ingest.format"):
        check_format("(best")
    wanted = IngestParams(format="worst")
    assert _options(wanted, is_site=True)["format"] == "worst"
    assert wanted.fingerprint(is_local=False) != IngestParams().fingerprint(is_local=False)
    assert wanted.fingerprint(is_local=True) == IngestParams().fingerprint(is_local=True)

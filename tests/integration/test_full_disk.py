"""A disk that is really full: what is finished stays, the message says how much is missing, and where."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.clips.index import read_media_index
from components.core.raw.index import read_raw_index
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from tests.support.clips import make_clip

pytestmark = pytest.mark.integration
ENGINE = EngineParams(workers=1)

# Runs in a user namespace of its own, where anybody may mount a small file system.
SMALL = 'mount -t tmpfs -o size="$1" none "$2" && cd "$3" && exec "$4" -c "$5" "$2" "$6" "$7"'
INGEST = """
import shutil, sys
from pathlib import Path
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
small, manifest, kept = sys.argv[1:]
try:
    if manifest:
        ingest(IngestParams(manifest=manifest), EngineParams(workers=1), Paths(Path(small)))
    else:
        shutil.copytree(Path(kept) / "raw", Path(small) / "raw")
        extract(ExtractParams(jpeg_quality=95), EngineParams(workers=1), Paths(Path(small)))
except AvisError as error:
    print(error)
shutil.copytree(small, Path(kept) / "small")  # the file system goes with its process
"""


def on_small_disk(size: str, folder: Path, manifest: str, kept: Path) -> str:
    folder.mkdir()
    root = Path(__file__).parents[2]
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "mount -t tmpfs none /mnt"]).returncode:
        pytest.skip("this machine lets no user mount a file system")
    arguments = [size, str(folder), str(root), sys.executable, INGEST, manifest, str(kept)]
    done = subprocess.run([*namespace, SMALL, "sh", *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos: five of 200 kB and one of 1 MB; the last is cut."""
    folder = tmp_path_factory.mktemp("videos")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source", "start_s"])
        for k in range(5):
            path = make_clip(folder / f"{k}.mp4", seconds=3)
            with path.open("ab") as video:
                size = 1_000_000 if k == 3 else 200_000
                video.write(size.to_bytes(4, "big") + b"free" + bytes(size - 8))
            writer.writerow([f"v{k}", path, ""])
    return folder / "manifest.csv"


def missing_mb(message: str) -> tuple[float, float, float]:
    """Free, needed and missing, as the message says."""
    found = re.search(r"([\d.]+) MB are free, .* needs ([\d.]+) MB: ([\d.]+) MB are missing", message)
    assert found, message
    return float(found[1]), float(found[2]), float(found[3])


def files_of(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob(pattern) if p.is_file()}


def test_ingest(tmp_path: Path, manifest: Path) -> None:
    message = on_small_disk("1200k", tmp_path / "disk", str(manifest), tmp_path)
    free, needed, missing = missing_mb(message)
    assert "'v3' could not be finished: the disk is full" in message
    assert str(tmp_path / "disk") in message and "Make room" in message
    assert needed == pytest.approx(1.0, abs=0.1)
    assert missing == pytest.approx(needed - free, abs=0.11)

    data = tmp_path / "small"
    finished = files_of(data / "raw", "v*.mp4")
    assert set(finished) == {"v0.mp4", "v1.mp4", "v2.mp4"}
    inodes = {name: (data / "raw" / name).stat().st_ino for name in finished}
    undisturbed = Paths(tmp_path / "undisturbed")
    for paths in (undisturbed, Paths(data)):
        rows = ingest(IngestParams(manifest=str(manifest)), ENGINE, paths)
        assert {row.status.value for row in rows} == {"ok"}
    assert {name: (data / "raw" / name).stat().st_ino for name in finished} == inodes, "fetched again"
    assert files_of(data / "raw") == files_of(undisturbed.raw)
    assert list(read_raw_index(data / "raw" / "index.parquet")) == list(rows)


def test_extract(tmp_path: Path) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source"])
        for k in range(3):
            writer.writerow([f"v{k}", make_clip(tmp_path / f"{k}.mp4", seconds=30, fps=2, size=(1280, 720))])
    whole = Paths(tmp_path / "whole")
    ingest(IngestParams(manifest=str(tmp_path / "manifest.csv")), ENGINE, whole)
    undisturbed = extract(ExtractParams(jpeg_quality=95), ENGINE, whole)
    frames = sum(path.stat().st_size for path in (whole.media / "frames" / "v0").iterdir())
    raw = sum(path.stat().st_size for path in whole.raw.iterdir())
    kept = tmp_path / "kept"
    shutil.copytree(whole.raw, kept / "raw")
    room = raw + 30 * 32_000 + frames + frames // 2 + 200_000  # one video, half of the next one's frames
    message = on_small_disk(str(room), tmp_path / "disk", "", kept)
    assert "'v1' could not be finished: the disk is full" in message
    assert str(tmp_path / "disk" / "media" / "frames") in message
    free, needed, missing = missing_mb(message)
    assert 0 < needed < frames / 1e6
    assert missing == pytest.approx(needed - free, abs=0.11)
    assert missing > 0

    media = kept / "small" / "media"
    first = files_of(media / "frames" / "v0") | files_of(media / "audio")
    assert first == files_of(whole.media / "frames" / "v0") | files_of(whole.media / "audio", "v0.wav")
    assert not (media / "frames" / "v1").exists()
    assert extract(ExtractParams(jpeg_quality=95), ENGINE, Paths(kept / "small")) == undisturbed
    assert files_of(media) == files_of(whole.media)
    assert list(read_media_index(media / "index.parquet").values()) == undisturbed

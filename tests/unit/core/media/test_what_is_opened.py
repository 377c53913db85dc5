"""FFmpeg opens only what is allowed, at every place of the product."""

import ast
from pathlib import Path

import av
import pytest

from components.core.media.container import MediaError, open_media
from components.core.records.changes import Changes
from components.ingest.remux import join, remux
from tests.support.clips import make_clip

ROOT = Path(__file__).parents[4]


def test_every_file_that_is_read_has_a_list_of_protocols_and_formats() -> None:
    found = 0
    for path in [*ROOT.glob("components/**/*.py"), *ROOT.glob("models/**/*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "av.open":
                named = {word.arg: ast.unparse(word.value) for word in call.keywords}
                mode = named.get("mode") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "'r'")
                assert mode == "'w'" or named.get("options") == "_SAFE", f"{path}, line {call.lineno}"
                found += 1
    assert found >= 5


@pytest.mark.parametrize("second", [False, True])
def test_a_play_list_is_not_followed_where_downloads_are_joined(tmp_path: Path, second: bool) -> None:
    make_clip(tmp_path / "secret.ts", seconds=2)
    listed = tmp_path / "video.mp4"
    listed.write_text("ffconcat version 1.0\nfile secret.ts\n")
    with av.open(str(listed)) as followed:
        assert followed.format.name == "concat"  # FFmpeg would follow it
    sound = make_clip(tmp_path / "sound.mp4", seconds=2)
    files = [sound, listed] if second else [listed, sound]
    with pytest.raises(
        MediaError, match=r"cannot be read as a video.*not read here, as MXF, DV and play lists are"
    ):
        join(files, tmp_path / "joined.mkv")
    with pytest.raises(MediaError), open_media(listed):
        pass
    with pytest.raises(MediaError):
        remux(files, tmp_path, start_s=None, end_s=None, changes=Changes())

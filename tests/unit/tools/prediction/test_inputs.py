"""What is named on the command line becomes videos, each once and under a name of its own."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.tools.prediction.inputs import Input, find_inputs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.MKV", "deep/er/a.webm", "notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def found(*given: str, stdin: bytes = b"", **times: float) -> list[Input]:
    return find_inputs(given, scratch=Path("scratch"), stdin=io.BytesIO(stdin), **times)


def test_files_folders_and_globs(folder: Path) -> None:
    assert found("a.mp4") == [Input("a", "a.mp4", Path("a.mp4"))]
    assert [one.source for one in found(".")] == ["a.mp4", "b.MKV", "deep/er/a.webm"]
    assert [one.source for one in found("**/a.*")] == ["a.mp4", "deep/er/a.webm"]
    assert [one.source for one in found("a.mp4", "a.mp4", "b.MKV")] == ["a.mp4", "b.MKV"]
    Path("[x].mp4").touch()  # a name that looks like a pattern is a name first
    assert [one.source for one in found("[x].mp4")] == ["[x].mp4"]


def test_equal_names_are_told_apart_in_the_same_way_each_time(folder: Path) -> None:
    names = [one.name for one in found("a.mp4", "deep", "b.MKV")]
    assert names[2] == "b" and len(set(names)) == 3
    assert all(name.startswith("a-") for name in names[:2])
    assert [one.name for one in found("deep", "a.mp4")] == names[1::-1]


def test_addresses_manifests_and_times(folder: Path) -> None:
    (one,) = found("https://example.org/v/a b.mp4?x=1", start_s=1.0, end_s=4.0)
    assert (one.name, one.path, one.needs_ingest) == ("example.org_v_a_b.mp4_x_1", None, True)
    Path("list.csv").write_text("video_id,source,start_s,end_s\nfirst,a.mp4,,\nsecond,a.mp4,2,3\n")
    first, second = found("list.csv", start_s=1.0)
    assert (first.name, first.source, first.start_s, first.end_s) == ("first", "a.mp4", 1.0, None)
    assert (second.name, second.start_s, second.end_s) == ("second", 2.0, 3.0)
    assert first.needs_ingest and not found("a.mp4")[0].needs_ingest
    assert found("a.mp4", end_s=2.0)[0].needs_ingest


def test_standard_input_is_a_list_or_a_video(folder: Path) -> None:
    assert [one.source for one in found("-", stdin=b"a.mp4\n\n  deep \n")] == ["a.mp4", "deep/er/a.webm"]
    (one,) = found("-", stdin=b"\0\0\0\x18ftypmp42" + b"x" * 9000)
    assert (one.name, Path(one.source).stat().st_size) == ("stdin", 9012)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere.mp4"], r"no such video \(nowhere.mp4\)"),
        (["*.flac"], r"no file has such a name \(\*.flac\)"),
        (["empty"], r"the folder holds no video \(empty\)"),
        (["-"], "no video was named"),
        (["x" * 300], "no such video"),
    ],
)
def test_what_is_no_video_is_one_message(folder: Path, given: list[str], message: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(AvisError, match=message):
        found(*given)


def test_times_are_in_order(folder: Path) -> None:
    with pytest.raises(AvisError, match="--start 3 is not before --end 2"):
        found("a.mp4", start_s=3.0, end_s=2.0)


def test_a_wrong_path_is_said_before_anything_heavy_is_imported(folder: Path) -> None:
    program = (
        "import sys; from pipelines.cli import main; sys.argv = ['avis', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, *{'torch', 'av', 'numpy'} & set(sys.modules))"
    )
    for words, message in (
        (["nowhere.mp4", "--model", "."], "there is no such video"),
        (["a.mp4", "--model", "none.pth"], "there is no such model (none.pth)"),
        (["a.mp4", "--model", "none"], "there is no model 'none', and this folder has no params.yaml"),
        (["a.mp4"], "no model is named"),
        (["a.mp4", "--save", "gif", "--model", "."], "there is no output 'gif'"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", *words],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(Path(__file__).parents[4])},
        )
        assert message in done.stderr, done.stderr
        assert done.stdout.split() == ["1"]


def test_no_password_and_no_key_becomes_the_name_of_a_folder(folder: Path) -> None:
    (one,) = found("https://me:geheim@example.org/v/a.mp4?x=1&token=geheim")
    assert one.name == "_example.org_v_a.mp4_x_1_token_" and "geheim" in one.source

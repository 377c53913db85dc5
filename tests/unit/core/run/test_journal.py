import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.run.journal import Journal, read_journal

ROOT = Path(__file__).parents[4]
WRITER = """
import sys
from pathlib import Path
from components.core.run.journal import Journal, read_journal
journal = Journal(Path(sys.argv[1]), "v1")
for number in range(len(journal.finished), 10**9):
    journal.record(str(number), {"number": number})
    print(number, flush=True)
"""


def test_what_was_recorded_before_kill_is_there_after(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    recorded = -1
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        first = int(writer.stdout.readline())
        assert first == recorded + 1  # goes on where the killed one stood
        for _ in range(20):
            last = int(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read().split("\n")
        writer.wait()
        seen = max([last, *(int(line) for line in rest[:-1])])
        journal = Journal(path, "v1")
        journal.close()
        recorded = len(journal.finished) - 1
        assert recorded >= seen
        assert journal.finished == {str(n): {"number": n} for n in range(recorded + 1)}


def test_a_torn_line_is_dropped_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "v1")
    journal.record("a", {"x": 1})
    journal.close()
    with path.open("ab") as file:
        for damaged in (
            b"5",
            b"null",
            b'{"k": 1}',
            b'["k", {}, 2]',
            b"[[" * 100_000,
            b"\xff\x00",
            b"[1, {}]",
        ):
            file.write(damaged + b"\n")
        file.write(b'["b", {"x"')
    journal = Journal(path, "v1")
    assert journal.finished == {"a": {"x": 1}}
    journal.record("c", {})
    journal.close()
    assert list(Journal(path, "v1").finished) == ["a", "c"]


def test_other_parameters_start_a_new_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "v1")
    journal.record("a", {})
    journal.close()
    journal = Journal(path, "v2")
    assert journal.finished == {}
    journal.remove()
    assert not path.exists()


def test_no_flipped_bit_and_no_cut_changes_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "v1")
    entries = {"a": {"counts": "04OO", "n": 7}, "b": {"text": "a dog, a cat"}}
    for key, value in entries.items():
        journal.record(key, value)
    journal.close()
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    for bit in range(8 * whole.index(b"\n"), 8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        found = dict(read_journal(path))
        assert found.items() <= entries.items(), content
        assert len(found) < 2, content


def test_one_wrong_byte_of_the_first_line_is_mended_and_more_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "v1")
    journal.record("a", {"x": 1})
    journal.close()
    whole = path.read_bytes()
    for bit in range(8 * whole.index(b"\n") + 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        journal = Journal(path, "v1")
        journal.close()
        assert journal.finished == {"a": {"x": 1}} and path.read_bytes() == whole, bytes(flipped)
        assert f"{path}: a wrong byte" in capsys.readouterr().err
    for damaged in (b"", whole[:5], b"[" * 100_000, whole.replace(b"v1", b"w2"), b'{"fingerprint": 1}\n'):
        path.write_bytes(damaged)
        Journal(path, "v1").close()
        assert f"{path}: its first line is damaged" in capsys.readouterr().err, damaged
    Journal(path, "v2").close()  # of another run: nothing is wrong
    assert capsys.readouterr().err == ""


def test_an_earlier_version_s_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"fingerprint": "v1"}\n["a", {"x": 1}]\n')
    journal = Journal(path, "v1")
    journal.record("b", {})
    journal.close()
    assert Journal(path, "v1").finished == {"a": {"x": 1}, "b": {}}

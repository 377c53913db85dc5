"""What a stage says on a full disk, and sessions that are damaged: neither is waited for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.tracking import run as tracking
from components.core.tracking.sender import Sender
from components.core.tracking.spool import SentSession, WrittenSession, pending

FILE_LIMIT = """
import resource, sys
from pathlib import Path
from components.core.tracking.spool import WrittenSession
session = WrittenSession(Path(sys.argv[1]), {"ref": "r"}, "sqlite:///x")
assert session.append("tags", values={"a": "b"})
resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))
assert not session.append("tags", values={"long": "x" * 300})
assert session.append("tags", values={"c": "d"})
session.close()
"""


def test_what_does_not_fit_is_left_out_as_a_whole(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILE_LIMIT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0 and "tags was not recorded" in done.stderr, done.stderr
    (session,) = pending(tmp_path)
    _, *rest = map(json.loads, (session / "operations.jsonl").read_text().splitlines())
    assert [operation["values"] for operation in rest] == [{"a": "b"}, {"c": "d"}]


def test_on_a_full_disk_a_stage_does_not_wait_for_its_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "_start_sender", lambda folder, uri: None)
    run = tracking._SpooledRun(tmp_path, {"ref": "r"}, "sqlite:///x")
    monkeypatch.setattr(run, "_wait", lambda *arguments: pytest.fail("it waits"))
    with Path("/dev/full").open("ab", buffering=0) as full:
        monkeypatch.setattr(run._session, "_file", full)
        run.finish("FINISHED")
    said = capsys.readouterr().err
    assert "end was not recorded: [Errno 28] No space left on device" in said and "sent by the next" in said


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\n", b"[]\n", b'{"operation": "start"}\n', b"null\n"])
def test_a_damaged_session_keeps_nobody_waiting_and_no_other_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    sessions = [WrittenSession(tmp_path, {"ref": str(number)}, "sqlite:///x") for number in range(2)]
    (sessions[0].folder / "operations.jsonl").write_bytes(content)
    sender = Sender(tmp_path, "sqlite:///x")
    sender._store = object()  # type: ignore[assignment]
    sent = []
    monkeypatch.setattr(sender, "_send", lambda path, store: sent.append(SentSession(path).start["ref"]))
    assert sender._send_all()
    assert sent == ["1"] and sessions[0].away() is not None and sessions[1].away() is None

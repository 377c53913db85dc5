"""Each fault holds here, and is noticed where the code is as it must not be."""

import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest

from components.core.run.workers.worker import Outcome
from pipelines.selftest import faults, files, servers, strangers
from pipelines.selftest.faults import Try, _verdict
from pipelines.selftest.verdict import DidNotHold, NotSetUp


@pytest.mark.parametrize(
    "fault",
    [
        files.no_room,
        files.killed_writer,
        files.cut_journal,
        files.two_at_once,
        strangers.weights,
        strangers.annotations,
        servers.raw_store,
    ],
)
def test_it_holds(fault: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fault(tmp_path)


@pytest.mark.parametrize(
    ("fault", "module", "name", "stand_in", "harm"),
    [
        (files.no_room, files, "write_bytes", Path.write_bytes, "gone"),
        (files.killed_writer, files, "remove_leftovers", lambda folder: None, "leftovers stay"),
        (files.two_at_once, files, "alone_in", lambda *_: nullcontext(), "both runs"),
        (files.cut_journal, files, "read_journal", lambda file: [], "are read"),
        (strangers.weights, strangers, "read_checkpoint", lambda f: pickle.loads(f.read_bytes()), "loaded"),
        (strangers.annotations, strangers, "convert", lambda *_, **__: None, "was taken"),
    ],
)
def test_harm_is_noticed(
    fault: Try,
    module: object,
    name: str,
    stand_in: object,
    harm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, stand_in)
    with pytest.raises(DidNotHold, match=harm):
        fault(tmp_path)


def test_verdicts_tell_harm_from_what_is_not_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(folder: Path) -> str:
        raise NotSetUp("no remote")

    monkeypatch.setattr(faults, "FAULTS", {("disk", "none"): absent, ("disk", "one"): lambda _: "seen"})
    found = [faults._try((number, tmp_path / str(number))) for number in range(2)]
    assert found == [("not set up", "no remote"), ("held", "seen")]
    assert _verdict(Outcome("0", found[0], "ok", "", 1.0)) == found[0]
    for kind in ("error", "timeout", "crash"):
        assert _verdict(Outcome("0", None, kind, "it hung", 60.0)) == ("FAILED", "it hung")

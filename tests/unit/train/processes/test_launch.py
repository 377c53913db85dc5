"""How many processes a training gets on one machine, and what becomes of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.train.params import TrainParams
from components.train.processes.launch import launch, most_that_share, processes_here
from tests.support.tiny_model import train_settings

pytestmark = pytest.mark.slow


def params_of(**changes: object) -> TrainParams:
    return TrainParams.model_validate(train_settings(**changes))


@pytest.mark.parametrize(
    ("clips", "accumulate", "gpus", "cores", "processes"),
    [
        (2, 1, 8, 16, 2),
        (6, 1, 4, 16, 3),
        (7, 1, 4, 16, 1),
        (8, 2, 8, 16, 4),
        (8, 1, 1, 16, 1),
        (4, 1, 0, 2, 2),  # no GPU: by cores
        (3, 1, 0, 2, 1),
        (4, 1, 0, 1, 1),
    ],
)
def test_as_many_as_can_share_the_clips(
    clips: int, accumulate: int, gpus: int, cores: int, processes: int
) -> None:
    params = params_of(clips_per_step=clips, accumulate=accumulate, processes="auto")
    assert most_that_share(params, gpus or cores) == processes_here(params, gpus, cores) == processes


def test_a_number_is_taken_as_it_is_if_the_clips_divide() -> None:
    assert processes_here(params_of(clips_per_step=8, processes=2), 8, 8) == 2
    with pytest.raises(ValueError, match=r"clips_per_step is 8, which 3 processes x accumulate 1 = 3 parts"):
        params_of(clips_per_step=8, processes=3)
    with pytest.raises(ValueError, match=r"1 processes x accumulate 3 .* allowed are 1, 2, 4, 8 parts"):
        params_of(clips_per_step=8, accumulate=3)


def script(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "work.py"
    file.write_text(text)
    return [str(file)]


def test_each_process_knows_its_place(tmp_path: Path) -> None:
    text = (
        "import os, pathlib; e = os.environ; name = e['RANK'] + e['LOCAL_RANK'] + e['WORLD_SIZE']\n"
        f"pathlib.Path({str(tmp_path)!r}, name).write_text(e['MASTER_PORT'])"
    )
    launch(script(tmp_path, text), 3, TrainParams())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["003", "113", "223", "work.py"]
    assert len({(tmp_path / name).read_text() for name in ("003", "113", "223")}) == 1


def test_under_torchrun_the_first_process_says_why_before_it_is_ended(tmp_path: Path) -> None:
    text = (
        "import os, sys, time\nfrom components.train.processes.launch import let_the_first_speak\n"
        "if os.environ['RANK'] == '1':\n    let_the_first_speak()\n    sys.exit(1)\n"
        "time.sleep(1)\nsys.exit('why it failed')"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    start = time.monotonic()
    done = subprocess.run(
        [*torchrun, *script(tmp_path, text)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode != 0 and "why it failed" in done.stderr
    assert time.monotonic() - start < 600


def test_one_that_fails_or_is_killed_ends_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failing = "import os, sys, time; sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(3000)"
    start = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        launch(script(tmp_path, failing), 2, TrainParams())
    assert caught.value.code == 7
    killed = "import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(3000)"
    with pytest.raises(
        AvisError, match=r"process 1 of 2 was killed by signal 9, perhaps out of m.*If.*accum"
    ):
        launch(script(tmp_path, killed), 2, TrainParams(clips_per_step=8))
    assert capfd.readouterr().err == ""  # what torchrun would add
    assert time.monotonic() - start < 600


def test_stopped_it_ends_its_processes(tmp_path: Path) -> None:
    child = script(
        tmp_path,
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(3000)",
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from components.core.run.process import run_stage\n"
            "from components.train.processes.launch import launch\n"
            "from components.train.params import TrainParams\n"
            f"run_stage('train', lambda: launch({child!r}, 1, TrainParams()))",
        ]
    )
    import psutil

    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
        time.sleep(0.02)
    started = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.terminate()
    assert parent.wait(60) == 143
    assert not started.is_running()

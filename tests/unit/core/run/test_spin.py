"""How long OpenMP's threads spin: in every process that computes, and only if libgomp reads it in time."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from components.core.run.process import BRIEF_SPIN, SPIN_VARIABLES
from pipelines import cli
from pipelines.commands.servers.doctor import Finding, _spin

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
STAGE = """
import ctypes, os, sys
from components.core.run.engine import run_items
from components.core.run.params import EngineParams
from components.core.run.process import run_stage
from components.train.params import TrainParams
from components.train.processes.launch import launch

def work():
    names = [("a", "GOMP_SPINCOUNT"), ("b", "OMP_WAIT_POLICY")]
    found = {o.key: o.value for o in run_items(os.getenv, names, engine=EngineParams(workers=2), label="")}
    print("worker", found["a"], found["b"], flush=True)
    own = "import os; print('process', os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
    launch(["-c", own], 1, TrainParams())
    ctypes.CDLL(sys.argv[1])  # says what it has read

run_stage("demo", work)
"""
IMPORTS = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
print([line for line in open("/proc/self/maps") if "libgomp" in line])
"""


def run(code: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if name not in SPIN_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**own, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )


@pytest.mark.parametrize(
    ("chosen", "count", "policy"),
    [
        ({}, BRIEF_SPIN["GOMP_SPINCOUNT"], None),
        ({"GOMP_SPINCOUNT": "77"}, "77", None),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None, "ACTIVE"),
    ],
)
def test_a_stage_and_its_processes_spin_briefly_or_as_the_user_says(
    chosen: "dict[str, str]", count: "str | None", policy: "str | None"
) -> None:
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    library = Path(spec.origin).parent / "lib" / "libgomp.so.1"
    done = run(STAGE, str(library), OMP_DISPLAY_ENV="VERBOSE", **chosen)
    assert done.stdout.splitlines() == [f"worker {count} {policy}", f"process {count} {policy}"]
    assert f"GOMP_SPINCOUNT = '{count or 30000000000}'" in done.stderr


def test_no_process_loads_libgomp_before_it_can_be_told() -> None:
    stages = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in ROOT.glob("components/*/__main__.py")
    ]
    assert len(stages) > 5
    assert run(IMPORTS, *stages, "components.tools.promotion.measure", "pipelines.cli").stdout == "[]\n"


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SPIN_VARIABLES:
        monkeypatch.setenv(name, "")  # so that monkeypatch takes away what main() leaves
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("nothing_set")
def test_the_command_line_spins_briefly_and_the_doctor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Finding] = []
    monkeypatch.setattr(cli, "app", lambda: found.extend(_spin()))
    cli.main()
    assert [(one.state, one.text) for one in found] == [
        ("ok", f"Threads that wait leave their core soon: GOMP_SPINCOUNT={BRIEF_SPIN['GOMP_SPINCOUNT']}")
    ]


@pytest.mark.usefixtures("nothing_set")
def test_the_doctor_says_what_the_user_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    found: list[Finding] = []
    monkeypatch.setattr(cli, "app", lambda: found.extend(_spin()))
    cli.main()
    assert [(one.state, one.text) for one in found] == [
        ("note", "Threads wait as your environment says: OMP_WAIT_POLICY=ACTIVE")
    ]


def test_the_tests_themselves_spin_briefly() -> None:
    assert any(os.environ.get(name) for name in SPIN_VARIABLES)

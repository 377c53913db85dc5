"""What holds for all tests: their surroundings, how much is drawn at random, and who runs what."""

import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from components.core.run.process import spin_briefly
from tests.support.processes import PATIENT_RAY
from tests.support.side_by_side import run_side_by_side
from tests.support.zygote import LIBRARIES, start_zygote, zygote

os.environ["MLFLOW_TRACKING_URI"] = "none"  # unless a test says where: starting MLflow takes seconds
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # more are processes, each of which imports torch
# Each of many child processes would compile torch anew: seconds each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
spin_briefly()  # some tests, and what they start, have more threads than one

# A busy machine is no error of a test.
ANYWHERE = {
    "deadline": None,
    "suppress_health_check": (HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
}
# The same examples in every run: whether a change passes must not depend on luck. `slow` looks for new ones.
settings.register_profile("quick", max_examples=50, derandomize=True, **ANYWHERE)
settings.register_profile("slow", max_examples=1000, **ANYWHERE)
settings.load_profile("quick")

# What the workers of the stages import, once a session in the place of once a worker: see run/engine.py.
WORKERS = (
    "components.core.metrics.score",
    "components.evaluate.films",
    "components.extract.embed_video",
    "components.extract.stage",
    "components.ingest.stage",
    "components.qa.report",
    "components.qa.stage",
    "components.sample.stage",
    "components.tools.aviseg_export",
    "models.audio.vggish",
)
SHARED = pytest.StashKey[tuple[str, "subprocess.Popen[bytes]"]]()  # the zygote of all `--processes`
FEW = 9  # files of tests, for which preparing takes longer than it saves
TESTS = Path(__file__).parent
# What takes longest begins first: `make test PYTEST='--slowest 20'` shows the times.
LONGEST = (
    "integration/flows/test_retrain.py",
    "integration/test_ray_s3.py",
    "integration/test_repro.py",
    "integration/test_train_ray.py",
    "integration/flows/test_worker.py",
    "unit/core/video/test_onnx_export.py",
    "integration/flows/test_ingest_flow.py",
    "unit/train/processes/test_wrapping.py",
    "unit/models/networks/test_deformable_attention.py",
    "integration/flows/test_rebuild.py",
    "integration/test_train_distributed.py",
    "unit/core/run/test_engine.py",
    "integration/test_qa_calibration.py",
    "campaigns/test_kills.py",
    "integration/test_verified_media.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, help="how many share the files of tests among them")
    parser.addoption("--slowest", type=int, default=0, help="of so many files what they took")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if len({item.path for item in items}) > FEW:
        preload = forkserver.set_forkserver_preload
        forkserver.set_forkserver_preload = lambda names: preload([*names, *WORKERS])
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    ranks: dict[Path, int] = {}
    for item in items:
        if item.path.is_relative_to(TESTS / "integration"):
            item.add_marker("integration")
        marks = [n for n, name in enumerate(("integration", "slow")) if item.get_closest_marker(name)]
        rank = min([places.get(item.path, len(LONGEST) + 2), *(len(LONGEST) + n for n in marks)])
        ranks[item.path] = min(ranks.get(item.path, rank), rank)
    items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Share the files among `--processes`; pytest's own loop where it is one."""
    count = session.config.getoption("--processes")
    if count < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    groups: dict[Path, list[pytest.Item]] = {}
    for item in session.items:
        groups.setdefault(_shared(item.path), []).append(item)
    _start_servers(session)
    run_side_by_side(session, list(groups.values()), count)
    return True


def _start_servers(session: pytest.Session) -> None:
    """Start what all processes share: a zygote, and a server of workers; they end with the last process."""
    if any("zygote_python" in getattr(item, "fixturenames", ()) for item in session.items):
        session.config.stash[SHARED] = start_zygote()
        multiprocessing.set_executable(session.config.stash[SHARED][0])
    if len({item.path for item in session.items}) > FEW:
        forkserver.set_forkserver_preload([])
        capture = session.config.pluginmanager.getplugin("capturemanager")
        capture.resume()  # what workers print is not of the output of pytest
        forkserver.ensure_running()
        capture.suspend()
        # It would wait for the server as for a child of its own, which it is of the first process only.
        forkserver.ensure_running = forkserver._forkserver.ensure_running = resource_tracker.ensure_running
        for name in LIBRARIES:
            importlib.import_module(name)
    multiprocessing.set_executable(sys.executable)


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[None]:
    """Ray's files lie in a folder of this session: else it looks for other clusters in a shared one."""
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as name,  # sockets: short
        pytest.MonkeyPatch.context() as patch,
    ):
        for variable, value in {"RAY_TMPDIR": name, **PATIENT_RAY}.items():
            patch.setenv(variable, value)
        yield


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Put an empty MLflow database into a folder and return its address; making the tables takes seconds."""
    import mlflow

    template = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{template}").search_experiments()

    def copy(folder: Path) -> str:
        shutil.copy(template, folder / "mlflow.db")
        return f"sqlite:///{folder}/mlflow.db"

    return copy


@pytest.fixture(scope="session")
def zygote_python(pytestconfig: pytest.Config) -> Iterator[str]:
    """A Python whose processes have the large libraries: see tests/support/zygote.py."""
    if SHARED in pytestconfig.stash:
        yield pytestconfig.stash[SHARED][0]
        return
    with zygote() as python:
        yield python


@pytest.fixture(scope="module")
def quick_python(zygote_python: str) -> Iterator[None]:
    """What this module's tests start as `sys.executable` or as `python` imports no large library anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", zygote_python)
        patch.setenv("PATH", f"{Path(zygote_python).parent}{os.pathsep}{os.environ['PATH']}")
        yield


def _shared(file: Path) -> Path:
    """What one process takes as a whole: a file, or a package, whose tests share a server."""
    return file.parent if (file.parent / "__init__.py").exists() else file


@pytest.fixture(scope="module")
def read_here() -> Iterator[None]:
    """Annotations are read in this process: a fork of one that has all tests costs 0.1 s and more."""
    from components.annotate import exports
    from tests.support.same_process import SameProcess

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "Worker", SameProcess)
        yield


@pytest.fixture
def without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp's stand-ins for absent packages raise when torch's compiler looks through all modules.

    Only a process with both meets that: the tests.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "yt_dlp"]:
        monkeypatch.delitem(sys.modules, name)

"""What holds for all tests: their surroundings, how much is drawn at random, and who runs what."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from components.core.run.process import spin_briefly
from tests.support.processes import PATIENT_RAY
from tests.support.zygote import zygote

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
    "components.extract.stage",
    "components.ingest.stage",
    "components.qa.report",
    "components.qa.stage",
    "components.sample.stage",
    "components.tools.aviseg_export",
    "models.audio.vggish",
)
INTEGRATION = Path(__file__).parent / "integration"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--claims",
        type=Path,
        metavar="FOLDER",
        help="leave out what another process with the same FOLDER has begun: files, and packages as a whole",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if len({item.path for item in items}) > 9:  # for a few files it would take longer than it saves
        preload = forkserver.set_forkserver_preload
        forkserver.set_forkserver_preload = lambda names: preload([*names, *WORKERS])
    for item in items:
        if item.path.is_relative_to(INTEGRATION):
            item.add_marker("integration")
    # Long ones first, so that of processes side by side none waits long for another's last one.
    ranks: dict[Path, int] = {}
    for item in items:
        marks = [n for n, name in enumerate(("integration", "slow")) if item.get_closest_marker(name)]
        ranks[item.path] = min([ranks.get(item.path, 2), *marks])
    items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the files that no other process has begun; pytest's own loop where nobody shares."""
    folder: Path | None = session.config.getoption("--claims")
    if folder is None or session.testsfailed or session.config.option.collectonly:
        return None
    claims: dict[Path, bool] = {}
    mine = (item for item in session.items if _claimed(item.path, folder, claims))
    item = next(mine, None)
    while item is not None:
        # pytest must know which test follows: that one's fixtures stay, the others are torn down.
        following = next(mine, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True


def _shared(file: Path) -> Path:
    """What one process takes as a whole: a file, or a package, whose tests share a server."""
    return file.parent if (file.parent / "__init__.py").exists() else file


def _claimed(file: Path, folder: Path, claims: dict[Path, bool]) -> bool:
    shared = _shared(file)
    if shared not in claims:
        name = shared.relative_to(INTEGRATION.parent).as_posix().replace("/", "-")
        try:
            (folder / name).touch(exist_ok=False)
            claims[shared] = True
        except FileExistsError:
            claims[shared] = False
    return claims[shared]


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
def zygote_python() -> Iterator[str]:
    """A Python whose processes have the large libraries: see tests/support/zygote.py."""
    with tempfile.TemporaryDirectory() as name, zygote(Path(name)) as python:  # a socket: short
        yield python


@pytest.fixture(scope="module")
def quick_python(zygote_python: str) -> Iterator[None]:
    """What this module's tests start as `sys.executable` or as `python` imports no large library anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", zygote_python)
        patch.setenv("PATH", f"{Path(zygote_python).parent}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture
def without_yt_dlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp's stand-ins for absent packages raise when torch's compiler looks through all modules.

    Only a process with both meets that: the tests.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "yt_dlp"]:
        monkeypatch.delitem(sys.modules, name)

"""What each check finds of errors planted into a real sample, and what else it says.

benchmarks/qa_calibration.py does the same with as many clips as the demo has.
"""

import pytest

from components.annotate.params import AnnotateParams
from components.annotate.stage import annotate
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage.choice import StorageParams
from components.core.tracking.run import Run
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.qa.checks import all_checks
from components.sample.params import SampleParams
from components.sample.stage import sample
from tests.support.label_errors import PLANTERS, Calibration

pytestmark = pytest.mark.integration

# Precision and recall that the explanation of a check states where they are below 0.8, with leave for the
# few clips here.
BELOW = {
    "gap": (0.25, 0.7),
    "sound_without_label": (0.3, 0.9),
    "onset_without_label": (0.5, 0.5),
}
# They count or compare equal things, so that nothing can be calibrated, or need what no clip has; each is
# planted in tests/unit/qa, where its one finding is compared.
ELSEWHERE = {
    "unchecked_clip", "malformed_entry", "duplicate_id", "unknown_video", "mixed_frame_sizes",
    "unreadable_frame", "empty_split", "untrained_category", "rare_category", "category_balance",
    "reference_counts", "annotators_disagree", "model_doubts",
}  # fmt: skip


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """24 composed clips, imported and extracted as in the demo."""
    root = tmp_path_factory.mktemp("sample")
    paths, engine = Paths(root / "data"), EngineParams(workers=2)
    size = {"width": 320, "height": 180, "min_duration_s": 10, "max_duration_s": 12}
    sample(SampleParams(seed=5, train_clips=14, val_clips=2, test_clips=8, **size), engine, paths)
    manifest = str(paths.sample / "manifest.csv")
    ingest(IngestParams(manifest=manifest), engine, paths, StorageParams())
    extract(ExtractParams(), engine, paths, StorageParams())
    block = {
        "source": str(paths.sample / "annotations.json"),
        "splits": {"by": "manifest", "manifest": manifest},
    }
    annotate(AnnotateParams.model_validate(block), paths, Run("test"))
    return Calibration(paths, tmp_path_factory.mktemp("scratch"), rate=0.2, seed=7)


def test_every_check_is_calibrated_or_says_where_it_is_tested() -> None:
    assert PLANTERS.keys() | ELSEWHERE == all_checks().keys() and not PLANTERS.keys() & ELSEWHERE


def test_a_clean_set_blocks_nobody(calibration: Calibration) -> None:
    blocking = [name for name, check in calibration.checks.items() if check.severity == "blocking"]
    assert {name: calibration.false_alarms(name) for name in blocking} == dict.fromkeys(blocking, 0)


@pytest.mark.parametrize("name", PLANTERS)
def test_precision_and_recall(calibration: Calibration, name: str) -> None:
    check = calibration.checks[name]
    reached = calibration.reach(name)
    assert reached.planted >= 2
    precision, recall = BELOW.get(name, (0.8, 0.8))
    if check.severity == "blocking":
        precision = recall = 1.0
    assert reached.precision >= precision and reached.recall >= recall, reached
    if name in BELOW:
        assert "planted" in check.explanation  # it says what it reaches

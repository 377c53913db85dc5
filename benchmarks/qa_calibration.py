"""Precision and recall of each check, with errors planted into the demo's clips.

Run after `dvc repro qa`, from the repository root: PYTHONPATH=. python benchmarks/qa_calibration.py
Prints a table; other clips than those the thresholds were chosen on come from another sample.seed.
"""

import argparse
import tempfile
from pathlib import Path

from tqdm import tqdm

from components.core.run.paths import Paths
from tests.support.label_errors import PLANTERS, Calibration


def main() -> None:
    """Plant each kind of error and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--rate", type=float, default=0.1, help="share of eligible places")
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        calibration = Calibration(
            Paths(arguments.data), Path(scratch), rate=arguments.rate, seed=arguments.seed
        )
        print(f"{len(calibration.clean)} clips, errors at {arguments.rate:.0%} of the eligible places")
        print("| check | severity | in the clean set | planted | findings | precision | recall |")
        print("|---|---|---|---|---|---|---|")
        for name in tqdm(PLANTERS, desc="plant", unit="check"):
            reached = calibration.reach(name)
            print(
                f"| {name} | {calibration.checks[name].severity} | {calibration.false_alarms(name)} "
                f"| {reached.planted} | {reached.findings} | {reached.precision:.2f} | {reached.recall:.2f} |"
            )


if __name__ == "__main__":
    main()

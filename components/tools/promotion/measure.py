"""`python -m components.tools.promotion.measure MODEL OUT`: score a model's folder on the test clips here.

So champion and challenger are scored on the same clips by the same code, whatever clips the champion was
scored on when it was made. Nothing is told to the model's run: there stand the scores of its own time.
"""

from pathlib import Path
from typing import Annotated

import typer

from components.core.run.process import run_stage


def measure_model(model: Path, out: Path) -> None:
    """Write results.json and counts.safetensors of a model on data/annotations/test.json, and of its seeds.

    Args:
        model: a folder with model.safetensors and config.json; those of further seeds in seeds/2, ….
        out: a folder; made if it is not there.

    Raises:
        AvisError: a model cannot be loaded by this code, knows other categories, or media are missing.
    """
    from components.core.run.paths import SEEDS, numbers_of_seeds

    _measure_one(model, out)
    for number in numbers_of_seeds(model / SEEDS):
        _measure_one(model / SEEDS / str(number), out / SEEDS / str(number))


def _measure_one(model: Path, out: Path) -> None:
    from components.core.inference.params import PredictParams
    from components.core.inference.predictor import Predictor
    from components.core.metrics.counts_file import write_counts
    from components.core.metrics.score import score_files
    from components.core.records.annotations import read_annotations
    from components.core.records.results import write_results
    from components.core.run.params import EngineParams, read_block
    from components.core.run.paths import Paths
    from components.predict.stage import predict_clips

    paths = Paths()
    file = paths.annotations / "test.json"
    annotations = read_annotations(file, paths.root)
    predictor = Predictor.load(model, read_block("predict", PredictParams), paths.root)
    results = predict_clips(predictor, annotations, paths, where=str(file), label="champion")
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", results)
    scores = score_files(file, out / "results.json", engine=read_block("engine", EngineParams))
    write_counts(
        out / "counts.safetensors",
        {name: part.counts for name, part in scores.protocols.items()},
        videos=[video.name for video in annotations.videos],
        categories=[annotations.categories[key] for key in sorted(annotations.categories)],
    )


def main(
    model: Annotated[Path, typer.Argument(help="A folder with model.safetensors and config.json.")],
    out: Annotated[Path, typer.Argument(help="A folder for results.json and counts.safetensors.")],
) -> None:
    """Score a model's folder on the test clips of the current checkout."""
    run_stage("champion", lambda: measure_model(model, out))


if __name__ == "__main__":
    typer.run(main)

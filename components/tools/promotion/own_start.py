"""What a training gained over its own start, for the decision about its model."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from components.compare.origins import read_origin
from components.core.metrics.counts_file import CountsFile, read_counts
from components.core.metrics.seeds import seed_differences
from components.core.run.params import PARAMS, read_yaml
from components.core.run.paths import Paths
from components.tools.promotion.decision import OwnStart
from components.tools.promotion.params import PromotionParams


def variants_of_start(variant: str, path: Path = PARAMS) -> list[str]:
    """The variants that are the checkpoint with which `variant` begins, as a parameter file has it."""
    values = read_yaml(path)
    variants: dict[str, dict[str, str] | None] = values.get("variants") or {}
    own = {**(values.get("train") or {}), **(variants.get(variant) or {})}
    start = None if own.get("checkpoint") else own.get("start_from")
    checkpoints = {name: (settings or {}).get("checkpoint") for name, settings in variants.items()}
    return [name for name, file in checkpoints.items() if start and file and Path(file) == Path(start)]


def own_start(
    trainings: Sequence[CountsFile], starts: Sequence[str], params: PromotionParams, paths: Paths
) -> OwnStart | None:
    """Compare the variant that may be promoted with its start; None if its training was not validated.

    Args:
        trainings: counts of the variant on the test clips, of each seed, the first one's first.
        starts: variants that may be its start; scored on the same clips, or they are left out.
    """
    files = [paths.model(name) / "metrics.json" for name in (params.variant, *paths.seeds(params.variant))]
    numbers = [json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {} for file in files]
    if any("start_FSLA" not in found for found in numbers):
        return None
    begun, kept = (
        mean((float(found[f"{state}_FSLA"]) + float(found[f"{state}_HOTA"])) / 2 for found in numbers)
        for state in ("start", "kept")  # as training itself compares its states
    )
    origin = read_origin(paths.model(params.variant))
    for name in starts:
        file = paths.evaluation(name) / "counts.safetensors"
        if not (read_origin(paths.model(name)).is_start_of(origin) and file.is_file()):
            continue
        theirs = read_counts(file, stage=f"evaluate@{name}")
        if (theirs.videos, theirs.categories) == (trainings[0].videos, trainings[0].categories):
            found = seed_differences(
                [one.counts[params.protocol] for one in trainings],
                [theirs.counts[params.protocol]],
                resamples=params.resamples,
                seed=params.seed,
            )
            return OwnStart(begun, kept, name, found[params.metric])
    return OwnStart(begun, kept)

"""How sure the differences between two variants on the same test clips are."""

from collections.abc import Mapping

from components.compare.params import CompareParams
from components.compare.variants import Model
from components.core.metrics.paired import Difference
from components.core.metrics.protocols import PROTOCOLS
from components.core.metrics.seeds import seed_differences
from components.core.run.errors import AvisError

Differences = Mapping[str, Mapping[str, Difference | None]]
"""Protocol -> headline metric -> difference; None where one of the two has no such number."""


def differences(model: Model, reference: Model, params: CompareParams) -> Differences:
    """What `model` has over `reference`.

    Raises:
        AvisError: the two were scored on different clips or categories.
    """
    ours, theirs = model.trainings, reference.trainings
    if any((one.videos, one.categories) != (ours[0].videos, ours[0].categories) for one in [*ours, *theirs]):
        raise AvisError(
            f"{model.name} and {reference.name} were scored on different test clips",
            where="counts.safetensors of both, in data/evaluation",
            fix=f"Run: dvc repro evaluate@{model.name} evaluate@{reference.name}",
        )
    return {
        protocol: seed_differences(
            [one.counts[protocol] for one in ours],
            [one.counts[protocol] for one in theirs],
            resamples=params.bootstrap_samples,
            seed=params.seed,
        )
        for protocol in PROTOCOLS
    }

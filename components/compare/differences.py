"""How sure the differences between two variants on the same test clips are."""

from collections.abc import Mapping

from components.compare.params import CompareParams
from components.compare.variants import Model
from components.core.metrics.paired import Difference, paired_differences
from components.core.metrics.protocols import PROTOCOLS
from components.core.run.errors import AvisError

Differences = Mapping[str, Mapping[str, Difference | None]]
"""Protocol -> headline metric -> difference; None where one of the two has no such number."""


def differences(model: Model, reference: Model, params: CompareParams) -> Differences:
    """What `model` has over `reference`.

    Raises:
        AvisError: the two were scored on different clips or categories.
    """
    ours, theirs = model.counts, reference.counts
    if (ours.videos, ours.categories) != (theirs.videos, theirs.categories):
        raise AvisError(
            f"{model.name} and {reference.name} were scored on different test clips",
            where="counts.safetensors of both, in data/evaluation",
            fix=f"Run: dvc repro evaluate@{model.name} evaluate@{reference.name}",
        )
    return {
        protocol: paired_differences(
            ours.counts[protocol],
            theirs.counts[protocol],
            resamples=params.bootstrap_samples,
            seed=params.seed,
        )
        for protocol in PROTOCOLS
    }

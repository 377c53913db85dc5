"""The counts behind a variant's numbers as a file: variants are compared without measuring again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.metrics.accumulate import Counts
from components.core.metrics.average_precision import Ranking
from components.core.metrics.protocols import PROTOCOLS, Protocol
from components.core.run.errors import AvisError
from components.core.run.files import write_bytes

_RANKED = ("scores", "right", "ignored", "videos", "ends")  # one entry per detection


@dataclass(frozen=True, slots=True)
class CountsFile:
    """counts by protocol; the videos [V] and categories [C] that they are about, in their order."""

    videos: list[str]
    categories: list[str]
    counts: dict[Protocol, Counts]


def write_counts(
    path: Path, counts: Mapping[Protocol, Counts], *, videos: list[str], categories: list[str]
) -> None:
    """Write counts as safetensors; the same counts give the same bytes."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    for protocol, found in counts.items():
        arrays[f"{protocol}.hota"], arrays[f"{protocol}.fsla"] = found.hota, found.fsla
        arrays[f"{protocol}.truths"] = np.stack([ranking.truths for ranking in found.rankings])
        for place, ranking in enumerate(found.rankings):
            for name in _RANKED:
                arrays[f"{protocol}.{place}.{name}"] = np.ascontiguousarray(getattr(ranking, name))
    write_bytes(path, save(arrays, {"names": json.dumps([videos, categories])}))


def read_counts(path: Path, *, stage: str) -> CountsFile:
    """Read counts that `write_counts` wrote.

    Raises:
        AvisError: the file is missing or none of these; it names the stage that makes it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            videos, categories = json.loads((file.metadata() or {})["names"])
            counts: dict[Protocol, Counts] = {}
            for protocol in PROTOCOLS:
                rankings = [
                    Ranking(
                        truths,
                        **{name: file.get_tensor(f"{protocol}.{place}.{name}") for name in _RANKED},
                    )
                    for place, truths in enumerate(file.get_tensor(f"{protocol}.truths"))
                ]
                counts[protocol] = Counts(
                    protocol,
                    rankings,
                    file.get_tensor(f"{protocol}.hota"),
                    file.get_tensor(f"{protocol}.fsla"),
                )
    except FileNotFoundError:
        raise AvisError("a result is missing", where=str(path), fix=f"Run: dvc repro {stage}") from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise AvisError(
            f"not the counts of an evaluation: {error}",
            where=str(path),
            fix=f"Run: dvc repro --force --single-item {stage}",
        ) from None
    return CountsFile(videos, categories, counts)

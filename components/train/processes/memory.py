"""Too little memory for a training: what may be lowered, with the numbers of this run."""

import re

from components.core.run.errors import AvisError
from components.train.params import TrainParams

_WANTED = re.compile(r"allocate ([\d.]+ ?(?:[KMGT]iB|bytes)|array of size \d+)", re.IGNORECASE)


def out_of_memory(error: BaseException, params: TrainParams, *, rank: int, processes: int) -> AvisError:
    """Too little memory: what was wanted, and what to lower."""
    here = params.clips_per_step // (processes * params.accumulate)
    on_gpu = "cuda" in str(error).lower()
    wanted = _WANTED.search(str(error))
    return AvisError(
        f"{'the GPU' if on_gpu else 'this machine'} has too little memory for "
        f"{here} x {params.frames_per_clip} frames at a time"
        + (f": {wanted[1]} more were wanted" if wanted else ""),
        where=f"process {rank} of {processes}",
        fix=f"{what_to_lower(params, processes, on_gpu=on_gpu)} What is trained so far is kept.",
    )


def what_to_lower(params: TrainParams, processes: int, *, on_gpu: bool) -> str:
    """A sentence: what makes this training need less memory, what changes no result first."""
    here = params.clips_per_step // (processes * params.accumulate)
    lower = []
    if here > 1:
        fewer = max(clips for clips in range(1, here) if here % clips == 0)
        more = params.accumulate * here // fewer
        lower.append(f"train.accumulate: {more} (now {params.accumulate}; the result stays the same)")
    if processes > 1 and not on_gpu:
        lower.append(f"train.processes: 1 (now {processes})")
    if "backbone" not in params.checkpoint_activations:
        lower.append("train.checkpoint_activations: [backbone] (takes longer)")
    if params.frames_per_clip > 1:
        lower.append(f"train.frames_per_clip: {params.frames_per_clip - 1} (now {params.frames_per_clip})")
    largest = max(params.short_sides_px)
    lower.append(f"train.short_sides_px: at most {round(largest * 0.75)} (now up to {largest})")
    return f"In params.yaml, the first that helps: {'; '.join(lower)}."

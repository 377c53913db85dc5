"""Who sounds when. Nothing here knows about pictures: the times cannot be guessed from them.

Time is planned in whole seconds and then loosened: a sound begins and ends up to EDGE_S before or after the
full second, and therefore at least 0.15 s away from a frame's instant (the middle of a second). Runs and
gaps are at least two seconds long, so that after loosening they are at least one second long; a source that
sounds at a frame's instant then sounds for at least half of that second, and the other way round.
"""

import numpy as np
import numpy.typing as npt

from components.sample.scene_parts import Interval

Flags = npt.NDArray[np.bool_]

EDGE_S = 0.35
SHORTEST_RUN_S = 2
LONGEST_RUN_S = 9


def on_and_off(generator: np.random.Generator, seconds: int, on_share: float) -> Flags:
    """Alternating runs, [seconds] bool, sounding about on_share of the time."""
    mean_on_s = min(6.0, max(3.0, SHORTEST_RUN_S * on_share / (1 - on_share)))
    mean_off_s = mean_on_s * (1 - on_share) / on_share
    flags = np.zeros(seconds, bool)
    sounding = bool(generator.random() < on_share)
    at = -int(generator.integers(0, SHORTEST_RUN_S + 1))  # the first run may have begun before the clip
    while at < seconds:
        mean_s = mean_on_s if sounding else mean_off_s
        run = SHORTEST_RUN_S + int(generator.poisson(max(0.0, mean_s - SHORTEST_RUN_S)))
        flags[max(at, 0) : at + min(run, LONGEST_RUN_S if sounding else seconds)] = sounding
        at += min(run, LONGEST_RUN_S) if sounding else run
        sounding = not sounding
    return flags


def tidy(flags: Flags) -> Flags:
    """Drop runs shorter than SHORTEST_RUN_S, and close gaps inside that are shorter."""
    flags = flags.copy()
    for start, end in _runs(~flags):
        if end - start < SHORTEST_RUN_S and start > 0 and end < len(flags):
            flags[start:end] = True
    for start, end in _runs(flags):
        if end - start < SHORTEST_RUN_S:
            flags[start:end] = False
    return flags


def share_out(generator: np.random.Generator, flags: Flags, members: int) -> list[Flags]:
    """Give every run to one of several, each run long enough for two being cut in half times."""
    shares = [np.zeros_like(flags) for _ in range(members)]
    owner = int(generator.integers(members))
    changing = generator.random() < 0.7  # otherwise the same one sounds throughout
    for start, end in _runs(flags):
        if changing:
            owner = int(generator.integers(members))
        shares[owner][start:end] = True
    return shares


def loosen(generator: np.random.Generator, flags: Flags) -> tuple[Interval, ...]:
    """Runs of whole seconds to intervals with edges beside the full seconds; clip edges stay put."""
    spans = []
    for start, end in _runs(flags):
        shift = generator.uniform(-EDGE_S, EDGE_S, 2)
        begin_s = start + float(shift[0]) if start > 0 else 0.0
        end_s = end + float(shift[1]) if end < len(flags) else float(end)
        spans.append((begin_s, end_s))
    return tuple(spans)


def _runs(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]

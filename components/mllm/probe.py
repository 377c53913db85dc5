"""Does the server hear, see and tell time? What it is given changes, so its answer must.

Same pictures under another sound, same sound under other pictures, both backwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.mllm.requests.message import Clip
from components.mllm.sounding import Sounding

Sense = Literal["hearing", "seeing", "time"]
Verdict = Literal["yes", "no", "unsteady", "unknown"]

METRICS: Mapping[Sense, str] = {"hearing": "hears", "seeing": "sees", "time": "tells_time"}
"""The number in data/mllm/metrics.json: 1 or 0, left out where it is not proven."""

_CHANGE: Mapping[Sense, str] = {
    "hearing": "another sound under the same pictures",
    "seeing": "other pictures over the same sound",
    "time": "the clip backwards",
}
_LACKS: Mapping[Sense, str] = {"hearing": "deaf", "seeing": "blind", "time": "timeless"}


@dataclass(frozen=True)
class ProbeClips:
    """What the probes are about."""

    clip: Clip
    """Something sounds in it."""
    stranger: Clip | None
    """Only other things sound in it; None: take silence, and leave the pictures alone."""
    uneven: Clip | None
    """Backwards, its sounds are in other seconds; None where no clip is so."""


def probe_clips(clips: Sequence[Clip], truth: Mapping[str, Sounding]) -> ProbeClips:
    """The clips that show most: the first that do."""
    audible = [clip for clip in clips if truth[clip.name].counts]
    pairs = (
        (clip, other)
        for clip in audible
        for other in audible
        if not set(truth[clip.name].counts) & set(truth[other.name].counts)
    )
    clip, stranger = next(pairs, ((audible or list(clips))[0], None))
    uneven = (clip for clip in audible if _backwards(truth[clip.name]) != dict(truth[clip.name].seconds))
    return ProbeClips(clip, stranger, next(uneven, None))


def judge(sense: Sense, own: Sounding | None, again: Sounding | None, other: Sounding | None) -> Verdict:
    """What three answers say: to a clip, to the same once more, and to the changed one.

    Without the second a server that answers at random would pass for one that hears.
    """
    if own is None or again is None or other is None:
        return "unknown"
    if _said(sense, own) == _said(sense, other):
        return "no"
    return "yes" if _said(sense, own) == _said(sense, again) else "unsteady"


def meaning(sense: Sense, verdict: Verdict) -> str:
    """The verdict in words, after the model's name."""
    return {
        "yes": f"passes the probe of {sense}: {_CHANGE[sense]} changed the answer",
        "no": f"is {_LACKS[sense]}: {_CHANGE[sense]} brought the same answer",
        "unsteady": f"is not proven to be other than {_LACKS[sense]}: the very same question brought "
        "two different answers",
        "unknown": f"is not proven to be other than {_LACKS[sense]}: the probe's questions "
        "brought no valid answers",
    }[verdict]


def _said(sense: Sense, answer: Sounding) -> object:
    return {
        "hearing": (answer.counts, answer.seconds),
        "seeing": (answer.counts, answer.seconds, answer.boxes),
        "time": answer.seconds,
    }[sense]


def _backwards(sounding: Sounding) -> dict[str, frozenset[int]]:
    last = sounding.length_s - 1
    return {category: frozenset(last - s for s in seconds) for category, seconds in sounding.seconds.items()}

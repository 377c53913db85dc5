"""Does the server hear? The same frames with two different sounds must bring two different answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

from components.mllm.message import Clip
from components.mllm.sounding import Sounding

Verdict = Literal["hears", "deaf", "unsteady", "unknown"]

SAID: Mapping[Verdict, str] = {
    "hears": "hears: another sound under the same frames changed the answer",
    "deaf": "does NOT hear: another sound under the same frames brought the same answer",
    "unsteady": "is not proven to hear: the very same question brought two different answers",
    "unknown": "is not proven to hear: the probe's questions brought no valid answers",
}


def probe_clips(clips: Sequence[Clip], truth: Mapping[str, Sounding]) -> tuple[Clip, Clip | None]:
    """A clip in which something sounds, and one in which only other things do (None: take silence)."""
    audible = [clip for clip in clips if truth[clip.name].counts]
    for clip in audible:
        for other in audible:
            if not set(truth[clip.name].counts) & set(truth[other.name].counts):
                return clip, other
    return (audible or list(clips))[0], None


async def probe(
    ask: Callable[[str], Awaitable[Sounding | None]],
) -> Verdict:
    """Asks the same frames with their own sound, with it once more, and with another sound.

    Without the second question a server that answers at random would pass for one that hears.

    Args:
        ask: puts the question "own", "again" or "other"; None is no valid answer.
    """
    own, again, other = [await ask(which) for which in ("own", "again", "other")]
    if own is None or again is None or other is None:
        return "unknown"
    if _heard(own) == _heard(other):
        return "deaf"
    return "hears" if _heard(own) == _heard(again) else "unsteady"


def _heard(answer: Sounding) -> tuple[Mapping[str, int], Mapping[str, frozenset[int]]]:
    return answer.counts, answer.seconds

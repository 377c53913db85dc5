"""Sound: where sounds begin and end against where labels do, and holes in the recording."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import ENVELOPE_S, SAMPLE_RATE_HZ, Clip, Track
from components.qa.checks import Check, runs
from components.qa.findings import Finding, Severity


class SoundingMismatch(Check):
    name = "sounding_mismatch"
    group = "sound"
    severity: Severity = "warning"
    threshold = 0.9
    unit = "share of the frame's second"
    explanation = (
        "The labelled intervals `sounding` of a track say the opposite of its masks: a mask where it is "
        "silent for that share of the second, or none where it sounds for as much. What is hidden has none."
    )
    fix = "Listen to that second, then correct the mask or the interval."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            if track.sounding is None:
                continue
            heard = self._heard(track.sounding, clip)
            for masked, word in (
                (True, "a mask, though labelled as silent"),
                (False, "labelled as sounding, but no mask"),
            ):
                wrong = [
                    k
                    for k, (crop, share) in enumerate(zip(track.crops, heard, strict=True))
                    if (crop is not None) == masked and (1 - share if masked else share) >= self.limit
                ]
                for first, last in runs(wrong):
                    yield self.found(word, clip, track=track.id, frame=first, last_frame=last)

    def _heard(self, intervals: list[tuple[float, float]], clip: Clip) -> list[float]:
        """The share of each frame's second that lies in an interval."""
        shares = []
        for k in range(clip.length):
            start_s, end_s = k / clip.frame_rate_hz, (k + 1) / clip.frame_rate_hz
            common_s = sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in intervals)
            shares.append(common_s * clip.frame_rate_hz)
        return shares


class OnsetWithoutLabel(Check):
    name = "onset_without_label"
    group = "sound"
    severity: Severity = "info"
    threshold = 20.0
    unit = "dB above the 0.3 s before"
    explanation = (
        "A sound sets in suddenly and nothing is labelled in this second, the one before or the one after: a "
        "bark, a horn or a blow that was overheard, or one from off screen. It finds 3 of 4 planted ones: a "
        "sound that swells has no onset."
    )
    fix = "Look who made it. Off-screen sounds stay unlabelled."
    quietest_dbfs = -45.0

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.envelope_dbfs is None:
            return
        rises = _rises(clip.envelope_dbfs)
        last = -1
        for at in np.flatnonzero(rises > self.limit).tolist():
            k = int(at * ENVELOPE_S * clip.frame_rate_hz)
            if k >= clip.length or k == last or clip.envelope_dbfs[at] < self.quietest_dbfs:
                continue
            if clip.labelled[max(0, k - 1) : k + 2].any():
                continue
            rise = float(rises[at : at + round(0.5 / ENVELOPE_S)].max())
            message = f"a sound sets in ({rise:.0f} dB), nothing labelled"
            yield self.found(message, clip, frame=k, value=rise)
            last = k


def _rises(envelope_dbfs: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the next 100 ms are louder than the loudest of the 300 ms before, [windows], in dB."""
    before, after = round(0.3 / ENVELOPE_S), round(0.1 / ENVELOPE_S)
    rises = np.zeros(len(envelope_dbfs))
    if len(envelope_dbfs) > before + after:
        view = np.lib.stride_tricks.sliding_window_view
        quiet = view(envelope_dbfs, before).max(axis=1)[: -after or None]
        loud = view(envelope_dbfs, after).min(axis=1)[before:]
        rises[before : before + len(loud)] = loud - np.maximum(quiet, -80.0)[: len(loud)]
    return rises


class LabelBeyondSound(Check):
    name = "label_beyond_sound"
    group = "sound"
    severity: Severity = "warning"
    threshold = 15.0
    unit = "dB under the run's usual level"
    explanation = (
        "The only labelled object has masks for two or more seconds before its sound sets in, or after it "
        "has ended: something is heard there, but far less than in the rest of these masks."
    )
    fix = "Set the masks of these frames to null, unless the object sounds so softly."
    shortest = 2  # frames: sounds fade, and a label is right to within one

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None:
            return
        for track in clip.tracks:
            for first, last in runs(track.present):
                if (clip.labelled[first : last + 1] > 1).any():
                    continue
                levels = clip.level_dbfs[first : last + 1]
                loud = np.flatnonzero(levels >= float(np.percentile(levels, 75)) - self.limit)
                early, late = int(loud[0]), len(levels) - 1 - int(loud[-1])
                if early >= self.shortest:
                    yield self._found(clip, track, first, first + early - 1, "begins before")
                if late >= self.shortest:
                    yield self._found(clip, track, last - late + 1, last, "goes on after")

    def _found(self, clip: Clip, track: Track, first: int, last: int, words: str) -> Finding:
        message = f"the label {words} the sound, by {last - first + 1} frames"
        return self.found(
            message, clip, track=track.id, frame=first, last_frame=last, value=float(last - first + 1)
        )


class AudioDropout(Check):
    name = "audio_dropout"
    group = "sound"
    severity: Severity = "warning"
    threshold = 0.1
    unit = "seconds"
    explanation = (
        "Within a sound the samples are exactly zero for longer than that: a hole of the recording or of an "
        "edit, not a pause. (A muted channel cannot be told here: the sound is mixed to mono.)"
    )
    fix = "Get the video again; leave the clip out, or the masks of that second."
    loudest_edge_dbfs = -50.0  # in the 20 ms before and after: a fade ends lower

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.sound is None or not len(clip.sound):
            return
        edges = np.flatnonzero(np.diff((clip.sound != 0).astype(np.int8), prepend=1, append=1))
        for start, end in edges.reshape(-1, 2).tolist():
            duration_s = (end - start) / SAMPLE_RATE_HZ
            if duration_s <= self.limit or start == 0 or end == len(clip.sound):
                continue
            edge = round(ENVELOPE_S * SAMPLE_RATE_HZ)
            sides = clip.sound[max(0, start - edge) : start], clip.sound[end : end + edge]
            if min(_level_dbfs(side) for side in sides) < self.loudest_edge_dbfs:
                continue
            k = int(start / SAMPLE_RATE_HZ * clip.frame_rate_hz)
            message = f"no sound at all for {duration_s:.2f} s within a sound"
            yield self.found(message, clip, frame=min(k, clip.length - 1), value=duration_s)


def _level_dbfs(samples: NDArray[np.int16]) -> float:
    return float(10 * np.log10(np.mean((samples.astype(np.float64) / 32768) ** 2) + 1e-12))

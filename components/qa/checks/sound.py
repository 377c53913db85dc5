"""Sound: do the masks and what is heard agree, and is the recording sound."""

from collections.abc import Iterator

import numpy as np

from components.qa.checked_clip import INAUDIBLE_DBFS, Clip
from components.qa.checks import Check, runs
from components.qa.findings import Finding, Severity

_LOUDEST_SAMPLE = 32_700  # int16; lossy codecs clip a little below full scale


class SilentAudio(Check):
    name = "silent_audio"
    group = "sound"
    severity: Severity = "warning"
    threshold = INAUDIBLE_DBFS
    unit = "dB of full scale"
    explanation = "Nothing is heard in the whole clip: the sound track was muted or lost."
    fix = "Replace the video, or leave the clip out."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None:
            return
        loudest = float(clip.level_dbfs.max())
        if loudest >= self.limit:
            return
        yield self.found(f"the whole clip is silent ({loudest:.0f} dB)", clip, value=loudest)


class SoundingInSilence(Check):
    name = "sounding_in_silence"
    group = "sound"
    severity: Severity = "warning"
    threshold = 20.0
    unit = "dB under the clip's loud seconds"
    explanation = (
        "An object is labelled as sounding in a second in which nothing is heard but the recording's noise: "
        "the mask stayed when the sound had stopped. Where another source goes on, loudness cannot tell."
    )
    fix = "Set the masks of these frames to null."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None or float(clip.level_dbfs.max()) < INAUDIBLE_DBFS:
            return  # the whole clip: said by silent_audio
        silent = clip.silent(self.limit)
        for track in clip.tracks:
            for first, last in runs(k for k in track.present if silent[k]):
                level = float(clip.level_dbfs[first : last + 1].max())
                message = f"labelled as sounding, but nothing is heard ({level:.0f} dB)"
                yield self.found(message, clip, track=track.id, frame=first, last_frame=last, value=level)


class SoundWithoutLabel(Check):
    name = "sound_without_label"
    group = "sound"
    severity: Severity = "info"
    threshold = -35.0
    unit = "dB of full scale"
    explanation = (
        "Something is heard for half a second or more and nothing is labelled: a sound from off "
        "screen, music laid over the video, or a forgotten object. In the sample, which has sounds from off "
        "screen, it finds all planted forgotten masks, and half of what it finds are these."
    )
    fix = "Look who sounds there. Off-screen sounds stay unlabelled: they teach the model to say nothing."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.usual_level_dbfs is None:
            return
        level = clip.usual_level_dbfs
        loud = np.flatnonzero((level > self.limit) & (clip.labelled == 0)).tolist()
        for first, last in runs(loud):
            yield self.found(
                f"heard at {level[first : last + 1].max():.0f} dB, nothing labelled",
                clip,
                frame=first,
                last_frame=last,
                value=float(level[first : last + 1].max()),
            )


class ShiftedSound(Check):
    name = "shifted_sound"
    group = "sound"
    severity: Severity = "warning"
    threshold = 0.3
    unit = "share of frames that agree better"
    explanation = (
        "Masks and loudness agree much better when the sound is shifted by some frames. Needs a clip with "
        "both silence and sound; a clip that is loud throughout shows nothing."
    )
    fix = "Compare the clip's start in the manifest with the one that was annotated."
    farthest = 5  # frames
    drop_db = 20.0  # as in sounding_in_silence

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.level_dbfs is None:
            return
        heard, labelled = ~clip.silent(self.drop_db), clip.labelled > 0
        if min(heard.sum(), (~heard).sum(), labelled.sum(), (~labelled).sum()) < 2:
            return
        farthest = min(self.farthest, clip.length // 3)
        agreement = {
            shift: float(np.mean(np.roll(heard, -shift) == labelled))
            for shift in range(-farthest, farthest + 1)
        }
        best = max(agreement, key=lambda shift: (agreement[shift], -abs(shift)))
        gain = agreement[best] - agreement[0]
        if gain <= self.limit:
            return
        direction = "late" if best > 0 else "early"
        yield self.found(
            f"the sound seems {abs(best)} frames {direction} against the masks", clip, value=gain
        )


class ClippedAudio(Check):
    name = "clipped_audio"
    group = "sound"
    severity: Severity = "info"
    threshold = 0.001
    unit = "share of samples"
    explanation = "The recording is cut off at full scale: distorted."
    fix = "Nothing is needed where the set should hold such recordings; else lower the gain at the source."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.sound is None or not len(clip.sound):
            return
        full = (clip.sound >= _LOUDEST_SAMPLE) | (clip.sound <= -_LOUDEST_SAMPLE)
        cut = full[:-2] & full[1:-1] & full[2:]  # a single full sample is a peak, three are a cut
        share = float(np.count_nonzero(cut)) / len(clip.sound)
        if share <= self.limit:
            return
        loudest = int(np.flatnonzero(cut)[0] * clip.frame_rate_hz // 16_000)
        yield self.found(
            f"{share:.1%} of the samples are cut off",
            clip,
            frame=min(loudest, clip.length - 1),
            value=share,
        )

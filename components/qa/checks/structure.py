"""Structure: files, lengths, ids, codes. All of it must be right before anything else means something."""

from collections.abc import Iterator

from components.core.records.masks import is_empty
from components.qa.checked_clip import SAMPLE_RATE_HZ, Clip
from components.qa.checks import Check, runs
from components.qa.dataset import Dataset
from components.qa.findings import Finding, Severity

_SIZE_TOLERANCE = 0.01


class UncheckedClip(Check):
    name = "unchecked_clip"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "The checks of this clip failed, took too long or ended their process."
    fix = "Read the reason. A damaged media file is made again by the extract stage once it is deleted."

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        for (split, name), reason in dataset.failed.items():
            yield self.found(reason, split=split, video=name)


class _InFile(Check):
    """Reports one kind of problem that was met while reading the annotation files."""

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        for document in dataset.documents.values():
            for problem in document.problems:
                if problem.kind == self.name:
                    yield self.found(
                        problem.message, split=document.split, video=problem.video, track=problem.track
                    )


class MalformedEntry(_InFile):
    name = "malformed_entry"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "An entry of the annotation file lacks a field or has a wrong type; it was left out."
    fix = "Correct the entry in the export, or write it again with the annotate stage."


class DuplicateId(_InFile):
    name = "duplicate_id"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "Two videos or two annotations of a file have the same id."
    fix = "Give each its own id."


class UnknownVideo(_InFile):
    name = "unknown_video"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "An annotation names a video that the file does not list."
    fix = "Add the video, or remove the annotation."


class MissingMedia(Check):
    name = "missing_media"
    group = "structure"
    severity: Severity = "blocking"
    explanation = (
        "The clip has no extracted media, or frames are missing, are cut off or are no JPEG (their markers "
        "are read; unreadable_frame looks at the picture)."
    )
    fix = "Run ingest and extract for this clip, or take it out of the annotations."

    def check(self, clip: Clip) -> Iterator[Finding]:
        entry = clip.item.entry
        if entry is None or entry.status != "ok":
            reason = "not in the media index" if entry is None else f"{entry.status}: {entry.message}"
            yield self.found(f"the clip has no media ({reason})", clip)
            return
        missing = [k for k, size in enumerate(clip.frame_sizes) if size is None]
        for first, last in runs(missing):
            message = f"{clip.frame_path(first).name} is missing or cut off"
            yield self.found(message, clip, frame=first, last_frame=last)
        if clip.frame_path(clip.length).exists():
            message = f"there are more frames than the {clip.length} that are annotated"
            yield self.found(message, clip)


class AudioLength(Check):
    name = "audio_length"
    group = "structure"
    severity: Severity = "blocking"
    threshold = 1.0
    unit = "samples"
    explanation = "The sound must last exactly as long as the frames, or sound and masks drift apart."
    fix = "Delete the clip's media and run the extract stage again."

    def check(self, clip: Clip) -> Iterator[Finding]:
        if clip.item.entry is None or clip.item.entry.status != "ok":
            return  # said by missing_media
        if clip.sound is None:
            yield self.found(f"{clip.audio_path.name} is missing or is no 16 kHz mono 16 bit WAV file", clip)
            return
        expected = round(clip.length * SAMPLE_RATE_HZ / clip.frame_rate_hz)
        difference = len(clip.sound) - expected
        if abs(difference) <= self.limit:
            return
        message = f"{len(clip.sound)} samples of sound, {clip.length} frames need {expected}"
        yield self.found(message, clip, value=float(difference))


class FrameSize(Check):
    name = "frame_size"
    group = "structure"
    severity: Severity = "blocking"
    threshold = _SIZE_TOLERANCE
    unit = "difference of width / height, share"
    explanation = "Masks and frames have different shapes. (The same shape at another size is no error.)"
    fix = "Annotate the video in the shape in which it is extracted; look for rotation and letterboxing."

    def check(self, clip: Clip) -> Iterator[Finding]:
        entry = clip.item.entry
        if entry is None or not entry.height or not entry.width:
            return
        difference = abs(clip.width / clip.height / (entry.width / entry.height) - 1)
        if difference <= self.limit:
            return
        message = f"masks are {clip.width}x{clip.height}, frames {entry.width}x{entry.height}"
        yield self.found(message, clip, value=difference)


class MixedFrameSizes(Check):
    name = "mixed_frame_sizes"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "A frame's JPEG has another size than the clip's index entry says: frames of two videos."
    fix = "Delete the clip's media and run the extract stage again."

    def check(self, clip: Clip) -> Iterator[Finding]:
        entry = clip.item.entry
        if entry is None or entry.status != "ok":
            return  # said by missing_media
        other = [
            k for k, size in enumerate(clip.frame_sizes) if size not in (None, (entry.width, entry.height))
        ]
        for first, last in runs(other):
            yield self.found(
                f"the frame is {clip.frame_sizes[first]}, the index says {entry.width, entry.height}",
                clip,
                frame=first,
                last_frame=last,
            )


class SegmentationLength(Check):
    name = "segmentation_length"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "A track needs one segmentation (or null) for each frame of its video."
    fix = "Export the track again; a track cut short is often an export of a frame range."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            if len(track.segmentations) != clip.length:
                yield self.found(
                    f"{len(track.segmentations)} segmentations for {clip.length} frames", clip, track=track.id
                )


class BoxLength(Check):
    name = "box_length"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "Boxes and areas, where given, must be as many as the frames."
    fix = "Leave boxes and areas to the annotate stage, which computes them from the masks."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for field, values in (("bboxes", track.boxes), ("areas", track.areas)):
                if values is not None and len(values) != clip.length:
                    yield self.found(f"{len(values)} {field} for {clip.length} frames", clip, track=track.id)


class UnknownCategory(Check):
    name = "unknown_category"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "A track's category is not among the file's categories."
    fix = "Add the category, or map it with annotate.category_map."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            if track.category is None:
                yield self.found("the category id is not listed", clip, track=track.id)


class UndecodableMask(Check):
    name = "undecodable_mask"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "A run-length code or polygon cannot be turned into a mask of the video's size."
    fix = "Export the track again. Run lengths must add up to height x width, column by column."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, reason in track.undecodable.items():
                if not _short_polygon(track.segmentations[k]):
                    yield self.found(reason, clip, track=track.id, frame=k)


class ShortPolygon(Check):
    name = "short_polygon"
    group = "structure"
    severity: Severity = "blocking"
    explanation = "A polygon needs three points."
    fix = "Draw the polygon again, or remove it."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, segmentation in enumerate(track.segmentations):
                if _short_polygon(segmentation):
                    yield self.found("a polygon has fewer than three points", clip, track=track.id, frame=k)


def _short_polygon(segmentation: object) -> bool:
    return isinstance(segmentation, list) and any(
        isinstance(polygon, list) and len(polygon) < 6 for polygon in segmentation
    )


class EmptyMask(Check):
    name = "empty_mask"
    group = "structure"
    severity: Severity = "warning"
    explanation = "No mask is written as null. An empty code is read as a mask by some tools, evaluators too."
    fix = "Write null; `annotate` with the aviseg format keeps what it gets."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            empty = [
                k
                for k, segmentation in enumerate(track.segmentations[: clip.length])
                if segmentation is not None
                and track.crops[k] is None
                and k not in track.undecodable
                and is_empty(segmentation)
            ]
            for first, last in runs(empty):
                yield self.found(
                    "an empty mask instead of null", clip, track=track.id, frame=first, last_frame=last
                )


class EmptyTrack(Check):
    name = "empty_track"
    group = "structure"
    severity: Severity = "warning"
    explanation = "A track without a mask on any frame teaches nothing and counts as a miss."
    fix = "Remove the track, or draw its masks."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            if not track.present and not track.undecodable:
                yield self.found("the track has no mask at all", clip, track=track.id)


class InvalidSounding(Check):
    name = "invalid_sounding"
    group = "structure"
    severity: Severity = "blocking"
    threshold = 0.5
    unit = "seconds past the clip's end"
    explanation = (
        "The field `sounding` must hold intervals [start, end] in seconds, ascending, apart from each other, "
        "within the clip."
    )
    fix = "Correct the intervals, or leave the field out: then the masks tell when the object is heard."

    def check(self, clip: Clip) -> Iterator[Finding]:
        duration_s = clip.length / clip.frame_rate_hz
        for track in clip.tracks:
            if track.sounding_problem is not None:
                yield self.found(track.sounding_problem, clip, track=track.id)
            elif track.sounding and track.sounding[-1][1] - duration_s > self.limit:
                end_s = track.sounding[-1][1]
                message = f"an interval ends at {end_s:.1f} s, the clip at {duration_s:.1f} s"
                yield self.found(message, clip, track=track.id, value=end_s - duration_s)

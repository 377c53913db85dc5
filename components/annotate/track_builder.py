"""Annotations gathered frame by frame, as most formats have them, into tracks."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from components.annotate.clock import Clock, clock_of
from components.annotate.effort import FRAME_S, PIXEL_S, Effort
from components.core.records import masks
from components.core.records.annotations import MOST_FRAMES, AnnotationSet, PictureNames, Track, Video
from components.core.records.changes import MOST_EXAMPLES, Changes, Kind
from components.core.records.work_file import Frames, Numbered, WorkFile
from components.core.run.errors import AvisError
from components.core.run.files import safe_name

_NAMED_BY_CVAT = re.compile(r"frame_\d{6}\.\w+")  # it counts from 0, and leaves out frames without a mask
_OVER_EDGE_PX = 2  # hands are not exact
_LEAST_LONE = 4  # frames, each with a track that has no other: then the tracks may be masks
SHAPE_TOLERANCE = 0.01  # difference of width / height, share


def video_name(name: str, where: str) -> str:
    """The name that a video gets here: folders in it are joined by "-".

    Raises:
        AvisError: it leads out of its folder, or cannot be a file name.
    """
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\\" in name:
        raise AvisError(f"The video name {name[:160]!r} leads to another folder", where=where)
    try:
        return safe_name("-".join(parts))
    except AvisError as error:
        raise AvisError(error.what, where=where, fix=error.fix) from None


@dataclass(slots=True)
class _Seen:
    """A track while it is gathered; key: what the source calls it within its video; frames: its masks."""

    key: object
    video: str
    category_id: int
    annotator: str
    iscrowd: int
    frames: Numbered


class Gathering:
    """Collects videos, categories and segmentations; `finish` makes an AnnotationSet of them.

    changes: what was changed on the way; readers add to it.
    keys: what the source calls the tracks, by their ids; after `finish`.
    """

    def __init__(self, work: WorkFile | None = None, effort: Effort | None = None) -> None:
        """Take where the masks lie, None: in a file of its own; and what the source may ask for."""
        self.work = work or WorkFile()
        self._effort = effort
        self.categories: dict[int, str] = {}
        self.keys: dict[int, object] = {}
        self.clocks: dict[str, Clock] = {}
        self.changes = Changes()
        self._category_ids: dict[str, int] = {}
        self._videos: dict[str, Video] = {}
        self._tracks: dict[tuple[str, object], _Seen] = {}
        self._left_out: Counter[str] = Counter()  # shapes that are no masks, by video

    def category(self, name: str, identity: int | None = None) -> int:
        """The id of a category, which is known from now on; ids are numbered from 1 where none is given.

        Raises:
            AvisError: the name is empty; who reads the source adds its name.
        """
        if not name:
            raise AvisError("A category has no name", fix="Give it one, or delete what is of it.")
        if name not in self._category_ids:
            number = max(self.categories, default=0) + 1 if identity is None else identity
            self._category_ids[name] = number
            self.categories[number] = name
        return self._category_ids[name]

    def video(
        self,
        name: str,
        *,
        height: int,
        width: int,
        length: int,
        where: str,
        identity: int | None = None,
        file_names: Sequence[str] | None = None,
    ) -> Video:
        """Add a video; raises AvisError where its name, size or length is none, or the name is taken."""
        plain = video_name(name, where)
        if plain != name:
            self.changes.add(
                Kind.RENAMED, "video", "a folder in its name became a dash", example=f"{name} to {plain}"
            )
        name = plain
        if name in self._videos:
            raise AvisError(f"The video {name!r} stands there twice", where=where, fix="Rename one of them.")
        if min(height, width) < 1 or height * width > masks.MOST_PIXELS or not 1 <= length <= MOST_FRAMES:
            raise AvisError(
                f"The video {name!r} has {width}x{height} pixels and {length} frames", where=where
            )
        self._spend_frames(length, f"The video {name!r}", where)
        number = len(self._videos) + 1 if identity is None else identity
        names = file_names or PictureNames(name, length)
        self._videos[name] = Video(number, name, names, length=length, height=height, width=width)
        return self._videos[name]

    def track(
        self, video: Video, key: object, category_id: int, where: str, annotator: str = "", iscrowd: int = 0
    ) -> None:
        """Note a track of a video; raises AvisError where it has another category already."""
        seen = self._tracks.get((video.name, key))
        if seen is None:
            self._spend_frames(video.length, f"Track {key} of the video {video.name!r}", where)
            seen = _Seen(key, video.name, category_id, annotator, iscrowd, Numbered(self.work))
            self._tracks[video.name, key] = seen
        if seen.category_id != category_id:
            one, two = self.categories[seen.category_id], self.categories[category_id]
            raise AvisError(
                f"Track {key} of the video {video.name!r} has two categories, {one!r} and {two!r}",
                where=where,
                fix="A track is one object: give it one category, or make it two tracks.",
            )
        seen.annotator = seen.annotator or annotator
        seen.iscrowd |= iscrowd

    def add(self, video: Video, frame: int, key: object, segmentation: Any, where: str) -> None:
        """Add a segmentation to a track that was noted; two of one track in a frame are united, and counted.

        Raises:
            AvisError: the frame is none of the video's, or the segmentation is malformed or of another size.
        """
        if not 0 <= frame < video.length:
            raise AvisError(
                f"Frame {frame} is not among the {video.length} frames of the video {video.name!r}",
                where=where,
            )
        problem = masks.check(segmentation, video.height, video.width)
        if problem is not None:
            raise AvisError(problem, where=where)
        if not segmentation:
            return
        frames = self._tracks[video.name, key].frames
        if self._effort is not None:
            self._effort.spend_mask(segmentation, where)
        segmentation = masks.compact(segmentation, video.height, video.width)
        if frame in frames:
            why = "its track has another one in the same frame"
            self.changes.add(Kind.MERGED, "mask", why, example=where)
        try:
            known = frames.value(frame, None)
            frames[frame] = united(known, segmentation, video.height, video.width)
        except AvisError as error:
            raise AvisError(error.what, where=where, fix=error.fix) from None

    def spend_pixels(self, pixels: int, where: str) -> None:
        """Note that a mask is decoded; raises AvisError where the source asks for too many."""
        if self._effort is not None:
            self._effort.spend(
                pixels * PIXEL_S, f"A mask of {pixels:,} pixels, after those before it,", where
            )

    def _spend_frames(self, frames: int, whose: str, where: str) -> None:
        if self._effort is not None:
            self._effort.spend(frames * FRAME_S, f"{whose} with {frames:,} frames", where)

    def leave_out(self, video: str, kind: str, why: str, where: str) -> None:
        """Count a shape of a video that is not taken; `finish` raises where the video has no other."""
        self.changes.add(Kind.DROPPED, kind, why, example=where)
        self._left_out[video] += 1

    def finish(self, where: str) -> AnnotationSet:
        """Everything gathered. Tracks keep their keys as ids where these are whole numbers and differ.

        Raises:
            AvisError: there is no video, a mask does not decode, or of a video's shapes none was taken.
        """
        if not self._videos:
            raise AvisError("There is no video in it", where=where, fix="Export the annotations again.")
        for name in self._left_out.keys() - {seen.video for seen in self._tracks.values() if seen.frames}:
            refuse_without_masks(name, self._left_out[name], where)
        keys = [seen.key for seen in self._tracks.values()]
        keep = all(type(key) is int and key > 0 for key in keys) and len(set(keys)) == len(keys)
        tracks = []
        lone: dict[str, set[int]] = {}  # frames of tracks that have one mask, by video
        others: set[str] = set()  # videos with other tracks
        for number, seen in enumerate(self._tracks.values(), start=1):
            video = self._videos[seen.video]
            frames = Frames(seen.frames, video.length)
            segmentations = list(frames)
            codes, problems = masks.compress_all(segmentations, video.height, video.width)
            for frame, problem in problems.items():
                raise AvisError(
                    problem, where=f"{where}, video {video.name!r}, track {seen.key}, frame {frame}"
                )
            note_cut_polygons(segmentations, codes, video, self.changes, seen.key)
            for frame in frames.numbers:
                if segmentations[frame] is None:
                    del seen.frames[frame]
            if len(seen.frames) == 1:
                lone.setdefault(seen.video, set()).update(seen.frames)
            elif seen.frames:
                others.add(seen.video)
            identity = seen.key if keep and isinstance(seen.key, int) else number
            self.keys[identity] = seen.key
            tracks.append(
                Track(
                    identity,
                    video.id,
                    seen.category_id,
                    frames,
                    seen.iscrowd,
                    annotator=seen.annotator,
                )
            )
        for name, frames_of in lone.items():
            if len(frames_of) >= _LEAST_LONE and name not in others:
                why = "each of its tracks has a mask in one frame alone: are they masks, and not objects?"
                self.changes.add(Kind.GUESSED, "video", why, example=name)
        return AnnotationSet(dict(self.categories), list(self._videos.values()), tracks, {})


def refuse_without_masks(video: str, others: int, where: str) -> None:
    """Raise AvisError: a video of whose shapes nothing is left would count as one in which nothing sounds."""
    raise AvisError(
        f"The video {video!r} has {others} shapes and none is a polygon or a mask of a track",
        where=where,
        fix="Only polygons and masks are imported: draw them, or delete the shapes if nothing sounds in "
        "it. `avis preannotate` can make masks of boxes.",
    )


def note_cut_polygons(
    segmentations: list[Any],
    codes: Sequence[dict[str, Any] | None],
    video: Video,
    changes: Changes,
    track: object,
) -> None:
    """Count polygons that reach over the frame's edge, and take those away that have no pixel in it.

    They are drawn on frames of another size, or in shares of it, where there are many.

    Args:
        codes: of the segmentations, as `masks.compress_all` gives them.
        track: what messages call it.
    """
    for frame, (segmentation, code) in enumerate(zip(segmentations, codes, strict=True)):
        if code is None or not isinstance(segmentation, list):
            continue
        example = f"{video.name}, track {track}, frame {frame}"
        if masks.is_empty(code):
            segmentations[frame] = None
            why = "its polygons cover no pixel of the frame"
            changes.add(Kind.DROPPED, "mask", why, example=example)
        elif any(
            max(polygon[axis::2]) > side + _OVER_EDGE_PX or min(polygon[axis::2]) < -_OVER_EDGE_PX
            for polygon in segmentation
            for axis, side in enumerate((video.width, video.height))
        ):
            why = f"its polygons reach more than {_OVER_EDGE_PX} pixels over the frame's edge"
            changes.add(Kind.CLIPPED, "mask", why, example=example)


def united(first: Any, second: Any, height: int, width: int) -> Any:
    """The union of two segmentations: polygons stay polygons."""
    if not first or not second:
        return first or second
    if isinstance(first, list) and isinstance(second, list):
        return first + second
    from pycocotools import mask as coco

    code = coco.merge([masks.compress(one, height, width) for one in (first, second)])
    return {"size": [height, width], "counts": code["counts"].decode("ascii")}


def same_size(
    sizes: dict[str, tuple[tuple[int, int], str]], video: str, size: tuple[int, int], frame: str, where: str
) -> None:
    """Note a frame's (height, width); raises AvisError naming both frames where another's differs."""
    known, first = sizes.setdefault(video, (size, frame))
    if known != size:
        raise AvisError(
            f"Frames of the video {video!r} differ in size: {first} has {known[1]}x{known[0]} pixels, "
            f"{frame} has {size[1]}x{size[0]}",
            where=where,
            fix="All frames of a video must have one size: export it again, or make it two videos.",
        )


def refuse_other_shape(name: str, size: tuple[int, int], media: tuple[int, int] | None, where: str) -> None:
    """Raise AvisError where the frames that were annotated have another shape than the video's media.

    The same shape at another size is no error: masks are scaled with their frames.
    """
    if media is None or min(*size, *media) < 1:
        return
    if abs(size[1] * media[0] / (size[0] * media[1]) - 1) > SHAPE_TOLERANCE:
        raise AvisError(
            f"The annotated frames of the video {name!r} have {size[1]}x{size[0]} pixels, "
            f"its media {media[1]}x{media[0]}: that is another shape",
            where=where,
            fix="Annotate the frames that were extracted; look for rotation and letterboxing.",
        )


def first_number(
    files: Mapping[int, str],
    length: int | None,
    changes: Changes,
    video: str,
    *,
    pictures: int | None = None,
    from_0: bool = False,
) -> int:
    """The number that a video's first frame has: 0, or 1 where its frames are counted from 1.

    Args:
        files: names of the frames that are there, by number.
        length: of the video, in frames, where the source tells it; where not, it is said what is taken.
        pictures: how many were extracted of the video, where that is known.
        from_0: another video of the source has a frame 0: then this one's was lost.
    """
    if min(files, default=0) != 1 or (length is not None and length != max(files)):
        return 0
    if all(_NAMED_BY_CVAT.fullmatch(name.rpartition("/")[2]) for name in files.values()):
        return 0
    if length is None and (from_0 or pictures == max(files) + 1):
        return 0
    if length is None and pictures != max(files):
        why = "its frames begin with number 1, which is taken for the first one"
        changes.add(Kind.GUESSED, "video", why, example=video)
    return 1


def note_missing_frames(changes: Changes, video: str, present: set[int], length: int) -> Clock:
    """Count the frames of a video that the source does not have; returns `clock_of` those that it has."""
    missing = (k for k in range(length) if k not in present)
    why = "the source does not have it, taken as without a mask"
    for k in islice(missing, MOST_EXAMPLES):
        changes.add(Kind.FILLED, "frame", why, example=f"{video}, frame {k}")
    changes.add(Kind.FILLED, "frame", why, count=sum(1 for _ in missing))
    return clock_of(present)

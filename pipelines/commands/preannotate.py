"""`avis preannotate` and `avis corrections`: drafts for annotation tools, and what people changed of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from components.annotate.exports import read_sources
from components.annotate.formats import find_format
from components.annotate.formats.label_studio_writer import tasks, write_tasks
from components.annotate.merge import unite_all
from components.core.clips.index import MediaEntry, read_media_index
from components.core.records.annotations import (
    SPLITS,
    AnnotationSet,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.run.errors import AvisError
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.tools.preannotate.drafts import (
    DraftTrack,
    annotation_set,
    of_results,
    prompted,
    read_frames,
    refined,
    video_of,
)
from components.tools.preannotate.prompts import TrackPrompts, read_prompts

DRAFT = "draft.json"
_ENDINGS = {"cvat": "xml"}


def preannotate(
    out: Path,
    *,
    formats: Sequence[str],
    names: Sequence[str],
    every: bool,
    model: str | None,
    threshold: float | None,
    sam: Path | None,
    prompts: Path | None,
    image_root: str,
) -> None:
    """Write drafts of clips to `out`: draft.json, and a folder with a file per clip for each format.

    Args:
        out: a folder that is empty or not there.
        formats: names of annotation formats.
        names: the clips; without, those with media and without annotations.
        every: all clips with media.
        model: a variant's name or a model's folder; by default the first variant. Unused with prompts.
        threshold: a score between 0 and 1 instead of predict.score_threshold.
        sam: folder of a SAM-family model: redraws the AVIS model's masks, or follows prompts.
        prompts: a CSV of boxes and points; needs `sam`.
        image_root: of Label Studio's tasks: put before <clip>/00000.jpg.

    Raises:
        AvisError: no clip, no model, or one of them cannot be used.
    """
    writers = {name: find_format(name).write for name in formats}
    for name, writer in writers.items():
        if writer is None:
            raise AvisError(f"The format {name} can only be read", where="--to")
    if prompts is not None and sam is None:
        raise AvisError("Boxes and points need a model that follows them", fix="Give its folder with --sam.")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise AvisError(
            "There is something already", where=str(out), fix="Name a new one; drafts are kept apart."
        )
    given = read_prompts(prompts) if prompts else None
    for name in names:
        if given is not None and name not in given:
            raise AvisError(f"There is no box or point for the clip {name!r}", where=str(prompts))
    paths = Paths()
    entries = _entries(paths, names or list(given or ()), every=every)
    paths = with_local_media(paths, [entry.video_id for entry in entries])
    videos = [video_of(number, entry) for number, entry in enumerate(entries, start=1)]
    drafts = _drafts(
        videos, paths, model=model, threshold=threshold, sam=sam, given=given, where=str(prompts)
    )
    annotations = annotation_set(list(zip(videos, drafts.tracks, strict=True)), drafts.categories)
    # Last: whoever finds a draft.json finds everything.
    for name, write in writers.items():
        assert write is not None  # noqa: S101 - said above
        for video in videos:
            part = AnnotationSet(
                annotations.categories,
                [video],
                [track for track in annotations.tracks if track.video_id == video.id],
            )
            target = out / name / f"{video.name}.{_ENDINGS.get(name, 'json')}"
            if name == "label_studio":  # there a draft is a prediction, which people turn into an annotation
                write_tasks(target, tasks(part, model=model or "avis", image_root=image_root))
            else:
                write(target, part)
    write_annotations(out / DRAFT, annotations)
    print(f"{len(annotations.tracks)} tracks in {len(videos)} clips: {out / DRAFT}")
    for name in formats:
        print(f"{name}: {out / name}/<clip>.{_ENDINGS.get(name, 'json')}")
    print(f"What people change of it: avis corrections {out / DRAFT} CORRECTED")


class _Drafts:
    """Tracks of each clip, and the categories by id."""

    def __init__(self, tracks: list[list[DraftTrack]], categories: dict[int, str]) -> None:
        self.tracks, self.categories = tracks, categories


def _drafts(
    videos: Sequence[Video],
    paths: Paths,
    *,
    model: str | None,
    threshold: float | None,
    sam: Path | None,
    given: dict[str, dict[str, TrackPrompts]] | None,
    where: str,
) -> _Drafts:
    # torch, and transformers: after all that can be refused without them
    from components.predict.params import PredictParams

    override = {} if threshold is None else {"score_threshold": threshold}
    params = read_block("predict", PredictParams, override=override)
    follow = None
    if sam is not None:
        from components.tools.preannotate.sam import SamTracker

        follow = SamTracker.load(sam, params.device).follow
    tracks: list[list[DraftTrack]] = []
    if given is not None:
        assert follow is not None  # noqa: S101 - prompts are refused without
        for video in tqdm(videos, desc="preannotate", unit="clip", mininterval=1.0):
            at = f"{where}, video {video.name}"
            tracks.append(prompted(given[video.name], read_frames(paths.media, video), follow, at))
        return _Drafts(tracks, {})
    from components.predict.extracted_clips import clip_moments
    from components.predict.tracks import Predictor
    from models.inference.moments import ClipError
    from pipelines.commands.predict import model_folder

    predictor = Predictor.load(model_folder(model), params)
    for video in tqdm(videos, desc="preannotate", unit="clip", mininterval=1.0):
        clip = partial(clip_moments, predictor, paths.media, video)
        try:
            results = predictor.predict(video.id, clip, height=video.height, width=video.width)
        except ClipError as error:
            raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
        found = of_results(results, predictor.card.categories)
        if follow is not None and found:
            found = refined(found, read_frames(paths.media, video), follow)
        tracks.append(found)
    return _Drafts(tracks, predictor.card.categories)


def _entries(paths: Paths, names: Sequence[str], *, every: bool) -> list[MediaEntry]:
    """The clips to draft."""
    index = read_media_index(paths.media / "index.parquet")
    for name in names:
        entry = index.get(name)
        if entry is None or entry.status != "ok":
            reason = "is not in the media index" if entry is None else f"has no media: {entry.status}"
            raise AvisError(f"The clip {name!r} {reason}", where=str(paths.media / "index.parquet"))
    if names:
        return [index[name] for name in dict.fromkeys(names)]
    labelled: set[str] = set()
    if not every:
        for split in SPLITS:
            file = paths.annotations / f"{split}.json"
            if file.is_file():
                labelled.update(video.name for video in read_annotations(file).videos)
    chosen = [entry for name, entry in index.items() if entry.status == "ok" and name not in labelled]
    if not chosen:
        raise AvisError(
            f"All {len(labelled)} clips with media are annotated" if labelled else "No clip has media",
            where=str(paths.media / "index.parquet"),
            fix="Name clips with --video, or take all of them with --all."
            if labelled
            else "Run `dvc repro extract`.",
        )
    return chosen


def corrections(draft: Path, corrected: Path, report: Path | None, category_map: Path | None) -> None:
    """Print what people changed of a draft; write tables and a page to `report`.

    Args:
        draft: draft.json of `avis preannotate`, or any annotations.
        corrected: a file or folder of any format that `avis convert` reads.
        report: a folder.
        category_map: as of `annotate`, for the corrected ones.

    Raises:
        AvisError: a file cannot be read, or they have no video in common.
    """
    from components.annotate.categories import map_categories, read_category_map
    from components.tools.preannotate.corrections import KINDS, compare
    from components.tools.preannotate.report import write_report

    before, after = read_annotations(draft), _read_any(corrected)
    if category_map is not None:
        after = map_categories(after, read_category_map(category_map, "--categories"))
    found = compare(before, after)
    if not found.videos:
        raise AvisError(
            "The two have no video in common",
            where=f"{draft} and {corrected}",
            fix=f"The corrected ones are named {_first_names(after)}; the draft's {_first_names(before)}.",
        )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("category")
    columns = (*KINDS, "+s", "-s", "~s", "overlap")
    for column in columns:
        table.add_column(column, justify="right")
    for name, changes in found.by_category().items():
        overlap = "" if changes.overlap is None else f"{changes.overlap:.0%}"
        counts = (changes.frames_added, changes.frames_removed, changes.frames_redrawn)
        table.add_row(name, *(str(changes.tracks[kind]) for kind in KINDS), *map(str, counts), overlap)
    Console().print(table)
    print("+s: seconds in which the draft was silent; -s: in which nothing sounds; ~s: with a redrawn mask.")
    print(f"{found.videos} videos compared, {len(found.pending)} of the draft not corrected yet.")
    if found.unknown:
        print(f"Not in the draft: {', '.join(found.unknown[:5])}{' …' if len(found.unknown) > 5 else ''}")
    if report is not None:
        write_report(report, found, before, after, Paths().media / "frames")
        print(f"Report: {report / 'report.html'}")


def _read_any(path: Path) -> AnnotationSet:
    sources = read_sources(path, setting="the path")
    for source in sources:
        for note in source.reading.notes:
            print(f"{source.name}: {note}")
    return unite_all([source.reading.annotations for source in sources], [source.name for source in sources])


def _first_names(annotations: AnnotationSet) -> str:
    return ", ".join(video.name for video in annotations.videos[:3]) or "nothing"

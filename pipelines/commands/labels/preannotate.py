"""`avis preannotate`: drafts for annotation tools."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Model, model_folder


def preannotate(
    out: Annotated[Path, typer.Argument(help="A new folder for the drafts.")],
    to: Annotated[list[str] | None, typer.Option(help="Formats, by default cvat and label_studio.")] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="A clip; by default those without annotations.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All clips with media.")] = False,
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score drafted.")] = None,
    sam: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A SAM 2 or SAM 3 model of transformers: draws the masks."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A CSV of boxes and points, which --sam follows; docs/preannotation.md."),
    ] = None,
    image_root: Annotated[
        str, typer.Option(metavar="URL", help="Where Label Studio finds the folders of the clips' frames.")
    ] = "/data/local-files/?d=",
) -> None:
    """Write drafts of masks, so that people correct instead of draw."""
    from components.annotate.formats import find_format
    from components.core.inference.params import PredictParams
    from components.core.run.params import read_block
    from components.core.run.paths import Paths
    from components.core.storage.mirror import with_local_media
    from components.tools.preannotate.draft_files import DRAFT, choose_clips, draft_file, write_drafts
    from components.tools.preannotate.drafts import annotation_set, video_of
    from components.tools.preannotate.prompts import read_prompts

    writers = {}
    for name in to or ["cvat", "label_studio"]:
        write = find_format(name).write
        if write is None:
            raise AvisError(f"The format {name} can only be read", where="--to")
        writers[name] = write
    if prompts is not None and sam is None:
        raise AvisError("Boxes and points need a model that follows them", fix="Give its folder with --sam.")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise AvisError(
            "There is something already", where=str(out), fix="Name a new one; drafts are kept apart."
        )
    given = read_prompts(prompts) if prompts else None
    for name in video or []:
        if given is not None and name not in given:
            raise AvisError(f"There is no box or point for the clip {name!r}", where=str(prompts))
    paths = Paths()
    entries = choose_clips(paths, video or list(given or ()), every=every)
    paths = with_local_media(paths, [entry.video_id for entry in entries])
    videos = [video_of(number, entry) for number, entry in enumerate(entries, start=1)]
    override = {} if threshold is None else {"score_threshold": threshold}
    params = read_block("predict", PredictParams, override=override)

    # torch, and transformers: after all that can be refused without them
    from components.core.inference.predictor import Predictor
    from components.tools.preannotate.draft_clips import find_tracks, follow_prompts

    follow = None
    if sam is not None:
        from components.core.video.sam import SamTracker

        follow = SamTracker.load(sam, params.device).follow
    if given is not None:
        assert follow is not None  # noqa: S101 - prompts are refused without
        tracks = follow_prompts(videos, given, follow, media=paths.media, where=str(prompts))
        categories: dict[int, str] = {}
    else:
        predictor = Predictor.load(model_folder(model), params)
        tracks = find_tracks(videos, predictor, follow, media=paths.media)
        categories = predictor.card.categories
    annotations = annotation_set(list(zip(videos, tracks, strict=True)), categories)
    write_drafts(out, annotations, writers, model=model or "avis", image_root=image_root)
    print(f"{len(annotations.tracks)} tracks in {len(videos)} clips: {out / DRAFT}")
    for name in writers:
        print(f"{name}: {draft_file(out, name, '<clip>')}")
    print(f"What people change of it: avis corrections {out / DRAFT} CORRECTED")

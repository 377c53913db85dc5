"""`avis suspect`: labels that a trained model doubts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Model, Split, model_folder

if TYPE_CHECKING:
    from components.qa.tables.suspicions import Suspicion


def suspect(
    split: Annotated[list[Split] | None, typer.Option(help="By default train, val and test.")] = None,
    model: Model = None,
    out: Annotated[Path, typer.Option(help="For qa.suspicions in params.yaml.")] = Path(
        "data/suspicions.csv"
    ),
) -> None:
    """Write which labels a trained model doubts, for the qa stage to show."""
    from functools import partial

    from tqdm import tqdm

    from components.core.disturbance.clips import Clips
    from components.core.inference.extracted_clips import clip_moments
    from components.core.inference.params import PredictParams
    from components.core.inference.predictor import Predictor
    from components.core.records.annotations import read_annotations, tracks_by_video
    from components.core.run.params import read_block
    from components.core.run.paths import Paths
    from components.core.storage.mirror import with_local_media
    from components.qa.tables.suspicions import write_suspicions
    from components.tools.suspicion import CANDIDATES
    from components.tools.suspicion import suspect as suspicions_of
    from models.inference.moments import ClipError

    # A score of 1 is reached by nobody: what is returned are the CANDIDATES, whatever their score.
    override = {"score_threshold": 1.0, "most_tracks": CANDIDATES}
    predictor = Predictor.load(model_folder(model), read_block("predict", PredictParams, override=override))
    ids = {name: number for number, name in predictor.card.categories.items()}
    found: list[Suspicion] = []
    for part in split or list(Split):
        file = Paths().annotations / f"{part.value}.json"
        annotations = read_annotations(file, out.parent)
        unknown = [name for name in annotations.categories.values() if name not in ids]
        if unknown:
            raise AvisError(
                f"The model does not know the category {unknown[0]!r}",
                where=str(file),
                fix="Use a model that was trained on these categories.",
            )
        paths = with_local_media(Paths(), [video.name for video in annotations.videos])
        for track in annotations.tracks:
            track.category_id = ids[annotations.categories[track.category_id]]
        tracks = tracks_by_video(annotations)
        for video in tqdm(annotations.videos, desc=f"suspect {part.value}", unit="clip", mininterval=1.0):
            clip = partial(clip_moments, predictor, Clips(paths.media), video)
            try:
                candidates = predictor.predict(
                    video.id, clip, height=video.height, width=video.width, least=CANDIDATES
                )
            except ClipError as error:
                raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
            found += suspicions_of(part.value, video, tracks[video.id], candidates, predictor.card.categories)
    write_suspicions(out, found)
    print(f"{len(found)} losses of tracks and of objects that nobody labelled: {out}")
    for suspicion in sorted(found, key=lambda one: -one.loss)[:5]:
        print(f"  {suspicion.loss:5.2f}  {suspicion.split}/{suspicion.video}: {suspicion.message}")
    print(f"Set qa.suspicions in params.yaml to {out}, then `dvc repro qa` shows them in the report.")

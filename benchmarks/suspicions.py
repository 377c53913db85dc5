"""How many planted label errors does `avis suspect` find? Run after `dvc repro`, from the repository root.

In the test clips one track in ten gets another category, then one track in ten is taken out of the labels;
both are seeded. The model was trained on the training clips. Prints precision and recall of losses above
some thresholds: of all that is said about the clips, what was planted.
"""

import argparse
import random
from functools import partial

from tqdm import tqdm

from components.core.inference.extracted_clips import clip_moments
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.records.annotations import read_annotations, tracks_by_video
from components.core.records.results import Result
from components.core.run.paths import Paths
from components.qa.tables.suspicions import Suspicion
from components.tools.suspicion import CANDIDATES, suspect

THRESHOLDS = (1.5, 2.0, 2.5, 3.0, 4.0)
RATE = 0.1


def main() -> None:
    """Predict once, plant, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="avism")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    paths = Paths()
    annotations = read_annotations(paths.annotations / "test.json")
    predictor = Predictor.load(
        paths.model(arguments.variant), PredictParams(score_threshold=1.0, most_tracks=CANDIDATES)
    )
    tracks = tracks_by_video(annotations)
    candidates: dict[int, list[Result]] = {}
    for video in tqdm(annotations.videos, desc="predict", unit="clip"):
        clip = partial(clip_moments, predictor, paths.media, video)
        candidates[video.id] = predictor.predict(
            video.id, clip, height=video.height, width=video.width, least=CANDIDATES
        )
    chosen = random.Random(arguments.seed).sample(annotations.tracks, round(RATE * len(annotations.tracks)))
    categories = sorted(annotations.categories)
    swapped = {
        track.id: random.Random(track.id).choice([c for c in categories if c != track.category_id])
        for track in chosen
    }

    def losses() -> list[Suspicion]:
        return [
            loss
            for video in annotations.videos
            for loss in suspect("test", video, tracks[video.id], candidates[video.id], annotations.categories)
        ]

    clean = losses()
    print(
        f"{len(annotations.videos)} clips, {len(annotations.tracks)} tracks, {len(chosen)} errors of a kind"
    )
    print("| loss above | clean: findings | category: precision | recall | unlabelled: precision | recall |")
    print("|---|---|---|---|---|---|")
    originals = {track.id: track.category_id for track in chosen}
    for track in chosen:
        track.category_id = swapped[track.id]
    wrong = losses()
    for track in chosen:
        track.category_id = originals[track.id]
    removed = {track.video_id for track in chosen}
    for track in chosen:
        tracks[track.video_id].remove(track)
    missing = losses()
    of_missing = {video.name for video in annotations.videos if video.id in removed}
    for threshold in THRESHOLDS:
        found = [one for one in wrong if one.loss >= threshold]
        right = {one.track for one in found} & set(swapped)
        others = [one for one in missing if one.track is None and one.loss >= threshold]
        hit = {one.video for one in others} & of_missing
        print(
            f"| {threshold:g} | {sum(one.loss >= threshold for one in clean)} "
            f"| {len(right) / max(1, len(found)):.2f} | {len(right) / len(swapped):.2f} "
            f"| {sum(one.video in of_missing for one in others) / max(1, len(others)):.2f} "
            f"| {len(hit) / len(of_missing):.2f} |"
        )


if __name__ == "__main__":
    main()

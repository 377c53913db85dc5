"""From one clip to tracks in the official results format."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from components.core.errors import AvisError
from components.core.masks import encode
from components.core.records import Result
from components.predict.params import PredictParams
from models.avism import Avism
from models.inference import find_sounding
from models.saved import ModelCard, load_model


@dataclass
class Predictor:
    """A trained model with the settings of prediction."""

    model: Avism
    card: ModelCard
    params: PredictParams

    @classmethod
    def load(cls, folder: Path, params: PredictParams) -> "Predictor":
        """Load a model folder.

        Raises:
            AvisError: there is no trained model, its files do not fit, or cuda is asked for and absent.
        """
        if params.device == "cuda" and not torch.cuda.is_available():
            raise AvisError("predict.device is cuda, but PyTorch sees no GPU", fix="Set it to auto or cpu.")
        device = "cuda" if params.device != "cpu" and torch.cuda.is_available() else "cpu"
        try:
            model, card = load_model(folder, device)
        except FileNotFoundError:
            raise AvisError(
                "there is no trained model", where=str(folder), fix="Run `dvc repro` or `make demo` first."
            ) from None
        except ValueError as error:
            raise AvisError(f"the model cannot be loaded: {error}") from None
        return cls(model, card, params)

    def predict(
        self,
        video_id: int,
        frames: Iterable[NDArray[np.uint8]],
        sound: NDArray[np.float32] | None,
        *,
        length: int,
        height: int,
        width: int,
    ) -> list[Result]:
        """Tracks of one clip, best first, masks at the source's size.

        Args:
            frames: RGB at the model's short side, ``length`` of them.
            sound: as models.inference.find_sounding wants it.
        """
        ids = sorted(self.card.categories)
        tracks = find_sounding(
            self.model,
            frames,
            sound,
            threshold=self.params.score_threshold,
            most=self.params.most_tracks,
        )
        results = []
        for track in tracks:
            masks = [track.mask(frame, height, width) for frame in range(length)]
            if not any(mask.any() for mask in masks):
                continue
            results.append(
                Result(
                    video_id=video_id,
                    category_id=ids[track.label],
                    score=round(track.score, 6),
                    # an empty mask stays an RLE: the published evaluator stops at null
                    segmentations=[encode(mask) for mask in masks],
                )
            )
        return results

"""From one clip to tracks in the official results format."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from components.core.records.masks import encode, is_empty
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.predict.params import PredictParams
from models.checkpoints.saved import ModelCard, load_model
from models.inference.moments import Moment
from models.inference.offline import find_sounding
from models.networks.precision import autocast_type
from models.networks.registry import Network


@dataclass
class Predictor:
    """A trained model with the settings of prediction."""

    model: Network
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
        clip: Callable[[], Iterable[Moment]],
        *,
        height: int,
        width: int,
        least: int = 0,
    ) -> list[Result]:
        """Tracks of one clip, best first, masks at the source's size; those that are never seen left out.

        Args:
            video_id: of the results.
            clip: the clip's moments, frames at the model's short side, as models.inference.offline wants
                them; it is called once or twice, and holds no more than it likes.
            height, width: of the masks.
            least: so many candidates are given even if they score below the threshold.

        Raises:
            ClipError: the moments do not fit together; it names the frame.
        """
        ids = sorted(self.card.categories)
        device = next(self.model.parameters()).device
        tracks = find_sounding(
            self.model,
            clip,
            size=(height, width),
            encode=encode,
            threshold=self.params.score_threshold,
            most=self.params.most_tracks,
            least=least,
            precision=autocast_type(self.params.precision, device),
        )
        return [
            Result(
                video_id=video_id,
                category_id=ids[track.label],
                score=round(track.score, 6),
                # an empty mask stays an RLE: the published evaluator stops at null
                segmentations=list(track.masks),
            )
            for track in tracks
            if not all(is_empty(mask) for mask in track.masks)
        ]

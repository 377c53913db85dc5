"""A trained model on one clip: tracks in the official results format, or candidates with their evidence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from components.core.inference.params import (
    EVEN_PRESENCE_THRESHOLD,
    NO_HEARING_THRESHOLD,
    PUBLISHED_SCORE_THRESHOLD,
    Chosen,
    PredictParams,
)
from components.core.records.masks import encode, is_empty
from components.core.records.results import Result
from components.core.run.errors import AvisError
from models.checkpoints.saved import ModelCard, load_model
from models.inference.moments import Moment
from models.inference.offline import Evidence, FoundTrack, find_sounding
from models.networks.precision import autocast_type
from models.networks.registry import Network

R = TypeVar("R")


@dataclass
class Predictor:
    """A trained model with the settings of prediction.

    work_folder: where what a long clip keeps on disk lies; None: in the system's folder for temporary files.
    """

    model: Network
    card: ModelCard
    params: PredictParams
    work_folder: Path | None = None

    @classmethod
    def load(cls, folder: Path, params: PredictParams, work_folder: Path | None = None) -> "Predictor":
        """Load a model folder.

        Raises:
            AvisError: there is no trained model, its files do not fit, or cuda is asked for and absent.
        """
        try:
            model, card = load_model(folder, _device(params))
        except FileNotFoundError:
            raise AvisError(
                "there is no trained model", where=str(folder), fix="Run `dvc repro` or `make demo` first."
            ) from None
        except ValueError as error:
            raise AvisError(f"the model cannot be loaded: {error}") from None
        return cls(model, card, params, work_folder)

    @classmethod
    def of(cls, model: Network, card: ModelCard, params: PredictParams) -> "Predictor":
        """A model that is at hand, on the device that is asked for.

        Raises:
            AvisError: cuda is asked for and absent.
        """
        return cls(model.to(_device(params)).eval(), card, params)

    @property
    def score_threshold(self) -> float:
        """The parameter's, or what training chose, or the published one."""
        return _first(self.params.score_threshold, self.card.score_threshold, PUBLISHED_SCORE_THRESHOLD)

    @property
    def presence_threshold(self) -> float:
        """The parameter's, or what training chose, or 0.5."""
        return _first(self.params.presence_threshold, self.card.presence_threshold, EVEN_PRESENCE_THRESHOLD)

    @property
    def hearing_threshold(self) -> float:
        """The parameter's, or what training chose, or none."""
        return _first(self.params.hearing_threshold, self.card.hearing_threshold, NO_HEARING_THRESHOLD)

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
        tracks = self.find(clip, size=(height, width), encode=encode, least=least)
        return [
            self._result(video_id, track)
            for track in tracks
            if not all(is_empty(mask) for mask in track.masks)
        ]

    def find(
        self,
        clip: Callable[[], Iterable[Moment]],
        *,
        size: tuple[int, int],
        encode: Callable[[NDArray[np.bool_]], R],
        least: int = 0,
    ) -> list[FoundTrack[R]]:
        """Tracks of one clip, best first, with masks as `encode` packs them; as `predict` otherwise."""
        thresholds = (self.score_threshold, self.presence_threshold, self.hearing_threshold)
        return self._find(clip, size, thresholds, encode, least=least)

    def candidates(
        self, video_id: int, clip: Callable[[], Iterable[Moment]], *, height: int, width: int
    ) -> list[tuple[Result, Evidence]]:
        """All candidates of one clip as if each sounded all the time, and what tells when it does.

        Raises:
            ClipError: as `predict`.
        """
        tracks = self._find(clip, (height, width), (0.0, 0.0, 0.0), encode, least=0)
        return [(self._result(video_id, track), track.evidence) for track in tracks]

    def _find(
        self,
        clip: Callable[[], Iterable[Moment]],
        size: tuple[int, int],
        thresholds: tuple[float, float, float],  # of score, presence and hearing
        encode: Callable[[NDArray[np.bool_]], R],
        *,
        least: int,
    ) -> list[FoundTrack[R]]:
        device = next(self.model.parameters()).device
        score, presence, hearing = thresholds
        return find_sounding(
            self.model,
            clip,
            size=size,
            encode=encode,
            threshold=score,
            presence_threshold=presence,
            hearing_threshold=hearing,
            most=self.params.most_tracks,
            least=least,
            precision=autocast_type(self.params.precision, device),
            work_folder=self.work_folder,
        )

    def _result(self, video_id: int, track: FoundTrack[dict[str, Any]]) -> Result:
        return Result(
            video_id=video_id,
            category_id=sorted(self.card.categories)[track.label],
            score=round(track.score, 6),
            # an empty mask stays an RLE: the published evaluator stops at null
            segmentations=list(track.masks),
        )


def _first(wanted: float | Chosen, chosen: float | None, published: float) -> float:
    """A threshold: the parameter's number, else what training chose, else the published one."""
    if wanted != "chosen":
        return wanted
    return published if chosen is None else chosen


def _device(params: PredictParams) -> str:
    if params.device == "cuda" and not torch.cuda.is_available():
        raise AvisError("predict.device is cuda, but PyTorch sees no GPU", fix="Set it to auto or cpu.")
    return "cuda" if params.device != "cpu" and torch.cuda.is_available() else "cpu"

"""Audio encoders by their names in ``params.yaml``."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from models.audio.log_mel import LogMel
from models.audio.vggish import PUBLISHED_CHANNELS, PUBLISHED_HIDDEN, VGGish, load_vggish_file


def build_vggish(
    *,
    channels: tuple[int, ...] = PUBLISHED_CHANNELS,
    hidden: int = PUBLISHED_HIDDEN,
    normalise: bool = False,
    postprocess: bool = False,
    weights: Path | None = None,
) -> tuple[nn.Module, nn.Module]:
    """Log-mel front end and VGGish, with published weights out of a file if one is named.

    Raises:
        ValueError: the file holds something else, or the network has not the published size.
    """
    if weights is not None and (tuple(channels), hidden, normalise) != (
        PUBLISHED_CHANNELS,
        PUBLISHED_HIDDEN,
        False,
    ):
        raise ValueError(
            "audio_weights are those of the published VGGish: set audio_channels to"
            f" {list(PUBLISHED_CHANNELS)}, audio_hidden to {PUBLISHED_HIDDEN} and audio_normalise to false"
            f" (they are {list(channels)}, {hidden} and {str(normalise).lower()})"
        )
    network = VGGish(channels=channels, hidden=hidden, normalise=normalise, postprocess=postprocess)
    if weights is not None:
        try:
            load_vggish_file(network, weights)
        except ValueError as error:
            raise ValueError(f"audio_weights: {error}") from None
    return LogMel(), network


# A name of `audio` in params.yaml -> a front end, which has nothing to learn and computes in full precision,
# and a network behind it: together [S, 16000] samples -> [S, 128].
ENCODERS: dict[str, Callable[..., tuple[nn.Module, nn.Module]]] = {"vggish": build_vggish}

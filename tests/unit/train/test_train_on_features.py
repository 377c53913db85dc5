"""Training on audio features that extract made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.core.clips.index import read_media_index, write_media_index
from components.core.media.audio_features import encoder_fingerprint
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.storage.folder import FolderStore
from components.extract.embed_video import EmbedTask, embed_video
from components.train.params import TrainParams
from components.train.stage import train
from models.checkpoints.saved import load_model
from tests.support.tiny_model import SETTINGS, train_settings, write_square_set
from tests.support.vggish_weights import write_vggish

pytestmark = pytest.mark.slow


def test_a_model_learns_from_them(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    write_square_set(paths)
    model = {"name": "avism", **SETTINGS, "audio": "features", "audio_tagging": False}
    params = TrainParams.model_validate(train_settings(model=model))
    with pytest.raises(AvisError, match=r"no precomputed audio features.*\n?.*extract\.audio_weights"):
        train("tiny", params, paths)
    weights = write_vggish(tmp_path / "vggish.pth")
    index = paths.media / "index.parquet"
    made = encoder_fingerprint(weights)
    rows = list(read_media_index(index).values())
    for row in rows:
        embed_video(EmbedTask(row, weights, FolderStore(paths.media)))
    write_media_index(index, [replace(row, features_from=made) for row in rows])
    train("tiny", params, paths)
    model, card = load_model(paths.model("tiny"))
    assert model.audio_encoder is None
    assert card.features_from == made  # so that it is not given others later
    write_media_index(index, [*rows[:1], *(replace(row, features_from=made) for row in rows[1:])])
    train("tiny", params, paths)
    assert load_model(paths.model("tiny"))[1].features_from == ""  # of different makers: no one's
    features = np.load(paths.media / "features/train_bells.npy")
    assert features.shape == (6, 128)
    assert np.abs(features[0] - features[1]).max() > 0.01  # it sounds in even seconds only
    np.testing.assert_allclose(features[0], features[2], rtol=1e-4, atol=1e-4)

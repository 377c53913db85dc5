"""One video's audio features, from the sound that extract took out of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.core.clips.index import MediaEntry
from components.core.clips.reader import read_seconds
from components.core.media.audio_features import embed_seconds
from components.core.records.annotations import Video
from components.core.run.files import replace_file, sha256_file
from components.core.storage.base import Store
from components.core.storage.names import all_names


@dataclass(frozen=True, slots=True)
class EmbedTask:
    """What a worker needs for one video."""

    row: MediaEntry  # of a video whose frames and sound are there
    weights: Path
    media: Store


def embed_video(task: EmbedTask) -> str:
    """Make features/<video_id>.npy, one embedding for each frame; return its SHA-256.

    Embedding k hears the sound that belongs to frame k, as a model that hears sound itself does.
    """
    torch.set_num_threads(1)  # the videos are what runs in parallel; and sums come out the same everywhere
    row = task.row
    video = Video(0, row.video_id, [], row.frames, row.height, row.width)
    _, audio, features_name = all_names(row.video_id)
    with task.media.workspace() as media:
        (media / audio).parent.mkdir(parents=True, exist_ok=True)
        task.media.get(audio, (media / audio).parent)
        seconds = read_seconds(media, video, range(row.frames), row.frame_rate_hz)
        features = np.stack(list(embed_seconds(seconds, weights=task.weights)))
        with replace_file(media / features_name, ".npy") as temporary:
            np.save(temporary, features)
        task.media.put(media, features_name)
        return sha256_file(media / features_name)

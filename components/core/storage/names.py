"""What a store holds of a video's media, and under which names."""

from components.core.clips.index import MediaEntry
from components.core.storage.base import Store, Stored

_WAV_HEADER_BYTES = 44


def all_names(video_id: str) -> list[str]:
    """The names under which a store may have something of a video."""
    return [f"frames/{video_id}", f"audio/{video_id}.wav", f"features/{video_id}.npy"]


def names(row: MediaEntry) -> list[str]:
    """The names under which a store has what `row` says."""
    return all_names(row.video_id) if row.features_from else all_names(row.video_id)[:2]


class MediaFinder:
    """Tells whether a store has what a row says; hashes only what changed since it was seen."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._frames, self._audio, self._features = (
            store.finder(folder) for folder in ("frames", "audio", "features")
        )

    def has_media(self, row: MediaEntry, seen_s: float) -> bool:
        """Whether a video's frames and sound are as `row` says."""
        frames, audio = self._frames(row.video_id), self._audio(f"{row.video_id}.wav")
        if frames is None or audio is None or frames.files != row.frames:
            return False
        if audio.size_bytes != _WAV_HEADER_BYTES + 2 * row.audio_samples:
            return False
        where = all_names(row.video_id)
        return self._same(where[0], frames, row.frames_sha256, seen_s) and self._same(
            where[1], audio, row.audio_sha256, seen_s
        )

    def has_features(self, row: MediaEntry, seen_s: float) -> bool:
        """Whether a video's audio features are as `row` says."""
        features = self._features(f"{row.video_id}.npy")
        if features is None or not row.features_from:
            return features is None and not row.features_from
        return self._same(all_names(row.video_id)[2], features, row.features_sha256, seen_s)

    def _same(self, name: str, stored: Stored, digest: str | None, seen_s: float) -> bool:
        return stored.changed_s <= seen_s or self._store.sha256(name) == digest

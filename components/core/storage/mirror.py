"""The media as files of this machine, wherever they are stored."""

import fcntl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.clips.index import MediaEntry, read_media_index, write_media_index
from components.core.raw.frame_folder import sha256_folder
from components.core.run.engine import progress_bar
from components.core.run.errors import AvisError
from components.core.run.files import remove_leftovers, sha256_file, written_s
from components.core.run.paths import Paths
from components.core.storage.base import Store
from components.core.storage.choice import StorageParams, open_store, read_storage
from components.core.storage.folder import FolderStore
from components.core.storage.names import MediaFinder, all_names, names

INDEX = "index.parquet"
_AT_ONCE = 4  # videos; each fetches several files at once


def with_local_media(
    paths: Paths, video_ids: Iterable[str] | None = None, storage: StorageParams | None = None
) -> Paths:
    """Make sure that index, frames, sound and features of videos are in `paths.media`, on this machine.

    That is data/media itself. With `storage.media` it becomes data/.media, to which what is missing is
    fetched; what is there stays for the next stage, and what is no longer in the index goes.

    Args:
        paths: of the pipeline.
        video_ids: those that are needed; None: all that have media.
        storage: where the media are; None: as params.yaml says.

    Raises:
        AvisError: there is no index, the store is not reachable, or holds something else than the index says.
    """
    storage = storage or read_storage()
    if storage.media is None:
        return paths
    rows = {name: row for name, row in read_media_index(paths.media / INDEX).items() if row.status == "ok"}
    wanted = rows.keys() if video_ids is None else rows.keys() & set(video_ids)
    folder = paths.root / ".media"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        there = _there(folder, rows)
        missing = [rows[name] for name in sorted(wanted - there)]
        if missing:
            _fetch_all(open_store(storage.media, paths.media), folder, missing)
        write_media_index(folder / INDEX, [rows[name] for name in rows if name in there | wanted])
    return replace(paths, media_copy=folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Stages, and the processes of a training, come at the same time: one after the other."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _there(folder: Path, rows: dict[str, MediaEntry]) -> set[str]:
    """The videos whose media are in the folder as the index says; whatever else is there is removed."""
    remove_leftovers(folder)
    index = folder / INDEX
    checked_s = written_s(index)
    try:
        before = read_media_index(index)
    except AvisError:
        before = {}
    store = FolderStore(folder)
    finder = MediaFinder(store)
    found = set()
    for name, row in rows.items():
        seen_s = checked_s if before.get(name) == row else 0.0  # else of a run that was stopped: hash it
        if finder.has_media(row, seen_s) and finder.has_features(row, seen_s):
            found.add(name)
    store.remove(name for video_id in before.keys() - found for name in all_names(video_id))
    return found


def _fetch_all(store: Store, folder: Path, rows: list[MediaEntry]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool, progress_bar(len(rows), "fetch media") as bar:
        waiting = [pool.submit(_fetch, store, folder, row) for row in rows]
        try:
            for done in as_completed(waiting):
                done.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(store: Store, folder: Path, row: MediaEntry) -> None:
    """Bring what the index says of a video to the folder; each piece is there completely or not at all."""
    there = FolderStore(folder)
    there.remove(all_names(row.video_id))
    digests = (row.frames_sha256, row.audio_sha256, row.features_sha256)
    with TemporaryDirectory(prefix=".fetch.unfinished-", dir=folder) as temporary:
        for name, digest in zip(names(row), digests, strict=False):  # features not always
            fetched = store.get(name, Path(temporary))
            if (sha256_folder(fetched) if fetched.is_dir() else sha256_file(fetched)) != digest:
                raise AvisError(
                    "the store holds something else than the index says",
                    where=name,
                    fix="Run the extract stage.",
                )
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            fetched.rename(folder / name)

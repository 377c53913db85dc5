"""Which store a stage uses: the `storage` block of params.yaml."""

from pathlib import Path

from pydantic import Field

from components.core.run.params import Block, read_block
from components.core.storage.base import Store
from components.core.storage.folder import FolderStore

_S3_URL = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.=-]+)*/?"


class StorageParams(Block):
    """The `storage` block of params.yaml: where the big files of data/raw and data/media are.

    raw: s3://bucket/prefix for videos; None: data/raw itself.
    media: s3://bucket/prefix for frames, sound and features; None: data/media itself.
    """

    raw: str | None = Field(default=None, pattern=f"^{_S3_URL}$")
    media: str | None = Field(default=None, pattern=f"^{_S3_URL}$")


def read_storage() -> StorageParams:
    """The block of params.yaml; without one, everything is on this machine."""
    return read_block("storage", StorageParams, optional=True)


def open_store(url: str | None, folder: Path) -> Store:
    """The store of an s3:// URL, or of a folder of this machine where there is none."""
    if url is None:
        return FolderStore(folder)
    from components.core.storage.s3 import S3Store

    return S3Store(url.rstrip("/"))

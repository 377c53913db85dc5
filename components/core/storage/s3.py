"""A stage's files in an S3 bucket, or in any server that speaks S3.

Credentials, region and endpoint come from where boto3 takes them: the environment (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3, …), a profile, or the machine's role.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from components.core.raw.frame_folder import sha256_folder
from components.core.run.files import scratch_folder, sha256_file
from components.core.storage.base import Stored
from components.core.storage.s3_object import PART_BYTES, THREADS, TRIES, StorageError, fetch_object, head_of

T = TypeVar("T")
R = TypeVar("R")
_TIMEOUT_S = 60.0
_MOST_PAGES = 100_000  # of a listing, of a thousand objects each
_SHA256 = "sha256"  # metadata: of the object itself
_FOLDER_SHA256 = "folder-sha256"  # of the folder that this object, sent last, completes


@dataclass(frozen=True)
class S3Store:
    """A prefix of a bucket.

    Every object is sent with its SHA-256, which the server checks, and carries it as metadata; large ones are
    sent in parts. A folder's last object is sent when all others are there.
    """

    url: str

    @property
    def is_local(self) -> bool:
        return False

    @property
    def bucket(self) -> str:
        return urlsplit(self.url).netloc

    def key(self, name: str) -> str:
        """The key of a name; of "" the prefix with its slash."""
        prefix = urlsplit(self.url).path.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def check(self) -> None:
        """See Store. Unfinished uploads below the prefix are dropped: they would be paid for, unseen."""
        with _said(self.url):
            client = _client()
            client.list_objects_v2(Bucket=self.bucket, Prefix=self.key(""), MaxKeys=1)
            pages = client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.key("")):
                for upload in page.get("Uploads", []):
                    client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def workspace(self) -> AbstractContextManager[Path]:
        return scratch_folder()

    def put(self, workspace: Path, name: str) -> None:
        """See Store.

        Raises:
            StorageError: the bucket does not take it.
        """
        path = workspace / name
        with _said(f"{self.url}/{name}"):
            if path.is_dir():
                self._put_folder(path, name)
            else:
                self._upload(path, self.key(name), {})

    def get(self, name: str, folder: Path) -> Path:
        """See Store.

        Raises:
            StorageError: it is not there, or did not arrive as it was sent.
        """
        target = folder / PurePosixPath(name).name
        with _said(f"{self.url}/{name}"):
            if self._fetch(self.key(name), target):
                return target
            keys = [key for key, *_ in self._objects(f"{name}/")]
            if not keys:
                raise StorageError("the file is not there", where=f"{self.url}/{name}")
            target.mkdir(parents=True)
            if not all(_in_parallel(lambda key: self._fetch(key, target / PurePosixPath(key).name), keys)):
                raise StorageError("a file went away meanwhile", where=f"{self.url}/{name}")
        return target

    def listing(self, under: str = "") -> dict[str, Stored]:
        prefix = f"{under}/" if under else ""
        skipped = len(self.key(prefix))
        found: dict[str, Stored] = {}
        with _said(f"{self.url}/{under}"):
            for key, size_bytes, changed_s in self._objects(prefix):
                name = key[skipped:].split("/", 1)[0]
                before = found.get(name, Stored(0, 0, 0.0))
                found[name] = Stored(
                    before.files + 1, before.size_bytes + size_bytes, max(before.changed_s, changed_s)
                )
        return found

    def finder(self, under: str = "") -> Callable[[str], Stored | None]:
        return self.listing(under).get

    def sha256(self, name: str) -> str | None:
        with _said(f"{self.url}/{name}"):
            found = self._head(self.key(name))
            if found is not None:
                return _noted(found, _SHA256)
            last = max((key for key, *_ in self._objects(f"{name}/")), default=None)
            return _noted(self._head(last) if last is not None else None, _FOLDER_SHA256)

    def remove(self, names: Iterable[str]) -> None:
        with _said(self.url):
            keys: list[str] = []
            for name in names:
                keys += [self.key(name), *(key for key, *_ in self._objects(f"{name}/"))]
            self._delete(keys)

    def _objects(self, name: str) -> Iterator[tuple[str, int, float]]:
        """Key, size and time of the objects whose names begin so, in the order of their keys."""
        pages = _client().get_paginator("list_objects_v2")
        for count, page in enumerate(pages.paginate(Bucket=self.bucket, Prefix=self.key(name))):
            if count == _MOST_PAGES:
                raise StorageError("the listing of the bucket does not end", where=self.url)
            for found in page.get("Contents", []):
                yield str(found["Key"]), int(found["Size"]), found["LastModified"].timestamp()

    def _head(self, key: str) -> dict[str, Any] | None:
        """What is told of an object, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return head_of(_client(), self.bucket, key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                return None
            raise

    def _put_folder(self, folder: Path, name: str) -> None:
        *first, last = sorted(folder.iterdir())
        wanted = {self.key(f"{name}/{file.name}") for file in first}
        # What is no longer in it goes, and so does the last object: it says that the folder is complete.
        self._delete([key for key, *_ in self._objects(f"{name}/") if key not in wanted])
        _in_parallel(lambda file: self._upload(file, self.key(f"{name}/{file.name}"), {}), first)
        self._upload(last, self.key(f"{name}/{last.name}"), {_FOLDER_SHA256: sha256_folder(folder)})

    def _upload(self, file: Path, key: str, metadata: dict[str, str]) -> None:
        """Send a file with its hash; the server refuses what does not arrive as it is."""
        client, extra = _client(), {_SHA256: sha256_file(file), **metadata}
        if file.stat().st_size <= PART_BYTES:  # frames: `upload_file` would start a pool of threads for each
            with file.open("rb") as body:
                client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, Metadata=extra, ChecksumAlgorithm="SHA256"
                )
            return
        from boto3.s3.transfer import TransferConfig

        client.upload_file(
            str(file),
            self.bucket,
            key,
            ExtraArgs={"ChecksumAlgorithm": "SHA256", "Metadata": extra},
            Config=TransferConfig(
                multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=THREADS
            ),
        )

    def _fetch(self, key: str, target: Path) -> bool:
        """Bring an object here; False if there is none."""
        found = self._head(key)
        if found is None:
            return False
        fetch_object(_client(), self.bucket, key, found, target)
        if _noted(found, _SHA256) not in (None, sha256_file(target)):
            raise StorageError("the file did not arrive as it was sent", where=f"s3://{self.bucket}/{key}")
        return True

    def _delete(self, keys: list[str]) -> None:
        for begin in range(0, len(keys), 1000):  # as many as one request may name
            chosen = [{"Key": key} for key in keys[begin : begin + 1000]]
            _client().delete_objects(Bucket=self.bucket, Delete={"Objects": chosen, "Quiet": True})


def _noted(head: dict[str, Any] | None, name: str) -> str | None:
    noted: dict[str, str] = (head or {}).get("Metadata", {})
    return noted.get(name)


def _in_parallel(function: Callable[[T], R], items: list[T]) -> list[R]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


@cache  # threads may share it; a fork or a pickle makes its own
def _client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=2 * THREADS,
    )
    return boto3.session.Session().client("s3", config=config)


@contextmanager
def _said(where: str) -> Iterator[None]:
    """Say the errors of boto3 as one message."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise StorageError(
            "there are no S3 credentials", where=where, fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise StorageError(
            f"S3 answers: {' '.join(str(error).split())[:300]}",
            where=where,
            fix="Check storage in params.yaml, AWS_ENDPOINT_URL_S3 and the credentials, and run it again.",
            passing=_may_pass(error),
        ) from None


def _may_pass(error: BaseException) -> bool:
    """Whether the server was away or busy, rather than unwilling."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if isinstance(error, Boto3Error):  # of a transfer, around the one that tells
        return error.__context__ is not None and _may_pass(error.__context__)
    if isinstance(error, ClientError):
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429 or answer.get("Error", {}).get("Code") == "RequestTimeout")
    return isinstance(error, (ConnectionError, HTTPClientError))

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
        with said(self.url):
            client = s3_client()
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
        with said(f"{self.url}/{name}"):
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
        with said(f"{self.url}/{name}"):
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
        with said(f"{self.url}/{under}"):
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
        with said(f"{self.url}/{name}"):
            found = self._head(self.key(name))
            if found is not None:
                return _noted(found, _SHA256)
            last = max((key for key, *_ in self._objects(f"{name}/")), default=None)
            return _noted(self._head(last) if last is not None else None, _FOLDER_SHA256)

    def remove(self, names: Iterable[str]) -> None:
        with said(self.url):
            keys: list[str] = []
            for name in names:
                keys += [self.key(name), *(key for key, *_ in self._objects(f"{name}/"))]
            self._delete(keys)

    def _objects(self, name: str) -> Iterator[tuple[str, int, float]]:
        """Key, size and time of the objects whose names begin so, in the order of their keys."""
        pages = s3_client().get_paginator("list_objects_v2")
        for count, page in enumerate(pages.paginate(Bucket=self.bucket, Prefix=self.key(name))):
            if count == _MOST_PAGES:
                raise StorageError("the listing of the bucket does not end", where=self.url)
            for found in page.get("Contents", []):
                yield str(found["Key"]), int(found["Size"]), found["LastModified"].timestamp()

    def _head(self, key: str) -> dict[str, Any] | None:
        """What is told of an object, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return head_of(s3_client(), self.bucket, key)
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
        client, extra = s3_client(), {_SHA256: sha256_file(file), **metadata}
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
        fetch_object(s3_client(), self.bucket, key, found, target)
        if _noted(found, _SHA256) not in (None, sha256_file(target)):
            raise StorageError("the file did not arrive as it was sent", where=f"s3://{self.bucket}/{key}")
        return True

    def _delete(self, keys: list[str]) -> None:
        for begin in range(0, len(keys), 1000):  # as many as one request may name
            chosen = [{"Key": key} for key in keys[begin : begin + 1000]]
            s3_client().delete_objects(Bucket=self.bucket, Delete={"Objects": chosen, "Quiet": True})


def _noted(head: dict[str, Any] | None, name: str) -> str | None:
    noted: dict[str, str] = (head or {}).get("Metadata", {})
    return noted.get(name)


def _in_parallel(function: Callable[[T], R], items: list[T]) -> list[R]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


@cache  # threads may share it; a fork or a pickle makes its own
def s3_client() -> Any:
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
def said(where: str) -> Iterator[None]:
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
            fix=_fix(error),
            passing=_may_pass(error),
        ) from None


_USUAL_FIX = "Check storage in params.yaml, AWS_ENDPOINT_URL_S3 and the credentials, and run it again."
_KEYS = "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; are they of this server (AWS_ENDPOINT_URL_S3)?"
_RIGHTS = "These keys lack the right: listing, reading, writing and removing below the prefix are needed."
_REGION = "Set AWS_DEFAULT_REGION to the bucket's region."
_TOKEN = "The credentials lasted for a time only: get new ones."  # noqa: S105 (a sentence)
_FIXES = {
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "ExpiredToken": _TOKEN,
    "InvalidToken": _TOKEN,
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it.",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
}


def _fix(error: BaseException) -> str:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import ClientError

    if isinstance(error, Boto3Error) and error.__context__ is not None:
        return _fix(error.__context__)
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return _FIXES.get(code, _USUAL_FIX)


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

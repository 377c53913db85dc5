"""One object of a bucket, brought here: in parts, of the size that was told, at a lowest rate."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from components.core.records.ranges import MOST_BYTES
from components.core.run.errors import MachineError
from components.core.run.pace import Pace, TooSlowError

PART_BYTES = 16 * 2**20  # larger files are sent and fetched in such parts
THREADS = 8  # requests at the same time, per worker
TRIES = 6
_PIECE_BYTES = 1 << 20


class StorageError(MachineError):
    """The bucket does not take or give a file: no fault of the file."""


def head_of(client: Any, bucket: str, key: str) -> dict[str, Any]:
    """What is told of an object; raises StorageError where its ContentLength is no size."""
    where = f"s3://{bucket}/{key}"
    try:
        head: dict[str, Any] = client.head_object(Bucket=bucket, Key=key)
    except ValueError as error:  # a number of botocore's that is none
        raise StorageError(f"S3 tells no size: {str(error)[:80]}", where=where) from None
    size = head.get("ContentLength")
    if not isinstance(size, int) or not 0 <= size <= MOST_BYTES:
        raise StorageError(f"S3 tells no size but {str(size)[:40]}", where=where)
    return head


def fetch_object(client: Any, bucket: str, key: str, head: dict[str, Any], target: Path) -> None:
    """Write an object to a file: the bytes that its `head_of` told of, and no more.

    Raises:
        StorageError: it comes too slowly, or in another length.
        botocore.exceptions: the server's answers, or none.
    """
    where = f"s3://{bucket}/{key}"
    size = head["ContentLength"]
    with target.open("wb") as file, ThreadPoolExecutor(THREADS) as pool:

        def bring(begin: int) -> None:
            end = min(begin + PART_BYTES, size)
            wanted = {"Range": f"bytes={begin}-{end - 1}"} if size > PART_BYTES else {}
            matching = {"IfMatch": head["ETag"]} if head.get("ETag") else {}
            for left in reversed(range(TRIES)):
                try:
                    answer = client.get_object(Bucket=bucket, Key=key, **wanted, **matching)
                    with closing(answer["Body"]) as body:
                        _take(body, file.fileno(), begin, end - begin, where)
                    return
                except _broken():
                    if not left:
                        raise
                except ValueError as error:
                    raise StorageError(f"S3: {str(error)[:80]}", where=where) from None

        parts = [pool.submit(bring, begin) for begin in range(0, size, PART_BYTES)]
        try:
            for part in parts:
                part.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _take(body: Any, descriptor: int, begin: int, size: int, where: str) -> None:
    pace, came = Pace(body.read), 0
    while came < size:
        try:
            content = pace.piece(min(_PIECE_BYTES, size - came))
        except TooSlowError as error:
            raise StorageError(f"S3: {error}", where=where, passing=True) from None
        if not content:
            raise StorageError(f"the server sent {came} bytes of {size}", where=where, passing=True)
        os.pwrite(descriptor, content, begin + came)
        came += len(content)


def _broken() -> tuple[type[Exception], ...]:
    from botocore.exceptions import HTTPClientError, IncompleteReadError, ReadTimeoutError

    return (HTTPClientError, IncompleteReadError, ReadTimeoutError)

"""Is a bucket fit for the pipeline? Everything that stages ask of one, tried before hours are spent."""

import base64
import hashlib
import secrets
import statistics
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from components.core.storage.s3 import S3Store, s3_client, said
from components.core.storage.s3_object import PART_BYTES, StorageError

MOST_SKEW_S = 300.0  # S3 refuses what is signed a quarter of an hour off
_REQUESTS = 10
_SMALL_BYTES = 50_000  # a frame
_CONSISTENT = "Stages need a bucket that lists what it holds, at once: use another server."
_UNSEEN = "They would be paid for, unseen: use another server."
_LARGE_BYTES = PART_BYTES + 1_000_000  # in two parts


def check_bucket(url: str) -> Iterator[str]:
    """Try a bucket, with objects below the prefix that are removed again; yields what was found.

    Args:
        url: s3://bucket or s3://bucket/prefix.

    Raises:
        StorageError: it cannot be used, and why.
    """
    store = S3Store(f"{url.rstrip('/')}/.avis-check-{secrets.token_hex(8)}")
    with said(url):
        client = s3_client()
        yield _clock(client, store, url)
        try:
            yield _small_objects(client, store, url)
            yield _checksums(client, store)
            yield _unfinished_upload(client, store, url)
            yield _large_object(store, url)
        finally:
            store.remove(store.listing())
        if store.listing():
            raise StorageError("what was removed is still listed", where=url, fix=_CONSISTENT)
    yield "removing: what was written is gone"


def _clock(client: Any, store: S3Store, url: str) -> str:
    answer = client.list_objects_v2(Bucket=store.bucket, Prefix=store.key(""), MaxKeys=1)
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if told is None:
        return f"listing: allowed at {client.meta.endpoint_url}; it tells no time"
    skew_s = parsedate_to_datetime(told).timestamp() - time.time()
    side = "behind" if skew_s > 0 else "ahead of"
    if abs(skew_s) > MOST_SKEW_S:
        raise StorageError(
            f"this machine's clock is {abs(skew_s):.0f} s {side} the server's",
            where=url,
            fix="Set it: with 15 minutes S3 refuses every request.",
        )
    return f"listing: allowed at {client.meta.endpoint_url}, whose clock differs by {abs(skew_s):.0f} s"


def _small_objects(client: Any, store: S3Store, url: str) -> str:
    """Each is listed and read as soon as it is written."""
    writing_s, reading_s = [], []
    for number in range(_REQUESTS):
        key, content = store.key(f"small/{number}"), secrets.token_bytes(_SMALL_BYTES)
        begin_s = time.perf_counter()
        client.put_object(Bucket=store.bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256")
        written_s = time.perf_counter()
        back = client.get_object(Bucket=store.bucket, Key=key)["Body"].read()
        writing_s.append(written_s - begin_s)
        reading_s.append(time.perf_counter() - written_s)
        if back != content:
            raise StorageError("an object came back with other bytes", where=url)
        if store.listing("small").keys() != {str(one) for one in range(number + 1)}:
            raise StorageError("an object that was written is not listed", where=url, fix=_CONSISTENT)
    write, read = (statistics.median(times) * 1000 for times in (writing_s, reading_s))
    return f"small objects: written in {write:.0f} ms, read in {read:.0f} ms (medians), listed at once"


def _checksums(client: Any, store: S3Store) -> str:
    """What arrives with another checksum than was sent must be refused."""
    from botocore.exceptions import ClientError

    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    try:
        client.put_object(Bucket=store.bucket, Key=store.key("wrong"), Body=b"bytes", ChecksumSHA256=wrong)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 400:
            raise
        return "checksums: what arrives damaged is refused"
    return "checksums: NOT checked there; what arrives damaged is noticed when it is read"


def _unfinished_upload(client: Any, store: S3Store, url: str) -> str:
    """Stages drop what killed ones left half sent: that must be seen, and may be dropped."""
    key = store.key("unfinished")
    upload = client.create_multipart_upload(Bucket=store.bucket, Key=key)["UploadId"]
    seen = client.list_multipart_uploads(Bucket=store.bucket, Prefix=key).get("Uploads", [])
    client.abort_multipart_upload(Bucket=store.bucket, Key=key, UploadId=upload)
    if upload not in {one["UploadId"] for one in seen}:
        raise StorageError("unfinished uploads are not listed", where=url, fix=_UNSEEN)
    return "unfinished uploads: listed and dropped"


def _large_object(store: S3Store, url: str) -> str:
    """By the calls that stages use, in parts, with checksums."""
    with store.workspace() as here, store.workspace() as there:
        content = secrets.token_bytes(_LARGE_BYTES)
        (here / "large").write_bytes(content)
        begin_s = time.perf_counter()
        store.put(here, "large")
        sent_s = time.perf_counter()
        back = store.get("large", there).read_bytes()
        fetched_s = time.perf_counter()
    if back != content:
        raise StorageError("a large object came back with other bytes", where=url)
    up, down = (_LARGE_BYTES / 1e6 / taken for taken in (sent_s - begin_s, fetched_s - sent_s))
    return f"large objects: in parts, {up:.0f} MB/s there, {down:.0f} MB/s back"

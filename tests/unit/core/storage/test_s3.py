"""Which errors of S3 may pass by themselves."""

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from components.core.storage.s3 import StorageError, said


def answer(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


def test_what_may_pass() -> None:
    url = "http://127.0.0.1:1"
    for error in (
        EndpointConnectionError(endpoint_url=url),
        ReadTimeoutError(endpoint_url=url),
        answer(503, "SlowDown"),
        answer(429, "TooManyRequests"),
        answer(400, "RequestTimeout"),
    ):
        assert passing(error), error
        assert passing(transfer(error)), error
    for error in (answer(403, "SignatureDoesNotMatch"), answer(404, "NoSuchBucket")):
        assert not passing(error), error
        assert not passing(transfer(error)), error


def transfer(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as inner:
            raise S3UploadFailedError(str(inner)) from inner
    except S3UploadFailedError as outer:
        return outer


def passing(error: Exception) -> bool:
    with pytest.raises(StorageError) as ended, said("s3://bucket"):
        raise error
    return ended.value.passing

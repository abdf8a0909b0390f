"""
A storage on a client of your own, here boto3's: the five methods of a `Bucket`.

`safeupload.testing.StorageContract` tells whether it does what it has to; the tests of this folder run it.
"""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from safeupload.storage import Entry


class Boto3Bucket:
    """A folder of a bucket: ``BucketStorage(Boto3Bucket(boto3.client("s3"), "my-bucket", "avatars/"))``."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:  # noqa: ANN401 - made when boto3 runs
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        extension = name.rpartition(".")[2]
        media_type = f"image/{'jpeg' if extension == 'jpg' else extension}" if data else "text/plain"
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data, ContentType=media_type)

    def get(self, name: str) -> bytes | None:
        """Return an object, None if there is none."""
        try:
            data: bytes = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return data

    def delete(self, name: str) -> None:
        """Remove an object; S3 does not mind if there is none."""
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def date(self, name: str) -> float | None:
        """Return when an object was last written, None if there is none."""
        try:
            written = self.client.head_object(Bucket=self.bucket, Key=self.prefix + name)["LastModified"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:  # noqa: PLR2004 - not found
                return None
            raise
        return float(written.timestamp())

    def entries(self, folder: str) -> Iterator[Entry]:
        """Return the objects whose names begin so, a page at a time."""
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + folder):
            for each in page.get("Contents", ()):
                yield Entry(each["Key"].removeprefix(self.prefix), each["LastModified"].timestamp())

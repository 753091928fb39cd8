"""Objects on S3, or on a service that speaks as it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from setpoint.domain.validation import bounded
from setpoint.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class S3Options:
    """How an S3 service is reached. The secret is kept out of the text form.

    Attributes:
        endpoint_url: Address of the service; empty for the provider's own.
        region: Region name.
        access_key: Key id; empty to use what the machine provides.
        secret_key: Its secret.
    """

    endpoint_url: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = field(default="", repr=False)

    def client(self) -> Any:
        """A boto3 client for it."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url or None,
            region_name=self.region,
            aws_access_key_id=self.access_key or None,
            aws_secret_access_key=self.secret_key or None,
            config=Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=5),
        )

    def delta_options(self) -> dict[str, str]:
        """The same as storage options of Delta Lake; holds the secret, never log it."""
        options = {
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ALLOW_HTTP": "true" if self.endpoint_url.startswith("http://") else "",
            # Two writers must not overwrite each other's commit.
            "aws_conditional_put": "etag",
        }
        return {key: value for key, value in options.items() if value}


def list_objects(uri: str, s3: S3Options | None) -> list[dict[str, Any]]:
    """The objects of a folder, not of its sub-folders, or the one object, as S3 describes them.

    Raises:
        DataError: There is none, or S3 refuses.
    """
    bucket, key = split_uri(uri)
    prefix = key.rstrip("/")

    def listing(client: Any) -> list[dict[str, Any]]:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", Delimiter="/"
        )
        objects = [item for page in pages for item in page.get("Contents", ())]
        if not objects and prefix:
            same = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
            objects = [item for item in same if item["Key"] == prefix]
        return objects

    objects = [o for o in _call(uri, s3, listing) if not o["Key"].endswith("/")]
    if not objects:
        raise DataError(
            "there is no object under this address",
            where=uri,
            fix="deliver a file there, or correct data.events in the project file",
        )
    return objects


def read_object(uri: str, s3: S3Options | None) -> bytes:
    """The whole content of an object.

    Raises:
        DataError: It is missing, or S3 refuses.
    """
    bucket, key = split_uri(uri)
    return _call(uri, s3, lambda c: bytes(c.get_object(Bucket=bucket, Key=key)["Body"].read()))


def write_object(uri: str, data: bytes, s3: S3Options | None) -> None:
    """Write an object whole or not at all; an old one is replaced.

    Raises:
        DataError: S3 refuses.
    """
    bucket, key = split_uri(uri)
    _call(uri, s3, lambda client: client.put_object(Bucket=bucket, Key=key, Body=data))


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an address.

    Raises:
        DataError: It names no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise DataError("the address names no bucket", where=uri, fix="write s3://bucket/folder")
    return bucket, key


def _call(uri: str, s3: S3Options | None, call: Callable[[Any], T]) -> T:
    from botocore.exceptions import BotoCoreError, ClientError

    options = s3 or S3Options()
    try:
        return call(options.client())
    except (BotoCoreError, ClientError) as error:
        raise DataError(
            f"S3 at {options.endpoint_url or 'its default address'} answers: {bounded(error, 300)}",
            where=uri,
            fix="check address, bucket, endpoint, and that the key may list, read and write",
        ) from error

"""Objects in an S3 bucket, through boto3.

Credentials, region and endpoint come from the environment alone (``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``, or a role). Every upload carries
its SHA-256, which the server checks, and every download is checked against the stored one; botocore
repeats calls that met 500, 502, 503, 504, throttling or a time-out, with growing pauses, and never
those that met 403 or 404. A file goes up whole from the local disk, never streamed to its key, so
no reader sees a part of one; what a killed upload leaves is invisible, and swept after a day.
"""

import io
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lake.errors import CorruptArtifactError, MissingArtifactError, StorageError
from lake.objects import checked_key

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SCHEME = "s3://"
MAX_ATTEMPTS = 6
MULTIPART_BYTES = 16 << 20
"""Larger files go up in parts of this size."""

UNFINISHED_FOR = timedelta(days=1)
"""An upload that began longer ago has nobody any more: another machine's may still go on."""

_CONFLICT_ATTEMPTS = 20
_CONFLICT_PAUSE_S = 0.05
_PRECONDITION_FAILED = 412
_SERVER_ERROR = 500
_ADVICE = {
    "NoSuchBucket": "make the bucket, or name another",
    "AccessDenied": "give these credentials access to it",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
}


class S3Objects:
    """Blobs below one prefix of one bucket."""

    def __init__(self, url: str, *, client: Any = None) -> None:
        """Take ``s3://bucket/prefix``; ``client`` replaces the one that the environment says."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise StorageError(f"storage: want s3://bucket/prefix, got {url!r}")
        self.bucket = parts.netloc
        self.prefix = parts.path.strip("/")
        self._given = client

    def __str__(self) -> str:
        """Return the URL."""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        """Return the object's bytes, as they were when they were written."""
        with self._explained(key):
            answer = self._client.get_object(**self._at(key), ChecksumMode="ENABLED")
            data: bytes = answer["Body"].read()
            return data

    def get_range(self, key: str, first: int, size: int) -> bytes:
        """Return some of the object's bytes, which carry no checksum."""
        with self._explained(key):
            wanted = f"bytes={first}-{first + size - 1}"
            data: bytes = self._client.get_object(**self._at(key), Range=wanted)["Body"].read()
            return data

    def put(self, key: str, data: bytes) -> None:
        """Put the object with its checksum."""
        with self._explained(key):
            self._client.put_object(**self._at(key), Body=data, ChecksumAlgorithm="SHA256")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put the object with ``If-None-Match: *``; a refusal can echo a write that timed out."""
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                with self._explained(key):
                    self._client.put_object(
                        **self._at(key), Body=data, ChecksumAlgorithm="SHA256", IfNoneMatch="*"
                    )
            except _ExistsError:
                return False
            except _ConflictError:  # two writers at the same instant: one of them has to ask again
                time.sleep(random.uniform(0, _CONFLICT_PAUSE_S * (attempt + 1)))  # noqa: S311
            else:
                return True
        raise StorageError(
            f"{self}/{key}: other writers were in the way {_CONFLICT_ATTEMPTS} times: run again"
        )

    def list(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the keys below ``prefix``; S3 lists in the order of UTF-8 bytes."""
        skipped = len(self._key(""))
        for found in self._listed(prefix, after=after):
            yield found["Key"][skipped:]

    def size(self, prefix: str) -> int:
        """Return the bytes of all objects below the folder ``prefix``."""
        return sum(found["Size"] for found in self._listed(prefix))

    def _listed(self, prefix: str, *, after: str = "") -> Iterator[dict[str, Any]]:
        folder = self._key(checked_key(prefix)).rstrip("/") + "/"
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            start = {"StartAfter": self._key(after)} if after else {}
            for page in pages.paginate(Bucket=self.bucket, Prefix=folder, **start):
                yield from page.get("Contents", ())

    def written_at(self, key: str) -> datetime:
        """Return the server's time of the last write."""
        with self._explained(key):
            found = self._client.head_object(**self._at(key))
        written_at: datetime = found["LastModified"]
        return written_at

    def delete(self, key: str) -> None:
        """Delete the object."""
        with self._explained(key):
            self._client.delete_object(**self._at(key))

    def upload(self, key: str, path: Path) -> None:
        """Put a local file, in parts where it is large; readers see it whole or not at all."""
        with self._explained(key):
            self._client.upload_file(
                str(path),
                Config=self._transfer,
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                **self._at(key),
            )

    def sweep(self, *, older_than: timedelta = UNFINISHED_FOR) -> int:
        """Give up uploads that began so long ago, whoever did; return how many there were."""
        before = datetime.now(UTC) - older_than
        given_up = 0
        with self._explained("unfinished uploads"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._key("")):
                for one in page.get("Uploads", ()):
                    if one["Initiated"] <= before:
                        self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"]
                        )
                        given_up += 1
        return given_up

    def download(self, key: str, path: Path) -> None:
        """Write the object to a local file."""
        with self._explained(key):
            self._client.download_file(Filename=str(path), Config=self._transfer, **self._at(key))

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn the client's errors into ours, each with what to do about it."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

        where = f"{self}/{key}"
        try:
            yield
        except ClientError as error:
            raise _of_answer(where, error.response) from error
        except FlexibleChecksumError as error:
            raise CorruptArtifactError(
                f"{where}: the bytes that came are not those that were written ({error}): "
                "restore the object from a copy"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise StorageError(
                f"{where}: {error}: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and "
                "AWS_ENDPOINT_URL_S3, and that the server answers; nothing was changed"
            ) from error

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(checked_key(key))}

    @cached_property
    def _client(self) -> Any:
        if self._given is not None:
            return self._given
        return _connect(tuple(one for one in sorted(os.environ.items()) if one[0][:4] == "AWS_"))

    @cached_property
    def _transfer(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES
        )


class S3File(io.RawIOBase):
    """An object as a file that can be sought in: each read asks the server for what it needs."""

    def __init__(self, objects: S3Objects, key: str, size: int) -> None:
        """Take the object's size, so that none has to be asked for; nothing is read yet."""
        self._objects, self._key, self._size = objects, key, size
        self._position = 0

    def __str__(self) -> str:
        """Return where it is."""
        return f"{self._objects}/{self._key}"

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer as far as the object goes."""
        view = memoryview(buffer)
        size = min(len(view), self._size - self._position)
        if size <= 0:
            return 0
        data = self._objects.get_range(self._key, self._position, size)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


@lru_cache(maxsize=8)
def _connect(environment: tuple[tuple[str, str], ...]) -> Any:
    """Return the client of an environment; all that a process opens shares its connections."""
    del environment  # boto3 reads it itself
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    session = boto3.session.Session()  # the default one keeps the first credentials it finds
    return session.client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=30))


class _ExistsError(Exception):
    """The key is taken."""


class _ConflictError(Exception):
    """Another conditional write of the key is under way."""


def _of_answer(where: str, answer: Any) -> Exception:
    """Return the error that a refusal of the server means."""
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    code = answer.get("Error", {}).get("Code", str(status))
    if code in {"NoSuchKey", "404"}:
        return MissingArtifactError(f"no object {where}")
    if status == _PRECONDITION_FAILED:
        return _ExistsError(where)
    if code in {"ConditionalRequestConflict", "OperationAborted"}:
        return _ConflictError(where)
    message = answer.get("Error", {}).get("Message", "no message")
    advice = _ADVICE.get(
        code, "see the server's log" if status >= _SERVER_ERROR else "see S3's list of error codes"
    )
    return StorageError(f"{where}: the server answers {status} {code} ({message}): {advice}")

"""Blobs in a bucket of Amazon S3 or of anything that speaks its protocol (MinIO, R2, Ceph …)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from storage.blob.store import BlobError, check_key

_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class S3Options:
    """`endpoint`: None for Amazon's own. Without a key pair, the machine's role (instance, container, web identity)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


class S3Blobs:
    """The store Blobs, in one bucket under one prefix. Nothing is asked of the server before the first call."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._store = S3Store(
            options.bucket,
            prefix=options.prefix or None,
            config=_config(options),  # type: ignore[arg-type]
            client_options={
                "timeout": timedelta(seconds=_TIMEOUT_S),
                "connect_timeout": timedelta(seconds=5),
                "allow_http": (options.endpoint or "").startswith("http:"),
            },
            retry_config={"max_retries": _ATTEMPTS - 1, "retry_timeout": timedelta(seconds=_TIMEOUT_S)},
        )

    @property
    def place(self) -> str:
        options = self._options
        return f"s3://{options.bucket}/{options.prefix} at {options.endpoint or options.region}"

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        try:
            with _troubles(self.place):
                attributes = {"Content-Type": content_type}
                await self._store.put_async(check_key(key), data, attributes=attributes, use_multipart=False)
        except FileNotFoundError:
            raise BlobError(f"there is no bucket for {self.place}; make it", retryable=False) from None
        return self._url(key)

    async def get(self, key: str) -> bytes | None:
        try:
            with _troubles(self.place):
                found = await self._store.get_async(check_key(key))
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def delete(self, key: str) -> None:
        try:
            with _troubles(self.place):
                await self._store.delete_async(check_key(key))
        except FileNotFoundError:
            return

    def _url(self, key: str) -> str:
        options = self._options
        path = f"{options.prefix}/{key}" if options.prefix else key
        if options.endpoint is None:
            return f"https://{options.bucket}.s3.{options.region}.amazonaws.com/{path}"
        return f"{options.endpoint}/{options.bucket}/{path}"


def _config(options: S3Options) -> Mapping[str, Any]:
    config: dict[str, Any] = {"region": options.region}
    if options.endpoint is not None:
        config |= {"endpoint": options.endpoint, "virtual_hosted_style_request": False}
    if options.access_key_id is not None:
        config |= {"access_key_id": options.access_key_id, "secret_access_key": options.secret_access_key}
    return config


@contextmanager
def _troubles(place: str) -> Iterator[None]:
    """The texts of the library's errors can hold whole requests, so none of them is passed on."""
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(place) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise BlobError(f"{place} refuses the key pair; check it and its rights", retryable=False) from error
    except BaseError as error:
        raise BlobError(f"{place} does not answer as it should ({type(error).__name__})", retryable=True) from error

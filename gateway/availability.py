"""Database trouble that may pass, in the use cases' word for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gateway.outage import RecordsUnavailable
from storage.postgres import errors

P = ParamSpec("P")
T = TypeVar("T")


def available(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Trouble that may pass becomes RecordsUnavailable; the rest is a bug and stays what it is."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            if not errors.retryable(error):
                raise
            raise RecordsUnavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    return call

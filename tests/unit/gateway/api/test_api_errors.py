"""What a session's errors are told as over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.api.errors import STATUS
from gateway.errors import SessionError


def kinds(base: type[SessionError]) -> Iterator[type[SessionError]]:
    for one in base.__subclasses__():
        yield one
        yield from kinds(one)


def test_every_error_has_a_status_and_a_title_of_its_own() -> None:
    """One that the table lacks would be told as a fault of ours."""
    classes = {one for one in kinds(SessionError) if one.__module__.startswith("gateway.")}
    assert classes == {one for one in STATUS if issubclass(one, SessionError)}
    assert all(400 <= status < 600 for status in STATUS.values())
    assert all(one.title != SessionError.title for one in classes)
    assert all(STATUS[one] >= 500 for one in classes if one.passing)

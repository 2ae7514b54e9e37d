"""What a session's errors are told as over HTTP."""

from __future__ import annotations

import inspect

from gateway import errors
from gateway.api.errors import STATUS


def test_every_error_has_a_status_and_a_title_of_its_own() -> None:
    """One that the table lacks would be told as a fault of ours."""
    classes = {
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.SessionError) and one is not errors.SessionError
    }
    assert classes == {one for one in STATUS if issubclass(one, errors.SessionError)}
    assert all(400 <= status < 600 for status in STATUS.values())
    assert all(one.title != errors.SessionError.title for one in classes)
    assert all(STATUS[one] >= 500 for one in classes if one.passing)

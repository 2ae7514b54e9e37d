"""Rules that the suite keeps for itself."""

from __future__ import annotations

import time

import jwt
import pytest


def test_no_token_is_made_before_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest names the test that runs in the environment; while modules are imported there is none."""
    claims = {"exp": time.time() + 60}
    assert jwt.encode(claims, "a-secret-of-at-least-thirty-two-bytes")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(RuntimeError, match="made at import"):
        jwt.encode(claims, "a-secret-of-at-least-thirty-two-bytes")


def test_the_phases_are_told_apart_by_their_folder(request: pytest.FixtureRequest) -> None:
    """What is not named in REALTIME runs beside other tests."""
    assert request.node.get_closest_marker("realtime") is None

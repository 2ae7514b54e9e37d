"""Fields of a body that nothing reads are named, at whatever depth."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.api.schemas import StartBody
from gateway.api.warnings import MOST, warnings

NO_EFFECT = " is no field of this request and has no effect"


def told(**more: Any) -> list[str]:
    body = {"sessionSlug": "abc", **more}
    return warnings(body, msgspec.convert(body, StartBody))


def test_what_is_read_is_no_warning() -> None:
    """Also values that equal the default, names that are the user's own, and words beside objects."""
    assert not told(
        language=None,
        customVocabulary=["Anna", {"value": "Gladia", "intensity": None}],
        customSpelling={"codeSwitchin": ["x"]},
        translation={"model": None, "informal": True},
    )


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ({"vocabularyIntensty": 1}, f"vocabularyIntensty{NO_EFFECT}; did you mean vocabularyIntensity?"),
        ({"code_switching": True}, f"code_switching{NO_EFFECT}; did you mean codeSwitching?"),
        ({"zzz": {"deep": [1]}}, f"zzz{NO_EFFECT}"),
        ({"translation": {"modle": "x"}}, f"translation.modle{NO_EFFECT}; did you mean model?"),
        ({"customVocabulary": ["a", {"value": "b", "weight": 1}]}, f"customVocabulary[1].weight{NO_EFFECT}"),
    ],
)
def test_what_nothing_reads_is_told(body: dict[str, Any], warning: str) -> None:
    assert told(**body) == [warning]


def test_a_thousand_strange_fields_are_told_of_in_part() -> None:
    found = told(**{f"{number}{'x' * 500}": 1 for number in range(1000)})
    assert len(found) == MOST and max(map(len, found)) < 200

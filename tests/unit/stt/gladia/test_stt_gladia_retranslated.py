"""What of the translations in a record can be read, and what is left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stt.gladia.messages import parse_result
from stt.gladia.retranslated import translations

HALLO = {"text": " Hallo. ", "start": 0.5, "end": 1.0, "language": "de", "channel": 0, "words": []}


def told(translation: Any) -> list[tuple[str, str, float]]:
    record = {"id": "p", "status": "done", "result": {"translation": translation}}
    result = parse_result(msgspec.json.encode(record)).result
    assert result is not None
    return [(target, one.visible_text, one.start) for target, one in translations(result)]


def test_each_language_has_its_utterances() -> None:
    french = {**HALLO, "text": "Salut.", "language": "fr"}
    results = [{"languages": ["de"], "utterances": [HALLO]}, {"languages": ["fr"], "utterances": [french, french]}]
    found = told({"success": True, "results": results})
    assert found == [("de", "Hallo.", 0.5), ("fr", "Salut.", 0.5), ("fr", "Salut.", 0.5)]


def test_an_utterance_says_its_language_where_the_result_does_not() -> None:
    assert told({"results": [{"utterances": [HALLO, {**HALLO, "language": None}]}]}) == [("de", "Hallo.", 0.5)]


@pytest.mark.parametrize(
    "odd",
    [
        *(None, 7, [], {}, {"results": None}, {"results": {}}, {"results": [None, 7, {}]}),
        {"results": [{"languages": None, "utterances": None}]},
        {"results": [{"languages": ["de"], "utterances": [None, 7, {"text": 3}, {**HALLO, "text": " "}]}]},
        {"results": None, "error": {"message": "no"}, "success": False},
    ],
)
def test_what_is_odd_is_left_out(odd: Any) -> None:
    assert told(odd) == []

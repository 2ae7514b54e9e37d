"""What a dead process had sent and not kept is found once, at its place."""

from __future__ import annotations

from gateway.transcription.domain.salvage import StoredUtterance, salvage
from stt.transcript import Utterance
from stt.transcript import Word as SpokenWord


def heard(*texts: str) -> list[Utterance]:
    """One second each, words evenly in it."""
    found = []
    for number, text in enumerate(texts):
        step = 1 / len(text.split())
        words = tuple(
            SpokenWord(word, number + i * step, number + (i + 1) * step, 1.0) for i, word in enumerate(text.split())
        )
        found.append(Utterance(f"p:{number}", True, text, "en", float(number), number + 1.0, 0.9, words))
    return found


def test_what_came_behind_the_last_kept_final_is_missing() -> None:
    found = salvage(
        [StoredUtterance("one", 5_000), StoredUtterance("two three", 6_000)],
        heard("one", "two three", "four"),
        opened_ms=4_700,
    )
    assert found is not None
    assert [utterance.text for utterance in found.utterances] == ["four"]
    assert found.begins_ms == 5_000  # told by the last final, not by the opening


def test_without_a_kept_final_all_is_missing() -> None:
    found = salvage([], heard("one", "two"), opened_ms=4_700)
    assert found is not None
    assert ([one.text for one in found.utterances], found.begins_ms) == (["one", "two"], 4_700)


def test_a_word_said_twice_is_missing_once() -> None:
    found = salvage([StoredUtterance("yes", 0)], heard("yes", "yes"), opened_ms=0)
    assert found is not None
    assert [one.start for one in found.utterances] == [1.0]


def test_a_final_that_lost_words_at_a_seam_is_known_by_its_end() -> None:
    found = salvage([StoredUtterance("two", 1_500)], heard("zero", "one two", "three"), opened_ms=0)
    assert found is not None
    assert ([one.text for one in found.utterances], found.begins_ms) == (["three"], 0)


def test_what_the_provider_has_no_record_of_is_not_guessed() -> None:
    assert salvage([StoredUtterance("else", 0)], heard("one", "two"), opened_ms=0) is None
    assert salvage([StoredUtterance("two", 0), StoredUtterance("one", 1)], heard("one", "two"), opened_ms=0) is None


def test_nothing_heard_is_nothing_missing() -> None:
    found = salvage([], [], opened_ms=0)
    assert found is not None and found.utterances == ()

"""What is asked for while a transcription runs: changes, pauses, and how they are stored."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import UNSET

from gateway.transcription.domain import languages
from gateway.transcription.domain.preferences import (
    EVERYBODY,
    MOST_WORDS,
    Change,
    Pause,
    Personal,
    PersonalChange,
    Preferences,
    joined,
)
from gateway.transcription.domain.speech import SpeechOptions, VocabularyWord

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ENGLISH = Preferences(SpeechOptions(languages=("en",), custom_vocabulary=("Kay",), translate_to=("fr",)))


def test_what_is_asked_for_one_goes_before_what_is_asked_for_all() -> None:
    changed = ENGLISH.changed(Change(participants={"anna": PersonalChange(languages=("de",))}), NOON)
    assert changed.of("anna").languages == ("de",)
    assert changed.of("anna").translate_to == ("fr",)
    assert changed.of("ben") == ENGLISH.speech
    assert changed.changed(Change(participants={"anna": None}), NOON) == ENGLISH


def test_null_means_as_for_everybody_and_nothing_means_as_before() -> None:
    one = ENGLISH.changed(Change(participants={"anna": PersonalChange(languages=("de",), translate_to=())}), NOON)
    two = one.changed(Change(languages=("es",), participants={"anna": PersonalChange(languages=None)}), NOON)
    assert two.of("anna").languages == ("es",)
    assert two.of("anna").translate_to == ()
    assert two.changed(Change(), NOON) == two


def test_words_of_one_are_added_and_none_is_there_twice() -> None:
    mine = PersonalChange(custom_vocabulary=(VocabularyWord("kay", intensity=0.4), "Zugspitze"))
    words = ENGLISH.changed(Change(participants={"anna": mine}), NOON).of("anna").custom_vocabulary
    assert words == (VocabularyWord("kay", intensity=0.4), "Zugspitze")
    assert len(joined(tuple(map(str, range(MOST_WORDS))), ("more",))) == MOST_WORDS


def test_a_pause_covers_what_was_said_in_it_whatever_is_heard_late() -> None:
    paused = ENGLISH.changed(Change(pauses={"anna": True}), NOON)
    assert paused.paused == ("anna",)
    assert paused.silences("anna", NOON - timedelta(seconds=9)), "clocks may differ"
    assert not paused.silences("ben", NOON)
    resumed = paused.changed(Change(pauses={"anna": False}), NOON + timedelta(seconds=10))
    assert resumed.paused == ()
    assert [resumed.silences("anna", NOON + timedelta(seconds=at)) for at in (-1, 0, 8.9, 9)] == [
        False,
        True,
        True,
        False,
    ]


def test_everybody_and_one_are_paused_apart() -> None:
    """Who has asked not to be heard is not heard because all are resumed."""
    both = ENGLISH.changed(Change(pauses={EVERYBODY: True, "anna": True}), NOON)
    assert both.is_paused
    assert both.silences("ben", NOON)
    later = both.changed(Change(pauses={EVERYBODY: False}), NOON + timedelta(seconds=1))
    assert not later.is_paused
    assert later.silences("anna", None)
    assert not later.silences("ben", NOON + timedelta(seconds=2))


def test_pausing_twice_changes_nothing() -> None:
    once = ENGLISH.changed(Change(pauses={"anna": True}), NOON)
    assert once.changed(Change(pauses={"anna": True}), NOON + timedelta(hours=1)) == once
    assert ENGLISH.changed(Change(pauses={"anna": False}), NOON) == ENGLISH


def test_any_changes_survive_being_stored_among_other_options() -> None:
    """Drawn from seeds: what the next owner reads is what this one had, and nothing else is lost."""
    for seed in range(300):
        chance = random.Random(seed)
        asked, options = ENGLISH, {"costCapUsd": 2.0, "tags": ["a"], "languages": ["xx"]}
        for step in range(chance.randint(1, 12)):
            asked = asked.changed(_change(chance), NOON + timedelta(seconds=step))
        stored = msgspec.json.decode(msgspec.json.encode(asked.stored_in(options)))
        assert Preferences.read(stored) == asked, seed
        assert (stored["costCapUsd"], stored["tags"]) == (2.0, ["a"])
        assert {"", *asked.paused} >= {one for one, pause in asked.pauses.items() if pause.goes_on}


def test_options_of_an_older_version_are_read() -> None:
    older = {"languages": ["de"], "costCapUsd": None, "participantIdentity": None, "tags": []}
    assert Preferences.read(older) == Preferences(SpeechOptions(languages=("de",)))
    assert Preferences(participants={"a": Personal(("de",))}, pauses={"a": Pause(NOON)}).of("b") == SpeechOptions()


def test_an_unknown_language_is_told_with_what_may_be_meant() -> None:
    assert languages.unknown(("en", "de"), languages.SPOKEN) is None
    assert "did you mean 'en'" in str(languages.unknown(("en-US",), languages.SPOKEN))
    assert languages.unknown(("wo",), languages.SPOKEN) is not None
    assert languages.unknown(("wo",), languages.TARGETS) is None
    assert len(str(languages.unknown(("x" * 10_000,), languages.SPOKEN))) < 200


def _change(chance: random.Random) -> Change:
    people = ["anna", "ben", "Zoë"]

    def codes() -> tuple[str, ...]:
        return tuple(chance.sample(["en", "de", "fr"], chance.randint(0, 2)))

    def personal() -> PersonalChange | None:
        if chance.random() < 0.2:
            return None
        return PersonalChange(
            languages=chance.choice([UNSET, None, codes()]),
            translate_to=chance.choice([UNSET, None, codes()]),
            custom_vocabulary=chance.choice([UNSET, (), ("Kay", VocabularyWord("Ng", pronunciations=("ing",)))]),
        )

    return Change(
        languages=chance.choice([UNSET, codes()]),
        translate_to=chance.choice([UNSET, codes()]),
        custom_vocabulary=chance.choice([UNSET, (), ("word",)]),
        participants={one: personal() for one in chance.sample(people, chance.randint(0, 2))},
        pauses={one: chance.random() < 0.5 for one in chance.sample([EVERYBODY, *people], chance.randint(0, 2))},
    )


def test_each_lifts_their_own_pause_alone_and_one_of_an_older_version_is_lifted_by_either() -> None:
    """Against sets of who holds it, in every order."""
    chance = random.Random(8)
    for seed in range(200):
        asked, holds, now = Preferences(), set[str](), NOON
        for _ in range(12):
            now += timedelta(seconds=1)
            by, is_paused = chance.choice((None, "self", "other")), chance.random() < 0.5
            asked = asked.changed(Change(pauses={"gus": is_paused}, pauses_by=by), now)
            assert Preferences.read(msgspec.json.decode(msgspec.json.encode(asked.stored()))) == asked
            if is_paused:
                holds |= {by or "anybody"}
            else:
                holds = set() if by is None else holds - {by} - {"anybody"}
            assert bool(asked.paused) is bool(holds), (seed, holds)

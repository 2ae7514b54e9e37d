"""The configuration changes, or nobody is to be heard, in the middle of what is said: no word lost, none doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from stt_gladia_line import CHUNK, Line

from stt.gladia.messages import LiveConfig
from stt.gladia.options import LinkOptions
from stt.local.scripted import VOCABULARY, speak

Dial: TypeAlias = Callable[..., Awaitable[Line]]
LANGUAGES = ("en", "de", "fr", "it")


def config(language: str) -> LiveConfig:
    return LiveConfig(endpointing_s=0.1, maximum_utterance_s=5.0, languages=(language,), translate_to=("es",))


async def test_another_language_begins_at_the_next_pause(dial: Dial) -> None:
    """Also while one talks on: a session is changed between two utterances, never within one."""
    line = await dial()
    await line.say("alpha bravo", pace=0.1)
    line.link.configure(config("de"))
    await line.say("charlie delta echo", pauses=[0.4, 0.4], pace=0.1)
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie", "delta", "echo"]
    assert outcome.complete
    assert [session.config.languages for session in line.sessions] == [(), ("de",)]
    assert [report.is_current for report in line.reports if not report.over] == [True, True]
    assert not any(session.open for session in line.sessions)


async def test_a_change_before_the_first_word_costs_no_session(dial: Dial) -> None:
    line = await dial()
    line.link.configure(config("de"))
    await line.say("alpha")
    await line.finish()
    assert [session.config.languages for session in line.sessions] == [("de",)]


async def test_a_change_for_the_next_session_interrupts_nothing(dial: Dial) -> None:
    line = await dial()
    await line.say("alpha", pace=0.1)
    line.link.configure(config("de"), at_once=False)
    await line.say("bravo", pace=0.1)
    await line.finish()
    assert line.words == ["alpha", "bravo"]
    assert len(line.sessions) == 1


async def test_a_pause_ends_the_session_with_what_was_said(dial: Dial) -> None:
    """The last words before it get their final at once, and the words after it their own place on the clock."""
    line = await dial()
    await line.say("alpha bravo", pace=0.1, tail_s=0.0)
    line.link.rest()
    await line.until(lambda: line.words == ["alpha", "bravo"] and not any(one.open for one in line.sessions))
    await asyncio.sleep(3600)
    line.sent += 16_000 * 3600
    await line.say("charlie", pace=0.1)
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie"]
    assert line.finals[-1].start > 3600
    assert outcome.complete
    assert len(line.sessions) == 2
    assert outcome.sent_samples < 16_000 * 5


@pytest.mark.parametrize("seed", range(8))
async def test_changes_and_pauses_at_any_moment_cost_no_word(dial: Dial, seed: int) -> None:
    """Nor a translation. Drawn from seeds, with cuts of the connection and lost sessions between them."""
    chance = random.Random(seed)
    words = [chance.choice(VOCABULARY) for _ in range(8)]
    plan = {"every": {"cuts": [{"at_byte": chance.randint(9_000, 150_000)}]}} if seed % 2 else None
    line = await dial(plan, LinkOptions(change_grace_s=chance.choice([0.5, 20.0])))
    line.link.configure(config("en"))
    pcm, _ = speak(" ".join(words), pauses=[chance.choice([0.05, 0.4, 0.8]) for _ in words[1:]], lead_s=0.1, tail_s=0.3)
    for at in range(0, len(pcm), CHUNK):
        if chance.random() < 0.06:
            line.link.configure(config(chance.choice(LANGUAGES)), at_once=chance.random() < 0.8)
        if chance.random() < 0.03:
            line.link.rest()
        await line.send(pcm[at : at + CHUNK], 0.1)
    outcome = await line.finish(120.0)
    assert line.words == words, seed
    finals = {final.id for final in line.finals}
    told = [one.utterance_id for one in line.translations if one.utterance_id in finals]
    assert sorted(told) == sorted(finals), seed  # of what had to be said again only the final's is kept
    assert outcome.complete
    assert not any(session.open for session in line.sessions)
    assert outcome.sent_samples - outcome.resent_samples >= len(pcm) // 2 - 16_000

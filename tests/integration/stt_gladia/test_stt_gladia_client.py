"""The client against a real local server: the ordinary life of a link, refusals, deadlines, endings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import pytest
from stt_gladia_line import CONFIG, Line

from stt.backoff import Backoff
from stt.errors import ProviderFull, ProviderRefused, ProviderUnavailable
from stt.gladia.client import Provider, ProviderOptions
from stt.gladia.events import Heard, LinkEvent, SpeechChanged, Unusable
from stt.gladia.messages import LiveConfig
from stt.gladia.options import LinkOptions
from stt.gladia.places import Place
from stt.local.scripted import VOCABULARY, speak

Dial: TypeAlias = Callable[..., Awaitable[Line]]

SAID = "alpha bravo charlie delta"
QUICK = LinkOptions(
    stall_s=0.5, probe_s=0.1, resume_deadline_s=2.0, fetch_patience_s=1.0, full_s=0.05, backoff=Backoff(0.01, 2.0, 0.1)
)


# --- the ordinary life ------------------------------------------------------------------------------------------


async def test_words_come_back_in_finals_with_their_place_on_the_tracks_clock(dial: Dial) -> None:
    line = await dial()
    await line.say(SAID, pauses=[0.3] * 3)
    outcome = await line.finish()
    assert line.words == SAID.split()
    assert [round(final.start, 1) for final in line.finals] == [0.1, 0.6, 1.2, 1.7]
    assert len({final.id for final in line.finals}) == 4
    assert all(final.id.startswith(line.sessions[0].id + ":00_") for final in line.finals)
    assert outcome.complete
    assert outcome.failed is None
    assert outcome.sent_samples == line.sent == line.link.sent_samples
    assert outcome.resent_samples == 0
    assert outcome.counts.finals == 4
    assert line.link.messages_sent <= line.sent // 1600 + 1


async def test_a_track_that_begins_late_has_its_own_clock(dial: Dial) -> None:
    """The provider counts from its first sample; we count from the track's anchor."""
    line = await dial()
    line.sent = 16_000 * 1000
    await line.say("alpha")
    await line.finish()
    assert line.finals[0].start == pytest.approx(1000.1, abs=0.01)


async def test_a_stretch_that_was_left_out_shifts_nothing(dial: Dial) -> None:
    """An hour of silence that was never sent costs half a second of it, and the words behind keep their time."""
    line = await dial()
    await line.say("alpha bravo", tail_s=0.0)
    line.sent += 16_000 * 3600
    await line.say("charlie")
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie"]
    assert line.finals[0].start == pytest.approx(0.1, abs=0.01)
    assert line.finals[1].start == pytest.approx(3600.63, abs=0.01)
    assert outcome.sent_samples < 16_000 * 3
    assert len(line.sessions) == 1


async def test_a_track_that_never_speaks_costs_nothing(dial: Dial) -> None:
    line = await dial()
    assert line.link.state == "idle"
    outcome = await line.finish()
    assert outcome.complete
    assert not line.sessions
    assert not line.reports


async def test_a_session_is_reported_when_it_opens_and_when_it_is_over(dial: Dial) -> None:
    line = await dial()
    await line.say("alpha")
    await line.finish()
    opened, over = line.reports
    assert (opened.over, over.over) == (False, True)
    assert opened.id == over.id == line.sessions[0].id
    assert over.outcome == "closed"
    assert over.seconds_sent == pytest.approx(line.sent / 16_000)


async def test_partials_precede_a_final_under_the_same_id(dial: Dial) -> None:
    line = await dial()
    await line.say("alpha bravo", pace=0.002)
    await line.finish()
    ids = [event.utterance.id for event in line.events if hasattr(event, "utterance")]
    assert len(ids) >= 3
    assert len(set(ids)) == 1
    assert not line.retracted
    assert [event.speaking for event in line.events if isinstance(event, SpeechChanged)] == [True, False]


@pytest.mark.parametrize("form", ["full", "counter"])
async def test_a_translation_names_the_utterance_it_belongs_to(dial: Dial, form: str) -> None:
    line = await dial({"every": {"utterance_id": form, "self_translation": True}})
    config = LiveConfig(endpointing_s=0.1, languages=("en",), translate_to=("fr",))
    translated = Line(line.server, line.provider, config)
    await translated.say("alpha bravo")
    await translated.finish()
    assert [(said.utterance_id, said.target_language, said.text) for said in translated.translations] == [
        (translated.finals[0].id, "fr", "ALPHA BRAVO")
    ]


async def test_an_idle_connection_is_kept(dial: Dial) -> None:
    """Nothing is sent for longer than the provider allows, and the connection stays the same."""
    line = await dial(None, LinkOptions(keepalive_s=0.1), idle_s=0.4)
    await line.say("alpha")
    await asyncio.sleep(1.0)
    await line.say("bravo")
    assert (await line.finish()).complete
    assert line.words == ["alpha", "bravo"]
    assert line.sessions[0].connections == 1


async def test_a_session_is_changed_before_the_providers_cap(dial: Dial) -> None:
    """Words at the change come once, and every session is ended."""
    line = await dial(None, LinkOptions(roll_over_s=1.0))
    words = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima"
    await line.say(words, pauses=[0.0, 0.2] * 6, pace=0.01)
    outcome = await line.finish()
    assert line.words == words.split()
    assert outcome.complete
    assert len(line.sessions) >= 3
    assert not any(session.open for session in line.sessions)
    assert [report.outcome for report in line.reports if report.over] == ["closed"] * len(line.sessions)


async def test_a_long_talk_through_many_sessions_never_meets_the_cap(dial: Dial) -> None:
    """Two hundred words and a cap of twelve seconds: sessions change behind finals, overlap, and end in order."""
    line = await dial({"every": {"max_duration_s": 12.0}}, LinkOptions(roll_over_s=5.0, roll_over_grace_s=4.0))
    words = [VOCABULARY[n % len(VOCABULARY)] for n in range(200)]
    await line.say(" ".join(words), pauses=[0.0, 0.0, 0.3] * 67, pace=0.1)
    outcome = await line.finish()
    assert line.words == words
    assert outcome.complete and outcome.counts.lost_sessions == 0
    assert len(line.sessions) >= 8
    assert max(session.session.duration for session in line.sessions) < 12.0
    assert outcome.resent_samples < 0.2 * outcome.sent_samples
    assert [report.outcome for report in line.reports if report.over] == ["closed"] * len(line.sessions)


# --- silence ----------------------------------------------------------------------------------------------------


async def test_a_session_is_held_through_a_short_silence_and_ended_in_a_long_one(dial: Dial) -> None:
    """The next speech opens another; its first word is whole, and nothing of the silence is sent."""
    line = await dial(None, LinkOptions(idle_s=60.0))
    await line.say("alpha", pace=0.1)
    await asyncio.sleep(50.0)
    line.sent += 16_000 * 50
    await line.say("bravo", pace=0.1)
    assert [session.open for session in line.sessions] == [True]
    assert line.sessions[0].connections == 1
    await asyncio.sleep(62.0)
    line.sent += 16_000 * 62
    assert [session.open for session in line.sessions] == [False]
    assert line.link.state == "idle"
    await line.say("charlie", pace=0.1)
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie"]
    assert line.finals[2].start == pytest.approx(2 * 0.6 + 50 + 62 + 0.1, abs=0.05)
    assert outcome.complete
    assert outcome.counts.idle_ends == 1
    assert len(line.sessions) == 2
    assert outcome.sent_samples < 16_000 * 3


async def test_a_silent_track_gives_its_place_to_one_that_speaks(dial: Dial) -> None:
    """An account with one place and two speakers: the second is heard when the first has been silent for long."""
    first = await dial({"max_sessions": 1}, LinkOptions(idle_s=5.0))
    second = Line(first.server, first.provider, CONFIG)
    await first.say("alpha", pace=0.1)
    await second.say("bravo", pace=0.1)
    assert second.words == []
    assert second.link.state == "waiting"
    await second.until(lambda: second.words == ["bravo"])
    await asyncio.sleep(10.0)
    first.sent += 16_000 * 15
    await first.say("charlie", pace=0.1)
    await first.until(lambda: first.words == ["alpha", "charlie"])
    assert (await first.finish()).complete
    assert (await second.finish()).complete


async def test_speech_that_begins_while_the_session_comes_to_rest_is_heard(dial: Dial) -> None:
    """The stop is on its way and the end takes three seconds: the audio waits, then another session hears it."""
    line = await dial({"every": {"end_delay_s": 3.0}}, LinkOptions(idle_s=2.0))
    await line.say("alpha", pace=0.1)
    await asyncio.sleep(2.5)
    assert line.link.state == "flushing"
    line.sent += 16_000 * 2
    await line.say("bravo charlie", pace=0.1)
    assert (await line.finish()).complete
    assert line.words == ["alpha", "bravo", "charlie"]


async def test_a_source_that_was_held_up_within_a_word_loses_it_not(dial: Dial) -> None:
    """The audio goes on without a gap after longer than a session is held: the half word is sent again."""
    line = await dial(None, LinkOptions(idle_s=2.0))
    pcm, _ = speak("alpha bravo charlie", lead_s=0.1, tail_s=0.3)
    half = 2 * round(16_000 * 0.45)  # within bravo
    line.link.send(0, pcm[:half])
    await asyncio.sleep(10.0)
    assert [session.open for session in line.sessions] == [False]
    line.link.send(half // 2, pcm[half:])
    assert (await line.finish()).complete
    assert line.words == ["alpha", "bravo", "charlie"]


async def test_an_utterance_ends_when_the_track_is_left_out_behind_it(dial: Dial) -> None:
    """Without silence no provider ends an utterance; silence stands for what does not come, at no further cost."""
    line = await dial(None, LinkOptions(trailing_silence_s=0.6))
    await line.say("alpha bravo", pace=0.1, tail_s=0.0)
    await asyncio.sleep(5.0)
    assert not line.finals
    line.link.leave_out(line.sent + 16_000)
    await line.until(lambda: line.words == ["alpha", "bravo"])
    line.sent += 16_000 * 5
    await line.say("charlie", pace=0.1)
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie"]
    assert line.finals[1].start == pytest.approx(0.1 + 0.43 + 5.0 + 0.1, abs=0.05)
    assert outcome.complete
    assert len(line.sessions) == 1


@pytest.mark.parametrize("goes_on_after_s", [0, 5])
async def test_an_utterance_ends_in_silence_that_takes_no_time_on_the_track(dial: Dial, goes_on_after_s: int) -> None:
    """The source has stalled: its next word comes later, or was only held up; every word keeps its time."""
    line = await dial(None, LinkOptions())
    await line.say("alpha bravo", pace=0.05, tail_s=0.0)
    line.link.fall_silent(9_600)
    await line.until(lambda: line.words == ["alpha", "bravo"])
    begin = line.sent / 16_000 + goes_on_after_s
    line.sent += 16_000 * goes_on_after_s
    await line.say("charlie")
    outcome = await line.finish()
    assert line.words == ["alpha", "bravo", "charlie"]
    assert len(line.finals) >= 2
    assert line.finals[-1].start == pytest.approx(begin + 0.1, abs=0.02)
    assert outcome.sent_samples == pytest.approx(line.sent - 16_000 * goes_on_after_s + 9_600, abs=2)
    assert outcome.complete


async def test_silence_before_the_session_is_open_stands_at_its_place(dial: Dial) -> None:
    """Two utterances of a source that had stalled between them, although all of it goes out at once."""
    line = await dial(None, LinkOptions())
    await line.say("alpha bravo", tail_s=0.0)
    line.link.fall_silent(9_600)
    await line.say("charlie", tail_s=0.0)
    line.link.fall_silent(9_600)
    await line.until(lambda: line.words == ["alpha", "bravo", "charlie"])
    assert [[word.text.strip() for word in final.words] for final in line.finals][-1] == ["charlie"]
    assert (await line.finish()).complete


async def test_silence_is_heard_again_behind_audio_that_is_sent_again(dial: Dial) -> None:
    """The connection is cut before the final has come."""
    line = await dial({"sessions": {"1": {"cuts": [{"at_byte": 16_000}]}}}, LinkOptions())
    await line.say("alpha bravo", pace=0.05, tail_s=0.0)
    line.link.fall_silent(9_600)
    await line.until(lambda: line.words == ["alpha", "bravo"])
    assert (await line.finish()).complete
    assert line.provider.connections_lost == 1


@pytest.mark.parametrize("fault", ["deaf", "mute"])
async def test_a_renewed_session_hears_what_the_old_one_never_said(dial: Dial, fault: str) -> None:
    line = await dial({"sessions": {"1": {fault: True}}})
    await line.say(SAID, pauses=[0.3] * 3, pace=0.1)
    await asyncio.sleep(1.0)
    assert not line.words
    assert line.link.renew()
    await line.until(lambda: line.words == SAID.split())
    await line.say("echo", pace=0.1)
    outcome = await line.finish()
    assert line.words == [*SAID.split(), "echo"]
    assert outcome.complete
    assert len(line.sessions) == 2
    await line.all_ended()


async def test_there_is_nothing_to_renew_before_anybody_spoke(dial: Dial) -> None:
    line = await dial()
    assert not line.link.renew()
    await line.finish()


async def test_many_links_share_an_account(dial: Dial) -> None:
    first = await dial()
    lines = [first, *(Line(first.server, first.provider, CONFIG) for _ in range(9))]
    await asyncio.gather(*(line.say(SAID, pace=0.001) for line in lines))
    outcomes = await asyncio.gather(*(line.finish() for line in lines))
    assert all(outcome.complete for outcome in outcomes)
    assert all(line.words == SAID.split() for line in lines)


# --- POST -------------------------------------------------------------------------------------------------------


async def test_a_refused_key_ends_the_link_at_once(dial: Dial) -> None:
    line = await dial(key="wrong", api_key="right")
    await line.say("alpha")
    async with asyncio.timeout(60):
        outcome = await line.running
    assert isinstance(outcome.failed, ProviderRefused)
    assert outcome.failed.status == 401
    assert "GLADIA_API_KEY" in str(outcome.failed)
    assert not outcome.complete
    assert outcome.counts.sessions == 1  # it was not tried again
    line.link.send(line.sent, bytes(3200))  # what still comes is ignored
    assert line.link.backlog_s == 0


async def test_the_key_is_checked_without_a_session(dial: Dial) -> None:
    line = await dial(key="wrong", api_key="right")
    with pytest.raises(ProviderRefused):
        await line.provider.check()
    async with Provider(ProviderOptions("right", line.server.url)) as provider:
        await provider.check()
    assert not line.sessions


async def test_a_full_account_is_waited_for_visibly(dial: Dial) -> None:
    line = await dial({"max_sessions": 0}, QUICK)
    await line.say(SAID)
    await line.until(lambda: line.link.state == "waiting")
    assert line.link.backlog_s > 1.0
    line.server.faults = {}
    outcome = await line.finish()
    assert line.words == SAID.split()
    assert outcome.complete
    assert line.link.backlog_s == 0


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_a_post_that_fails_for_now_is_repeated(dial: Dial, status: int) -> None:
    line = await dial({"post": {"refusals": [{"status": status, "count": 3}]}}, QUICK)
    await line.say(SAID)
    assert (await line.finish()).complete
    assert line.words == SAID.split()


async def test_a_slow_post_holds_up_no_audio(dial: Dial) -> None:
    line = await dial({"post": {"delay_s": 0.4}}, QUICK)
    await line.say(SAID)
    assert line.link.state == "creating"
    assert (await line.finish()).complete
    assert line.words == SAID.split()


async def test_a_post_whose_answer_is_lost_is_repeated(dial: Dial) -> None:
    """The first session cannot be ended, for nobody knows its URL; it never gets audio."""
    line = await dial({"post": {"lost_answers": 1}}, QUICK)
    await line.say(SAID)
    assert (await line.finish()).complete
    assert line.words == SAID.split()
    orphan, used = line.sessions
    assert (orphan.connections, orphan.audio_bytes) == (0, 0)
    assert not used.open


async def test_errors_say_what_to_do(dial: Dial) -> None:
    line = await dial({"post": {"refusals": [{"status": s, "after": i, "count": 1} for i, s in enumerate((429, 502))]}})
    with pytest.raises(ProviderFull):
        await line.provider.create(CONFIG)
    with pytest.raises(ProviderUnavailable, match="502"):
        await line.provider.create(CONFIG)
    with pytest.raises(ProviderRefused, match="region"):
        await line.provider.create(LiveConfig(region="mars"))
    with pytest.raises(ProviderRefused, match="not found"):
        await line.provider.result("nothing")


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    async with Provider(ProviderOptions("key", "http://127.0.0.1:9", 1.0)) as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.create(CONFIG)
    with pytest.raises(RuntimeError, match="async with"):
        _ = Provider(ProviderOptions("key")).http


def test_the_key_is_never_shown() -> None:
    assert "secret" not in repr(ProviderOptions("secret"))


# --- the account ------------------------------------------------------------------------------------------------


async def test_a_provider_that_answers_nobody_is_asked_by_one_at_a_time(dial: Dial) -> None:
    """Eight tracks in need: once the circuit is open their attempts are one series; then all get their words."""
    first = await dial({"post": {"refusals": [{"status": 503, "count": 12}]}}, QUICK)
    lines = [first, *(Line(first.server, first.provider) for _ in range(7))]
    await asyncio.gather(*(line.say(SAID) for line in lines))
    await first.until(lambda: first.provider.breaker.is_open)
    assert first.provider.trouble is not None
    clock = asyncio.get_running_loop().time
    began = clock()
    outcomes = await asyncio.gather(*(line.finish(120.0) for line in lines))
    assert all(outcome.complete for outcome in outcomes)
    assert all(line.words == SAID.split() for line in lines)
    assert first.provider.trouble is None
    assert (first.provider.breaker.opened, len(first.sessions)) == (1, 8)
    assert clock() - began > 1.0  # probes take their time


class TwoAtOnce:
    """Places as an account of two would give them."""

    def __init__(self) -> None:
        self.held: list[Place] = []
        self.queue: list[Place] = []
        self.most = 0

    def ask(self, senior: Place | None, labels: Mapping[str, str]) -> Place:
        place = Place(self._back)
        self.queue.append(place)
        self._grant()
        return place

    def _back(self, place: Place) -> None:
        (self.held if place in self.held else self.queue).remove(place)
        self._grant()

    def _grant(self) -> None:
        while self.queue and len(self.held) < 2:
            self.held.append(self.queue.pop(0))
            self.held[-1].grant()
        self.most = max(self.most, len(self.held))


async def test_tracks_wait_for_a_place_with_their_audio_held(dial: Dial) -> None:
    """However sessions end, their places come back, and never early: the provider sees two at most."""
    cuts = {"every": {"cuts": [{"at_byte": 20_000}, {"at_final": 1, "code": 4400}], "end_delay_s": 0.2}}
    line = await dial({**cuts, "max_sessions": 2}, LinkOptions(full_s=1000.0))
    line.provider.places = places = TwoAtOnce()
    lines = [line, *(Line(line.server, line.provider) for _ in range(5))]
    await asyncio.gather(*(one.say(SAID) for one in lines))
    assert [one.link.state for one in lines].count("waiting") == 4
    outcomes = await asyncio.gather(*(one.finish(900.0) for one in lines))
    assert all(outcome.complete for outcome in outcomes)
    assert all(one.words == SAID.split() for one in lines)
    await asyncio.sleep(10.0)
    assert (places.held, places.queue, places.most) == ([], [], 2)
    assert line.provider.mine == set()


async def test_a_track_that_ends_while_it_waits_leaves_the_queue(dial: Dial) -> None:
    line = await dial()
    line.provider.places = places = TwoAtOnce()
    held = [places.ask(None, {}) for _ in range(2)]
    await line.say(SAID)
    assert line.link.state == "waiting"
    assert not (await line.finish(0.5)).complete
    assert places.queue == [] and places.held == held
    assert line.given_up


async def test_what_runs_can_be_listed_and_ended(dial: Dial) -> None:
    """Also a session whose URL went with the lost answer, if the provider takes one of the two ways there may be."""
    plan = {"post": {"lost_answers": 3}, "sessions": {"1": {"delete_open": "end"}, "2": {"token_is_id": True}}}
    line = await dial(plan)
    config = LiveConfig(metadata={"transcription": "t"})
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await line.provider.create(config)
    for _ in range(60):
        await line.provider.create(LiveConfig())
    listed = await line.provider.running()
    assert len(listed) == 63
    orphans = [one.id for one in reversed(listed) if one.custom_metadata == {"transcription": "t"}]
    assert [await line.provider.end_by_id(orphan) for orphan in orphans] == [True, True, False]
    assert len(await line.provider.running()) == 61
    assert await line.provider.end_by_id("nobody")


# --- deadlines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        {"post": {"delay_s": 60}},
        {"post": {"refusals": [{"status": 503}]}},
        {"max_sessions": 0},
        {"every": {"upgrade_delay_s": 60}},
        {"every": {"upgrade": [{"status": 503}]}},
        {"every": {"ignore_stop": True}},
        {"every": {"stop_reading_at_byte": 0}},
        {"every": {"acks": {"delay_s": 60}}},
        {"every": {"end_delay_s": 60}},
        {"every": {"cuts": [{"at_byte": 0, "times": 10_000}]}},
    ],
    ids=lambda plan: str(plan)[:40],
)
async def test_finish_keeps_its_deadline_whatever_the_provider_does(dial: Dial, plan: dict[str, Any]) -> None:
    line = await dial(plan)
    await line.say(SAID, tail_s=1.0)
    clock = asyncio.get_running_loop().time
    began = clock()
    outcome = await line.finish(0.8)
    assert not outcome.complete
    assert outcome.failed is None
    assert clock() - began <= 0.81


async def test_finish_returns_as_soon_as_everything_is_there(dial: Dial) -> None:
    line = await dial()
    await line.say("alpha")
    line.link.finish(3600.0)
    async with asyncio.timeout(60):
        assert (await line.running).complete


async def test_words_already_heard_are_kept_when_the_end_never_comes(dial: Dial) -> None:
    line = await dial({"every": {"ignore_stop": True}})
    await line.say(SAID, pauses=[0.3] * 3)
    outcome = await line.finish(0.5)
    assert line.words == SAID.split()
    assert not outcome.complete
    assert not line.given_up


async def test_audio_that_never_reached_the_provider_is_reported(dial: Dial) -> None:
    line = await dial({"max_sessions": 0})
    await line.say(SAID)
    outcome = await line.finish(0.2)
    assert [(lost.start, round(lost.end, 2)) for lost in line.given_up] == [(0.0, round(line.sent / 16_000, 2))]
    assert outcome.counts.given_up_samples == line.sent


async def test_memory_is_bounded_while_the_provider_is_away(dial: Dial) -> None:
    """The oldest audio is given up and counted; when the provider is back, the rest is heard at its right time."""
    line = await dial({"max_sessions": 0}, LinkOptions(retain_s=2.0, full_s=0.05, backoff=Backoff(0.01, 2.0, 0.1)))
    await line.say("alpha " * 20, pauses=[0.1] * 19)
    lost = line.given_up[-1].end
    assert line.given_up[0].start == 0.0
    assert line.sent / 16_000 - lost <= 2.1
    line.server.faults = {}
    await line.finish()
    first = line.finals[0].words[0]
    assert lost <= first.start <= lost + 0.5
    assert sum(event.end - event.start for event in line.given_up) == pytest.approx(lost)
    assert line.link.counts.given_up_samples == round(lost * 16_000)


# --- endings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"post": {"delay_s": 0.3}},
        {"every": {"upgrade_delay_s": 0.3}},
        {"every": {"cuts": [{"at_byte": 20_000}], "upgrade": [{"status": 503, "after": 1, "count": 2}]}},
        {"every": {"cuts": [{"at_stop": True}]}},
    ],
    ids=lambda plan: str(plan)[:40],
)
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15])
async def test_a_cancelled_link_leaves_no_session_running(dial: Dial, plan: dict[str, Any], after_s: float) -> None:
    line = await dial(plan, QUICK)
    await line.say(SAID)
    await asyncio.sleep(after_s)
    line.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await line.running
    await line.provider.__aexit__(None, None, None)
    await line.all_ended()
    assert [report.id for report in line.reports if report.over] == [r.id for r in line.reports if not r.over]


async def test_a_listener_that_fails_at_one_event_hears_the_others(
    dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    """In a callback of the event loop: counted, logged once, and not called complete."""
    line = await dial(None, QUICK)
    heard: list[LinkEvent] = []

    def fail(event: LinkEvent) -> None:
        heard.append(event)
        if not isinstance(event, Unusable):
            raise LookupError("of our own")

    link = line.provider.link(CONFIG, fail, lambda report: None)
    running = asyncio.create_task(link.run(), name="test-link")
    pcm, _ = speak(SAID, lead_s=0.1)
    link.send(0, pcm)
    link.finish(10.0)
    outcome = await running
    finals = [event for event in heard if isinstance(event, Heard) and event.utterance.is_final]
    assert finals and not outcome.complete and not outcome.counts.lost_sessions
    assert heard.count(Unusable("internal", True)) == len(finals)
    assert line.provider.unusable == {"internal": sum(not isinstance(event, Unusable) for event in heard)}
    assert sum("could not be passed on" in record.message for record in caplog.records) == 1
    await line.provider.__aexit__(None, None, None)
    await line.all_ended()


async def test_a_session_that_was_given_up_at_the_deadline_is_ended_in_the_background(dial: Dial) -> None:
    line = await dial({"every": {"acks": {"delay_s": 0.6}}}, QUICK)
    await line.say(SAID)
    await line.finish(0.1)
    await line.provider.__aexit__(None, None, None)
    await line.all_ended()


async def test_a_link_that_ended_leaves_nothing_behind(dial: Dial) -> None:
    line = await dial({"every": {"cuts": [{"at_byte": 10_000}, {"at_final": 1}]}}, QUICK)
    await line.say(SAID)
    await line.finish()
    assert not [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("stt-sp")]
    await line.all_ended()

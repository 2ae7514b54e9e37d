"""One fault at a time: words come out once, and the client behaves as it should meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from stt_gladia_line import Line

from stt.backoff import Backoff
from stt.gladia.options import LinkOptions
from stt.local.scripted import speak

Dial: TypeAlias = Callable[..., Awaitable[Line]]

SAID = ["alpha", "bravo", "charlie", "delta"]
WORDS = " ".join(SAID)
PAUSES = [0.25] * 3
END = len(speak(WORDS, pauses=PAUSES, lead_s=0.1, tail_s=0.3)[0])
QUICK = LinkOptions(
    stall_s=0.5, probe_s=0.1, resume_deadline_s=2.0, fetch_patience_s=1.0, full_s=0.05, backoff=Backoff(0.01, 2.0, 0.1)
)


def lies_right(line: Line) -> bool:
    _, truth = speak(WORDS, pauses=PAUSES, lead_s=0.1)
    heard = [(word.text.strip(), word.start, word.end) for final in line.finals for word in final.words]
    return len(heard) == len(truth) and all(
        said == text and abs(begin - start) < 0.02 and abs(stop - end) < 0.02
        for (said, begin, stop), (text, start, end) in zip(heard, truth, strict=True)
    )


# --- the connection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unacknowledged", ["forget", "keep"])
@pytest.mark.parametrize("ack", ["before", "after"])
async def test_a_cut_at_any_sample_loses_and_doubles_nothing(dial: Dial, ack: str, unacknowledged: str) -> None:
    """Twenty places all over the audio, some at chunk borders, in words and in pauses."""
    places = sorted({2, 3198, 3200, 3202, *range(1000, END, END // 16 // 2 * 2), END - 2, END})

    async def cut(at_byte: int) -> None:
        faults = {"cuts": [{"at_byte": at_byte, "ack": ack}], "unacknowledged": unacknowledged}
        line = await dial({"every": faults}, QUICK)
        await line.say(WORDS, pauses=PAUSES, pace=0.001)
        outcome = await line.finish()
        assert lies_right(line), f"cut at {at_byte}: {line.words}"
        assert outcome.complete
        assert [session.connections for session in line.sessions] == [2]

    async with asyncio.TaskGroup() as cuts:
        for place in places:
            cuts.create_task(cut(place))


@pytest.mark.parametrize("undelivered", ["replay", "lose"])
@pytest.mark.parametrize("message_bytes", [0, 1, 2, 5, 120, None])
async def test_a_final_cut_on_its_way_comes_all_the_same(
    dial: Dial, message_bytes: int | None, undelivered: str
) -> None:
    cuts = [{"at_final": n, "message_bytes": message_bytes} for n in (1, 3)]
    line = await dial({"every": {"cuts": cuts, "undelivered": undelivered}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)


@pytest.mark.parametrize("ack", ["before", "after"])
async def test_a_stop_is_repeated_when_the_connection_drops_behind_it(dial: Dial, ack: str) -> None:
    line = await dial({"every": {"cuts": [{"at_stop": True, "ack": ack, "times": 1}], "end_delay_s": 0.1}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert not any(session.open for session in line.sessions)


async def test_audio_and_stop_given_before_the_socket_is_open_are_sent(dial: Dial) -> None:
    line = await dial({"every": {"upgrade_delay_s": 0.2}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)


async def test_a_flapping_connection_is_not_hammered(dial: Dial) -> None:
    """Each attempt waits longer than the one before, although every one of them succeeds at first."""
    line = await dial({"every": {"cuts": [{"at_byte": 0, "code": 1011, "times": 10_000}]}}, LinkOptions())
    await line.say(WORDS)
    await asyncio.sleep(1.5)
    assert 2 <= line.sessions[0].connections <= 5
    await line.finish(0.2)


async def test_a_server_that_stops_reading_is_left_and_its_audio_said_again(dial: Dial) -> None:
    line = await dial({"sessions": {"1": {"stop_reading_at_byte": 20_000}}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len(line.sessions) >= 1


async def test_a_server_that_acknowledges_nothing_still_gives_every_word(dial: Dial) -> None:
    line = await dial({"every": {"acks": {"lose_after_byte": 0}}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)


@pytest.mark.parametrize("acks", [{"delay_s": 0.2}, {"lag_bytes": 20_000}, {"lose": [1]}, {"lose": [1, 2, 3]}], ids=str)
@pytest.mark.parametrize("unacknowledged", ["forget", "keep"])
async def test_late_and_lost_acknowledgements_round_a_cut(
    dial: Dial, acks: dict[str, Any], unacknowledged: str
) -> None:
    faults = {"acks": acks, "unacknowledged": unacknowledged, "cuts": [{"at_byte": 30_000, "times": 2}]}
    line = await dial({"every": faults}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.005)
    assert (await line.finish()).complete
    assert lies_right(line)


async def test_half_a_sample_more_or_less_makes_no_noise(dial: Dial) -> None:
    """A provider that kept half a sample cannot be continued; a new session can."""
    faults = {"cuts": [{"at_byte": 20_001, "ack": "before"}], "unacknowledged": "keep"}
    line = await dial({"sessions": {"1": faults}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.002)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len(line.sessions) == 2
    await line.all_ended()


async def test_a_refused_second_connection_leads_to_a_new_session(dial: Dial) -> None:
    line = await dial({"sessions": {"1": {"second_connection": "refuse", "stop_reading_at_byte": 9600}}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)


# --- the session ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_session_lost_at_a_resume_is_replaced_and_nothing_is_missing(dial: Dial, status: int) -> None:
    lost = {"cuts": [{"at_byte": 30_000}], "upgrade": [{"status": status, "after": 1}]}
    line = await dial({"sessions": {"1": lost}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.002)
    outcome = await line.finish()
    assert outcome.complete
    assert lies_right(line)
    assert [report.outcome for report in line.reports if report.over] == ["lost", "closed"]
    assert outcome.counts.lost_sessions == 1
    assert outcome.resent_samples > 0


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_resume_refused_for_now_is_tried_again(dial: Dial, status: int) -> None:
    refused = {"cuts": [{"at_byte": 30_000}], "upgrade": [{"status": status, "after": 1, "count": 3}]}
    line = await dial({"every": refused}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.002)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len(line.sessions) == 1


@pytest.mark.parametrize("code", [None, 1000, 1001, 1011, 4408, 4500])
async def test_a_session_cut_off_at_its_maximum_duration_has_a_successor(dial: Dial, code: int | None) -> None:
    faults: dict[str, Any] = {"max_duration_s": 1.0}
    if code is not None:
        faults["max_duration_code"] = code
    line = await dial({"sessions": {"1": faults}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.002)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len(line.complaints) <= 1  # a refused chunk is no news after the first


async def test_the_only_place_of_an_account_is_given_back_before_a_successor_needs_it(dial: Dial) -> None:
    lost = {"cuts": [{"at_byte": 30_000, "code": 4409}]}
    line = await dial({"max_sessions": 1, "sessions": {"1": lost}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.002)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len(line.sessions) == 2


async def test_a_provider_that_ends_while_nobody_is_connected_is_asked_for_its_result(dial: Dial) -> None:
    """The stop got through, then the line was cut, and the session was over before we were back."""
    faults = {
        "cuts": [{"at_stop": True, "ack": "after"}],
        "undelivered": "lose",
        "upgrade": [{"status": 503, "after": 1}],
    }
    line = await dial({"every": faults}, QUICK)
    await line.say(WORDS, pauses=PAUSES, tail_s=0.0)
    assert (await line.finish(4.0)).complete
    assert lies_right(line)


# --- what it says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "finals",
    [{"repeated": [1, 2, 4]}, {"delay_s": 0.2}, {"stale_partials": True}, {"repeated": [2], "stale_partials": True}],
    ids=str,
)
async def test_repeated_late_and_outdated_messages_change_nothing(dial: Dial, finals: dict[str, Any]) -> None:
    line = await dial({"every": {"finals": finals}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert lies_right(line)
    final_at = {
        final.id: line.events.index(next(e for e in line.events if getattr(e, "utterance", None) is final))
        for final in line.finals
    }
    for event in line.events:
        utterance = getattr(event, "utterance", None)
        if utterance is not None and not utterance.is_final:
            assert line.events.index(event) < final_at[utterance.id]


async def test_a_withheld_final_comes_with_the_result(dial: Dial) -> None:
    line = await dial({"every": {"finals": {"missing": [2, 3]}}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    assert (await line.finish()).complete
    assert sorted(line.words) == SAID
    assert len(line.finals) == 4


async def test_ids_that_restart_are_not_used_twice(dial: Dial) -> None:
    line = await dial({"every": {"cuts": [{"at_byte": 40_000}], "restart_ids": True}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.003)
    assert (await line.finish()).complete
    assert lies_right(line)
    assert len({final.id for final in line.finals}) == len(line.finals)


async def test_partials_that_get_no_final_are_taken_back(dial: Dial) -> None:
    """Every id that was shown is either final or retracted in the end."""
    line = await dial({"every": {"cuts": [{"at_byte": n} for n in (9_000, 25_000, 43_000)]}}, QUICK)
    await line.say(WORDS, pauses=PAUSES, pace=0.005)
    assert (await line.finish()).complete
    shown = {event.utterance.id for event in line.events if hasattr(event, "utterance")}
    assert shown == {final.id for final in line.finals} | set(line.retracted)
    assert not {final.id for final in line.finals} & set(line.retracted)


@pytest.mark.parametrize("kind", ["unknown", "error", "malformed", "incomplete", "start_session"])
async def test_odd_messages_deafen_nobody(dial: Dial, kind: str) -> None:
    line = await dial({"every": {"inject": [{"kind": kind, "at_byte": at} for at in (0, 10_000, 20_000)]}}, QUICK)
    await line.say(WORDS, pauses=PAUSES)
    outcome = await line.finish()
    assert outcome.complete
    assert lies_right(line)
    assert outcome.counts.malformed == (3 if kind in ("malformed", "incomplete") else 0)
    assert len(line.complaints) == outcome.counts.complaints == (3 if kind == "error" else 0)

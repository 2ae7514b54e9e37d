"""Finals go to the database first, then to the watchers, in order, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from support.recording import Desk

from gateway.transcription.usecases.record import Recorder


async def test_a_final_is_kept_and_then_shown() -> None:
    """With the speaker's row, which may have come later than the words."""
    desk = Desk()
    async with desk.at_work(resolved=False):
        desk.put(1)
        await asyncio.sleep(5)
        assert (desk.stored, desk.shown, desk.recorder.pending) == ([], [], 1)
        desk.participant.set_result("participant-7")
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        assert (desk.stored, desk.shown) == ([1], [1])
        assert desk.records.stored("abc")[0].participant_id == "participant-7"
        assert (desk.recorder.stored, desk.recorder.pending) == (1, 0)


async def test_nothing_is_shown_before_it_is_kept() -> None:
    """The database is away for a minute: watchers wait, then get everything in order, once."""
    desk = Desk()
    async with desk.at_work():
        desk.records.down = True
        for seq in range(1, 31):
            desk.put(seq)
            await asyncio.sleep(2)
            assert desk.shown == []
        assert desk.recorder.behind_s == pytest.approx(60, abs=3)
        assert desk.recorder.pending == 30
        desk.records.down = False
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        assert desk.stored == desk.shown == list(range(1, 31))
        assert desk.recorder.behind_s == 0


async def test_a_burst_is_written_in_few_statements() -> None:
    desk = Desk()
    async with desk.at_work():
        desk.put(*range(1, 3 * Recorder.BATCH + 1))
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        assert desk.records.finals.calls == 3
        assert desk.shown == list(range(1, 3 * Recorder.BATCH + 1))


async def test_a_full_queue_makes_the_sources_wait() -> None:
    """Room comes back when the database does; nothing is dropped for it."""
    desk = Desk(limit=10)
    async with desk.at_work():
        await desk.recorder.room()
        desk.records.down = True
        desk.put(1)
        await asyncio.sleep(1)  # the writer has taken that one
        desk.put(*range(2, 12))
        waiting = asyncio.create_task(desk.recorder.room())
        await asyncio.sleep(60)
        assert not waiting.done()
        desk.records.down = False
        await asyncio.wait_for(waiting, 5)
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        assert desk.stored == list(range(1, 12))


async def test_a_stale_owners_finals_are_dropped_and_it_is_told() -> None:
    """Another replica took over: what we would write is refused, and no watcher sees it."""
    desk = Desk()
    told: list[str] = []
    desk.recorder.on_fenced = told.append
    async with desk.at_work():
        desk.put(1)
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        desk.records.steal("abc", "somebody else")
        desk.put(2, 3)
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        assert (desk.stored, desk.shown) == ([1], [1])
        assert told == [desk.claimed.lease.transcription_id]
        assert desk.recorder.pending == 0


@pytest.mark.parametrize("by_app", [False, True], ids=["by us", "by the app"])
async def test_finals_of_a_deleted_session_are_refused_and_its_run_is_told(by_app: bool) -> None:
    """They do not hold up those of others in the same batch. What we delete has no lease left; what the app deletes
    has, and so the session is named."""
    desk = Desk()
    fenced: list[str] = []
    gone: list[str] = []
    desk.recorder.on_fenced, desk.recorder.on_gone = fenced.append, gone.append
    async with desk.at_work():
        other = await desk.records.sessions.create("other", None, None)
        claimed, _ = await desk.records.leases.claim(other, "rtmp", {}, None, "me", 30)
        assert claimed is not None
        desk.records.down = True
        desk.put(1)
        desk.put(1, claimed=claimed)
        if by_app:
            desk.records.delete_session_in_app("other")
        else:
            desk.records.delete_session("other")
        await asyncio.sleep(3)
        desk.records.down = False
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        await desk.recorder.settled(claimed.lease.transcription_id)
        assert desk.stored == desk.shown == [1]
        assert fenced == ([] if by_app else [claimed.lease.transcription_id])
        assert gone == ([claimed.session_id] if by_app else [])


async def test_settled_waits_for_its_own_transcription_only() -> None:
    desk = Desk()
    async with desk.at_work():
        desk.records.down = True
        desk.put(1)
        await asyncio.wait_for(desk.recorder.settled("somebody else's"), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.recorder.settled(desk.claimed.lease.transcription_id), 100)


async def test_a_writer_that_is_stopped_loses_nothing_it_has_shown() -> None:
    """Cancelled while the database is away: everything shown is kept."""
    desk = Desk()
    async with desk.at_work():
        desk.put(1)
        await desk.recorder.settled(desk.claimed.lease.transcription_id)
        desk.records.down = True
        desk.put(2)
        await asyncio.sleep(1)
    assert (desk.stored, desk.shown) == ([1], [1])


async def test_the_hops_of_a_final_add_up() -> None:
    """Five seconds from its words to the provider's message, then two that the speaker's row takes."""
    desk = Desk()
    async with desk.at_work(resolved=False):
        await asyncio.sleep(6)
        desk.put(1)
        await asyncio.sleep(2)
        desk.participant.set_result("participant-1")
        await desk.settled()
    read = desk.recorder.delays.registry.get_sample_value
    heard, durable, shown, whole = (
        read("gateway_hop_seconds_sum", {"hop": f"final_{hop}"}) or 0.0
        for hop in ("heard", "durable", "shown", "end_to_end")
    )
    assert (heard, durable, shown) == (pytest.approx(5), pytest.approx(2), pytest.approx(2))
    assert whole == heard + shown
    [timing] = desk.passage.timeline.finals()
    assert (timing.provider_ms, timing.durable_ms, timing.watchers_ms) == (5_000, 2_000, 0)
    assert (timing.source_ms, timing.socket_ms, timing.end_to_end_ms) == (None, None, 7_000)

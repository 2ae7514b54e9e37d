"""One provider session: what it does next, and where its patience ends."""

from __future__ import annotations

import pytest

from stt.backoff import Backoff
from stt.errors import ProviderFull, ProviderRefused, ProviderUnavailable
from stt.gladia import messages as wire
from stt.gladia.moves import CONNECTED, ProviderEnd, SessionState
from stt.gladia.options import LinkOptions
from stt.gladia.retained import Retained
from stt.gladia.session import Connect, Create, Done, Fetch, Session, Wait

OPTIONS = LinkOptions(backoff=Backoff(1.0, 2.0, 8.0))
CHUNK = 1600


def session(options: LinkOptions = OPTIONS, seconds: float = 0.0, now: float = 0.0) -> tuple[Session, Retained]:
    """A session and its audio, `seconds` of it there already."""
    audio = Retained(1_000_000)
    if seconds:
        audio.append(0, bytes(round(seconds * 16_000) * 2))
    return Session(audio, 0, options, now, lambda: 0.0), audio


def streaming(options: LinkOptions = OPTIONS, seconds: float = 0.0) -> tuple[Session, Retained]:
    one, audio = session(options, seconds)
    one.created("id", "ws://x", 0.0)
    one.opened(0.0)
    return one, audio


@pytest.mark.parametrize("state", sorted(CONNECTED, key=lambda state: state.name), ids=lambda state: state.name)
@pytest.mark.parametrize("code", [None, 1000, 1001, 1011, 4400, 4408, 4500])
@pytest.mark.parametrize("stop_was_sent", [False, True])
def test_whatever_ends_a_connection_is_a_move_that_exists(
    state: SessionState, code: int | None, stop_was_sent: bool
) -> None:
    one, audio = streaming(seconds=0.1)
    assert one.take(0.0)
    if stop_was_sent or state is SessionState.FLUSHING:
        one.finish(CHUNK, 0.0, 100.0)
        assert one.take(0.0) == wire.STOP
    if state is not SessionState.FLUSHING:
        one.dropped(None, 1.0)
        one.opened(2.0)
        if state is SessionState.STREAMING:
            assert isinstance(one.take(2.0), bytes)
            one.acknowledged(0, (CHUNK - 1) * 2, 2.0)
    assert one.state is state
    one.ended(3.0) if code is None else one.dropped(code, 3.0)
    assert one.state not in CONNECTED
    one.ended(4.0)
    one.dropped(code, 4.0)
    assert one.turned_away(4.0) is False
    one.acknowledged(0, 10, 4.0)
    assert audio.held == CHUNK


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 410, 429, 500, 503, None])
def test_a_refused_upgrade_is_final_only_when_waiting_cannot_help(status: int | None) -> None:
    one, _ = session()
    one.created("id", "ws://x", 0.0)
    one.dropped(status, 0.0)
    lost = status in (400, 401, 403, 404, 410)
    assert one.state is (SessionState.LOST if lost else SessionState.CONNECTING)
    assert one.is_waiting is (status == 429)
    assert (one.provider_end is ProviderEnd.ENDED) is (status in (404, 410))


# --- outside a connection ---------------------------------------------------------------------------------------


def test_a_post_is_tried_again_with_growing_pauses() -> None:
    one, _ = session()
    assert one.step(0.0) == Create(float("inf"))
    now, pauses = 0.0, []
    for _ in range(6):
        one.not_created(ProviderUnavailable("no"), now)
        step = one.step(now)
        assert isinstance(step, Wait)
        pauses.append(step.until - now)
        now = step.until
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert isinstance(one.step(now), Create)


def test_a_full_account_is_asked_at_most_once_a_second() -> None:
    one, _ = session(LinkOptions(backoff=Backoff(0.01, 2.0, 0.1)))
    one.not_created(ProviderFull(), 5.0)
    assert one.is_waiting
    assert one.step(5.0) == Wait(6.0)
    one.created("id", "ws://x", 6.0)
    assert not one.is_waiting


def test_a_refusal_is_the_end() -> None:
    one, _ = session()
    one.not_created(ProviderRefused(401, "no"), 0.0)
    assert isinstance(one.step(0.0), Done)
    assert one.refused is not None
    assert one.state is SessionState.CLOSED


def test_what_remains_until_the_deadline_bounds_every_request() -> None:
    one, _ = session(seconds=0.1)
    one.finish(CHUNK, 0.0, 8.0)
    assert one.step(0.0) == Create(8.0)
    one.created("id", "ws://x", 5.0)
    assert one.step(5.0) == Connect("ws://x", 3.0)
    assert isinstance(one.step(8.0), Done)
    assert one.provider_end is not ProviderEnd.COMPLETE


def test_a_session_that_cannot_be_resumed_in_time_is_lost() -> None:
    one, _ = streaming(seconds=0.1)
    one.take(0.0)
    now = 0.0
    one.dropped(1011, now)
    while one.state is SessionState.CONNECTING:
        step = one.step(now)
        if isinstance(step, Wait):
            now = step.until
        elif isinstance(step, Connect):
            one.dropped(None, now)
    assert one.state is SessionState.LOST
    assert 30.0 <= now <= 31.0


def test_what_is_waited_for_has_come_when_the_wait_is_over() -> None:
    """Sums and differences of times round differently: a wait that ends where it began would never end."""
    for tenth in range(2000):
        begin = 1000 + tenth * 0.1
        one, _ = session(seconds=0.1, now=begin)
        one.created("id", "ws://x", begin)
        one.dropped(None, begin)
        now = begin
        while isinstance(step := one.step(now), Wait | Connect):
            if isinstance(step, Wait):
                assert step.until > now
                now = step.until
            else:
                one.dropped(None, now)
        assert one.state is SessionState.LOST


def test_the_result_is_asked_for_until_patience_ends_and_then_the_rest_is_said_again() -> None:
    one, _ = streaming(seconds=0.1)
    one.finish(CHUNK, 0.0, 1000.0)
    one.take(0.0)
    one.take(0.0)
    one.dropped(None, 0.0)
    one.dropped(403, 1.0)
    asked, now = 0, 1.0
    while not isinstance(step := one.step(now), Done):
        if isinstance(step, Fetch):
            asked += 1
            one.fetched(wire.SessionResult("id", "processing"), now)
        elif isinstance(step, Wait):
            now = step.until
    assert one.state is SessionState.LOST
    assert asked >= 3
    assert now == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("status", "seconds", "state"),
    [
        ("done", 0.1, SessionState.CLOSED),
        ("done", 0.05, SessionState.LOST),
        ("done", 0.2, SessionState.LOST),
        ("done", None, SessionState.LOST),
        ("error", 0.1, SessionState.LOST),
    ],
)
def test_a_result_counts_when_it_covers_what_was_sent(status: str, seconds: float | None, state: SessionState) -> None:
    """Without a length nothing proves that it does, when the connection was cut."""
    one, _ = streaming(seconds=0.1)
    one.finish(CHUNK, 0.0, 1000.0)
    one.take(0.0)
    one.take(0.0)
    one.dropped(None, 0.0)
    one.opened(1.0)
    one.dropped(403, 1.0)
    one.fetched(wire.SessionResult("id", status, wire.Result(wire._Metadata(audio_duration=seconds))), 1.0)
    assert one.state is state
    assert (one.provider_end is ProviderEnd.COMPLETE) is (state is SessionState.CLOSED)


# --- inside a connection ----------------------------------------------------------------------------------------


def test_a_backlog_goes_out_in_pieces_of_a_second() -> None:
    one, _ = streaming(seconds=2.5)
    sizes = [len(message) for _ in range(3) if isinstance(message := one.take(0.0), bytes)]
    assert sizes == [32_000, 32_000, 16_000]
    assert one.take(0.0) is None


def test_a_keepalive_goes_out_when_nothing_was_sent_for_long() -> None:
    one, _ = streaming()
    assert one.take(19.9) is None
    assert one.take(20.0) == wire.KEEPALIVE
    assert one.take(20.1) is None
    assert one.wake_at == 40.0


def test_a_connection_without_answers_is_left_and_at_the_second_time_the_session() -> None:
    one, _ = streaming(seconds=0.1)
    one.take(0.0)
    assert one.tick(9.9) is False
    assert one.tick(10.0) is True
    one.dropped(None, 10.0)
    one.opened(11.0)
    one.take(11.0)
    assert one.tick(21.0) is True
    one.dropped(None, 21.0)
    assert one.state is SessionState.LOST


def test_words_are_a_sign_of_life_where_acknowledgements_are_not() -> None:
    one, _ = streaming(seconds=0.1)
    one.take(0.0)
    one.feed.alive(8.0)
    assert one.tick(12.0) is False
    one.acknowledged(0, CHUNK * 2, 12.0)
    assert one.tick(1000.0) is False


def test_an_inclusive_end_of_an_acknowledgement_is_no_stall() -> None:
    """One document counts the last byte in, the others do not."""
    one, _ = streaming(seconds=0.1)
    one.take(0.0)
    one.acknowledged(0, CHUNK * 2 - 1, 1.0)
    assert one.tick(1000.0) is False


def test_after_a_cut_the_first_message_goes_alone_until_its_acknowledgement() -> None:
    one, audio = streaming(seconds=1.0)
    one.take(0.0)
    one.acknowledged(0, 16_000, 0.0)
    audio.append(16_000, bytes(32_000))
    one.take(0.0)
    one.dropped(None, 0.0)
    one.opened(1.0)
    probe = one.take(1.0)
    assert isinstance(probe, bytes)
    assert len(probe) == 31_998
    assert one.take(1.1) is None
    assert not one.feed.resume.is_placed
    # The provider had kept 4000 of the samples it had not acknowledged.
    one.acknowledged(24_000, 24_000 + 31_998, 1.2)
    assert one.feed.resume.is_placed
    assert one.feed.timeline.to_track(11_999) == 11_999
    assert one.feed.timeline.to_track(12_000) == 0
    assert isinstance(one.take(1.2), bytes)


@pytest.mark.parametrize("begin", [-2, 7000, 90_000, 16_001])
def test_a_count_that_makes_no_sense_costs_the_session(begin: int) -> None:
    one, _ = streaming(seconds=1.0)
    one.take(0.0)
    one.acknowledged(0, 16_000, 0.0)
    one.dropped(None, 0.0)
    one.opened(1.0)
    one.take(1.0)
    one.acknowledged(begin, begin + 31_998, 1.0)
    assert one.state is SessionState.LOST


@pytest.mark.parametrize("end", [-1, 0, 100, 10**30])
def test_acknowledgements_of_anything_do_no_harm(end: int) -> None:
    one, _ = streaming(seconds=1.0)
    one.take(0.0)
    one.acknowledged(0, 3200, 0.0)
    one.acknowledged(0, end, 0.0)
    assert 1600 <= one.feed.confirmed <= 16_000


def test_the_last_moments_before_the_deadline_are_for_the_result() -> None:
    one, _ = streaming(seconds=0.1)
    one.take(0.0)
    one.finish(CHUNK, 0.0, 8.0)
    assert one.take(0.0) == wire.STOP
    one.acknowledged(0, CHUNK * 2, 0.0)
    one.feed.alive(6.9)
    assert one.tick(6.9) is False
    assert one.tick(7.0) is True
    assert one.step(7.0) == Fetch("id", 1.0)
    one.fetched(None, 7.5)
    assert isinstance(one.step(8.0), Done)
    assert one.state is SessionState.CLOSED
    assert one.provider_end is not ProviderEnd.COMPLETE

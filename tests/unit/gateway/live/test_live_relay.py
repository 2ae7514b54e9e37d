"""What replicas tell each other: what a follower takes, what it misses, and whom it believes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live import relay
from gateway.live.relay import FINAL, MARK, PARTIAL, SNAPSHOT, Follower, Heard, News, Speaker
from gateway.transcription.domain.transcription import Lease

LEASE = Lease("t1", 3)


def said(speaker: Speaker, kind: str, seq: int = 0) -> News:
    news = relay.decode(speaker.news(kind, "e1", seq, "u1", b'{"text":"\xc3\xa4"}'))
    assert news is not None
    return news


def follower(speaker: Speaker) -> Follower:
    made = Follower()
    made.obey(LEASE)
    assert made.judge(said(speaker, SNAPSHOT)) is Heard.NEW
    return made


def test_data_travels_as_it_is() -> None:
    news = said(Speaker(LEASE), FINAL, 7)
    assert (news.run, news.fence, news.number, news.epoch, news.seq, news.utterance) == ("t1", 3, 1, "e1", 7, "u1")
    assert bytes(news.data) == b'{"text":"\xc3\xa4"}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'[2,"health","t1",3,1,"e1",0,"",{}]',
        b'[1,"~later","t1",3,1,"e1",0,"",{}]',
        b'[1,"health","t1","3",1,"e1",0,"",{}]',
    ],
)
def test_what_is_not_understood_is_nothing(data: bytes) -> None:
    assert relay.decode(data) is None


def test_a_later_version_may_add_fields() -> None:
    assert relay.decode(b'[1,"health","t1",3,1,"e1",0,"",{},"more"]') is not None


def test_a_lost_partial_is_not_missed_and_a_lost_event_is() -> None:
    speaker = Speaker(LEASE)
    far = follower(speaker)
    said(speaker, PARTIAL)
    assert far.judge(said(speaker, PARTIAL)) is Heard.NEW
    assert far.judge(said(speaker, FINAL, 1)) is Heard.NEW
    said(speaker, "host.changed")
    assert far.judge(said(speaker, PARTIAL)) is Heard.AFTER_LOSS
    assert not far.is_in_step
    assert far.judge(said(speaker, FINAL, 2)) is Heard.NEW  # nothing is compared until the snapshot
    assert far.judge(said(speaker, SNAPSHOT)) is Heard.NEW
    said(speaker, "health")
    assert far.judge(said(speaker, MARK)) is Heard.AFTER_LOSS


def test_doubled_messages_and_other_followers_snapshots_are_old() -> None:
    speaker = Speaker(LEASE)
    far = follower(speaker)
    event, partial = said(speaker, "translation"), said(speaker, PARTIAL)
    assert [far.judge(news) for news in (event, event, partial)] == [Heard.NEW, Heard.OLD, Heard.NEW]
    assert far.judge(said(speaker, "health")) is Heard.NEW
    assert [far.judge(news) for news in (partial, event)] == [Heard.OLD, Heard.OLD]
    assert far.judge(said(speaker, SNAPSHOT)) is Heard.OLD


def test_a_lower_fence_is_old_and_an_unknown_owner_is_looked_up() -> None:
    far = follower(Speaker(LEASE))
    assert far.judge(said(Speaker(Lease("t1", 2)), FINAL, 1)) is Heard.OLD
    assert far.judge(said(Speaker(Lease("t1", 4)), FINAL, 1)) is Heard.STRANGE
    assert far.judge(said(Speaker(Lease("t2", 1)), FINAL, 1)) is Heard.STRANGE
    assert Follower().judge(said(Speaker(LEASE), FINAL, 1)) is Heard.STRANGE
    far.obey(LEASE)
    assert far.is_in_step
    far.obey(Lease("t1", 4))
    assert not far.is_in_step


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=60))
def test_finals_come_once_in_order_however_they_arrive(arrivals: list[tuple[int, bool]]) -> None:
    far, shown = Follower(), []
    for seq, takes in [*arrivals, *((seq, True) for seq in range(1, 13))]:
        far.hold(seq, f"u{seq}", b"x", len(shown))
        if takes:
            shown += [found[0] for found in far.take(len(shown))]
    assert shown == list(range(1, 13))
    assert far.wanted == 12


def test_what_waits_is_bounded() -> None:
    far = Follower()
    for seq in range(2, 2 + 3 * relay.HELD_FINALS):
        far.hold(seq, "u", b"x" * 2_000, 0)
    far.hold(1, "u", b"x", 0)
    assert len(list(far.take(0))) == 1  # the others are read again
    assert far.wanted == 1 + 3 * relay.HELD_FINALS
    held = [found[2] for found in far.take(1 + 2 * relay.HELD_FINALS)]
    assert sum(map(len, held)) <= relay.HELD_BYTES


def test_channels_place_a_session_in_a_cluster() -> None:
    assert relay.session_channel("abc") == "gw:{abc}"
    assert relay.owner_channel("me") == "gw:r:{me}"
    question = relay.decode(relay.ask("abc"))
    assert question is not None and (question.kind, question.utterance) == (relay.ASK, "abc")
    assert msgspec.json.decode(question.data) is None

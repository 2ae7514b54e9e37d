"""Which caption goes into the room next."""

from __future__ import annotations

from ingest.livekit_captions import HELD, PARTIAL_EVERY_S, CaptionQueue, RoomCaption


def caption(segment: str, text: str, *, final: bool = False, who: str = "anna") -> RoomCaption:
    return RoomCaption(who, "TR_1", segment, text, final)


def texts(queue: CaptionQueue, now: float) -> list[str]:
    taken = []
    while (one := queue.take(now)) is not None:
        taken.append(one.text)
    return taken


def test_a_speakers_partials_are_throttled_and_the_newest_is_sent() -> None:
    queue = CaptionQueue()
    queue.put(caption("a", "one"))
    assert texts(queue, 0.0) == ["one"]
    queue.put(caption("a", "one two"))
    queue.put(caption("a", "one two three"))
    assert texts(queue, 0.1) == []
    assert queue.wait_s(0.1) == PARTIAL_EVERY_S - 0.1
    assert texts(queue, PARTIAL_EVERY_S) == ["one two three"]
    assert queue.wait_s(1.0) is None


def test_one_speakers_partials_do_not_hold_back_anothers() -> None:
    queue = CaptionQueue()
    queue.put(caption("a", "anna 1"))
    assert texts(queue, 0.0) == ["anna 1"]
    queue.put(caption("a", "anna 2"))
    queue.put(caption("b", "bob 1", who="bob"))
    assert texts(queue, 0.1) == ["bob 1"]


def test_a_final_goes_at_once_and_replaces_its_partial() -> None:
    queue = CaptionQueue()
    queue.put(caption("a", "one"))
    assert texts(queue, 0.0) == ["one"]
    queue.put(caption("a", "one two"))
    queue.put(caption("a", "One two.", final=True))
    queue.put(caption("a", "late"))
    assert queue.wait_s(0.1) == 0.0
    assert texts(queue, 0.1) == ["One two."]


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    queue = CaptionQueue()
    for n in range(HELD + 3):
        queue.put(caption(str(n), str(n), final=True))
    assert queue.dropped == 3
    assert texts(queue, 0.0)[0] == "3"


def test_who_comes_back_is_not_held_to_old_times() -> None:
    queue = CaptionQueue()
    queue.put(caption("a", "one"))
    texts(queue, 0.0)
    queue.forget("anna")
    queue.put(caption("b", "two"))
    assert texts(queue, 0.0) == ["two"]

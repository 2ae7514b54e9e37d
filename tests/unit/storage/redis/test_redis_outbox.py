from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from storage.redis.counters import Counters
from storage.redis.outbox import Message, Outbox

ALL = 10**9


def message(
    text: str, overtakes: str | None = None, *, channel: str = "c", since: float = 0.0, size: int = 0
) -> Message:
    return Message(channel.encode(), text.encode().ljust(size), overtakes, since)


def texts(batch: list[Message]) -> list[str]:
    return [one.data.decode().strip() for one in batch]


def test_in_order_and_a_partial_stands_where_its_newest_was_put() -> None:
    counters = Counters()
    outbox = Outbox(counters)
    for one in (
        message("p1", "u"),
        message("f1"),
        message("p2", "u"),
        message("q1", "v"),
        message("p1'", "u", channel="other"),
    ):
        outbox.put(one)
    assert texts(outbox.take(0, ALL)) == ["f1", "p2", "q1", "p1'"]
    assert (counters.overtaken, counters.dropped) == (1, 0)
    outbox.put(message("p3", "u"))  # its forerunner is under way already
    assert texts(outbox.take(0, ALL)) == ["p3"]
    assert counters.overtaken == 1 and outbox.size == 0


def test_partials_go_first_then_the_oldest() -> None:
    counters = Counters()
    room = message("x", size=100).size
    outbox = Outbox(counters, limit=3 * room)
    for one in (message("f1", size=100), message("p1", "u", size=100), message("p2", "v", size=100)):
        outbox.put(one)
    outbox.put(message("f2", size=100))
    outbox.put(message("f3", size=100))
    assert counters.dropped == 2
    outbox.put(message("larger than all", size=10_000))
    assert counters.dropped == 3
    assert texts(outbox.take(0, ALL)) == ["f1", "f2", "f3"]
    for number in range(4):
        outbox.put(message(f"f{number}", size=100))
    assert counters.dropped == 4
    assert texts(outbox.take(0, ALL)) == ["f1", "f2", "f3"]


def test_who_waited_too_long_is_not_sent() -> None:
    counters = Counters()
    outbox = Outbox(counters, oldest_s=1.0)
    outbox.put(message("old", "u", since=0.0))
    outbox.put(message("at the edge", since=1.0))
    assert texts(outbox.take(2.0, ALL)) == ["at the edge"]


def test_where_room_is_short_the_too_old_go_before_partials() -> None:
    counters = Counters()
    outbox = Outbox(counters, limit=2 * message("x").size + 10, oldest_s=1.0)
    outbox.put(message("old", since=3.0))
    outbox.put(message("new", "u", since=5.0))
    outbox.put(message("newer", since=5.0))
    assert counters.dropped == 1
    assert texts(outbox.take(5.0, ALL)) == ["new", "newer"]


def test_a_pipeline_has_a_size_and_at_least_one() -> None:
    outbox = Outbox(Counters())
    for number in range(4):
        outbox.put(message(str(number), size=100))
    assert texts(outbox.take(0, 1)) == ["0"]
    assert texts(outbox.take(0, message("x", size=100).size + 1)) == ["1", "2"]
    assert texts(outbox.take(0, ALL)) == ["3"]
    assert outbox.take(0, ALL) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "take"]),
            st.sampled_from([None, "u", "v", "w"]),
            st.integers(0, 300),
            st.floats(0, 0.7),
        ),
        max_size=60,
    )
)
def test_bounded_in_order_and_every_message_accounted_for(steps: list[tuple[str, str | None, int, float]]) -> None:
    counters = Counters()
    outbox = Outbox(counters, limit=1_000)
    now, put, out = 0.0, 0, []
    for step, key, size, passed in steps:
        now += passed
        if step == "put":
            outbox.put(Message(b"c", b"%d" % put + b" " * size, key, now))
            put += 1
        else:
            out += [(now, one) for one in outbox.take(now, 400)]
        assert 0 <= outbox.size <= 1_000
        assert outbox.size == sum(one.size for one in outbox._waiting.values())
    assert put == len(out) + len(outbox) + counters.dropped + counters.overtaken
    numbers = [int(one.data) for _, one in out]
    assert numbers == sorted(numbers)
    assert all(taken - one.since <= 1.0 for taken, one in out)

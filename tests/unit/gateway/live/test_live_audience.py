"""Who keeps up is written to in one call, the others one by one; in a round everybody gets everything once."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from gateway.live.audience import BUFFERED, NO_DESCRIPTOR, Audience


class Listener:
    def __init__(self, number: int) -> None:
        self.fast_index = BUFFERED
        self.descriptor = number
        self.is_quick = True
        self.takes_all = True
        self.heard: list[int] = []

    def keeps_up(self, first_seq: int) -> bool:
        return self.is_quick


class Hall:
    """An audience of numbered listeners; news are numbered, too. A telling is one byte."""

    def __init__(self) -> None:
        self.audience: Audience[Listener] = Audience(self._send_all)
        self.here: dict[int, Listener] = {}
        self.calls = 0
        self._came = 0

    def _send_all(self, descriptors: array[int], begin: int, end: int, data: bytes) -> list[tuple[int, int]]:
        self.calls += 1
        short = []
        for index in range(begin, end):
            if descriptors[index] == NO_DESCRIPTOR:
                continue
            listener = self.here[descriptors[index]]
            if listener.takes_all:
                listener.heard.append(data[0])
            else:
                short.append((index, 0))
        return short

    def come(self) -> Listener:
        listener = self.here[self._came] = Listener(self._came)
        self._came += 1
        self.audience.add(listener)
        return listener

    def go(self, listener: Listener) -> None:
        self.audience.remove(listener)
        del self.here[listener.descriptor]

    def turn(self, news: int, most: int) -> None:
        told, short = self.audience.send_fast(bytes([news]), most)
        for listener, _ in short:
            listener.heard.append(news)  # the rest goes through its transport
        for listener in self.audience.next_buffered(most - told):
            listener.heard.append(news)


def test_those_who_keep_up_are_written_to_in_one_call() -> None:
    hall = Hall()
    listeners = [hall.come() for _ in range(10)]
    listeners[3].is_quick = False
    hall.audience.begin(1)
    assert hall.audience.send_fast(b"\1", 100) == (9, [])
    assert hall.audience.next_buffered(100) == [listeners[3]]
    assert hall.audience.is_served
    assert hall.calls == 1
    assert len(hall.audience) == len(list(hall.audience)) == 10


def test_who_does_not_take_all_is_buffered_until_it_keeps_up_again() -> None:
    hall = Hall()
    first, second = hall.come(), hall.come()
    first.takes_all = False
    hall.audience.begin(1)
    assert hall.audience.send_fast(b"\1", 100) == (2, [(first, 0)])
    first.is_quick = False
    hall.audience.begin(2)
    assert hall.audience.send_fast(b"\2", 100) == (1, [])
    assert hall.audience.next_buffered(100) == [first]
    first.is_quick = first.takes_all = True
    hall.audience.begin(3)
    assert hall.audience.send_fast(b"\3", 100) == (2, [])
    assert second.heard == [1, 2, 3]


def test_the_fast_path_does_not_grow_by_those_who_left() -> None:
    hall = Hall()
    kept = [hall.come() for _ in range(3)]
    for _ in range(100):
        passing = hall.come()
        hall.audience.begin(1)
        told, _ = hall.audience.send_fast(b"\1", 100)
        assert told == len(hall.here)
        hall.go(passing)
    assert list(hall.audience) == kept


happenings = st.lists(
    st.sampled_from(["come", "go", "leave", "slow", "quick", "short", "turn", "turn", "turn"]), max_size=60
)


@given(st.integers(0, 12), happenings, st.data())
def test_whatever_happens_between_turns_everybody_hears_everything_once(
    at_first: int, plan: list[str], data: st.DataObject
) -> None:
    """Whoever was there when a round began, and stayed; who came later hears nothing of it."""
    hall = Hall()
    for _ in range(at_first):
        hall.come()
    owed: dict[int, list[int]] = {number: [] for number in hall.here}
    news = 0

    def begin() -> None:
        nonlocal news
        news += 1
        hall.audience.begin(news)
        for number in hall.here:
            owed.setdefault(number, []).append(news)

    begin()
    for what in [*plan, *["turn"] * 40]:
        some = data.draw(st.sampled_from(sorted(hall.here))) if hall.here else None
        match what:
            case "come":
                owed[hall.come().descriptor] = []
            case "turn":
                hall.turn(news, most=3)
                if hall.audience.is_served:
                    hall.audience.end()
                    begin()
            case _ if some is None:
                pass
            case "go":
                hall.go(hall.here[some])
            case "leave":
                hall.audience.leave_fast_path(hall.here[some])
            case "slow" | "quick":
                hall.here[some].is_quick = what == "quick"
            case "short":
                hall.here[some].takes_all = not hall.here[some].takes_all
    while not hall.audience.is_served:
        hall.turn(news, most=3)
    for number, listener in hall.here.items():
        assert listener.heard == owed[number]

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from storage.redis.confirmations import Confirmations, Confirmed

A, B = b"a", b"b"


def test_live_from_the_confirmation_to_the_wish_to_leave() -> None:
    state = Confirmations()
    state.ask(True, A)
    assert A not in state.live and state.is_coming(A)
    assert state.confirmed(True, A) is Confirmed.LIVE
    assert A in state.live and not state.is_coming(A)
    state.ask(False, A)
    assert A not in state.live
    assert state.confirmed(False, A) is Confirmed.NOTHING


def test_a_confirmation_that_is_overtaken_by_a_later_wish_means_nothing() -> None:
    state = Confirmations()
    for on in (True, False, True):
        state.ask(on, A)
        assert state.is_coming(A) is on
    assert [state.confirmed(on, A) for on in (True, False)] == [Confirmed.NOTHING] * 2
    assert A not in state.live
    assert state.confirmed(True, A) is Confirmed.LIVE


def test_what_was_not_asked_for_happened_behind_our_back() -> None:
    state = Confirmations()
    state.ask(True, A)
    state.confirmed(True, A)
    assert state.confirmed(True, A) is Confirmed.HOLE
    assert state.confirmed(True, B) is Confirmed.NOTHING
    assert state.confirmed(False, A) is Confirmed.LOST
    assert state.confirmed(False, A) is Confirmed.NOTHING
    assert not state.live


def test_a_refusal_belongs_to_the_oldest_command() -> None:
    state = Confirmations()
    assert state.refused() is None
    for on, channel in ((True, A), (True, B), (False, A), (False, B)):
        state.ask(on, channel)
    assert state.refused() is None  # nobody wants A any more
    state.confirmed(True, B)
    assert state.refused() is None and state.refused() is None
    state.ask(True, B)
    assert state.refused() == B and not state.is_coming(B)


@given(
    st.lists(
        st.tuples(st.sampled_from(["want", "leave", "serve", "refuse", "move"]), st.sampled_from([A, B, b"c"])),
        max_size=60,
    )
)
def test_whatever_the_order_it_ends_with_what_the_server_has(steps: list[tuple[str, bytes]]) -> None:
    """Against a server that confirms late, refuses, and takes channels away."""
    state = Confirmations()
    commands: deque[tuple[bool, bytes]] = deque()
    replies: deque[tuple[str, bool, bytes]] = deque()
    subscribed: set[bytes] = set()

    def serve(*, refuse: bool = False) -> None:
        if not commands:
            return
        on, channel = commands.popleft()
        if refuse and on:
            replies.append(("error", on, channel))
            return
        (subscribed.add if on else subscribed.discard)(channel)
        replies.append(("confirmed", on, channel))

    def hear() -> None:
        kind, on, channel = replies.popleft()
        if kind == "error":
            assert state.refused() in (channel, None)
        else:
            state.confirmed(on, channel)

    wanted: dict[bytes, bool] = {}
    for step, channel in steps:
        match step:
            case "want" | "leave":
                if wanted.get(channel, False) != (step == "want"):
                    wanted[channel] = step == "want"
                    state.ask(wanted[channel], channel)
                    commands.append((wanted[channel], channel))
            case "move":
                if channel in subscribed:
                    subscribed.discard(channel)
                    replies.append(("confirmed", False, channel))
            case _:
                serve(refuse=step == "refuse")
                if replies:
                    hear()
        assert all(wanted.get(one) for one in state.live)
    while commands:
        serve()
    while replies:
        hear()
    assert state.live == subscribed & {one for one, on in wanted.items() if on}
    assert not any(state.is_coming(one) for one in (A, B, b"c"))

"""The link in every order of events: no word is lost or doubled, memory is bounded, nothing is ever out of order."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from stt_gladia_world import MOST_SESSIONS, World

from stt.gladia import messages as wire
from stt.gladia.link import Link
from stt.gladia.moves import LinkState
from stt.gladia.options import LinkOptions

_CODES = [None, None, 1001, 1011, 4500]
_CHATTER = [wire.Ignored("x"), wire.Complaint("error", "?"), wire.AudioAcknowledged(0, 3200), wire.StopAcknowledged()]


def live(seed: int) -> World:
    """One random life of a link, as a shell, a network and a provider might play it."""
    dice = random.Random(seed)
    gated = seed % 2 == 1
    world = World(seed, dice.randint(3, 40), gated=gated)
    trouble = dice.choice((0.02, 0.1, 0.3))
    for _ in range(dice.randint(10, 120)):
        world.speak(dice.choice((0, 1, 1, 2, 10)))
        world.wait(dice.choice((0.0, 0.01, 0.1, 0.1, 0.6)))
        many = dice.choice((0, 1, 2, 50))
        world.turn(
            dice.choice((0, 1, 3, 50)), dice.choice((0, 1, 3, 50)), many, dice.choice((0, 1, 3, 50)),
            lost=dice.random() < trouble / 2,
        )  # fmt: skip
        if dice.random() < trouble:
            world.cut(dice.choice(_CODES), keep=dice.random() < 0.5, replay=dice.random() < 0.5)
        if dice.random() < trouble / 10:
            world.kill(dice.choice((None, 1000, 4408)))
        if dice.random() < trouble / 20:
            world.end_by_itself()
        if dice.random() < trouble:
            world.work(dice.choice(("ok", "full", "down")), 2)
        if dice.random() < trouble:
            world.chatter(dice.choice(_CHATTER))
        if dice.random() < trouble / 10:
            world.wait(5.0)
        if gated and dice.random() < 0.1:
            world.pass_time(dice.choice((0.5, 2.0, 4.0)))
        if gated and dice.random() < trouble / 10:
            world.link.renew(world.now)
        world.check()
    return world


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_every_life_ends_with_every_word_once(first: int) -> None:
    for seed in range(first, first + settings().max_examples):
        try:
            live(seed).settle()
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


class Machine(RuleBasedStateMachine):
    """The same with hypothesis at the dice, which looks for the shortest way to break it."""

    world: World

    @initialize(seed=st.integers(0, 1 << 30), count=st.integers(3, 30), chunks=st.integers(0, 40), gated=st.booleans())
    def begin(self, seed: int, count: int, chunks: int, gated: bool) -> None:
        self.world = World(seed, count, gated=gated)
        self.world.speak(chunks)
        self.world.turn(0, 0, 0, 0)

    @rule(
        chunks=st.integers(0, 10), sends=st.integers(0, 30), arrivals=st.integers(0, 30), acks=st.integers(0, 30),
        answers=st.integers(0, 30), lost=st.booleans(), seconds=st.sampled_from([0.0, 0.2, 0.6]),
    )  # fmt: skip
    def turn(self, chunks: int, sends: int, arrivals: int, acks: int, answers: int, lost: bool, seconds: float) -> None:
        self.world.speak(chunks)
        self.world.wait(seconds)
        self.world.turn(sends, arrivals, acks, answers, lost=lost)

    @rule(code=st.sampled_from(_CODES), keep=st.booleans(), replay=st.booleans(), answers=st.integers(0, 5))
    def cut(self, code: int | None, keep: bool, replay: bool, answers: int) -> None:
        self.world.cut(code, keep=keep, replay=replay)
        self.world.wait(0.3)
        self.world.turn(1, 0, 0, answers)

    @rule(code=st.sampled_from([None, 1000, 4408]))
    def kill(self, code: int | None) -> None:
        self.world.kill(code)

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0]))
    def nobody_speaks(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def renew(self) -> None:
        if len(self.world.sims) < MOST_SESSIONS:
            self.world.link.renew(self.world.now)

    @rule()
    def end_by_itself(self) -> None:
        self.world.end_by_itself()

    @rule(answer=st.sampled_from(["full", "down"]), seconds=st.sampled_from([0.1, 5.0]))
    def refuse(self, answer: str, seconds: float) -> None:
        self.world.work(answer, 1)
        self.world.wait(seconds)

    @rule(message=st.sampled_from(_CHATTER))
    def chatter(self, message: wire.Message) -> None:
        self.world.chatter(message)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


Machine.TestCase.settings = settings(stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestEveryOrderOfEvents = Machine.TestCase


def test_a_stop_tries_until_its_deadline_however_many_sessions_were_lost_before() -> None:
    """An idle track's end is given up after some losses in a row; not while a person waits for the last words."""
    machine = Machine()
    machine.begin(seed=0, count=3, chunks=8, gated=False)
    machine.chatter(wire.AudioAcknowledged(0, 3200))
    machine.refuse("full", 0.1)
    machine.refuse("full", 0.1)
    machine.cut(code=None, keep=False, replay=False, answers=0)
    machine.renew()
    machine.cut(code=None, keep=False, replay=False, answers=0)
    machine.end_by_itself()
    machine.refuse("full", 5.0)
    machine.chatter(wire.StopAcknowledged())
    machine.refuse("full", 0.1)
    machine.teardown()


def test_the_end_of_an_idle_track_that_was_given_up_is_heard_when_the_track_goes_on() -> None:
    """Also behind a gap: the words before it are still in the window."""
    machine = Machine()
    machine.begin(seed=0, count=3, chunks=5, gated=True)
    for seconds in (0.5, 0.5, 0.0):
        machine.end_by_itself()
        machine.nobody_speaks(seconds=seconds)
        if seconds:
            machine.cut(code=None, keep=False, replay=False, answers=0)
    machine.refuse("full", 5.0)
    machine.chatter(wire.AudioAcknowledged(0, 3200))  # not stalled, so it ends as idle
    machine.nobody_speaks(seconds=0.5)
    link = machine.world.link
    assert link.state is LinkState.IDLE
    assert not link.complete
    machine.teardown()


def test_a_connection_is_silent_from_what_it_was_sent_to_its_answer() -> None:
    link = Link(LinkOptions(), lambda: 0.5)
    link.audio(0, bytes(3_200), 0.0)
    [session] = link.sessions
    session.created("one", "wss://one", 0.0)
    link.opened(session, 0.0)
    assert link.silent_s(5.0) == 0.0, "nothing was sent"
    assert session.take(5.0)
    assert link.silent_s(7.0) == 2.0
    link.received(session, wire.AudioAcknowledged(0, 3_200), 7.0)
    assert link.silent_s(9.0) == 0.0
    link.audio(1_600, bytes(3_200), 9.0)
    assert session.take(9.0)
    session.dropped(None, 12.0)
    assert link.silent_s(13.0) == 0.0, "there is no connection"

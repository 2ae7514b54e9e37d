"""Every second that a provider counts comes back to its place on the track, whatever was left out, cut or changed."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from stt_gladia_world import OPTIONS, World

from stt.gladia.timeline import Timeline

RATE = 16_000

# One thing that happens to a track: so many seconds are spoken; left out (a gate, a muted microphone); or the line is
# cut and the provider has only a part of what was sent, which is then said again from somewhat earlier.
_SPOKEN = st.tuples(st.just("spoken"), st.floats(0.001, 30.0))
_LEFT_OUT = st.tuples(st.just("left out"), st.floats(0.001, 4000.0))
_CUT = st.tuples(st.just("cut"), st.floats(0.0, 1.0))
_PLANS = st.lists(st.one_of(_SPOKEN, _SPOKEN, _LEFT_OUT, _CUT), min_size=1, max_size=30)


@given(_PLANS)
def test_every_second_of_a_session_comes_back(plan: list[tuple[str, float]]) -> None:
    """The provider's side is written down as it happens: (session sample, track sample, length) of each stretch."""
    timeline, truth, at = Timeline(), list[tuple[int, int, int]](), 0
    for what, much in plan:
        match what:
            case "spoken":
                samples = max(round(much * RATE), 1)
                truth.append((timeline.end, at, samples))
                timeline.sent(at, samples)
                at += samples
            case "left out":
                at += round(much * RATE)
            case _ if truth:
                kept = round(timeline.end * much)
                timeline.rewind(kept)
                truth = [(s, t, min(n, kept - s)) for s, t, n in truth if s < kept]
                at = max(at - 3 * RATE, 0)
    assert timeline.end == sum(n for _, _, n in truth)
    for session, track, samples in truth:
        for inside in {0, samples // 2, samples - 1}:
            assert timeline.to_track(session + inside) == track + inside
            # The end of a word may be told too late, and its beginning too early: the middle tells where it belongs.
            late = session + inside + 800
            assert timeline.to_track(late, within=session + inside) == track + inside + 800


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 30),
    steps=st.lists(
        st.sampled_from(["speak", "speak", "speak", "cut", "forget", "silence", "renew", "lost acks"]), max_size=60
    ),
)
def test_times_hold_through_gates_cuts_rests_and_changes_of_session(seed: int, steps: list[str]) -> None:
    """The world compares each session's audio with the track at the mapped places, and each word with its truth."""
    world = World(seed, 30, gated=True)
    for step in steps:
        world.speak(4)
        world.turn(10, 10, 2, 10, lost=step == "lost acks")
        match step:
            case "cut":
                world.cut(1011, keep=True, replay=True)
            case "forget":
                world.cut(None, keep=False, replay=False)
            case "silence":
                world.pass_time(4.0)
            case "renew":
                world.link.renew(world.now)
            case _:
                pass
        world.wait(0.3)
    world.settle()


@settings(max_examples=6)
@given(seed=st.integers(0, 1 << 30), gated=st.booleans())
def test_sessions_change_before_the_cap_and_overlap_in_a_pause(seed: int, gated: bool) -> None:
    """A long talk, spoken without haste: no session grows too old, and each begins where words have ended.

    While nobody speaks a session grows older, until it is ended for that.
    """
    world = World(seed, 80, gated=gated)
    oldest = OPTIONS.roll_over_s + OPTIONS.roll_over_grace_s + OPTIONS.idle_s * gated + 0.2
    while world.spoken < len(world.audio):
        world.speak(1)
        world.turn(4, 4, 4, 20)
        world.wait(0.1)
        ages = [session.age(world.now) for session in world.link.sessions if not session.finishing]
        assert max(ages, default=0.0) <= oldest
    world.settle()
    assert len(world.sims) >= 2
    assert world.link.counts.lost_sessions == 0
    ends = [at + 1600 for _, at in world.said]
    assert all(one <= two for one, two in pairwise(ends))
    for session in world.begun[1:]:
        inside = [at for _, at in world.said if at < session.feed.begin < at + 1600]
        assert not inside or session.feed.begin + OPTIONS.overlap_s * RATE >= inside[0] + 1600

"""After a cut: what acknowledgements of probes prove, and what is superseded then."""

from __future__ import annotations

import pytest

from stt.gladia.resume import Resume, Superseded
from stt.gladia.timeline import Timeline

SENT = 16_000
FIRST, SECOND = 1599, 1598


def resumed(*probes: int) -> tuple[Resume, Timeline]:
    """A second of audio was sent before the cut; behind it probes of these sizes, again from the track's beginning."""
    timeline = Timeline()
    timeline.sent(0, SENT)
    resume = Resume()
    resume.begin(timeline.end)
    for size in probes:
        resume.probes.append((sum(size for _, size in resume.probes), size))
    return resume, timeline


@pytest.mark.parametrize("base", [0, 4000, SENT])
@pytest.mark.parametrize("off", [0, 1])
def test_an_acknowledgement_of_any_probe_tells_the_base(base: int, off: int) -> None:
    """`off`: one document counts the last byte in, the others do not."""
    first, _ = resumed(FIRST, SECOND)
    assert first.base_told_by(base * 2, (base + FIRST) * 2 - off) == (base, base + FIRST)
    second, _ = resumed(FIRST, SECOND)
    begin = base + FIRST
    assert second.base_told_by(begin * 2, (begin + SECOND) * 2 - off) == (base, begin + SECOND)


def test_one_acknowledgement_for_several_probes_tells_the_base() -> None:
    resume, _ = resumed(FIRST, SECOND)
    assert resume.base_told_by(4000 * 2, (4000 + FIRST + SECOND) * 2) == (4000, 4000 + FIRST + SECOND)


def test_one_that_spans_all_before_the_cut_and_the_first_probe_tells_that_nothing_is_missing() -> None:
    resume, _ = resumed(FIRST)
    assert resume.base_told_by(8000 * 2, (SENT + FIRST) * 2) == (SENT, SENT + FIRST)


def test_a_late_one_of_the_former_connection_tells_nothing_and_parts_add_up() -> None:
    resume, _ = resumed(FIRST)
    assert resume.base_told_by(0, 3200)[0] is None
    assert resume.base_told_by(4000 * 2, 4700 * 2)[0] is None
    assert resume.base_told_by(4700 * 2, (4000 + FIRST) * 2) == (4000, 4000 + FIRST)


def test_no_two_probes_are_of_one_size() -> None:
    resume, _ = resumed()
    for _ in range(5):
        resume.probes.append((0, resume.probe_size(1600)))
    assert [size for _, size in resume.probes] == [1599, 1598, 1597, 1596, 1595]
    assert resume.probe_size(0) == 1


def test_when_it_is_placed_the_timeline_goes_on_at_the_base_and_what_comes_again_is_superseded() -> None:
    resume, timeline = resumed(FIRST)
    resume.place(4000, timeline, 3000, 0)
    assert resume.is_placed
    assert (resume.base, resume.placed, timeline.end) == (4000, 1, 4000 + FIRST)
    assert timeline.to_track(4000) == 0
    assert resume.superseded == [Superseded(0, 4000, 0)]


def test_a_resume_that_was_cut_before_its_probes_were_acknowledged_leaves_doubt_about_all_since() -> None:
    resume, timeline = resumed(FIRST)
    timeline.sent(0, FIRST)
    resume.begin(timeline.end)
    assert not resume.is_placed and resume.is_doubtful
    resume.probes.append((0, FIRST))
    resume.place(9000, timeline, 3000, 0)
    assert resume.superseded[0] == Superseded(3000, 9000, 0)


def test_a_resume_that_was_cut_before_any_probe_leaves_no_doubt() -> None:
    resume, timeline = resumed()
    resume.begin(timeline.end)
    assert not resume.is_placed and not resume.is_doubtful


def test_only_what_was_sent_again_is_superseded() -> None:
    one = Superseded(100, 200, resent_from=50)
    assert one.covers(100, 50) and one.covers(199, 1000)
    assert not one.covers(99, 50) and not one.covers(200, 50) and not one.covers(150, 49)

"""What one connection may take, by a clock that stands where it is put."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.allowance import MOST_S, SHARE, Allowance


@given(st.lists(st.floats(0.0001, 0.05), min_size=1, max_size=500))
def test_whoever_is_read_again_when_it_may_be_takes_no_more_than_its_share(costs: list[float]) -> None:
    now, allowance = 0.0, Allowance(0.0)
    for cost in costs:
        now += allowance.spend(cost, now)
    assert sum(costs) <= MOST_S + SHARE * now + 1e-6


def test_an_honest_publisher_never_waits() -> None:
    allowance = Allowance(0.0)
    assert {allowance.spend(0.001, second / 100) for second in range(3_000)} == {0.0}  # half of the share

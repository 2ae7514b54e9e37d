"""Words in equal words out, whatever the provider and the network do.

`GATEWAY_FAULT_COUNT` scenarios are drawn from seeds counted from 0, `make matrix` draws others for as long as one
likes; `GATEWAY_FAULT_SEEDS` names single ones instead ("17,42" or "1000-1999"). A failure prints its seed:
`GATEWAY_FAULT_SEEDS=17 pytest …` plays it again.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from stt_gladia_clock import run
from stt_gladia_scenarios import complaint, draw, play, play_all

_BATCH = 50


def _seeds() -> list[int]:
    named = os.environ.get("GATEWAY_FAULT_SEEDS")
    if not named:
        return list(range(int(os.environ.get("GATEWAY_FAULT_COUNT", "200"))))
    seeds: list[int] = []
    for part in named.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


_SEEDS = _seeds()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seeds",
    [_SEEDS[at : at + _BATCH] for at in range(0, len(_SEEDS), _BATCH)],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_every_word_comes_out_once_in_order_and_on_time(seeds: list[int]) -> None:
    wrong = run(play_all(seeds))
    for seed, problem in wrong.items():
        print(f"seed {seed}: {problem}\n    {draw(seed)}")
    assert not wrong, f"play again with GATEWAY_FAULT_SEEDS={','.join(map(str, wrong))}"


@pytest.mark.parametrize(("seed", "search"), [(142, False), (632, True)])
def test_what_went_wrong_once_is_right(seed: int, search: bool) -> None:
    """`search`: for audio that ends every connection."""
    scenario = draw(seed)
    scenario = replace(scenario, options=replace(scenario.options, leave_out_poison=search))
    assert complaint(scenario, run(play(scenario))) is None

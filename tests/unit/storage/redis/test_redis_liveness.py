from __future__ import annotations

import pytest

from storage.redis.liveness import AWAY_S, LOOK_S, PING_S, Verdict, Watchdog, pause_s


def test_pings_while_all_is_well() -> None:
    watchdog = Watchdog(0.0)
    verdicts = [watchdog.look(LOOK_S * n, heard=True) for n in range(1, 101)]
    assert verdicts.count(Verdict.PING) == pytest.approx(100 * LOOK_S / PING_S, abs=1)
    assert Verdict.CUT not in verdicts


def test_a_silent_server_is_cut_after_so_long_and_was_asked_before() -> None:
    watchdog = Watchdog(0.0)
    watchdog.look(LOOK_S, heard=True)
    verdicts = [watchdog.look(LOOK_S * n, heard=False) for n in range(2, 10)]
    at = verdicts.index(Verdict.CUT)
    assert LOOK_S * (at + 1) == pytest.approx(AWAY_S, abs=LOOK_S)
    assert verdicts[:at].count(Verdict.PING) >= 2


def test_who_was_frozen_itself_does_not_blame_the_server() -> None:
    watchdog = Watchdog(0.0)
    assert watchdog.look(LOOK_S, heard=True) is Verdict.WAIT
    assert watchdog.look(60.0, heard=False) is Verdict.PING  # nothing was read in that minute
    assert watchdog.look(60.0 + LOOK_S, heard=True) is Verdict.WAIT


def test_a_busy_loop_still_finds_out() -> None:
    watchdog = Watchdog(0.0)
    verdicts = [watchdog.look(float(second), heard=False) for second in range(1, 5)]
    assert verdicts == [Verdict.PING, Verdict.PING, Verdict.CUT, Verdict.CUT]


def test_pauses_grow_to_a_second_and_differ() -> None:
    assert [pause_s(n, 1.0) for n in (1, 2, 3, 4, 5, 6, 1000)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert pause_s(6, 0.0) == 0.5

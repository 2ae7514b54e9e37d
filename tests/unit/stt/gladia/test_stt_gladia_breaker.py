"""When nobody gets an answer, one asks for all."""

from __future__ import annotations

from math import inf

from stt.backoff import Backoff
from stt.gladia.breaker import Breaker
from stt.gladia.places import Place


def breaker(threshold: int = 3) -> Breaker:
    return Breaker(lambda: 0.0, threshold, Backoff(1.0, 2.0, 8.0))


def broken(at: float = 100.0) -> Breaker:
    found = breaker()
    for _ in range(3):
        assert found.ask(at) == 0.0
        found.failed(at)
    return found


def test_single_failures_hold_up_nobody() -> None:
    circuit = breaker()
    for _ in range(10):
        circuit.failed(0.0)
        circuit.failed(0.0)
        circuit.answered()
    assert not circuit.is_open
    assert circuit.ask(0.0) == 0.0


def test_an_open_circuit_lets_one_try_after_a_pause() -> None:
    circuit = broken(at=100.0)
    assert circuit.is_open
    assert circuit.ask(100.0) == 0.5  # half of a second is fixed, the other half is jitter
    assert circuit.ask(100.5) == 0.0
    assert circuit.ask(100.5) == inf


def test_the_pause_grows_with_every_failed_probe_up_to_its_ceiling() -> None:
    circuit, now, pauses = broken(at=0.0), 0.0, []
    for _ in range(6):
        pauses.append(circuit.ask(now))
        now += pauses[-1]
        assert circuit.ask(now) == 0.0
        circuit.failed(now)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert circuit.opened == 1


def test_an_answer_lets_all_go_again() -> None:
    circuit = broken(at=0.0)
    assert circuit.ask(0.5) == 0.0
    circuit.answered()
    assert [circuit.ask(0.5) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_attempts_that_set_out_before_it_opened_neither_count_nor_prolong() -> None:
    circuit = broken(at=0.0)
    before = circuit.ask(0.0)
    circuit.failed(0.4)
    assert circuit.ask(0.0) == before
    assert circuit.failures == 3


def test_a_place_goes_back_with_its_last_holder() -> None:
    back: list[Place] = []
    place = Place(back.append)
    assert not place.is_granted
    place.share().give_back()
    assert back == []
    place.give_back()
    assert back == [place]

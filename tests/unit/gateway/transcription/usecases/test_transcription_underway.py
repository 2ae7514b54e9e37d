"""Partials that are repeated when more of their words hold still."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import BEGIN, FakeTrack
from support.virtual_time import run_virtually

from gateway.transcription.domain.captions import Caption, Speaker
from gateway.transcription.domain.stable import HOLD_S
from gateway.transcription.usecases.underway import UnderWay

ANNA = Speaker("anna", None)


class LoopClock:
    now = staticmethod(lambda: BEGIN)

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()


class Live:
    def __init__(self) -> None:
        self.track = FakeTrack(LoopClock(), ANNA)


def said(utterance_id: str, text: str) -> Caption:
    return Caption(utterance_id, text, "en", False, ANNA, BEGIN, BEGIN, 0, 0, 0.9, ())


def test_all_whose_words_hold_still_are_repeated_once_and_those_that_are_over_are_not() -> None:
    shown: list[tuple[float, str, int]] = []

    async def speak() -> None:
        def show(live: object, caption: Caption, stable: int) -> bool:
            shown.append((round(LoopClock.monotonic(), 1), caption.utterance_id, stable))
            return True

        under_way = UnderWay(LoopClock(), show)
        under_way.hear(Live(), said("before it runs", "one"))  # type: ignore[arg-type]
        running = asyncio.create_task(under_way.run())
        under_way.hear(Live(), said("a", "one"))  # type: ignore[arg-type]
        await asyncio.sleep(0.0005)  # due within the rounding of a timer
        under_way.hear(Live(), said("b", "one two"))  # type: ignore[arg-type]
        under_way.hear(Live(), said("over", "one"))  # type: ignore[arg-type]
        under_way.forget("over")
        await asyncio.sleep(10)
        running.cancel()

    run_virtually(speak())
    once = HOLD_S[0]
    assert sorted(shown[4:]) == [(once, "a", 3), (once, "b", 7), (once, "before it runs", 3)]


def test_an_error_of_showing_ends_the_run() -> None:
    async def speak() -> None:
        def show(live: object, caption: Caption, stable: int) -> bool:
            if stable:
                raise ZeroDivisionError("a bug")
            return True

        under_way = UnderWay(LoopClock(), show)
        running = asyncio.create_task(under_way.run())
        under_way.hear(Live(), said("a", "one"))  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            await running

    run_virtually(speak())

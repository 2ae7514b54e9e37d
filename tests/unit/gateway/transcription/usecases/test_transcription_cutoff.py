"""Who has lost the provider or LiveKit gives what it runs to a replica that has it; else everything stays."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

import pytest
from support.changing_hands import Pair, pair
from support.fakes import HandClock
from support.transcribing import SLUG, told, watch
from support.waiting import until

from gateway.transcription.domain.lines import Line, needed
from gateway.transcription.domain.link_state import LinkState
from gateway.transcription.usecases import late, unheard
from gateway.transcription.usecases.cutoff import LAST_AGAIN_S, SETTLED_S, CutOff
from gateway.transcription.usecases.lines import TRUST_S, Lines

AFTER_S = 3.0
PIECES = [(16_000, bytes(32_000)), (32_000, bytes(16_000))]


class Owner:
    """`a`, which loses lines; `clock` is its watch for them."""

    def __init__(self, two: Pair, name: str = "a") -> None:
        self.two = two
        self.clock = HandClock()
        self.tried = 0
        there = two.a if name == "a" else two.b

        def trying(line: Line) -> object:
            async def works(within_s: float) -> bool:
                self.tried += 1
                return line not in two.network.down[name]

            return works

        lines = Lines({line: trying(line) for line in Line}, self.clock)  # type: ignore[misc]
        handover = two.network.handovers[name]
        self.cut_off = CutOff(there.service, handover, lines, self.clock, AFTER_S)

    async def wait(self, seconds: float) -> None:
        """Looking as often as ever."""
        until_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until_s:
            advance(self.clock, 0.5)
            await self.cut_off.look()


def advance(clock: HandClock, seconds: float) -> None:
    clock.at += timedelta(seconds=seconds)


def lose(two: Pair, *names: str, line: Line = Line.PROVIDER) -> None:
    for name in names:
        two.network.down[name].add(line)


async def test_it_goes_to_who_has_the_line_with_all_that_was_not_heard() -> None:
    async with pair("websocket") as two:
        owner, link = Owner(two), two.a.link
        screen = await watch(two.a)
        lose(two, "a")
        link.partial("half of", "a:2", start=1.0, end=2.0)
        link.state, link.held = LinkState.CONNECTING, PIECES
        await owner.wait(AFTER_S - 0.5)
        assert two.runs_at() == "a"
        await owner.wait(1.0)
        assert two.runs_at() == "b" and owner.cut_off.moved == {Line.PROVIDER: 1}
        assert told(screen, "transcript.partial")[-1]["text"] == "", "nothing of it stays on the screens"
        link.final("half of it", "a:2", start=1.0, end=2.0)  # of the line that comes back too late
        await until(lambda: bool(two.b.transcriber.links))
        heir = two.b.link
        await until(lambda: heir.heard_again == PIECES)
        assert heir.finished_with is not None, "no more of it comes"
        assert link.finished_with is None, "nobody waits for the provider at the former owner"
        heir.final("half of it all", "b:1", start=1.0, end=2.0)
        heir.end()
        await until(lambda: two.stored() == [(1, "one"), (2, "half of it all")])
        second = two.records.stored(SLUG)[1].caption
        assert second.start_ms - two.records.stored(SLUG)[0].caption.start_ms == 1_000, "on the clock of its track"
        stopped = await two.b.service.stop(SLUG)
        assert stopped is not None and stopped.finals_complete
        [row] = stopped.usage
        assert (row.heard_s, row.final_transcripts) == (3.0, 2), "heard once, by the former owner's gate"


@pytest.mark.parametrize("speaks_on", [True, False])
async def test_a_word_that_was_cut_in_two_is_heard_whole_and_once(
    monkeypatch: pytest.MonkeyPatch, speaks_on: bool
) -> None:
    """What the former owner had not heard is heard at the heir with the beginning of what comes there."""
    monkeypatch.setattr(unheard, "SEAM_WAIT_S", 0.3)
    async with pair("websocket") as two:
        owner, link = Owner(two), two.a.link
        anna = two.a.source(SLUG).appeared[0]
        lose(two, "a")
        link.state, link.held, link.is_speaking = LinkState.CONNECTING, PIECES, True
        cut = PIECES[-1][0] + len(PIECES[-1][1]) // 2
        assert anna.anchor is not None
        anna.ends_at = anna.anchor + timedelta(seconds=cut / 16_000)
        await owner.wait(AFTER_S + 0.5)
        assert two.runs_at() == "b"
        again = two.b.source(SLUG).appear()
        again.is_continued, again.anchor = True, anna.ends_at
        if speaks_on:
            for _ in range(25):
                again.speak(0.1)
        former = await until(lambda: next((one for one in two.b.transcriber.links if one.heard_again), None))
        await until(lambda: former.finished_with is not None)
        seam = [(offset, len(pcm) // 2) for offset, pcm in former.heard_again[len(PIECES) :]]
        if not speaks_on:
            assert seam == []
            again.speak(0.1)
        else:
            assert seam == [(cut + n * 1_600, 1_600) for n in range(20)], "two seconds, sample by sample"
        heir = await until(lambda: next((one for one in two.b.transcriber.links if one is not former), None))
        at_s = cut / 16_000
        words = [("two", at_s - 0.9, at_s - 0.3), ("three", at_s - 0.2, at_s + 0.4), ("four", at_s + 0.5, at_s + 1.1)]
        if not speaks_on:
            words = words[:1]
        former.words("b:1", words)
        former.end()
        heir.words("b:2", [("four", 0.5, 1.1), ("five", 1.2, 1.8)])
        said = "one two three four five" if speaks_on else "one two four five"
        await until(lambda: " ".join(text for _, text in two.stored()) == said)


@pytest.mark.parametrize("lost_by", ["ab", "b", ""])
async def test_it_stays_where_nobody_is_better_off(lost_by: str) -> None:
    """Down for all, for others alone, or not down at all: then it is not the line."""
    async with pair("websocket") as two:
        owner = Owner(two)
        lose(two, *lost_by)
        two.a.link.state = LinkState.CONNECTING
        await owner.wait(120)
        assert two.runs_at() == "a" and not owner.cut_off.moved
        assert owner.cut_off.alone == {Line.PROVIDER: 1}, "told once"
        assert 120 / LAST_AGAIN_S <= two.network.questions <= 25, "asked more and more rarely"
        two.a.link.state = LinkState.STREAMING
        await owner.wait(1)
        if lost_by == "ab":  # the next time it is asked anew, at once
            two.network.down["b"].clear()
            two.a.link.state = LinkState.CONNECTING
            await owner.wait(AFTER_S + 0.5)
            assert two.runs_at() == "b"


async def test_a_short_cut_moves_nothing() -> None:
    async with pair("websocket") as two:
        owner = Owner(two)
        lose(two, "a")
        for _ in range(5):
            two.a.link.state = LinkState.CONNECTING
            await owner.wait(AFTER_S - 0.5)
            two.a.link.state = LinkState.STREAMING
            await owner.wait(0.5)
        assert two.runs_at() == "a" and not owner.tried


@pytest.mark.parametrize(("ends_s", "took_s"), [(0.3, 0.3), (9.0, 1.0)])
async def test_who_is_not_heard_anyway_is_left_at_the_end_of_a_word(ends_s: float, took_s: float) -> None:
    """No utterance under way is torn, only a word could be."""
    async with pair() as two:
        two.a.link.is_speaking, two.a.link.state = True, LinkState.CONNECTING
        asyncio.get_running_loop().call_later(ends_s, setattr, two.a.link, "is_in_word", False)
        [run], began = two.a.service.runs, two.a.clock.monotonic()
        await two.network.handovers["a"].move([run], "b")
        assert two.runs_at() == "b"
        assert took_s <= two.a.clock.monotonic() - began < took_s + 0.2


async def test_what_came_with_its_encoder_goes_on_when_the_line_is_lost() -> None:
    """Nobody has given it away: it does not go from hand to hand."""
    async with pair() as two:
        await two.fetch()
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        owner = Owner(two, "b")
        lose(two, "b")
        two.b.link.state = LinkState.CONNECTING
        await owner.wait(AFTER_S + 0.5)
        assert two.runs_at() == "a"


@pytest.mark.parametrize("takes_encoders", [True, False])
async def test_an_encoders_transcription_goes_where_its_audio_can_be_carried(takes_encoders: bool) -> None:
    """Another version cannot, nor a replica where RTMP is off: there it would be lost."""
    async with pair("rtmp") as two:
        owner, source = Owner(two), two.a.source(SLUG)
        lose(two, "a")
        if not takes_encoders:
            lose(two, "b", line=Line.ENCODERS)
        two.a.link.state = LinkState.CONNECTING
        await owner.wait(AFTER_S + 0.5)
        assert (two.runs_at(), source.heir) == (("b", "b") if takes_encoders else ("a", None))


async def test_a_line_that_says_nothing_is_down() -> None:
    async with pair("websocket") as two:
        owner = Owner(two)
        lose(two, "a")
        two.a.link.silent_s = 1.5
        await owner.wait(AFTER_S + 0.5)
        assert two.runs_at() == "b"


async def test_what_has_just_come_does_not_go_from_hand_to_hand() -> None:
    async with pair("websocket") as two:
        owner = Owner(two)
        lose(two, "a")
        two.a.link.state = LinkState.CONNECTING
        await owner.wait(AFTER_S + 0.5)
        heir = Owner(two, "b")
        run = two.b.service.run_of(SLUG)
        assert run is not None
        advance(heir.clock, run.came_at)
        two.network.down["a"].clear()
        lose(two, "b")
        two.b.source(SLUG).appear().speak(1)
        await until(lambda: bool(two.b.transcriber.links))
        two.b.link.state = LinkState.CONNECTING
        await heir.wait(SETTLED_S - 1)
        assert two.runs_at() == "b"
        await heir.wait(LAST_AGAIN_S + 1)
        assert two.runs_at() == "a"


@pytest.mark.parametrize("heir_reaches_provider", [True, False])
async def test_a_room_goes_to_who_can_hear_it_and_be_heard(*, heir_reaches_provider: bool) -> None:
    async with pair("livekit") as two:
        owner = Owner(two)
        lose(two, "a", line=Line.LIVEKIT)
        if not heir_reaches_provider:
            lose(two, "b")
        two.a.source(SLUG).is_cut_off = True
        await owner.wait(AFTER_S + 0.5)
        assert two.runs_at() == ("b" if heir_reaches_provider else "a")
        assert owner.cut_off.moved == ({Line.LIVEKIT: 1} if heir_reaches_provider else {})


async def test_words_that_are_under_way_as_the_line_comes_back_are_the_heirs_once() -> None:
    """The line is there again before the audio is given away: then the former owner hears it to the end."""
    async with pair("websocket") as two:
        owner, link = Owner(two), two.a.link
        lose(two, "a")
        link.state, link.held = LinkState.CONNECTING, PIECES
        give_away = two.records.leases.hand_over

        async def back(*given: object) -> bool:
            link.state = LinkState.STREAMING
            return await give_away(*given)  # type: ignore[arg-type]

        two.records.leases.hand_over = back  # type: ignore[assignment, method-assign]
        await owner.wait(AFTER_S + 0.5)
        assert two.runs_at() == "b"
        await until(lambda: link.finished_with is not None)
        link.final("two", "a:2", start=1.0, end=2.0)
        link.end()
        await until(lambda: two.stored() == [(1, "one"), (2, "two")])
        assert not any(one.heard_again for one in two.b.transcriber.links)


@pytest.mark.parametrize("call", ["lost", "cut"])
async def test_audio_is_told_until_the_heir_has_it_or_is_gone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    monkeypatch.setattr(late, "PATIENCE_S", 0.3)
    async with pair("websocket") as two:
        owner, link = Owner(two), two.a.link
        lose(two, "a")
        link.state, link.held = LinkState.CONNECTING, PIECES
        calls = {"lost": two.network.lost, "cut": two.network.cut}[call]
        calls.add("tell_late")
        await owner.wait(AFTER_S + 0.5)
        if call == "cut":
            await until(lambda: "1.5 s of audio are lost" in caplog.text)
        else:
            await until(lambda: len(two.network.told) > 1)
            calls.clear()
            await until(lambda: bool(two.b.transcriber.links) and two.b.link.heard_again == PIECES)
        calls.clear()


async def test_lines_are_tried_once_for_all_who_ask() -> None:
    clock, tries = HandClock(), []

    async def works(within_s: float) -> bool:
        tries.append(within_s)
        await asyncio.sleep(0)
        return True

    lines = Lines({Line.PROVIDER: works}, clock)

    async def ask(asked: Collection[Line]) -> frozenset[Line]:
        return await lines.reached(asked)

    answers = await asyncio.gather(*(ask(list(Line)) for _ in range(5)))
    assert answers == [{Line.PROVIDER}] * 5 and len(tries) == 1
    advance(clock, TRUST_S + 0.1)
    assert await ask([Line.PROVIDER]) == {Line.PROVIDER} and len(tries) == 2
    assert await lines.works(Line.PROVIDER) and len(tries) == 3, "its own line is always tried"
    assert not await lines.works(Line.LIVEKIT), "which is not configured"


def test_a_room_needs_two_lines_and_an_encoder_who_carries_its_audio() -> None:
    assert needed("livekit") == {Line.PROVIDER, Line.LIVEKIT} and needed("websocket") == {Line.PROVIDER}
    assert needed("rtmp") == {Line.PROVIDER, Line.ENCODERS}

"""Shell, network, provider and clock in memory, played in whatever order the test likes."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from stt_gladia_sim import RATE, SimSession, say

from ingest.gate import Gate, GateOptions
from ingest.pcm import Chunk
from stt.backoff import Backoff
from stt.errors import ProviderFull, ProviderUnavailable
from stt.gladia import messages as wire
from stt.gladia.events import AudioGivenUp, Heard, LinkEvent, Retracted
from stt.gladia.link import Link
from stt.gladia.moves import CONNECTED, ProviderEnd
from stt.gladia.options import LinkOptions
from stt.gladia.session import Connect, Create, Done, Fetch, Session, Wait
from stt.transcript import Utterance

OPTIONS = LinkOptions(
    retain_s=30.0, stall_s=4.0, probe_s=0.5, resume_deadline_s=8.0, backoff=Backoff(0.1, 2.0, 1.0), roll_over_s=6.0,
    roll_over_grace_s=1.0, trailing_silence_s=0.1, idle_s=3.0,
    leave_out_poison=False,  # cuts at the worst of moments can look like it
)  # fmt: skip
CHUNK = 1600
GATE = GateOptions(pre_roll_s=0.1, hang_over_s=0.1, settle_s=0.0)
MOST_SESSIONS = 6  # with which the provider is unkind; else a track could go on for ever


@dataclass
class Wires:
    """One session's connection. `to_provider`: what the client has sent and the provider has not yet got."""

    sim: SimSession | None = None
    to_provider: deque[bytes | str] = field(default_factory=deque)
    is_open: bool = False


class Ear:
    """A detector that is never wrong."""

    frame_samples = 160

    def is_speech(self, frame: bytes) -> bool:
        return any(frame)


class World:
    """One track of `count` words, its link, and everything round it.

    `gated`: there are long silences between them, and a gate keeps silence back.
    """

    def __init__(self, seed: int, count: int, *, gated: bool = False) -> None:
        dice = random.Random(seed)
        words = [dice.randrange(100, 30_000) for _ in range(count)]
        silences = {n: dice.randrange(3000, 80_000) for n in range(count) if gated and dice.random() < 0.25}
        self.audio, self.said = say(words, silences)
        self.gate = Gate(Ear(), GATE) if gated else None
        self.link = Link(OPTIONS, dice.random)
        self.now = 100.0
        self.spoken = 0
        self.wires: dict[Session, Wires] = {}
        self.sims: list[SimSession] = []
        self.events: list[LinkEvent] = []
        self.cuts = 0
        self.begun: list[Session] = []

    @property
    def finals(self) -> list[Utterance]:
        return [event.utterance for event in self.events if isinstance(event, Heard) and event.utterance.is_final]

    def speak(self, chunks: int) -> None:
        for _ in range(chunks):
            piece = self.audio[self.spoken : self.spoken + CHUNK]
            if not len(piece):
                return
            chunk = Chunk(self.spoken, piece.tobytes())
            for passed in self.gate.push(chunk) if self.gate else [chunk]:
                self.events += self.link.audio(passed.offset, passed.pcm, self.now)
            if self.gate:
                self.link.leave_out(self.gate.left_out_to)
            self.spoken += len(piece)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def pass_time(self, seconds: float) -> None:
        """All goes well for so long, and nobody speaks."""
        for _ in range(int(seconds * 5)):
            self.turn(10, 10, 10, 10)
            self.wait(0.2)

    def turn(self, sends: int, arrivals: int, acks: int, answers: int, *, lost: bool = False) -> None:
        """Some of everything."""
        self.work("ok", sends)
        self.arrive(arrivals, acks, lost=lost)
        self.answer(answers)

    # --- the shell ----------------------------------------------------------------------------------------

    def work(self, answer: str, sends: int) -> None:
        """Every session takes a step outside, or sends some inside a connection. `answer`: ok, full or down."""
        for session in list(self.link.sessions):
            if session not in self.begun:
                self.begun.append(session)
            wires = self.wires.setdefault(session, Wires())
            for _ in range(3):
                if not wires.is_open and session in self.wires:
                    self._outside(session, wires, answer)
            if wires.is_open:
                self._inside(session, wires, sends)

    def _outside(self, session: Session, wires: Wires, answer: str) -> None:
        match session.step(self.now):
            case Create():
                if answer == "ok":
                    wires.sim = SimSession(len(self.sims))
                    self.sims.append(wires.sim)
                    session.created(wires.sim.id, wires.sim.url, self.now)
                else:
                    session.not_created(ProviderFull() if answer == "full" else ProviderUnavailable("?"), self.now)
            case Connect():
                assert wires.sim is not None
                if wires.sim.is_dead or (wires.sim.is_stopped and not wires.sim.out):
                    session.dropped(404 if wires.sim.is_dead else 403, self.now)
                elif answer == "ok":
                    wires.is_open = True
                    self.events += self.link.opened(session, self.now)
                else:
                    session.dropped(503 if answer == "down" else None, self.now)
            case Fetch():
                self.events += self.link.fetched(session, self._record(wires, answer), self.now)
            case Wait(until):
                assert until >= self.now
            case Done():
                self._check_timeline(session, wires)
                self._check_meter(session, wires)
                self.events += self.link.over(session, self.now)
                del self.wires[session]

    def _record(self, wires: Wires, answer: str) -> wire.SessionResult | None:
        assert wires.sim is not None
        if answer != "ok":
            return None
        done = wires.sim.is_stopped
        return wire.SessionResult(wires.sim.id, "done" if done else "processing", wires.sim.result if done else None)

    def _inside(self, session: Session, wires: Wires, sends: int) -> None:
        if session.tick(self.now):
            self._disconnect(session, wires, keep=True, replay=True)
            return
        for _ in range(sends):
            message = session.take(self.now)
            if message is None:
                return
            assert not isinstance(message, bytes) or 0 < len(message) <= 32_000
            wires.to_provider.append(message)

    # --- the network and the provider ---------------------------------------------------------------------

    def arrive(self, messages: int, acks: int, *, lost: bool) -> None:
        """Some of what was sent arrives, and the provider works on some of it."""
        for wires in self.wires.values():
            if wires.sim is None or not wires.is_open:
                continue
            for _ in range(min(messages, len(wires.to_provider))):
                wires.sim.receive(wires.to_provider.popleft())
            wires.sim.acknowledge(acks, lost=lost)

    def answer(self, messages: int) -> None:
        """Some of what the provider said arrives."""
        for session, wires in list(self.wires.items()):
            if wires.sim is None or not wires.is_open:
                continue
            for _ in range(messages):
                if session.state not in CONNECTED:
                    self._disconnect(session, wires, keep=True, replay=True)
                    break
                if not wires.sim.out:
                    break
                self.events += self.link.received(session, wires.sim.out.popleft(), self.now)

    def cut(self, code: int | None, *, keep: bool, replay: bool) -> None:
        for session, wires in list(self.wires.items()):
            if wires.is_open:
                self._disconnect(session, wires, keep=keep, replay=replay, code=code)

    def kill(self, code: int | None) -> None:
        """The newest session is lost at the provider."""
        if len(self.sims) >= MOST_SESSIONS:
            return
        for session, wires in list(self.wires.items())[-1:]:
            if wires.sim is not None:
                wires.sim.is_dead = True
            if wires.is_open:
                self._disconnect(session, wires, keep=False, replay=False, code=code)

    def chatter(self, message: wire.Message) -> None:
        """The provider says something that has nothing to do with anything."""
        for session, wires in self.wires.items():
            if wires.is_open and session.state in CONNECTED:
                self.events += self.link.received(session, message, self.now)

    def end_by_itself(self) -> None:
        """The provider ends a session of its own accord, as at its maximum duration."""
        for wires in list(self.wires.values())[-1:]:
            if wires.sim is not None and wires.is_open and len(self.sims) < MOST_SESSIONS:
                wires.sim.stop()

    def _disconnect(self, session: Session, wires: Wires, *, keep: bool, replay: bool, code: int | None = None) -> None:
        assert wires.sim is not None
        self.cuts += 1
        wires.is_open = False
        wires.to_provider.clear()
        wires.sim.cut(keep=keep, replay=replay)
        session.dropped(code, self.now)

    # --- what is always so, and what is so in the end -----------------------------------------------------

    def check(self) -> None:
        assert self.link.retained_samples <= OPTIONS.retain_s * RATE
        starts = [word.start for final in self.finals for word in final.words]
        assert starts == sorted(starts)

    def _check_timeline(self, session: Session, wires: Wires) -> None:
        """Every sample that the provider heard comes from where the map says, to the millisecond: acknowledgements are
        rounded, and a resume begins where they say."""
        if wires.sim is None or not session.feed.resume.is_placed or not wires.sim.heard:
            return
        heard = np.concatenate(wires.sim.heard)[: session.feed.timeline.end]
        for at in [*range(0, len(heard), 97), *np.flatnonzero(np.diff(heard)).tolist()]:
            if heard[at] and not session.feed.is_superseded(at):
                place = session.feed.timeline.to_track(at)
                assert heard[at] in self.audio[max(place - 16, 0) : place + 17], f"session sample {at}"

    def _check_meter(self, session: Session, wires: Wires) -> None:
        """What the provider heard is metered; not more, and no less unless it could not tell."""
        heard = round((wires.sim.result.audio_seconds or 0.0) * RATE) if wires.sim is not None else 0
        metered = session.feed.metered
        assert metered.sent <= heard + CHUNK  # `chatter` acknowledges as much out of nowhere
        assert session.provider_end is not ProviderEnd.COMPLETE or metered.sent >= heard - 160
        assert 0 <= metered.resent <= metered.sent

    def settle(self) -> None:
        """From here on all goes well: what was said is complete in the end."""
        self.speak(1 << 20)
        self.link.finish(self.now, self.now + 3600.0)
        for _ in range(3000):
            if self.link.done:
                break
            self.turn(40, 100, 100, 1000)
            self.now += 0.05
        assert self.link.done
        self.check()
        heard = [(int(word.text), round(word.start * RATE)) for final in self.finals for word in final.words]
        assert [word for word, _ in heard] == [word for word, _ in self.said]
        assert all(abs(at - told) <= 16 for (_, at), (_, told) in zip(self.said, heard, strict=True))
        assert self.link.complete
        assert not [event for event in self.events if isinstance(event, AudioGivenUp)]
        shown = {event.utterance.id for event in self.events if isinstance(event, Heard)}
        retracted = {event.utterance_id for event in self.events if isinstance(event, Retracted)}
        final = [utterance.id for utterance in self.finals]
        assert len(final) == len(set(final))
        assert shown == set(final) | retracted
        assert not set(final) & retracted

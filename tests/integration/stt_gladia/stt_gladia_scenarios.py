"""Random misfortunes of a provider, and the check that every spoken word comes out once.

A scenario is one track, one local speech server and one fault plan, all drawn from one seed. Sockets are real, the
client's patience is that of production, and time jumps (`stt_gladia_clock`), so that a scenario takes a moment.

Every third scenario is gated: there are long silences in a room that is never quite quiet, the voice-activity gate
stands before the link, sessions come to rest soon, change soon, and may be renewed at any moment.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import inf
from typing import Any

import numpy as np
from stt_gladia_odd import SAID, changed, changes, text_of

from ingest.gate import Gate, GateOptions
from ingest.pcm import Chunk
from ingest.vad import WebRtcDetector
from stt.gladia.client import GladiaLink, Outcome, Provider, ProviderOptions, SessionReport
from stt.gladia.events import AudioGivenUp, Heard, LinkEvent
from stt.gladia.messages import LiveConfig
from stt.gladia.options import LinkOptions
from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer
from stt.transcript import Word

TOLERANCE_S = 0.1
METER_S, METER_SHARE = 1.0, 0.02
CHUNK = 3200  # bytes: 100 ms
POISON, POISON_S, POISON_ROOM_S = "017f", 0.15, 0.6


@dataclass(frozen=True)
class Scenario:
    """`pace`: seconds between two chunks of 100 ms. `flush_s`: what `finish` is given."""

    seed: int
    words: tuple[str, ...]
    pauses: tuple[float, ...]
    plan: dict[str, Any]
    endpointing_s: float = 0.1
    pace: float = 0.1
    flush_s: float = 200.0
    options: LinkOptions = field(default_factory=LinkOptions)
    can_complete: bool = True
    in_order: bool = True
    orphans: bool = False  # sessions that no client could end may stay open
    gated: bool = False
    renew_at: float = -1.0  # seconds of the track; negative: never
    tolerance_s: float = TOLERANCE_S
    poison_at: int = -1  # the pause behind this word is poison; negative: none

    def audio(self) -> tuple[bytes, list[tuple[str, float, float]]]:
        """What is spoken, and the truth about it."""
        pauses = list(self.pauses)
        if 0 <= self.poison_at < len(pauses):
            pauses[self.poison_at] = 2 * POISON_ROOM_S + POISON_S
        pcm, truth = speak(self.words, pauses=pauses, lead_s=0.13, tail_s=0.4)
        if 0 <= self.poison_at < len(pauses):
            begin = round((truth[self.poison_at][2] + POISON_ROOM_S) * 16_000) * 2
            sound = bytes.fromhex(POISON) * round(POISON_S * 16_000)
            pcm = pcm[:begin] + sound + pcm[begin + len(sound) :]
        return pcm, truth


@dataclass
class Played:
    """What came of it."""

    words: list[Word] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    given_up: list[AudioGivenUp] = field(default_factory=list)
    reports: list[SessionReport] = field(default_factory=list)
    outcome: Outcome | None = None
    left_open: int = 0
    withheld: int = 0
    heard_s: dict[str, float] = field(default_factory=dict)
    """Audio that the server heard, by session and its own counters: what it would bill."""


def draw(seed: int) -> Scenario:
    """The scenario of this seed."""
    dice = random.Random(seed)
    count = dice.randint(4, 16)
    words = tuple(dice.choice(VOCABULARY) for _ in range(count))
    pauses = tuple(dice.choice((0.0, 0.0, 0.2, 0.4)) for _ in range(count - 1))
    total = len(speak(words, pauses=pauses)[0])
    plan: dict[str, Any] = {}
    kind = dice.choice(("cuts", "cuts", "cuts", "lost", "deaf", "withheld", "mute", "busy", "short", "silent"))
    session: dict[str, Any] = {}
    if kind != "silent":
        session["cuts"] = [_cut(dice, total, kind) for _ in range(dice.randint(kind == "cuts", 4))]
    if dice.random() < 0.4:
        session["unacknowledged"] = "keep"
    if dice.random() < 0.4:
        session["undelivered"] = "lose"
    if dice.random() < 0.3:
        session["restart_ids"] = True
    if dice.random() < 0.3:
        session["acks"] = dice.choice(
            (
                {"delay_s": 0.05},
                {"delay_s": 2.0},
                {"lag_bytes": 9600},
                {"lag_bytes": 20_000},
                {"lose": [2, 5, 9]},
                {"lose": [1]},
            )
        )
    if dice.random() < 0.3:
        session["end_delay_s"] = dice.choice((0.1, 3.0))
    if dice.random() < 0.3:
        session["upgrade"] = [{"status": dice.choice((429, 500, 503)), "after": dice.randint(0, 1), "count": 2}]
    if dice.random() < 0.2:
        session["upgrade_delay_s"] = dice.choice((0.1, 2.0))
    if dice.random() < 0.2:
        session["second_connection"] = "refuse"
    if dice.random() < 0.3:
        session["inject"] = [
            {"kind": dice.choice(("unknown", "error", "malformed", "incomplete", "start_session")), "at_byte": at}
            for at in (0, dice.randrange(total))
        ] + [{"kind": "raw", "text": dice.choice(_ODDITIES), "at_byte": dice.randrange(total)}]
    finals: dict[str, Any] = {}
    if dice.random() < 0.3:
        finals["repeated"] = [1, 3]
    if dice.random() < 0.2:
        finals["delay_s"] = dice.choice((0.3, 1.5))
    if dice.random() < 0.2:
        finals["stale_partials"] = True
    post: dict[str, Any] = {}
    if dice.random() < 0.2:
        post["refusals"] = [{"status": dice.choice((408, 429, 500, 503)), "count": 2, "after": dice.randint(0, 1)}]
    if dice.random() < 0.1:
        post["delay_s"] = dice.choice((1.0, 4.0))
    sessions: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    match kind:
        case "lost":
            session["upgrade"] = [{"status": dice.choice((403, 404)), "after": dice.randint(1, 2)}]
            # Every other one lives: those that are lost at their first final would never say it.
            sessions = {str(number): {} for number in range(3, 100, 2)}
            extra["orphans"] = True
        case "deaf":
            sessions["1"] = {**session, "stop_reading_at_byte": dice.randrange(3200, total)}
            # A server that neither reads nor lets another connection in cannot be told to stop.
            extra["orphans"] = session.get("second_connection") == "refuse"
        case "withheld":
            finals["missing"] = [1, 3]
            session.pop("acks", None)
            extra["in_order"] = False
        case "mute":
            sessions["1"] = {**session, "acks": {"lose_after_byte": dice.randrange(total)}}
        case "busy":
            post["lost_answers"] = dice.randint(0, 1)
            extra["orphans"] = True
            if not post["lost_answers"]:
                plan["max_sessions"] = 1
        case "short":
            short = {**session, "max_duration_s": round(dice.uniform(1.0, 4.0), 2)}
            if dice.random() < 0.5:
                short["max_duration_code"] = dice.choice((4408, 4500, 1011))
            sessions["1"] = sessions["2"] = short
        case "silent":
            session["ignore_stop"] = True
            extra |= {"can_complete": False, "flush_s": 10.0, "orphans": True}
        case _:
            pass
    if finals:
        session["finals"] = finals
        sessions = {number: {**given, "finals": finals} for number, given in sessions.items()}
    plan |= {"every": session, "sessions": sessions, "post": post}
    endpointing = dice.choice((0.05, 0.1, 0.3))
    pace = dice.choice((0.0, 0.02, 0.1, 0.1))
    drawn = Scenario(seed, words, pauses, plan, endpointing, pace, **extra)
    if seed % 3 == 2:
        return _gated(drawn, random.Random(~seed))
    return _odd(drawn, random.Random(~seed)) if seed % 6 == 4 else drawn


def _odd(drawn: Scenario, dice: random.Random) -> Scenario:
    """Kinds of a later date, drawn apart: a line that breaks all the time, poison, finals told oddly, odd messages."""
    total = len(speak(drawn.words, pauses=drawn.pauses)[0])
    tellings = {"moved_s": round(dice.uniform(-0.3, 0.3), 3), "words": dice.choice(("exact", "no_length", "end_first"))}
    kind = dice.choice(("flapping", "poison", "told otherwise", "untold", "odd messages", "quota"))
    session: dict[str, Any] = {"unacknowledged": dice.choice(("forget", "keep"))}
    match kind:
        case "flapping":
            every = dice.randint(24_000, 60_000) * 2
            session["cuts"] = [{"at_byte": at, "ack": "after"} for at in range(every, 5 * total, every)]
        case "poison":
            code = dice.choice((None, 1007, 1011, 4500))
            session["poison"] = {"sound": POISON, "ack": dice.choice(("before", "after")), "code": code}
            session["poison"]["after_s"] = dice.choice((0.0, 0.0, 0.3, 0.7))
        case "told otherwise":
            session["cuts"] = [_cut(dice, total, "cuts") for _ in range(dice.randint(0, 1))]
            session["finals"] = tellings
            session["restart_ids"] = dice.random() < 0.5
        case "untold":
            session["finals"] = {"words": dice.choice(("none", "untimed"))}
            session["restart_ids"] = dice.random() < 0.5
        case "odd messages":
            session["cuts"] = [_cut(dice, total, "cuts") for _ in range(dice.randint(0, 2))]
            session["inject"] = [
                {"kind": "raw", "text": text, "at_byte": dice.randrange(total)}
                for text in dice.sample(_odd_texts(), 12)
            ]
        case _:
            at = dice.randrange(3_200, total)
            session["cuts"] = [{"at_byte": at - at % 2, "code": 1008, "ack": "after"}]
            session["inject"] = [{"kind": "error", "code": "quota_exceeded", "at_byte": at - 3_200}]
            session["upgrade"] = [{"status": dice.choice((402, 429)), "after": 1, "count": 1}]
    return replace(
        drawn,
        plan={"every": {}, "sessions": {"1": session}} if kind == "quota" else {"every": session},
        pace=dice.choice((0.02, 0.1, 0.1)),
        options=LinkOptions(),
        can_complete=True,
        in_order=True,
        orphans=False,
        flush_s=200.0,
        tolerance_s={"told otherwise": 0.61, "untold": inf}.get(kind, TOLERANCE_S),
        poison_at=dice.randrange(len(drawn.pauses)) if kind == "poison" else -1,
    )


@cache
def _odd_texts() -> list[str]:
    """Messages with one place changed; none of those with words of their own."""
    told = [one for _, one in SAID]
    return [
        text_of(changed(told[n], path, value))
        for n, path, value in changes()
        if n < len(told) and told[n]["type"] != "transcript"
    ]


def _gated(drawn: Scenario, dice: random.Random) -> Scenario:
    """The same misfortunes with silences and a gate; drawn apart, so that the other seeds stay what they were."""
    silences = (0.0, 0.0, 0.3, 0.8, 1.5, 3.0, 6.0)
    options = LinkOptions(
        idle_s=dice.choice((1.0, 2.0, 60.0)),
        roll_over_s=dice.choice((3.0, 6.0, 10_200.0)),
        roll_over_grace_s=dice.choice((0.5, 300.0)),
        trailing_silence_s=drawn.endpointing_s + 0.3,
    )
    return replace(
        drawn,
        gated=True,
        pauses=tuple(dice.choice(silences) for _ in drawn.pauses),
        pace=dice.choice((0.02, 0.1, 0.1, 0.1)),
        options=options,
        renew_at=dice.choice((-1.0, -1.0, dice.uniform(0.5, 5.0))),
    )


_ODDITIES = (
    "[]",
    "null",
    '{"type":"audio_chunk","acknowledged":true,"data":{"byte_range":[-5,-1]}}',
    '{"type":"audio_chunk","acknowledged":true,"data":{"byte_range":[0,2]}}',
    '{"type":"transcript","data":{"id":"00_00000000","is_final":true,"utterance":{"start":1e300}}}',
    '{"type":"speech_start","data":{"time":-1e12}}',
    '{"type":"translation","data":null,"error":{"message":"no"}}',
)


def _cut(dice: random.Random, total: int, kind: str) -> dict[str, Any]:
    code = dice.choice((None, None, None, 1001, 1011, 1012, 4000, 4500, 4999))
    if kind == "lost" and dice.random() < 0.3:
        code = dice.choice((1000, 4408, 4409))
    match dice.randrange(5):
        case 0 | 1:
            at = dice.randrange(total)
            ack = dice.choice(("before", "after"))
            at -= at % 2  # a frame arrives whole or not at all, so half a sample never does
            return {"at_byte": at, "ack": ack, "code": code, "times": dice.choice((1, 1, 2))}
        case 2 | 3:
            part = dice.choice((None, 0, 1, 3, 50, 200))
            return {"at_final": dice.randint(1, 4), "message_bytes": part, "code": code if part is None else None}
        case _:
            return {"at_stop": True, "ack": dice.choice(("before", "after")), "code": code}


def _gate(scenario: Scenario) -> Gate | None:
    hang_over_s = scenario.endpointing_s + 0.3
    return Gate(WebRtcDetector(), GateOptions(hang_over_s=hang_over_s)) if scenario.gated else None


def _in_a_room(pcm: bytes, seed: int) -> bytes:
    """Silence that is not digital, so that the detector has to judge it."""
    noise = np.random.default_rng(seed).normal(0.0, 15.0, len(pcm) // 2)
    return np.clip(np.rint(np.frombuffer(pcm, "<i2") + noise), -32768, 32767).astype("<i2").tobytes()


async def play(scenario: Scenario) -> Played:
    """Run it against a server of its own."""
    found = Played()
    pcm, _ = scenario.audio()
    if scenario.gated:
        pcm = _in_a_room(pcm, scenario.seed)

    def listen(event: LinkEvent) -> None:
        match event:
            case Heard(utterance) if utterance.is_final:
                found.words += utterance.words or [
                    Word(text, utterance.start, utterance.end, 0.0) for text in utterance.text.split()
                ]
                found.ids.append(utterance.id)
            case AudioGivenUp():
                found.given_up.append(event)
            case _:
                pass

    async with LocalServer(LocalOptions(engine="scripted", faults=scenario.plan, record_limit_bytes=0)) as server:
        async with Provider(ProviderOptions("key", server.url, link=scenario.options)) as provider:
            config = LiveConfig(endpointing_s=scenario.endpointing_s, maximum_utterance_s=5.0)
            clock = asyncio.get_running_loop().time
            link = GladiaLink(provider, config, listen, found.reports.append, clock=clock)
            running = asyncio.create_task(link.run())
            gate = _gate(scenario)
            for at in range(0, len(pcm), CHUNK):
                chunk = Chunk(at // 2, pcm[at : at + CHUNK])
                ready = gate.push(chunk) if gate else [chunk]
                for passed in ready:
                    link.send(passed.offset, passed.pcm)
                if gate and not ready:
                    link.leave_out(gate.left_out_to)
                if scenario.renew_at >= 0 and at // CHUNK == round(scenario.renew_at * 10):
                    link.renew()
                await asyncio.sleep(scenario.pace)
            found.withheld = gate.counts.withheld if gate else 0
            link.finish(scenario.flush_s)
            async with asyncio.timeout(scenario.flush_s + 5.0):
                found.outcome = await running
        found.heard_s = {live.id: live.session.duration for live in server.sessions.values()}
        if not scenario.orphans:
            for live in server.sessions.values():
                try:
                    async with asyncio.timeout(60):
                        await live.ended()
                except TimeoutError:
                    found.left_open += 1
    return found


def complaint(scenario: Scenario, found: Played) -> str | None:
    """What is wrong with the result, or None."""
    _, truth = scenario.audio()
    heard = found.words if scenario.in_order else sorted(found.words, key=lambda word: word.start)
    said = [text for text, _, _ in truth]
    got = [word.text.strip() for word in heard]
    if got != said:
        return f"said {said}, heard {got}"
    for word, (text, start, end) in zip(heard, truth, strict=True):
        if abs(word.start - start) > scenario.tolerance_s or abs(word.end - end) > scenario.tolerance_s:
            return f"{text} was said at {start:.3f}–{end:.3f}, heard at {word.start:.3f}–{word.end:.3f}"
    if len(set(found.ids)) != len(found.ids):
        return f"ids used twice: {found.ids}"
    assert found.outcome is not None
    given_up_s = sum(lost.end - lost.start for lost in found.given_up)
    if found.outcome.failed is not None or given_up_s > (2 * POISON_ROOM_S if scenario.poison_at >= 0 else 0.0):
        return f"failed {found.outcome.failed}, given up {found.given_up}"
    if found.outcome.complete is not (scenario.can_complete and not found.given_up and not found.outcome.counts.unread):
        return f"complete is {found.outcome.complete}"
    if off := _metered_wrong(found):
        return off
    opened = [report.id for report in found.reports if not report.over]
    over = [report.id for report in found.reports if report.over]
    if sorted(opened) != sorted(over):
        return f"sessions opened {opened}, over {over}"
    if found.left_open:
        return f"{found.left_open} sessions were left running"
    return None


def _metered_wrong(found: Played) -> str | None:
    """Never more than the server heard; and no less, but for what a lost session had no chance to acknowledge."""
    for report in found.reports:
        if report.over:
            metered, heard = report.seconds_sent, found.heard_s[report.id]
            off = max(METER_S, METER_SHARE * heard)
            if metered > heard + off or (metered < heard - off and report.outcome == "closed"):
                return f"{metered:.2f} s were metered, {heard:.2f} s were heard, and the session is {report.outcome}"
    return None


async def play_all(
    seeds: list[int], *, at_once: int = 8, done: Callable[[int, str | None], None] = lambda seed, wrong: None
) -> dict[int, str]:
    """Run the scenarios of these seeds, some at a time. Returns what went wrong, by seed."""
    wrong: dict[int, str] = {}
    waiting = iter(seeds)

    async def work() -> None:
        for seed in waiting:
            scenario = draw(seed)
            try:
                problem = complaint(scenario, await play(scenario))
            except (Exception, asyncio.CancelledError) as error:
                current = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and current is not None and current.cancelling():
                    raise
                problem = f"{type(error).__name__}: {error!r}"
            if problem is not None:
                wrong[seed] = problem
            done(seed, problem)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(work())
    return wrong

"""Judges a round: words in are words out, numbers have no hole, the bill is the provider's. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.plan import Plan

EDGE_S: Final = 3.0
"""Around a lapse: an utterance that it cuts, and what its owner held."""
SKIPPED: Final = 10
"""Of so many words in a room one may be lost anywhere but there, and its utterance with it: on a busy machine the
jitter buffer of LiveKit's SDK stretches and leaves out what comes within some tenths of a second. There, too, where the
machine was busy: with two loops that do nothing but compute beside it, the words of a room go all over a round."""
UTTERANCE: Final = 2
"""Words."""


@dataclass(slots=True)
class Voice:
    """`words`: each with the moment at which it was spoken. `lapses`: from when to when nobody took its audio. `holes`:
    as of `people.Sender`, to be told with a wrong word."""

    identity: str
    words: Sequence[tuple[str, float]]
    lapses: list[tuple[float, float]] = field(default_factory=list)
    holes: list[tuple[float, float]] = field(default_factory=list)


class Reader:
    """What a client of the stream makes of its messages, over all its connections."""

    def __init__(self, replica: int) -> None:
        self.replica = replica
        self.point = ""
        self.finals: dict[int, dict[str, Any]] = {}
        self.heard: list[tuple[float, dict[str, Any]]] = []
        self.told: dict[str, dict[str, Any]] = {}
        """Every final that was ever shown, by utterance, also of an epoch that is over."""
        self.problems: list[str] = []
        self.restarts = 0
        self.degraded = 0
        self.state = ""
        self._epoch = ""
        self._last = 0

    def hear(self, message: dict[str, Any], at: float) -> None:
        """`at`: on the clock of the round."""
        data = message.get("data", {})
        match message["type"]:
            case "hello":
                self.state = data["state"]
                if data["resumed"]:
                    self._epoch = message["epoch"]
                elif message["epoch"] != self._epoch or data["seq"] < self._last:
                    self._restart(message["epoch"])
            case "transcript.final":
                self._final(message, at)
            case "gap":
                self.problems.append(f"gap {data['fromSeq']} to {data['toSeq']}")
                self._last = data["toSeq"]
            case "session.state":
                self.state = data["state"]
            case "health":
                self.degraded += data["status"] == "degraded"

    @property
    def last(self) -> int:
        """The number of the last final."""
        return self._last

    def _restart(self, epoch: str) -> None:
        self.restarts += bool(self.finals)
        self._epoch, self._last, self.finals = epoch, 0, {}

    def _final(self, message: dict[str, Any], at: float) -> None:
        if message["epoch"] != self._epoch:
            self._restart(message["epoch"])
        seq, data = message["seq"], message["data"]
        if seq <= self._last:
            if seq in self.finals and self.finals[seq]["text"] != data["text"]:
                self.problems.append(f"number {seq} says two things")
            return
        if seq != self._last + 1:
            self.problems.append(f"number {seq} after {self._last}")
        self._last = seq
        self.point = f"{message['epoch']}:{seq}"
        self.finals[seq] = data
        self.told[data["utteranceId"]] = data
        self.heard.append((at, data))


@dataclass(slots=True)
class Watched:
    """One session of a round, as all saw it. `transcript`: the finals that are kept, in order of `seq`.

    `reads`: history reads of each replica from the fault on, of this session.
    """

    source: str
    voices: Sequence[Voice]
    readers: Sequence[Reader]
    transcript: Sequence[dict[str, Any]]
    reads: Sequence[int] = ()


@dataclass(slots=True)
class Outcome:
    """`fault_at`: on the clock of the round. `deaf`: replicas whose watchers cannot know, until when it is over.
    `is_busy`: more wanted to run than the machine has cores, twice over.
    """

    plan: Plan
    fault_at: float
    sessions: Sequence[Watched]
    deaf: frozenset[int] = frozenset()
    is_busy: bool = False


@dataclass(slots=True)
class Verdict:
    """`recover_s`: from the fault to the first final of later words, at the last watcher; None: no later words came.

    `lost`: words that nobody got. `excused`: those of them that nobody had taken or that died with their owner.
    """

    recover_s: float | None = None
    said: int = 0
    lost: int = 0
    excused: int = 0
    doubled: int = 0
    finals_lost: int = 0
    audio_lost_s: float = 0.0
    reloads: int = 0
    reads: int = 0
    problems: list[str] = field(default_factory=list)


def judge(outcome: Outcome) -> Verdict:
    """All of a round but the bill, which comes later."""
    verdict = Verdict()
    for number, session in enumerate(outcome.sessions):
        struck = not outcome.plan.kind.takes_over or number == outcome.plan.session
        _judge_words(outcome, session, verdict)
        judge_watchers(session, verdict)
        verdict.reads = max(verdict.reads, *session.reads, 0)
        if outcome.plan.kind.takes_over and verdict.reads > 1:
            verdict.problems.append(f"{session.source}: history reads of the replicas: {list(session.reads)}")
        if struck:
            _judge_recovery(outcome, session, verdict)
    return verdict


def _told(final: Mapping[str, Any]) -> str:
    return f"seq {final.get('seq')} at {final.get('startMs')} ms, {final['text']!r}"


def _judge_words(outcome: Outcome, session: Watched, verdict: Verdict) -> None:
    for voice in session.voices:
        heard = Counter(
            word
            for final in session.transcript
            if final["participantIdentity"] == voice.identity
            for word in final["text"].lower().split()
        )
        verdict.said += len(voice.words)
        said = {word for word, _ in voice.words}
        for word, count in heard.items():
            if word not in said:
                verdict.problems.append(f"{session.source} {voice.identity}: {word!r} was never said")
            elif count > 1:
                verdict.doubled += count - 1
                where = ", ".join(_told(final) for final in session.transcript if word in final["text"].lower().split())
                verdict.problems.append(f"{session.source} {voice.identity}: {word!r} is there {count} times: {where}")
        lost = [(word, at) for word, at in voice.words if word not in heard]
        verdict.lost += len(lost)
        verdict.audio_lost_s += sum(_length(voice, word) for word, _ in lost)
        skipped = len(voice.words) // SKIPPED if session.source == "livekit" else 0
        utterances = {word: n // UTTERANCE for n, (word, _) in enumerate(voice.words)}
        excused: set[int] = set()
        for word, at in lost:
            in_lapse = _in_lapse(outcome, session, voice, at)
            is_skipped = (outcome.is_busy or not in_lapse) and (utterances[word] in excused or len(excused) < skipped)
            if is_skipped:
                excused.add(utterances[word])
            if is_skipped or (in_lapse and _may_lose(outcome, session)):
                verdict.excused += 1
            else:
                when = at - outcome.fault_at
                verdict.problems.append(f"{session.source} {voice.identity}: {word!r}, {when:+.1f} s, is lost")


def _may_lose(outcome: Outcome, session: Watched) -> bool:
    kind = outcome.plan.kind
    if kind.is_heard_out and (session.source != "rtmp" or kind.keeps_encoders):
        return False
    return kind.loses_audio or (kind.room and session.source == "livekit")


def _in_lapse(outcome: Outcome, session: Watched, voice: Voice, at: float) -> bool:
    # Nobody hears a room until the fault is over, or another replica listens there.
    until = outcome.fault_at + (outcome.plan.for_s if session.source == "livekit" else 0.0)
    around = [(outcome.fault_at, until), *voice.lapses]
    return any(begin - EDGE_S <= at <= end + EDGE_S for begin, end in around)


def _length(voice: Voice, word: str) -> float:
    """Seconds from this word to the next."""
    times = [at for _, at in voice.words]
    index = [one for one, _ in voice.words].index(word)
    return times[index + 1] - times[index] if index + 1 < len(times) else times[index] - times[index - 1]


def judge_watchers(session: Watched, verdict: Verdict) -> None:
    """No number has a hole, every watcher has what is kept, and what was shown is kept."""
    kept = {final["seq"]: final["text"] for final in session.transcript}
    words = {(final["participantIdentity"], word) for final in session.transcript for word in final["text"].split()}
    if sorted(kept) != list(range(1, len(kept) + 1)):
        verdict.problems.append(f"{session.source}: the transcript's numbers are {sorted(kept)}")
    for reader in session.readers:
        who = f"{session.source}, watcher on {reader.replica}"
        verdict.problems += [f"{who}: {problem}" for problem in reader.problems]
        verdict.reloads += reader.restarts
        seen = {seq: data["text"] for seq, data in reader.finals.items()}
        if seen != kept:
            missing, other = kept.keys() - seen.keys(), {seq for seq in seen if kept.get(seq) != seen[seq]}
            verdict.problems.append(f"{who}: lacks {sorted(missing)}, has another {sorted(other)}")
        for data in reader.told.values():
            # Two owners may have heard the parts of an utterance.
            if not words >= {(data["participantIdentity"], word) for word in data["text"].split()}:
                verdict.finals_lost += 1
                verdict.problems.append(f"{who}: {data['text']!r} was shown and is not kept")


def _judge_recovery(outcome: Outcome, session: Watched, verdict: Verdict) -> None:
    spoken = {(voice.identity, word): at for voice in session.voices for word, at in voice.words}
    for reader in session.readers:
        if reader.replica in outcome.deaf:
            continue
        who = f"{session.source}, watcher on {reader.replica}"
        later = [
            at
            for at, data in reader.heard
            if spoken.get((data["participantIdentity"], data["text"].lower().split()[0]), 0.0) >= outcome.fault_at
        ]
        if later:
            took_s = min(later) - outcome.fault_at
            verdict.recover_s = max(verdict.recover_s or 0.0, took_s)
            if took_s > outcome.plan.recovers_within_s:
                verdict.problems.append(f"{who}: heard nothing new for {took_s:.1f} s")


def table(rounds: Iterable[tuple[str, Verdict]]) -> str:
    """Markdown, a line for each fault."""
    by_fault: dict[str, list[Verdict]] = {}
    for fault, verdict in rounds:
        by_fault.setdefault(fault, []).append(verdict)
    lines = [
        "| fault | rounds | recovered, s: p50 / max | finals lost | words doubled | words lost "
        "| audio lost, s: mean / max | reloads | history reads a replica | wrong |",
        "| --- " * 10 + "|",
    ]
    for fault, verdicts in by_fault.items():
        times = [one.recover_s for one in verdicts if one.recover_s is not None]
        shown = f"{statistics.median(times):.1f} / {max(times):.1f}" if times else "–"
        audio = [one.audio_lost_s for one in verdicts]
        cells = (
            fault,
            len(verdicts),
            shown,
            sum(one.finals_lost for one in verdicts),
            sum(one.doubled for one in verdicts),
            f"{sum(one.lost for one in verdicts)} of {sum(one.said for one in verdicts)}",
            f"{statistics.mean(audio):.1f} / {max(audio):.1f}",
            sum(one.reloads for one in verdicts),
            max(one.reads for one in verdicts),
            sum(bool(one.problems) for one in verdicts),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)

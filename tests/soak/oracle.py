"""Judges a soak: each session's words, and what processes hold when everybody has gone. Pure."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.oracle import EDGE_S, Verdict, Voice, Watched, judge_watchers

Times = Sequence[tuple[float, float]]
Events = Sequence[tuple[float, str]]
"""When something happened, and what."""

THREADS: Final = 11 + min(32, (os.cpu_count() or 1) + 4)
"""That LiveKit's SDK starts for its first room and keeps, however many follow; and asyncio's pool at its largest."""
POOLS: Final = {"postgres": 8, "others": 4, "anon_inode": 7, "pipe": 2}
"""Descriptors that may come to those before the first session: the database's pool, and what LiveKit's SDK keeps."""
EDGES_S: Final = {"rtmp": EDGE_S, "websocket": 1.0}
"""Around a time in which nothing was sent. An encoder does not know what of its last seconds was taken."""
NEAR_S: Final = 15.0
"""Before a wrong word, and a third of it behind: what happened then is told with it."""
MOST_LOST: Final = 0.25
"""Of what a source said; rooms on a busy machine, and a minute with a restart in it, lose the most."""
A_FEW: Final = 10
"""Words that any source may lose in all: a moment in which the machine stands still is much of a short run."""
NONE_LEFT: Final = (
    "transcriptions",
    "tracks",
    "provider_sessions",
    "provider_places_held",
    "provider_places_waiting",
    "finals_pending",
    "spool_records",
    "spool_failing",
    "watchers",
    "relay_told",
    "relay_followed",
    "relay_degraded",
    "audio_carried",
    "audio_connections",
    "rtmp_publishing",
    "sessions_beginning",
    "analyses_here",
    "webhook_pending",
)
"""Gauges that are 0 while nobody is there, without `gateway_`."""
DEFECTS: Final = (
    "Traceback",
    "never retrieved",
    "never awaited",
    "was destroyed but it is pending",
    "ResourceWarning",
    "Unclosed",
    " error ",
)
"""No gateway writes these, whatever happens around it, but for EXPECTED."""
EXPECTED: Final = (
    " error   gateway.replicas.membership: ",
    " error   stt.gladia.account: the speech provider answers nobody",
    "rtc_session - failed to negotiate the publisher: ",
    "livekit::rtc_engine - resuming connection",
    "livekit::rtc_engine - restarting connection",
)
"""A replica that cannot reach the database for a lease's time, or the provider three times in a row, which a moment
without them may become on a busy machine; and LiveKit's SDK, that has been told to leave while it still negotiated, or
says of each try that it is one, while its line is cut."""


def judge_session(watched: Watched, restarts: Times, faults: Events = ()) -> Verdict:
    """`restarts`: from when to when a replica was stopped; `faults`: what broke. On the clock of the voices."""
    verdict = Verdict()
    for voice in watched.voices:
        _judge_voice(watched, voice, restarts, faults, verdict)
    judge_watchers(watched, verdict)
    return verdict


def _judge_voice(watched: Watched, voice: Voice, restarts: Times, faults: Events, verdict: Verdict) -> None:
    """Its words in the order of their time: what is missing is lost, what is more was heard twice or never said.

    A wrong word is told with its time, its neighbours, and what happened near it.
    """
    finals = [final for final in watched.transcript if final["participantIdentity"] == voice.identity]
    heard = [word for final in sorted(finals, key=_begins) for word in final["text"].lower().split()]
    said = [word for word, _ in voice.words]
    verdict.said += len(said)
    who = f"{watched.source} {voice.identity}"
    happened = [*faults, *((begin, f"hole of {end - begin:.1f} s in its sending") for begin, end in voice.holes)]
    lost, more = _differences(said, heard)
    for at, spoken in more:
        verdict.doubled += 1
        at_s = voice.words[min(spoken, len(said) - 1)][1]
        verdict.problems.append(
            f"{who}: {heard[at]!r} after {heard[max(at - 4, 0) : at]}, near {at_s:.1f} s, is more than was said; "
            + near(at_s, happened)
        )
    for number in lost:
        word, at_s = voice.words[number]
        verdict.lost += 1
        # On a busy machine the jitter buffer of LiveKit's SDK leaves words out by itself.
        if (
            watched.source == "livekit"
            or _in_any(at_s, restarts, EDGE_S)
            or _in_any(at_s, voice.lapses, EDGES_S[watched.source])
        ):
            verdict.excused += 1
        else:
            verdict.problems.append(
                f"{who}: {word!r} at {at_s:.1f} s, number {number + 1} of {len(said)}, between "
                f"{said[max(number - 2, 0) : number]} and {said[number + 1 : number + 3]}, is lost; "
                + near(at_s, happened)
            )


def near(at_s: float, happened: Events) -> str:
    """What happened from NEAR_S before a moment to a third of that behind it, in words."""
    found = sorted((when - at_s, what) for when, what in happened if -NEAR_S <= when - at_s <= NEAR_S / 3)
    return "near it: " + (", ".join(f"{what} ({after:+.1f} s)" for after, what in found) or "nothing")


def _differences(said: Sequence[str], heard: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
    """Where the longest common subsequence leaves words out.

    Returns: places in `said`; and places in `heard`, each with the next one in `said`.
    """
    if said == heard:
        return [], []
    longest = [[0] * (len(heard) + 1) for _ in range(len(said) + 1)]  # of what follows
    for i in range(len(said) - 1, -1, -1):
        for k in range(len(heard) - 1, -1, -1):
            same = said[i] == heard[k]
            longest[i][k] = longest[i + 1][k + 1] + 1 if same else max(longest[i + 1][k], longest[i][k + 1])
    lost, more, i, k = list[int](), list[tuple[int, int]](), 0, 0
    while i < len(said) and k < len(heard):
        if said[i] == heard[k]:
            i, k = i + 1, k + 1
        elif longest[i + 1][k] >= longest[i][k + 1]:
            lost.append(i)
            i += 1
        else:
            more.append((k, i))
            k += 1
    return [*lost, *range(i, len(said))], [*more, *((rest, i) for rest in range(k, len(heard)))]


def _begins(final: dict[str, Any]) -> tuple[float, int]:
    return final["startMs"], final["seq"]


def _in_any(at: float, times: Times, edge_s: float) -> bool:
    return any(begin - edge_s <= at <= end + edge_s for begin, end in times)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one process has. `tasks`: by what they run. `sockets`: by where they lead. `files`: what else is open."""

    threads: int
    tasks: Mapping[str, int]
    sockets: Mapping[str, int]
    files: Mapping[str, int]


def left_over(name: str, before: Holdings, after: Holdings) -> dict[str, str]:
    """What a process has too much of, once everybody has gone. `before`: before the first came.

    Returns: in words, by what it is, the same at the next look.
    """
    found = {
        f"{name} task {what}": f"{name}: {what}: {count - before.tasks.get(what, 0)} more than before"
        for what, count in after.tasks.items()
        if count > before.tasks.get(what, 0)
    }
    for was, now in ((before.sockets, after.sockets), (before.files, after.files)):
        for where, count in now.items():
            if count > was.get(where, 0) + POOLS.get(where, 0):
                found[f"{name} to {where}"] = f"{name}: {count} descriptors of {where}, {was.get(where, 0)} before"
    if after.threads > before.threads + THREADS:
        found[f"{name} threads"] = f"{name}: {after.threads} threads, {before.threads} before"
    return found


def gauges_left(name: str, text: str) -> dict[str, str]:
    """`text`: an exposition of Prometheus. Returns: as `left_over`."""
    found = {}
    for line in text.splitlines():
        metric, _, value = line.rpartition(" ")
        what = metric.partition("{")[0].removeprefix("gateway_")
        if what in NONE_LEFT and float(value):
            found[f"{name} gauge {metric}"] = f"{name}: {metric} is {value}"
    return found


def still(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Of what was left over at every look so far, what is so now: what leaks is there at each of them."""
    return {what: told for what, told in now.items() if what in before}


def defects(name: str, lines: Sequence[str]) -> list[str]:
    """Of a log: each kind of defect with its first line, and how a process ended, if not with 0."""
    firsts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for line in lines:
        for sign in DEFECTS:
            if sign in line and not any(one in line for one in EXPECTED):
                counts[sign] += 1
                firsts.setdefault(sign, line)
    found = [f"{name}: {count} x {sign.strip()}, first: {firsts[sign]}" for sign, count in counts.items()]
    return found + [f"{name}: {line}" for line in lines if line.startswith("--- ended") and not line.endswith(" 0")]


@dataclass(slots=True)
class Tally:
    """All sessions of a source together."""

    sessions: int = 0
    said: int = 0
    lost: int = 0
    excused: int = 0
    doubled: int = 0
    wrong: int = 0
    sources: dict[str, Tally] = field(default_factory=dict)

    def add(self, source: str, verdict: Verdict) -> None:
        """To the source's, which is made at its first session."""
        one = self.sources.setdefault(source, Tally())
        for tally in (self, one):
            tally.sessions += 1
            tally.said += verdict.said
            tally.lost += verdict.lost
            tally.excused += verdict.excused
            tally.doubled += verdict.doubled
            tally.wrong += bool(verdict.problems)

    def deaf(self) -> list[str]:
        """Sources of which too much is lost, however well each word is excused."""
        return [
            f"{source}: {one.lost} of {one.said} words are lost"
            for source, one in self.sources.items()
            if one.lost > A_FEW + MOST_LOST * one.said
        ]

    def table(self) -> str:
        """Markdown, a line for each source."""
        lines = [
            "| source | sessions | words said | lost | of them excused | too many | sessions wrong |",
            "| --- " * 7 + "|",
        ]
        for source, one in sorted(self.sources.items()):
            cells = (source, one.sessions, one.said, one.lost, one.excused, one.doubled, one.wrong)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        return "\n".join(lines)

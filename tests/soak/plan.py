"""Who uses the gateways during a soak, and what breaks in turn. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from chaos.plan import REPLICAS, SessionPlan

from stt.local.scripted import VOCABULARY

PAUSE_S: Final = 1.5
UTTERANCE_S: Final = 0.46 + PAUSE_S
"""Two words of the scripted recogniser and the pause behind them."""
SHORTEST_S: Final = 6.0
WORKERS: Final = {1: ("--workers", "2")}
RESTARTED: Final = 2
"""The replica that is stopped and started. The processes of the others live from the beginning to the end."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One session after the other, of one kind. `speakers`, `speech_s`: at least and at most."""

    source: str
    speakers: tuple[int, int]
    speech_s: tuple[float, float]

    def draw(self, chance: random.Random, left_s: float, up: list[int]) -> SessionPlan:
        """The next session. It ends within `left_s` or is as short as can be. `up`: replicas that take connections."""
        speech_s = max(min(chance.uniform(*self.speech_s), left_s), SHORTEST_S)
        return SessionPlan(
            self.source,
            chance.choice(up),
            tuple(_words(chance, speech_s) for _ in range(chance.randint(*self.speakers))),
            watched_on=tuple(range(REPLICAS)),
            events_on=(chance.randrange(REPLICAS),),
            pause_s=PAUSE_S,
        )


SEATS: Final = (
    Seat("websocket", (1, 3), (10.0, 40.0)),
    Seat("websocket", (1, 1), (240.0, 480.0)),
    Seat("rtmp", (1, 1), (10.0, 40.0)),
    Seat("rtmp", (1, 1), (240.0, 480.0)),
    Seat("livekit", (2, 3), (30.0, 80.0)),
)
"""Seven speakers on the average, eight at most."""

FAULTS: Final = (
    "provider cut from the owner",
    "redis killed",
    "watchers reset",
    "postgres reset",
    "owner restarted",
    "peers cut",
    "senders reset",
    "livekit cut from the owner",
    "provider reset",
    "redis slow",
    "postgres cut from the owner for a moment",
    "provider slow",
)
"""Of `chaos.play`, in turn. All are mild: nobody is killed, so nothing may be left behind."""
LASTS_S: Final = (0.5, 2.5)
EVERY_S: Final = 25.0


def _words(chance: random.Random, speech_s: float) -> tuple[str, ...]:
    """An even number of words, none twice among 81 that follow each other in one drawing of the vocabulary."""
    count = 2 * round(speech_s / UTTERANCE_S)
    words: list[str] = []
    while len(words) < count:
        words += chance.sample(VOCABULARY, len(VOCABULARY))
    return tuple(words[:count])

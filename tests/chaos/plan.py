"""What happens in a round of chaos, drawn from its seed: who speaks where, who watches, what breaks when. Pure."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, replace
from typing import Final

from stt.local.scripted import VOCABULARY

REPLICAS: Final = 3
UTTERANCE_S: Final = 0.96
"""Two words of the scripted recogniser and the pause behind them."""
RECOVERS_S: Final = 10.0
"""So long another replica may take to go on, or the same one to do so once a fault is over."""
BUSY: Final = 1.5
"""By this much all may take longer on a machine that others share."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`for_s`: how long it lasts, at least and at most; 0: a moment. `speech_s`: how long people go on speaking.

    `loses_audio`: what a dead owner had taken and not passed on is gone with it; so is what an encoder sent to nobody.
    `is_heard_out`: but the owner lives on, and loses nothing of those who send again what is not acknowledged, or whom
    the next one hears before it leaves. `keeps_encoders`: nor of an encoder, which stays connected to it.
    `takes_over`: another replica goes on. `room`: one session is a LiveKit room.
    """

    name: str
    for_s: tuple[float, float] = (0.0, 0.0)
    speech_s: float = 7.0
    loses_audio: bool = False
    is_heard_out: bool = False
    keeps_encoders: bool = False
    takes_over: bool = False
    room: bool = False


KINDS: Final = (
    Kind("nothing", speech_s=5.5),
    Kind("redis killed", (1.0, 3.0)),
    Kind("redis frozen", (1.0, 4.0)),
    Kind("redis flushed", speech_s=5.5),
    Kind("redis cut from the owner", (1.0, 3.5)),
    Kind("redis frozen for a watcher's replica", (1.0, 4.0)),
    Kind("redis slow", (3.0, 4.0)),
    Kind("postgres reset", speech_s=5.5),
    Kind("postgres cut from the owner for a moment", (0.5, 2.0)),
    Kind("postgres cut from all", (1.0, 3.0)),
    Kind("postgres frozen for all", (1.0, 3.0)),
    Kind("postgres slow", (3.0, 4.0)),
    Kind("provider reset", speech_s=5.5),
    Kind("provider cut from the owner", (0.5, 3.0)),
    Kind("provider frozen for the owner", (0.5, 2.0)),
    Kind("provider slow", (3.0, 4.0)),
    Kind("watchers reset", speech_s=5.5),
    Kind("senders reset", speech_s=5.5),
    Kind("peers cut", (2.0, 4.0)),
    Kind("a watcher's replica killed", (2.0, 4.0)),
    Kind("owner killed", (10.0, 10.0), speech_s=12.5, loses_audio=True, takes_over=True),
    Kind("owner frozen", (10.0, 10.0), speech_s=12.5, loses_audio=True, takes_over=True),
    Kind("owner cut from postgres", (10.0, 10.0), 12.5, True, is_heard_out=True, keeps_encoders=True, takes_over=True),
    Kind("owner restarted", (0.0, 0.0), speech_s=9.0, loses_audio=True, is_heard_out=True, takes_over=True),
    Kind("livekit cut from the owner", (1.0, 3.0), room=True),
    Kind("owner in a room killed", (10.0, 10.0), speech_s=12.5, loses_audio=True, takes_over=True, room=True),
    Kind("peers frozen", (2.0, 4.0)),
    Kind("peers slow", (3.0, 4.0)),
    Kind("livekit frozen for the owner", (1.0, 3.0), room=True),
    Kind("owner of a room restarted", speech_s=9.0, loses_audio=True, is_heard_out=True, takes_over=True, room=True),
    Kind("provider lost to the owner of a room", (12.0, 12.0), speech_s=12.5, takes_over=True, room=True),
    Kind("livekit lost to the owner", (12.0, 12.0), speech_s=12.5, takes_over=True, room=True),
    Kind("provider lost to the owner", (12.0, 12.0), speech_s=12.5, takes_over=True),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """`begins_on`, `watched_on`, `events_on`: numbers of replicas; the last, of those who take server-sent events.

    `voices`: the words of each speaker, in a round each word once. `pause_s`: between two utterances.
    """

    source: str
    begins_on: int
    voices: tuple[tuple[str, ...], ...]
    watched_on: tuple[int, ...]
    events_on: tuple[int, ...] = ()
    pause_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """`at_s`: from the first word on, of the fault that lasts `for_s`. `session`: whose owner it meets, by number."""

    seed: int
    fault: str
    at_s: float
    for_s: float
    session: int
    sessions: tuple[SessionPlan, ...]

    @property
    def kind(self) -> Kind:
        return BY_NAME[self.fault]

    @property
    def recovers_within_s(self) -> float:
        """From the fault on, the first utterance spoken after it included."""
        over_s = 0.0 if self.kind.takes_over else self.for_s
        return BUSY * (RECOVERS_S + UTTERANCE_S + over_s)

    def __str__(self) -> str:
        """One line; the seed is enough to play it again."""
        shown = asdict(self)
        for one in shown["sessions"]:
            one["voices"] = [len(words) for words in one["voices"]]
        return json.dumps(shown)


def draw(seed: int, faults: tuple[str, ...] = (), lasts_s: float | None = None) -> Plan:
    """The same for the same arguments, as long as there are as many faults: one more, and larger seeds mean others.

    `faults`: to choose from; none: all. Every fault has its turn. `lasts_s`: so
    long, and people speak through it, 25 s at most.

    Raises: KeyError for a fault that does not exist.
    """
    chance = random.Random(seed)
    names = faults or tuple(BY_NAME)
    kind = BY_NAME[names[seed % len(names)]]
    if lasts_s is not None:
        kind = replace(kind, for_s=(lasts_s, lasts_s), speech_s=max(kind.speech_s, min(lasts_s + 5.0, 25.0)))
    sources = ("livekit", "websocket") if kind.room else ("websocket", "rtmp")
    sessions = tuple(_session(chance, kind, source) for source in sources)
    return Plan(
        seed=seed,
        fault=kind.name,
        at_s=round(chance.uniform(1.0, 2.0), 2),
        for_s=round(chance.uniform(*kind.for_s), 2),
        session=0 if kind.room else chance.randrange(len(sessions)),
        sessions=sessions,
    )


def _session(chance: random.Random, kind: Kind, source: str) -> SessionPlan:
    speakers = chance.choice((1, 2)) if source == "websocket" else 1
    count = 2 * round(kind.speech_s / UTTERANCE_S)
    voices = tuple(tuple(chance.sample(VOCABULARY, min(count, len(VOCABULARY)))) for _ in range(speakers))
    watched = (*range(REPLICAS), *(chance.randrange(REPLICAS) for _ in range(chance.choice((0, 2)))))
    return SessionPlan(source, chance.randrange(REPLICAS), voices, watched)

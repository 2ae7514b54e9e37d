"""How much may be transcribed: by whom, in what time, and what is said when it is used up. One table.

Minutes are minutes of audio that was sent to the provider, of all participants together: what is paid for. A day is a
day of UTC. The user of a session is who created it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

OFF_HERE: Final = "transcription is switched off on this gateway"
OFF_IN_SPACE: Final = "transcription is switched off in this space"
_KEPT: Final = 100


def places(most: int, *, guest: bool) -> int:
    """How many participants a session may have before one more comes; 0: any number.

    Guests leave a tenth, at most 100, to others: who needs no account could lock those out who have one.
    """
    return most - min(most // 10, _KEPT) if guest else most


@dataclass(frozen=True, slots=True)
class Limits:
    """Minutes; 0 = no limit."""

    transcription: bool = True
    session_minutes: float = 0.0
    user_minutes_per_day: float = 0.0
    space_minutes_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one space has of its own; None = as everywhere."""

    transcription: bool | None = None
    session_minutes: float | None = None
    user_minutes_per_day: float | None = None
    space_minutes_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What others than one transcription have used, as last counted, seconds; and how many of them go on (`live`).

    `own_before`: what that transcription itself had used before today.
    """

    overrides: Overrides = Overrides()
    session_s: int = 0
    own_before_s: int = 0
    user_s: int = 0
    user_live: int = 0
    space_s: int = 0
    space_live: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """Why there is no more. `daily`: tomorrow there is."""

    reason: str
    daily: bool
    off: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    allowed: Callable[[Limits], float]
    used_s: Callable[[Standing], int]
    live: Callable[[Standing], int]
    daily: bool
    said: str


# In the order in which they are told when several are reached.
RULES: Final = (
    _Rule(lambda of: of.session_minutes, lambda by: by.session_s, lambda by: 0, False,
          "limit of {:g} minutes for one session reached"),
    _Rule(lambda of: of.user_minutes_per_day, lambda by: by.user_s, lambda by: by.user_live, True,
          "limit of {:g} minutes a day for one user reached"),
    _Rule(lambda of: of.space_minutes_per_day, lambda by: by.space_s, lambda by: by.space_live, True,
          "limit of {:g} minutes a day for this space reached"),
)  # fmt: skip


def effective(everywhere: Limits, here: Overrides) -> Limits:
    """A space may differ in any limit, but not transcribe where the gateway forbids it."""

    def chosen(own: float | None, common: float) -> float:
        return common if own is None else own

    return Limits(
        everywhere.transcription and here.transcription is not False,
        chosen(here.session_minutes, everywhere.session_minutes),
        chosen(here.user_minutes_per_day, everywhere.user_minutes_per_day),
        chosen(here.space_minutes_per_day, everywhere.space_minutes_per_day),
    )


def reached(
    everywhere: Limits, standing: Standing, own_s: float, own_ahead_s: float, others_ahead_s: float
) -> Reached | None:
    """What would be exceeded soon, if anything: a limit is looked at before it is reached, not after.

    `own_s`: what the transcription itself has used. `own_ahead_s`: what it will have used more before it is looked at
    again and has stopped. `others_ahead_s`: as much for each of the others, whose meters are seen late.
    """
    limits = effective(everywhere, standing.overrides)
    if not limits.transcription:
        return Reached(OFF_IN_SPACE if everywhere.transcription else OFF_HERE, daily=False, off=True)
    for rule in RULES:
        minutes = rule.allowed(limits)
        if not minutes:
            continue
        own = own_s - standing.own_before_s if rule.daily else own_s
        soon = rule.used_s(standing) + own + own_ahead_s + rule.live(standing) * others_ahead_s
        if soon > minutes * 60:
            return Reached(rule.said.format(minutes), rule.daily)
    return None


def until_tomorrow_s(now: datetime) -> int:
    """Whole seconds until the day of UTC is over; at least one."""
    today = now.astimezone(UTC)
    midnight = datetime.combine(today.date() + timedelta(days=1), time(), UTC)
    return max(1, -int((today - midnight) // timedelta(seconds=1)))

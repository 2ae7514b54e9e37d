"""Times of an utterance that cannot be true, replaced by what is known of its place. Pure: no I/O, no clock.

A provider can only have heard what was sent. A time before the beginning or later than all audio, or none at all, is
found from the words beside it, else from the last final and the end of the audio.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from stt.gladia.messages import SpokenUtterance

SLACK_S: Final = 0.5
"""Providers round, and some count the silence behind the last word."""


def is_credible(spoken: SpokenUtterance, sent: float) -> bool:
    """Whether its times can be those of audio of which `sent` seconds were sent."""
    latest = sent + SLACK_S
    if not (-SLACK_S <= spoken.start <= latest and spoken.end <= latest):
        return False
    words = spoken.words
    return not words or (-SLACK_S <= words[0].start <= latest and words[-1].end <= latest)


def corrected(spoken: SpokenUtterance, after: float, sent: float) -> tuple[SpokenUtterance, bool]:
    """The utterance with credible times, and whether its place is only a guess: somewhere from `after` to `sent`.

    `after`: end of the last final, in seconds of the session.
    """
    times = [_credible(at, sent) for word in spoken.words for at in (word.start, word.end)]
    start, end = _credible(spoken.start, sent), _credible(spoken.end, sent)
    known = [at for at in (start, *times, end) if at is not None]
    if start is None:
        start = min(known, default=min(after, sent))
    if end is None:
        end = max(known, default=sent)
    end = max(start, end)
    spread = _filled([start, *times, end])[1:-1]
    words = tuple(
        replace(word, start=first, end=max(first, last))
        for word, first, last in zip(spoken.words, spread[::2], spread[1::2], strict=True)
    )
    return replace(spoken, start=start, end=end, words=words), not known


def _credible(at: float, sent: float) -> float | None:
    return min(max(at, 0.0), sent) if -SLACK_S <= at <= sent + SLACK_S else None


def _filled(times: list[float | None]) -> list[float]:
    """What is not known lies evenly between its neighbours; the first and the last are known."""
    filled: list[float] = []
    unknown = 0
    for at in times:
        if at is None:
            unknown += 1
            continue
        before = filled[-1] if filled else at
        step = max(at - before, 0.0) / (unknown + 1)
        filled += [before + step * place for place in range(1, unknown + 1)]
        filled.append(at)
        unknown = 0
    return filled

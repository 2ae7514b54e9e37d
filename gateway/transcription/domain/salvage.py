"""What a dead process had sent to the provider and not stored, found in the provider's own record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.transcription.domain.captions import Utterance


@dataclass(frozen=True, slots=True)
class StoredUtterance:
    """A final of the same provider session that was stored, in its order. `start_ms`: on the session's clock."""

    text: str
    start_ms: int
    id: str = ""


@dataclass(frozen=True, slots=True)
class Salvage:
    """`utterances`: those without a final, on the provider's clock, whose zero lies at `begins_ms` on the session's.

    `stored`: the final of each of the others, by its id in the record.
    """

    utterances: tuple[Utterance, ...]
    begins_ms: int
    stored: Mapping[str, str] = field(default_factory=dict)


def salvage(stored: Sequence[StoredUtterance], heard: Sequence[Utterance], opened_ms: int) -> Salvage | None:
    """What of `heard` (in order, seconds of the provider session) came behind the last stored final.

    Finals come in order, so they are found in the record one behind the other; the last one also tells where the
    provider's clock stands on ours. Without any the session's opening has to do (`opened_ms`): that is exact to about
    half a second. Silence that was not sent behind the last final makes what follows too early by its length.

    Returns: None when a stored final is not in the record, so that the two cannot be aligned.
    """
    at, begins_ms, known = 0, opened_ms, {}
    for final in stored:
        words = final.text.split()
        # Of a final, words may have been dropped that had been settled before: its end is what counts.
        found = next((i for i in range(at, len(heard)) if heard[i].text.split()[-len(words) :] == words), None)
        if found is None:
            return None
        known[heard[found].id] = final.id
        spoken, dropped = heard[found], len(heard[found].text.split()) - len(words)
        start = spoken.words[dropped].start if dropped < len(spoken.words) else spoken.start
        at, begins_ms = found + 1, final.start_ms - round(start * 1000)
    return Salvage(tuple(heard[at:]), begins_ms, known)

"""Ids of utterances that stay unique although the provider's restart. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Final

import msgspec

from stt.gladia.seam import MOVED_S

_COUNTER_DIGITS: Final = 8
_LONGEST_ID: Final = 100  # beyond it a database's index may not take it


class _Name(msgspec.Struct):
    """The utterance that bears one of the provider's ids at the moment. `generation` counts from 1."""

    generation: int
    resumes: int
    spelt: str
    settled: tuple[float, float, str] | None = None  # start, end (seconds of the session) and text of its final

    def is_other(self, start: float, text: str) -> bool:
        """Whether what begins at `start` is another utterance than the one that is settled.

        A revision begins where the final began, within what two tellings may be apart.
        """
        if self.settled is None:
            return False
        begin, end, said = self.settled
        if abs(start - begin) <= MOVED_S and said.startswith(text):
            return False
        return start > begin + 0.001 and start >= min(end - 0.001, max((begin + end) / 2, begin + MOVED_S))


@dataclass(slots=True)
class Names:
    """Utterance ids of one session. The provider's counter may restart after a resume; ours must not.

    An id is `<session id>:<provider's id>`, with `.2`, `.3` … behind it where the provider uses its id again.
    """

    session_id: str
    by_id: dict[str, _Name] = field(default_factory=dict)

    def of(self, provider_id: str, start: float, resumes: int, text: str) -> str | None:
        """The id to use, or None for a repeat or a revision of something already final.

        `start` of the utterance in seconds of the session; `resumes`: how often the session has been resumed.
        """
        name = self.by_id.get(provider_id)
        if name is None:
            name = self.by_id[provider_id] = _Name(1, resumes, f"{self.session_id}:{_spelt(provider_id)}")
        elif name.resumes < resumes or name.is_other(start, text):
            name.generation, name.resumes, name.settled = name.generation + 1, resumes, None
            name.spelt = f"{self.session_id}:{_spelt(provider_id)}.{name.generation}"
        elif name.settled is not None:
            return None
        return name.spelt

    def is_settled(self, provider_id: str) -> bool:
        """Whether the utterance that bears this id has its final."""
        name = self.by_id.get(provider_id)
        return name is not None and name.settled is not None

    def settle(self, provider_id: str, start: float, end: float, text: str) -> None:
        """The utterance has its final, at this place in seconds of the session. Raises: KeyError before `of`."""
        self.by_id[provider_id].settled = start, max(start, end), text

    def known(self, utterance_id: str, channel: int) -> str | None:
        """The id of the utterance that an add-on is about, None for one never heard.

        Add-ons name it in full or by its bare counter (both were seen).
        """
        is_bare = utterance_id.isdecimal() and len(utterance_id) <= _COUNTER_DIGITS
        provider_id = f"{channel:02d}_{int(utterance_id):08d}" if is_bare else utterance_id
        name = self.by_id.get(provider_id)
        return None if name is None else name.spelt


def _spelt(provider_id: str) -> str:
    """The id itself, or a short stand-in for one that cannot be stored or shown everywhere."""
    if len(provider_id) <= _LONGEST_ID and provider_id.isascii() and provider_id.isprintable():
        return provider_id
    return blake2s(provider_id.encode("utf-8", "replace"), digest_size=8).hexdigest()

"""Ids of utterances that stay unique although the provider's restart. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Final

import msgspec

_COUNTER_DIGITS: Final = 8
_LONGEST_ID: Final = 100  # beyond it a database's index may not take it


class _Name(msgspec.Struct):
    """The utterance that bears one of the provider's ids at the moment. `generation` counts from 1."""

    generation: int
    resumes: int
    spelt: str
    settled_to: float | None = None  # end of its final, seconds of the session


@dataclass(slots=True)
class Names:
    """Utterance ids of one session. The provider's counter may restart after a resume; ours must not.

    An id is `<session id>:<provider's id>`, with `.2`, `.3` … behind it where the provider uses its id again.
    """

    session_id: str
    by_id: dict[str, _Name] = field(default_factory=dict)

    def of(self, provider_id: str, start: float, resumes: int) -> str | None:
        """The id to use, or None for a repeat of something already final.

        `start` of the utterance in seconds of the session; `resumes`: how often the session has been resumed.
        """
        name = self.by_id.get(provider_id)
        if name is None:
            name = self.by_id[provider_id] = _Name(1, resumes, f"{self.session_id}:{_spelt(provider_id)}")
        elif name.resumes < resumes or (name.settled_to is not None and start >= name.settled_to - 0.001):
            name.generation, name.resumes, name.settled_to = name.generation + 1, resumes, None
            name.spelt = f"{self.session_id}:{_spelt(provider_id)}.{name.generation}"
        elif name.settled_to is not None:
            return None
        return name.spelt

    def is_settled(self, provider_id: str) -> bool:
        """Whether the utterance that bears this id has its final."""
        name = self.by_id.get(provider_id)
        return name is not None and name.settled_to is not None

    def settle(self, provider_id: str, end: float) -> None:
        """The utterance has its final, which ends at `end` seconds of the session. Raises: KeyError before `of`."""
        self.by_id[provider_id].settled_to = end

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

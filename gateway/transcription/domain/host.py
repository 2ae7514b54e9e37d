"""Which participant's browser feeds a transcription whose audio comes from browsers: the host. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

HOST_ROLE: Final = "HOST"


class Reason(StrEnum):
    """Why the host is the host now."""

    FIRST = "first"  # there was none
    LEFT = "left"  # the one before has left, or speaks no more
    CLAIMED = "claimed"  # a person asked for it
    KEPT = "kept"  # the gateway has changed, the host has not


class Present(Protocol):
    """A participant who is in the session now."""

    @property
    def identity(self) -> str:
        """Unique in the session."""

    @property
    def role(self) -> str:
        """HOST, GUEST, or one that the app has added since."""

    @property
    def joined_at(self) -> datetime:
        """UTC."""


def select_host(present: Iterable[Present], without: Collection[str] = ()) -> str | None:
    """Those with the role HOST first, then the longest present; None when no one is left."""
    able = [person for person in present if person.identity not in without]
    able.sort(key=lambda person: (person.role != HOST_ROLE, person.joined_at, person.identity))
    return able[0].identity if able else None


def host_after(
    current: str | None, present: Sequence[Present], feeding: Sequence[str], quitted: Collection[str]
) -> str | None:
    """Who is the host from now on.

    `feeding`: whose audio comes in, the longest first. `quitted`: whose audio came in and does not any more. A host
    stays while its audio comes, and while it is in the session and has not quitted.
    """
    here = {person.identity for person in present} - set(quitted)
    if current is not None and (current in feeding or current in here):
        return current
    return select_host(present, quitted) or next(iter(feeding), None)

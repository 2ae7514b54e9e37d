"""Where the provider's seconds lie on the track's clock.

The provider counts the audio it received in one session. What it received is the track with stretches left out
(silence that was never sent), and after a resume with a stretch twice. So the map is a list of marks: "from this
sample of the session on, the audio is the track's from that sample on".
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

_NOWHERE = -(1 << 60)
"""Where nothing was sent, everything lies at 0."""


class Timeline:
    """Session samples to track samples, for one provider session. All positions in samples at 16 kHz."""

    def __init__(self) -> None:
        self._session: list[int] = []  # where a mark stands in the session, ascending
        self._track: list[int] = []  # and on the track
        self._end = 0

    @property
    def end(self) -> int:
        """Samples the provider has received in this session once everything sent has arrived."""
        return self._end

    @property
    def started(self) -> bool:
        """Whether any audio was ever sent."""
        return bool(self._session)

    def sent(self, track: int, samples: int) -> None:
        """The next `samples` of the session are the track's from `track` on."""
        if not self._session or self._track[-1] + self._end - self._session[-1] != track:
            self._session.append(self._end)
            self._track.append(track)
        self._end += samples

    def rewind(self, to: int) -> None:
        """The provider has only the first `to` samples of what was sent: the rest never was."""
        while self._session and self._session[-1] >= to:
            self._session.pop()
            self._track.pop()
        self._end = to

    def stretches(self, since: int, end: int) -> list[tuple[int, int]]:
        """The stretches of the track, (begin, end), that the session samples from `since` to `end` lie in."""
        marks = self._session
        if marks and since >= marks[-1]:
            shift = self._track[-1] - marks[-1]
            return [(since + shift, end + shift)]
        borders = [since, *(mark for mark in marks if since < mark < end), end]
        return [(a + shift, b + shift) for a, b in pairwise(borders) for shift in (self.shift(a),)]

    def to_track(self, session: int, *, within: int | None = None) -> int:
        """The place of a session sample on the track's clock.

        `within`: a sample of the same stretch. Ends are imprecise; the middle of a word tells where it belongs.
        """
        return max(session + self.shift(session if within is None else within), 0)

    @property
    def newest(self) -> tuple[int, int]:
        """Where the newest stretch begins in the session, and its shift: most of what is asked for lies in it."""
        return (self._session[-1], self._track[-1] - self._session[-1]) if self._session else (0, _NOWHERE)

    def shift(self, session: int) -> int:
        """What to add to a session sample of the stretch that this one lies in; what then is negative lies at 0."""
        marks = self._session
        if not marks:
            return _NOWHERE
        if session >= marks[-1]:
            return self._track[-1] - marks[-1]
        index = max(bisect_right(marks, session) - 1, 0)
        return self._track[index] - marks[index]

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
        self.end = 0
        """Samples the provider has received in this session once everything sent has arrived."""
        self.newest = 0, _NOWHERE
        """Where the newest stretch begins in the session, and its shift: most of what is asked for lies in it."""

    @property
    def started(self) -> bool:
        """Whether any audio was ever sent."""
        return bool(self._session)

    def sent(self, track: int, samples: int) -> None:
        """The next `samples` of the session are the track's from `track` on."""
        if self.end + self.newest[1] != track:
            self._session.append(self.end)
            self._track.append(track)
            self.newest = self.end, track - self.end
        self.end += samples

    def rewind(self, to: int) -> None:
        """The provider has only the first `to` samples of what was sent: the rest never was."""
        while self._session and self._session[-1] >= to:
            self._session.pop()
            self._track.pop()
        self.end = to
        self.newest = (self._session[-1], self._track[-1] - self._session[-1]) if self._session else (0, _NOWHERE)

    def stretches(self, since: int, end: int) -> list[tuple[int, int]]:
        """The stretches of the track, (begin, end), that the session samples from `since` to `end` lie in."""
        newest, shift = self.newest
        if since >= newest:
            return [(since + shift, end + shift)]
        borders = [since, *(mark for mark in self._session if since < mark < end), end]
        return [(a + shift, b + shift) for a, b in pairwise(borders) for shift in (self.shift(a),)]

    def to_track(self, session: int, *, within: int | None = None) -> int:
        """The place of a session sample on the track's clock.

        `within`: a sample of the same stretch. Ends are imprecise; the middle of a word tells where it belongs.
        """
        return max(session + self.shift(session if within is None else within), 0)

    def shift(self, session: int) -> int:
        """What to add to a session sample of the stretch that this one lies in; what then is negative lies at 0."""
        since, shift = self.newest
        if session >= since or not self._session:
            return shift
        index = max(bisect_right(self._session, session) - 1, 0)
        return self._track[index] - self._session[index]

"""Where the provider's seconds lie on the track's clock.

The provider counts the audio it received in one session. What it received is the track with stretches left out
(silence that was never sent), and after a resume possibly with a stretch twice. So the map is a list of marks:
"from this sample of the session on, the audio is the track's from that sample on", newest mark first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Mark:
    session: int
    track: int


class Timeline:
    """Session samples to track samples, for one provider session. All positions in samples at 16 kHz."""

    def __init__(self) -> None:
        self._marks: list[_Mark] = []
        self._end = 0
        self._resumed_at = 0
        self._resumed_mark = 0

    @property
    def end(self) -> int:
        """Samples the provider has received in this session once everything sent has arrived."""
        return self._end

    @property
    def started(self) -> bool:
        """Whether any audio was ever sent."""
        return bool(self._marks)

    @property
    def resumed_at(self) -> int:
        """Session sample at which the newest connection began."""
        return self._resumed_at

    def sent(self, track: int, samples: int) -> None:
        """The next `samples` of the session are the track's from `track` on."""
        fresh = self._resumed_mark == len(self._marks)
        if fresh or self._marks[-1].track + self._end - self._marks[-1].session != track:
            self._marks.append(_Mark(self._end, track))
        self._end += samples

    def resume(self, at: int) -> None:
        """A new connection goes on from session sample `at`: the provider is taken to have forgotten the rest."""
        self._end = self._resumed_at = at
        self._resumed_mark = len(self._marks)

    def correct(self, received: int) -> int:
        """The provider says it has received `received` samples. Returns by how much that moved the resume.

        More than we assumed means that it had kept audio from before the cut, so everything sent since
        the resume lies that much later. (The documentation leaves open which of the two it does.)
        """
        surplus = received - self._end
        if surplus <= 0:
            return 0
        for mark in self._marks[self._resumed_mark :]:
            mark.session += surplus
        self._resumed_at += surplus
        self._end += surplus
        return surplus

    def to_track(self, session: int, *, is_end: bool = False) -> int:
        """The place of a session sample on the track's clock.

        `is_end`: the position ends something, so at a mark it belongs to the stretch before it.
        """
        looked_up = session - 1 if is_end else session
        for mark in reversed(self._marks):
            if mark.session <= looked_up:
                return mark.track + session - mark.session
        return self._marks[0].track if self._marks else 0

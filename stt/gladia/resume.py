"""How much the provider still has of a session after its connection was cut. Pure: no I/O, no clock.

The provider does not say which audio it kept: it may have received more than it acknowledged. So all audio without a
final is sent again, and the first messages of the new connection are *probes*, each of another size. The place of their
acknowledgement in the session tells where the provider's sample counter stood when the connection began: the *base*.

Positions are session samples (what the provider counts, over all connections) unless a name says `track`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from stt.gladia.retained import SAMPLE_BYTES
from stt.gladia.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Superseded:
    """Transcripts of session samples [since, base) are ignored; that audio was resent from track sample `resent_from`.

    What lies before `resent_from` on the track was not sent again, so it still counts.
    """

    since: int
    base: int
    resent_from: int

    def covers(self, session: int, track: int) -> bool:
        """Whether the sample at `session`, which lies at `track` on the track's clock, was sent again."""
        return self.since <= session < self.base and track >= self.resent_from


class Resume:
    """One session's resumes. `probes` are (track sample, samples), sent since the newest connection was opened."""

    def __init__(self) -> None:
        self.is_placed = True
        """The provider's counter stands where the timeline says; not so from a cut until the base is known."""
        self.is_doubtful = False
        """Before this connection another one was cut whose probes were not acknowledged."""
        self.placed = 0
        """Resumes after which the base became known."""
        self.base = 0
        """Where the provider's counter stood when the newest connection began."""
        self.before_cut = 0
        """End of the timeline at the last cut: the provider cannot have more."""
        self.probes: list[tuple[int, int]] = []
        self.superseded: list[Superseded] = []
        self._acknowledged_run = (0, 0)  # unbroken acknowledgements on this connection

    def begin(self, end: int) -> None:
        """The connection was opened again; `end`: of the timeline."""
        self.is_doubtful = self.is_doubtful or (not self.is_placed and bool(self.probes))
        self.is_placed = False
        self.before_cut = end
        self.probes.clear()
        self._acknowledged_run = (-1, -1)

    def probe_size(self, available: int) -> int:
        """Samples of the next probe out of `available`: a size that no probe has, so that its acknowledgement tells."""
        taken = {size for _, size in self.probes}
        return next((size for size in range(available - 1, 0, -1) if size not in taken), 1)

    def base_told_by(self, begin_bytes: int, end_bytes: int) -> tuple[int | None, int]:
        """What an acknowledgement of these bytes of the session proves. There must be probes.

        Returns: the base, None when it proves none, and the session sample up to which it acknowledges.
        """
        # Were the end inclusive, as one document has it, half a sample would be missing.
        begin, end = begin_bytes // SAMPLE_BYTES, ceil(end_bytes / SAMPLE_BYTES)
        run = self._acknowledged_run
        run = self._acknowledged_run = (run[0], end) if begin == run[1] else (begin, end)
        sizes = [samples for _, samples in self.probes]
        befores = list(accumulate(sizes, initial=0))
        if end - begin in sizes:  # it is for this message
            return begin - befores[sizes.index(end - begin)], end
        if run[1] - run[0] in befores[1:]:  # several together are for the first messages
            return run[0], end
        if end - sizes[0] == self.before_cut and len(sizes) == 1:  # one for all that had arrived and the first message
            return self.before_cut, end
        return None, end  # a late one of the former connection, or a part: others will follow

    def place(self, base: int, timeline: Timeline, acknowledged: int, cursor: int) -> None:
        """The base is known: correct the timeline, and note what is superseded.

        `acknowledged`: session sample up to which the provider surely had the audio before the cut; `cursor`: track
        sample that is sent next.
        """
        timeline.rewind(base)
        for track, samples in self.probes:
            timeline.sent(track, samples)
        if self.is_doubtful:
            # Between these two an earlier resume began, it is not known where: all of it is ignored.
            self.superseded.append(Superseded(acknowledged, base, 0))
        self.superseded.append(Superseded(0, base, self.probes[0][0] if self.probes else cursor))
        self.base = base
        self.is_placed, self.is_doubtful = True, False
        self.placed += 1

    def abandon(self, timeline: Timeline) -> None:
        """The provider takes no more audio on this connection: it has received none of the probes."""
        timeline.rewind(self.before_cut)
        self.probes.clear()

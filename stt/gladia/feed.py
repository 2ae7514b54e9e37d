"""A track's audio on its way into one provider session. Pure: no I/O, no clock.

Three positions follow each other along the track: sent, acknowledged, heard (covered by a final). Positions are samples
on the track's clock unless a name says `session`; times are monotonic seconds.
"""

from __future__ import annotations

from typing import Final

from stt.gladia import messages as wire
from stt.gladia.blame import Blame
from stt.gladia.meter import Metered, Reach
from stt.gladia.options import LinkOptions
from stt.gladia.resume import Resume
from stt.gladia.retained import SAMPLE_BYTES, SAMPLE_RATE, Retained, Span
from stt.gladia.timeline import Timeline


class Feed:
    """Chooses what goes out next, and knows how far it got.

    `begin`: where this session starts to hear the track. `reach`: how far any session of the track is proved to have.
    `blame`: what connections of the track died of. `wary`: the session before was lost, so that this one's connection
    has to show first that it lives.
    """

    # A backlog goes out in pieces of a second: far below the provider's frame limit of 1 MiB.
    MOST_PER_MESSAGE: Final = SAMPLE_RATE
    LEAST_PER_MESSAGE: Final = SAMPLE_RATE // 10
    FIRST_WINDOW: Final = SAMPLE_RATE
    TRUSTED: Final = 16 * SAMPLE_RATE

    def __init__(
        self,
        audio: Retained,
        begin: int,
        reach: Reach,
        blame: Blame,
        options: LinkOptions,
        now: float,
        *,
        wary: bool = False,
    ) -> None:
        self.begin = begin
        self.until: int | None = None
        """No audio from here on is for this session; None while the track goes on."""
        self.cursor = begin
        """The next sample to send."""
        self.acknowledged = 0
        """Session samples that the provider has acknowledged."""
        self.heard_to = begin
        """End of the last word that has a final."""
        self.timeline = Timeline()
        self.furthest = 0
        """The most session samples that the provider can ever have counted."""
        self.resume = Resume()
        self.metered = Metered()
        self.window: int | None = self.FIRST_WINDOW if wary else None
        """Samples that may be on their way without an acknowledgement; None: the connection is trusted."""
        self.last_sent = now
        self.last_audio = now
        self.awaiting_since: float | None = None
        """Since when an answer to something sent is awaited, or when there was one last; None: none is."""
        self._audio = audio
        self._options = options
        self._track_reach = reach
        self._blame = blame
        self._alone: Span | None = None  # what this connection was opened for
        self._written_before = 0  # on former connections
        self._written = 0  # samples written in this session, over all connections: the provider cannot have more
        self._reach = begin  # end of the track's audio that was sent; behind it is silence of ours
        self._overlap = int(options.overlap_s * SAMPLE_RATE)
        self._trailing = int(options.trailing_silence_s * SAMPLE_RATE)
        self._silent_at = -1  # where silence was heard last that takes no time on the track
        self._silence_sent = 0
        self._silences: list[tuple[int, int]] = []  # those of them that are not proved to be heard, session samples

    # --- how far it got -------------------------------------------------------------------------------------

    @property
    def reach(self) -> int:
        """End of the track's audio that was sent."""
        return self._reach

    @property
    def stops_at(self) -> int:
        """Where a next session would go on."""
        return self.cursor if self.until is None else self.until

    @property
    def confirmed(self) -> int:
        """Position up to which the provider certainly has the audio."""
        if not self.acknowledged:
            return self.begin
        return min(self.timeline.to_track(self.acknowledged, within=self.acknowledged - 1), self._reach)

    @property
    def needs_from(self) -> int:
        """Position from which audio has to be sent again, should this session be cut or lost."""
        return max(self.begin, self.heard_to - self._overlap)

    @property
    def has_heard_all(self) -> bool:
        """Whether finals cover all audio that was for this session; False while more may come."""
        return self.until is not None and self.heard_to >= self.until

    def heard(self, session_end: int, position: int) -> bool:
        """A final was accepted whose last word ends here; the provider sends finals in order.

        Returns: whether it leads further, and was spoken on the newest connection.
        """
        position = min(position, self._reach)
        if session_end <= self.resume.base or position <= self.heard_to:
            return False
        self.heard_to = position
        return True

    @property
    def has_superseded(self) -> bool:
        """Whether anything is superseded at all."""
        return self.until is not None or bool(self.resume.superseded)

    def is_superseded(self, session: int) -> bool:
        """Whether what the provider hears at this session sample is heard again, or by another session."""
        if not self.has_superseded:
            return False
        position = self.timeline.to_track(session)
        if self.until is not None and position >= self.until:
            return True
        return any(one.covers(session, position) for one in self.resume.superseded)

    # --- what the provider has ------------------------------------------------------------------------------

    def acknowledge(self, end: int) -> None:
        """The provider has acknowledged the session up to this sample."""
        if self.window is not None:
            self.window += end - self.acknowledged  # so it doubles from one answer to the next
            if self.window >= self.TRUSTED:
                self.window = None
        self.acknowledged = end
        self.prove(end)

    def prove(self, end: int) -> None:
        """The provider has received the session up to this sample, by whatever evidence: it can charge that much."""
        metered, reach = self.metered, self._track_reach
        at = metered.sent
        if end > self._written:
            end = self._written
        if end <= at:
            return
        metered.sent = end
        since, shift = self.timeline.newest
        if at >= since and at + shift >= reach.to and not self._silences:  # as ever: no part of it was sent before
            reach.to = end + shift
            return
        if self._silences:
            at = self._prove_silences(at, end)
        metered.resent += reach.extend(self.timeline.stretches(at, end))

    def _prove_silences(self, at: int, end: int) -> int:
        """Silence that takes no time on the track is not the track again. Returns: from where on there is none."""
        for begin, stop in self._silences:
            if begin < end and stop > at:
                self.metered.resent += self._track_reach.extend(self.timeline.stretches(at, max(begin, at)))
                at = min(stop, end)
        self._silences = [one for one in self._silences if one[1] > end]
        return at

    # --- what goes out --------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """A connection is open: nothing was sent on it yet."""
        self.last_sent = self.last_audio = now
        self.awaiting_since = None
        self._written_before = self._written
        accused = self._blame.accused
        if accused is not None and accused.end <= self._audio.start:
            self._blame.acquit()  # it has left the window
        elif accused is not None and not self.timeline.started:
            self.cursor = accused.start
        self._alone = self._blame.accused
        self._blame.connected()

    def died(self, now: float) -> None:
        """The connection ended, and nothing that was said explains it."""
        if self._blame.accused is not self._alone:
            return  # of two sessions the other one looks into it
        is_placed = self.resume.is_placed
        self._blame.died(now, self.acknowledged - self.resume.base if is_placed else 0)

    def resumed(self) -> None:
        """The connection was open before: begin again with what has no final."""
        self.resume.begin(self.timeline.end)
        accused = self._blame.accused
        self.cursor = max(self.needs_from if accused is None else accused.start, self._audio.start)
        self.window = self.FIRST_WINDOW
        self._silent_at = -1

    @property
    def is_free(self) -> bool:
        """Whether audio goes out as it comes: the connection is trusted, and none was ever blamed on the audio."""
        return self.window is None and not self._blame.is_used

    @property
    def held_back(self) -> bool:
        """Whether audio waits until acknowledgements show that the connection lives."""
        if not self._blame.is_used:
            if self.window is None:
                return False
        elif self._blame.accused is not None:
            return True
        elif self.window is None and not self._blame.is_alone(self.cursor):
            return False
        if self._silence_owed > 0:
            return True
        found = self._audio.read(self._blame.past(self.cursor), 1)
        return found is not None and (self.until is None or found[0] < self.until)

    @property
    def held_until(self) -> float:
        """When audio that is held back goes out, should nothing come from the provider."""
        is_paced = self._blame.is_used and (self._blame.is_alone(self.cursor) or self._blame.is_searching)
        is_survived = is_paced and self.acknowledged >= self.timeline.end - 1
        return self.last_sent + (self._blame.pace_s if is_survived else self._options.probe_s)

    @property
    def _is_searching(self) -> bool:
        return self._blame.is_used and self._blame.is_searching

    @property
    def is_moot(self) -> bool:
        """Whether this connection was for a stretch that is accused no more: it has skipped what comes before it."""
        return self._alone is not None and self._blame.accused is not self._alone

    def acquits(self, now: float) -> bool:
        """Whether audio that was accused of ending connections was sent alone, and this one lives. Then it is cut."""
        if self.is_moot:
            return True
        if not self._blame.is_borne or now < self.held_until:
            return False
        self._blame.acquit()
        return True

    def stop_waits(self, now: float) -> bool:
        """Whether it is still to be seen if the connection dies of the audio that was sent last."""
        return self.until is not None and self._is_searching and now < self.held_until

    def room(self, now: float) -> int:
        """Samples that may go out now: after a cut little at first, and more with each acknowledgement.

        A provider that acknowledges nothing gets as much more each time when that has been awaited for `probe_s`.
        """
        if self._blame.is_used and self._blame.is_alone(self.cursor) and now < self.held_until:
            return 0
        if self.window is None:
            return self.MOST_PER_MESSAGE
        free = self.window - (self.timeline.end - self.acknowledged)
        if free < self.LEAST_PER_MESSAGE and now >= self.last_sent + self._options.probe_s:
            self.window *= 2
            free = self.window - (self.timeline.end - self.acknowledged)
            if free < self.LEAST_PER_MESSAGE:
                self.window = None
                return self.MOST_PER_MESSAGE
        return min(free, self.MOST_PER_MESSAGE) if free >= self.LEAST_PER_MESSAGE else 0

    def audio(self, most: int, now: float) -> bytes | None:
        """The next audio, at most `most` samples (s16le), or silence for a gap; None while there is none."""
        if most <= 0 or (self._alone is not None and self.is_moot):
            return None
        if self._blame.accused is not None:
            if self._blame.silence_due:
                samples, self._blame.silence_due = self._blame.silence_due, 0
                return self._silence(samples, now)
            if not self._blame.is_borne and now < self.held_until:
                return None
        elif self._audio.silences and (owed := self._silence_owed) > 0:
            samples = min(owed, most)
            self._silence_sent += samples
            return self._silence(samples, now)
        if self.cursor >= self._audio.end:
            return None
        position = self.cursor
        if self._blame.is_used:
            position = self._blame.past(position)
            most = self._blame.most(position, most)
            if most <= 0:
                return None
        found = self._audio.read(position, most)
        if found is None or (self.until is not None and found[0] >= self.until):
            return None
        offset, pcm = found
        if self.until is not None:
            pcm = pcm[: (self.until - offset) * SAMPLE_BYTES]
        if offset > self.cursor != self._silent_at and self.timeline.started:
            # A stretch was left out. Silence stands for its beginning, so that the words around it stay apart.
            samples = min(offset - self.cursor, int(self._options.gap_silence_s * SAMPLE_RATE), most)
            before, self.cursor = self.cursor, offset
            return self._sent(before, bytes(samples * SAMPLE_BYTES), now)
        self.cursor = end = offset + len(pcm) // SAMPLE_BYTES
        if end > self._reach:
            self._reach = end
        self.last_audio = now
        self._sent(offset, pcm, now)
        self._blame.sent((now, offset, end, self._written - self._written_before))
        return pcm

    def _silence(self, samples: int, now: float) -> bytes:
        """The next message is silence that takes no time on the track's clock."""
        self._silences.append((self.timeline.end, self.timeline.end + samples))
        return self._sent(self.cursor, bytes(samples * SAMPLE_BYTES), now)

    @property
    def _silence_owed(self) -> int:
        """Samples of silence to send before the track goes on from the cursor."""
        owed = self._audio.silence_at(self.cursor)
        if not owed or not self.timeline.started or (self.until is not None and self.cursor >= self.until):
            return 0
        if self._silent_at != self.cursor:
            self._silent_at, self._silence_sent = self.cursor, 0
        return owed - self._silence_sent

    def probe(self, now: float) -> bytes | None:
        """The next audio in a piece whose size no probe has; None while there is none."""
        position = self._blame.past(self.cursor)
        found = self._audio.read(position, self._blame.most(position, self.MOST_PER_MESSAGE))
        available = len(found[1]) // SAMPLE_BYTES if found is not None else 0
        return self.audio(self.resume.probe_size(available), now)

    def trailing_silence(self, now: float) -> bytes | None:
        """Within an utterance and the track is left out from here on: without silence the provider would not end it."""
        samples = self._trailing
        if self._audio.left_out_to - self.cursor < samples:
            return None
        self.cursor += samples
        return self._sent(self.cursor - samples, bytes(samples * SAMPLE_BYTES), now)

    def _sent(self, offset: int, pcm: bytes, now: float) -> bytes:
        """The next message is this audio of the track, or silence that stands at its place."""
        samples = len(pcm) // SAMPLE_BYTES
        if not self.resume.is_placed:
            self.resume.probes.append((offset, samples))
        timeline = self.timeline
        timeline.sent(offset, samples)
        self._written += samples
        if timeline.end > self.furthest:
            self.furthest = timeline.end
        self.metered.messages += 1
        self.last_sent = now
        if self.awaiting_since is None or self.held_back:  # the answer may be waiting for what is held back
            self.awaiting_since = now
        return pcm

    def stop(self, now: float) -> str:
        """The message after which no more audio goes out; its answer is awaited."""
        self.awaiting_since = now
        self.last_sent = now
        return wire.STOP

    def keepalive(self, now: float) -> str | None:
        """An empty message when nothing was sent for long."""
        if now < self.last_sent + self._options.keepalive_s:
            return None
        self.last_sent = now
        return wire.KEEPALIVE

    def alive(self, now: float) -> None:
        """The provider said something about audio or about the end: it is not stalled."""
        if self.awaiting_since is not None:
            self.awaiting_since = now

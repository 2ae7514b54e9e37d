"""A track's audio on its way into one provider session. Pure: no I/O, no clock.

Three positions follow each other along the track: sent, acknowledged, heard (covered by a final). Positions are samples
on the track's clock unless a name says `session`; times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stt.gladia import messages as wire
from stt.gladia.options import LinkOptions
from stt.gladia.resume import Placing, Resume
from stt.gladia.retained import SAMPLE_BYTES, SAMPLE_RATE, Retained
from stt.gladia.timeline import Timeline


@dataclass(slots=True)
class Metered:
    """Samples as the provider sees them. `sent` includes `resent`."""

    sent: int = 0
    resent: int = 0
    messages: int = 0

    def add(self, other: Metered) -> None:
        """Count what `other` has counted as well."""
        self.sent += other.sent
        self.resent += other.resent
        self.messages += other.messages


class Feed:
    """Chooses what goes out next, and knows how far it got.

    `begin`: where this session starts to hear the track. `sent_to`: how far any session was sent it.
    """

    # A backlog goes out in pieces of a second: far below the provider's frame limit of 1 MiB.
    MOST_PER_MESSAGE: Final = SAMPLE_RATE

    def __init__(self, audio: Retained, begin: int, sent_to: int, options: LinkOptions, now: float) -> None:
        self.begin = begin
        self.until: int | None = None
        """No audio from here on is for this session; None while the track goes on."""
        self.cursor = begin
        """The next sample to send."""
        self.sent_to = sent_to
        self.acknowledged = 0
        """Session samples that the provider has acknowledged."""
        self.heard_to = begin
        """End of the last word that has a final."""
        self.timeline = Timeline()
        self.furthest = 0
        """The most session samples that the provider can ever have counted."""
        self.resume = Resume()
        self.metered = Metered()
        self.last_sent = now
        self.last_audio = now
        self.awaiting_since: float | None = None
        """Since when an answer to something sent is awaited, or when there was one last; None: none is."""
        self._audio = audio
        self._options = options
        self._reach = begin  # end of the track's audio that was sent; behind it is silence of ours
        self._overlap = int(options.overlap_s * SAMPLE_RATE)
        self._trailing = int(options.trailing_silence_s * SAMPLE_RATE)
        self._silent_at = -1  # where silence was heard last that takes no time on the track
        self._silence_sent = 0

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

    # --- what goes out --------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """A connection is open: nothing was sent on it yet."""
        self.last_sent = self.last_audio = now
        self.awaiting_since = None

    def resumed(self) -> None:
        """The connection was open before: begin again with what has no final."""
        self.resume.begin(self.timeline.end)
        self.cursor = max(self.needs_from, self._audio.start)
        self._silent_at = -1

    def audio(self, most: int, now: float) -> bytes | None:
        """The next audio, at most `most` samples (s16le), or silence for a gap; None while there is none."""
        if (owed := self._silence_owed) > 0:
            samples = min(owed, most)
            self._silence_sent += samples
            return self._sent(self.cursor, bytes(samples * SAMPLE_BYTES), now)
        if self.cursor >= self._audio.end:
            return None
        found = self._audio.read(self.cursor, most)
        if found is None or (self.until is not None and found[0] >= self.until):
            return None
        offset, pcm = found
        if self.until is not None:
            pcm = pcm[: (self.until - offset) * SAMPLE_BYTES]
        if self.timeline.started and offset > self.cursor != self._silent_at:
            # A stretch was left out. Silence stands for its beginning, so that the words around it stay apart.
            samples = min(offset - self.cursor, int(self._options.gap_silence_s * SAMPLE_RATE), most)
            before, self.cursor = self.cursor, offset
            return self._sent(before, bytes(samples * SAMPLE_BYTES), now)
        self.cursor = offset + len(pcm) // SAMPLE_BYTES
        self._reach = max(self._reach, self.cursor)
        self.metered.resent += max(0, min(self.cursor, self.sent_to) - offset)
        self.sent_to = max(self.sent_to, self.cursor)
        self.last_audio = now
        return self._sent(offset, pcm, now)

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
        found = self._audio.read(self.cursor, self.MOST_PER_MESSAGE)
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
        if self.resume.placing is not Placing.PLACED:
            self.resume.probes.append((offset, samples))
        self.timeline.sent(offset, samples)
        self.furthest = max(self.furthest, self.timeline.end)
        self.metered.sent += samples
        self.metered.messages += 1
        self.last_sent = now
        if self.awaiting_since is None:
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

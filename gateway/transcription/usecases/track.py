"""The tracks that a run transcribes, with their meters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.transcription.domain.handover import SEAM_S, Heard
from gateway.transcription.domain.health import TrackFacts
from gateway.transcription.domain.meters import Meter, Meters, Reading
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.timing import Marks, Passage, Timeline
from gateway.transcription.domain.usage import Listened
from gateway.transcription.usecases.audio import AudioTrack
from gateway.transcription.usecases.speech import LinkEnd, SpeechLink

LOOK_S: Final = 0.02
SAMPLE_RATE: Final = 16_000
SILENT_S: Final = 1.0
"""A provider that answers does so within tenths of a second."""


@dataclass(slots=True)
class LiveTrack:
    """A track while it is transcribed.

    `participant`: the speaker's row, once it is known; None when it cannot be had. `trouble`: why its audio cannot be
    used, with what to do. `end`: how its link ended; None while it runs. `complaints`: why there may be no text, a
    sentence for each kind, until text comes again. `unread`: messages of the provider that may have been finals.
    """

    track: AudioTrack
    link: SpeechLink
    meter: Meter
    participant: asyncio.Future[str | None]
    trouble: str | None = None
    end: LinkEnd | None = None
    complaints: dict[str, str] = field(default_factory=dict)
    unread: int = 0
    taken: Marks = field(default_factory=Marks)
    """When its chunks came out of the source."""
    former: Reading | None = None
    """What the links before this one have counted."""
    asked: SpeechOptions | None = None
    """What the link was asked for last."""
    is_pending: bool = False
    """What is asked for this speaker was changed, and no provider session has it yet."""
    in_force: SpeechOptions | None = None
    """With which the provider hears the speaker; None before the first session."""
    is_former: bool = False
    """What a former owner could not get heard: counted there, and without a speaker who could be paused."""
    is_deaf: bool = False
    """Was cut off when the transcription was handed over."""
    is_given_away: bool = False
    """What has no final is the heir's to hear; what the provider still says here does not count."""
    unheard_until: datetime | None = None
    """What was said before it had come when a pause ended, and is not heard."""
    _silent_from: int | None = None  # `left_out` when the speaker was paused
    _unheard: int = 0  # left out while they were

    @property
    def is_cut_off(self) -> bool:
        """There is no line to the provider, or nothing comes over it."""
        return self.link.state.is_down or self.link.silent_s > SILENT_S

    @property
    def is_silenced(self) -> bool:
        """The speaker is paused: nothing of what comes is heard."""
        return self._silent_from is not None

    def silence(self, is_silenced: bool) -> None:
        """Begin or end a pause of the speaker. What was said before it still gets its finals."""
        left_out = self.track.left_out
        if is_silenced and self._silent_from is None:
            self._silent_from = left_out
            self.link.rest()
        elif not is_silenced and self._silent_from is not None:
            self._unheard += left_out - self._silent_from
            self._silent_from = None

    def passage(self, end_s: float, timeline: Timeline) -> Passage:
        """Of the chunk in which words ended. `end_s`: since the track's anchor."""
        sample = round(end_s * SAMPLE_RATE)
        return Passage(self.taken.at(sample), self.link.sent_at(sample), timeline)

    def replace_link(self, link: SpeechLink) -> SpeechLink:
        """Go on with another link. Returns: the one before."""
        self.former, before = self._counted, self.link
        self.link = link
        return before

    @property
    def reading(self) -> Reading:
        """What the link has counted, and the silence that the source had left out before it."""
        left_out = (self.track.left_out if self._silent_from is None else self._silent_from) - self._unheard
        counted = self._counted
        listened = counted.listened + Listened(heard=left_out, silent=left_out, withheld=left_out)
        return replace(counted, listened=listened)

    @property
    def _counted(self) -> Reading:
        """What its links have counted."""
        link, former = self.link, self.former
        now = Reading(self.track.speaker.identity, link.listened, link.sent_samples, link.messages_sent)
        if former is None:
            return now
        return Reading(
            now.identity,
            former.listened + now.listened,
            former.samples_sent + now.samples_sent,
            former.chunks_sent + now.chunks_sent,
        )

    @property
    def facts(self) -> TrackFacts:
        """What its health depends on."""
        link = self.link
        return TrackFacts(
            self.track.speaker.identity,
            link.state,
            link.backlog_s,
            link.is_mute,
            self.trouble,
            tuple(self.complaints.values()),
            self.unread,
        )


def heard_again(cuts: Iterable[Heard], deaf: Iterable[LiveTrack]) -> tuple[Heard, ...]:
    """Those of speakers whom the heir hears from before the cut on."""
    identities = {live.track.speaker.identity for live in deaf}
    return tuple(cut for cut in cuts if cut.identity in identities)


@dataclass(slots=True)
class Tracks:
    """`live`: those that are transcribed now. `participants`: rows of all speakers so far, by identity."""

    meters: Meters
    live: list[LiveTrack] = field(default_factory=list)
    participants: dict[str, str | None] = field(default_factory=dict)

    async def quiet(self, within_s: float) -> None:
        """Until nobody speaks, or the time is over. When half of it is, the end of a word will do; at once for those
        of whom nothing is heard here."""
        clock = asyncio.get_running_loop().time
        impatient_at = clock() + within_s / 2
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while any(
                    one.link.is_speaking and (one.link.is_in_word or not (one.is_cut_off or clock() >= impatient_at))
                    for one in self.live
                ):
                    await asyncio.sleep(LOOK_S)

    def heard(self) -> tuple[Heard, ...]:
        """How far each speaker was heard whose audio an heir may hear as well."""
        return tuple(
            Heard(one.track.speaker.identity, ends_at, one.link.is_speaking)
            for one in self.live
            if (ends_at := one.track.ends_at) is not None
        )

    def interrupted(self) -> tuple[Heard, ...]:
        """Senders in their words: the middle of what two tellings hear when their audio has not been heard so far."""
        half = timedelta(seconds=SEAM_S / 2)
        return tuple(Heard(one.identity, one.until + half, is_cut=True) for one in self.heard() if one.is_cut)

    def leave_deaf(self) -> list[LiveTrack]:
        """Those that are cut off at this moment: an heir hears them, also where their line comes back."""
        deaf = [one for one in self.live if one.is_cut_off]
        for one in deaf:
            one.is_deaf = True
        return deaf

    def read(self) -> Meters:
        """The meters, up to date."""
        self.meters.read(one.reading for one in self.live)
        return self.meters

    def close(self, ended: LiveTrack) -> None:
        """A track has ended; its meter keeps what it has counted."""
        # Only this track's own: another one of the same participant may still run, after a takeover for example.
        self.meters.close(ended.reading)
        self.live.remove(ended)
        self.read()

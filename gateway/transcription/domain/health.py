"""The health of a transcription: what is known of its parts → what is wrong now, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.transcription.domain.link_state import LinkState

# Less than this passes before a person has read the sentence.
DATABASE_BEHIND_S: Final = 2.0
BACKLOG_S: Final = 3.0

# By the source that `start` asked for. Watchers read these sentences, so they name no stream key.
NO_PUBLISHER_YET: Final[Mapping[str, str]] = {
    "rtmp": "nobody publishes yet: let an encoder send to ingest.rtmpUrl of the start's answer",
    "livekit": "nobody publishes yet: join the room and switch a microphone on",
    "websocket": "nobody publishes yet: send audio to ingest.websocketUrl of the start's answer, or use the console's "
    "microphone",
}


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """One track. `backlog_s`: audio that waits to be sent. `is_mute`: speech goes to the provider and no text comes.

    `trouble`: why its audio cannot be used. `complaints`: what the provider reports, or what failed here, while no text
    has come since. `unread`: messages of the provider that may have been finals and could not be read.
    """

    identity: str
    link: LinkState
    backlog_s: float = 0.0
    is_mute: bool = False
    trouble: str | None = None
    complaints: Sequence[str] = ()
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Each trouble is a sentence that says what to do; None while all is well.

    `provider`: it serves no one now. `database_behind_s`: how long the database has not taken what it was given.
    `disk`: meanwhile finals cannot be put on disk either. `lost_audio`: what was given up unheard in the last minutes.
    `source`: no tracks can be had. `awaits_publisher`: the kind of source, when no track has come since the start
    although there was time. `turned_away`: who wanted to send audio lately and was refused.
    """

    tracks: Sequence[TrackFacts] = ()
    provider: str | None = None
    database_behind_s: float = 0.0
    disk: str | None = None
    source: str | None = None
    awaits_publisher: str | None = None
    turned_away: str | None = None
    lost_audio: str | None = None

    @property
    def waits_for_provider(self) -> bool:
        """The account has no room for another session, so a track's audio is held."""
        return any(track.link is LinkState.WAITING for track in self.tracks)


def reasons(facts: Facts) -> tuple[str, ...]:
    """What is wrong now, the most general first; nothing when all is well."""
    found = []
    if facts.provider and facts.tracks:
        found.append(facts.provider)
    if facts.waits_for_provider:
        found.append("the provider's concurrent sessions are all in use; audio is held")
    if any(track.link.is_being_connected and track.backlog_s > BACKLOG_S for track in facts.tracks):
        found.append("the connection to the speech provider is being restored")
    found += dict.fromkeys(complaint for track in facts.tracks for complaint in track.complaints)
    if facts.database_behind_s > DATABASE_BEHIND_S:
        found.append(f"the database is behind; finals are kept {'in memory only' if facts.disk else 'on disk'}")
    found += [
        f"{track.identity} speaks and no text comes: the provider is mute, or it is only noise"
        for track in facts.tracks
        if track.is_mute
    ]
    found += [
        f"messages of the speech provider for {track.identity} could not be read ({track.unread}): words may be missing"
        for track in facts.tracks
        if track.unread
    ]
    if facts.lost_audio:
        found.append(facts.lost_audio)
    found += [track.trouble for track in facts.tracks if track.trouble]
    if facts.source:
        found.append(facts.source)
    elif facts.awaits_publisher:
        found.append(NO_PUBLISHER_YET[facts.awaits_publisher])
    if facts.turned_away:
        found.append(facts.turned_away)
    return tuple(found)

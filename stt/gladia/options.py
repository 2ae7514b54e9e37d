"""Bounds and patience of a track's link to the provider."""

from __future__ import annotations

from dataclasses import dataclass, field

from stt.backoff import Backoff


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """All times in seconds."""

    retain_s: float = 60.0
    """Audio kept in memory until it has a final, 32 kB a second; beyond it the oldest is given up."""
    overlap_s: float = 0.2
    """Audio is sent again from this long before the end of the last final: the provider may tell that end too late."""
    keepalive_s: float = 20.0
    """After this long without a message an empty one is sent: the provider drops a connection after 30 s of silence."""
    connect_timeout_s: float = 10.0
    resume_deadline_s: float = 30.0
    """A session that was resumed for this long without progress is lost, and a new one takes over."""
    stall_s: float = 10.0
    """An answer is awaited and nothing was received for this long: the connection counts as dead."""
    probe_s: float = 1.0
    """After a resume the first message goes out alone for this long; then one more at this interval, until placed."""
    full_s: float = 1.0
    """Shortest time between two attempts to open a session on an account whose sessions are all in use."""
    fetch_patience_s: float = 5.0
    """How long the result of a session that did not confirm its end is asked for over REST."""
    roll_over_s: float = 10_200.0
    """Age, of audio or of life, from which a new session takes over as soon as no utterance is open."""
    roll_over_grace_s: float = 300.0
    """This much later a new session takes over even within an utterance; the provider's cap is 3 h."""
    change_grace_s: float = 20.0
    """So much after a change of the configuration a new session takes over even within an utterance."""
    gap_silence_s: float = 0.1
    """Silence sent in place of a longer stretch that was left out, so that the words around it stay apart."""
    trailing_silence_s: float = 0.6
    """Silence sent when the track is left out within an utterance: at least the provider's endpointing and 0.3 s."""
    idle_s: float = 60.0
    """After this long without audio the session is ended and its place given back; the next audio opens another."""
    leave_out_poison: bool = True
    """Audio of which connections die again and again is left out; else it is sent for ever."""
    backoff: Backoff = field(default_factory=Backoff)

"""The live transcript of a session, for programs: every final once and in order, across lost connections.

    async for message in transcript(url, session, token): ...

`transcription_client.sync` has the same without asyncio. What both promise: docs/python-client.md.
"""

from transcription_client.errors import Refused, TranscriptError, Unavailable
from transcription_client.messages import Final, Message, Partial, Translation, Utterance
from transcription_client.stream import Transcript, transcript

__all__ = [
    "Final",
    "Message",
    "Partial",
    "Refused",
    "Transcript",
    "TranscriptError",
    "Translation",
    "Unavailable",
    "Utterance",
    "transcript",
]

"""What the server and a PocketSphinx worker say to each other: msgpack with a 4-byte length in front, over pipes."""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

# --- to the worker ----------------------------------------------------------------------------------------------


class Open(msgspec.Struct, tag="open", frozen=True):
    """Begin to hear a channel. `position`: sample its audio starts at; `utterance`: number of its next utterance."""

    channel: int
    endpointing_s: float
    longest_s: float
    position: int = 0
    utterance: int = 0


class Audio(msgspec.Struct, tag="audio", frozen=True):
    """Whole samples of 16 kHz mono s16le; `partials`: whether partial transcripts are wanted now."""

    channel: int
    pcm: bytes
    partials: bool


class Finish(msgspec.Struct, tag="finish", frozen=True):
    """No more audio comes: answer with what is left."""

    channel: int


class Close(msgspec.Struct, tag="close", frozen=True):
    """Forget the channel; there is no answer."""

    channel: int


Order: TypeAlias = Open | Audio | Finish | Close

# --- from the worker --------------------------------------------------------------------------------------------


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The first decoder is loaded."""


class Broken(msgspec.Struct, tag="broken", frozen=True):
    """The engine cannot be loaded."""

    message: str


class Started(msgspec.Struct, tag="started", frozen=True):
    """An utterance began at `at`, in seconds of the channel."""

    at: float
    utterance: int


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """Its last voiced frame ended at `at`, in seconds of the channel."""

    at: float


class Text(msgspec.Struct, tag="text", frozen=True):
    """`words`: text, start, end (seconds), confidence."""

    utterance: int
    words: tuple[tuple[str, float, float, float], ...]
    is_final: bool


class Report(msgspec.Struct, tag="report", frozen=True):
    """Answer to one Audio or Finish.

    `heard`: samples heard; `settled`: samples before the utterance in progress, whose number is `utterance`. A fresh
    worker that is given the audio from `settled` on hears the same again.
    """

    channel: int
    heard: int
    settled: int
    utterance: int
    events: tuple[Started | Ended | Text, ...]
    finished: bool = False


Answer: TypeAlias = Ready | Broken | Report

LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()
order_decoder = msgspec.msgpack.Decoder[Order](Order)
answer_decoder = msgspec.msgpack.Decoder[Answer](Answer)


def pack(item: Order | Answer) -> bytes:
    """One message with its length in front (LENGTH)."""
    body = _encoder.encode(item)
    return LENGTH.pack(len(body)) + body

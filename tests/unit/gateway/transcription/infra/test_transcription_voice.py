"""When somebody speaks, as a hand-over wants to know that waits for a pause: one that is none cuts a word in two."""

from __future__ import annotations

from typing import cast

import numpy as np
from support.fakes.audio import Chunk

from gateway.transcription.infra.voice import CUT_SHORT_S, Voice, VoicedLink, VoiceOptions
from ingest.pcm import CHUNK_SAMPLES
from stt.gladia.client import GladiaLink
from stt.gladia.moves import LinkState

FRAME = 160
SPEECH, HUM = (np.full(FRAME, level, "<i2").tobytes() for level in (1000, 50))


class Level:
    """A frame is speech when it is loud."""

    frame_samples = FRAME

    def is_speech(self, frame: bytes) -> bool:
        return frame == SPEECH


class NoLink:
    state = LinkState.STREAMING
    sent_samples = 0

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    def send(self, offset: int, pcm: bytes) -> None:
        self.sent.append((offset, pcm))

    def leave_out(self, to: int) -> None: ...

    def fall_silent(self, samples: int) -> None: ...


class Speaker:
    def __init__(self) -> None:
        self.now = 100.0
        voice = Voice(VoiceOptions(hang_over_s=0.6), Level, lambda: self.now)
        self.link: VoicedLink = voice.link(lambda hear: cast(GladiaLink, NoLink()), "anna")
        self._said = 0
        self.say("." * 20)  # the gate does not trust the first moment

    def say(self, frames: str) -> bool:
        """One letter a frame of 10 ms, `S` or `.`; nothing: the source delivers none. Returns: whether they speak."""
        for at in range(0, max(len(frames), 1), 10):
            pcm = b"".join(SPEECH if one == "S" else HUM for one in frames[at : at + 10])
            self.link.send(Chunk(self._said, pcm))
            self._said += CHUNK_SAMPLES if pcm else 0
        return self.link.is_speaking


def test_who_speaks_does_so_until_the_end_of_the_hang_over() -> None:
    anna = Speaker()
    assert not anna.link.is_speaking
    assert anna.say("SSSSS.....")
    assert anna.say("." * 50)
    assert not anna.say("." * 20)


def test_a_breath_between_words_is_no_pause_but_no_word_either() -> None:
    anna = Speaker()
    assert anna.say("SSSSSSSSSS") and anna.link.is_in_word
    assert anna.say("." * 10) and anna.link.is_in_word
    assert anna.say("." * 10) and not anna.link.is_in_word
    assert anna.say("........SS") and anna.link.is_in_word


def test_a_word_that_has_just_begun_is_no_pause() -> None:
    """Two frames do not open the gate."""
    anna = Speaker()
    assert anna.say("........SS")
    assert not anna.say("." * 20)


def test_a_word_in_which_the_delivery_stopped_is_no_pause_for_a_while() -> None:
    """Then nobody waits for the rest of it: the microphone may have been muted."""
    anna = Speaker()
    anna.say("....SSSSSS")
    assert anna.say("")
    anna.now += CUT_SHORT_S / 2
    assert anna.say("")
    anna.now += CUT_SHORT_S / 2
    assert not anna.link.is_speaking
    assert anna.say("SSSSSSSSSS")


def test_a_delivery_that_stops_in_silence_is_a_pause() -> None:
    anna = Speaker()
    assert not anna.say("")


def test_what_another_link_has_held_passes_the_gate_uncounted() -> None:
    anna = Speaker()
    before = anna.link.listened
    anna.link.hear_again(400_000, HUM * 10)
    assert anna.link.listened == before and not anna.link.is_speaking
    sent = cast(NoLink, anna.link.link).sent
    assert sent[-1] == (400_000, HUM * 10)

"""Audio in, no text out: how much speech has gone to the provider since it last sent a transcript."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.transcription.domain.usage import SAMPLE_RATE


@dataclass(slots=True)
class Unanswered:
    """`limit_s`: seconds of speech without any text at which something is wrong; 0 = never.

    It counts speech, not time: a silent speaker waits for no answer. Half as much is enough within twice as much audio,
    because the link can send only the last minute again.
    """

    limit_s: float
    _speech: int = field(default=0, init=False)
    _audio: int = field(default=0, init=False)  # since the first of that speech
    _is_renewed: bool = field(default=False, init=False)

    @property
    def seconds(self) -> float:
        """Of speech without an answer."""
        return self._speech / SAMPLE_RATE

    @property
    def is_mute(self) -> bool:
        """Whether the limit is reached."""
        limit = self.limit_s * SAMPLE_RATE
        return limit > 0 and (self._speech >= limit or (2 * self._speech >= limit and self._audio >= 2 * limit))

    def sent(self, audio: int, speech: int) -> None:
        """`audio` samples went to the provider, of which `speech` are speech."""
        self._speech += speech
        if self._speech:
            self._audio += audio

    def answered(self) -> None:
        """A partial or a final came: all is well, and next time a renewal may help again."""
        self._speech = self._audio = 0
        self._is_renewed = False

    def may_renew(self) -> bool:
        """True once for every time that the provider falls mute: a second renewal would only cost."""
        if not self.is_mute or self._is_renewed:
            return False
        self._is_renewed = True
        return True

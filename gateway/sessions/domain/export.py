"""A transcript as a file: JSON, WebVTT, SubRip or plain text, one final at a time so that it can be streamed.

Captioning guides (BBC, Netflix timed text) ask for at most two lines of about 42 characters and one to seven
seconds a cue; a longer final is split at words, by the words' own times where the provider gave them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Format = Literal["json", "vtt", "srt", "txt"]
CONTENT_TYPES: Final[dict[str, str]] = {
    "json": "application/json",
    "vtt": "text/vtt; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}

LINE_CHARACTERS: Final = 42
LINES_PER_CUE: Final = 2
LONGEST_CUE_MS: Final = 7_000
SHORTEST_CUE_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """One final, as much of it as an export needs. `words` are (text, startMs, endMs), possibly none."""

    seq: int
    speaker: str | None
    text: str
    start_ms: int
    end_ms: int
    words: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen at one time: at most LINES_PER_CUE lines."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(spoken: SpokenLine) -> Iterator[Cue]:
    """Split one final into cues a reader can follow."""
    words = list(spoken.words) or _spread(spoken)
    group: list[tuple[str, int, int]] = []
    for word in words:
        grown = [*group, word]
        too_long = len(wrap([text for text, _, _ in grown])) > LINES_PER_CUE
        if group and (too_long or word[2] - group[0][1] > LONGEST_CUE_MS):
            yield _cue(group)
            grown = [word]
        group = grown
    if group:
        yield _cue(group)


def _cue(group: list[tuple[str, int, int]]) -> Cue:
    start, end = group[0][1], max(end for _, _, end in group)
    return Cue(start, max(end, start + SHORTEST_CUE_MS), tuple(wrap([text for text, _, _ in group])))


def _spread(spoken: SpokenLine) -> list[tuple[str, int, int]]:
    """Words without times share the utterance's, each by its length."""
    texts = spoken.text.split()
    total = sum(map(len, texts)) or 1
    length = max(spoken.end_ms - spoken.start_ms, 0)
    placed, done = [], 0
    for text in texts:
        begin = spoken.start_ms + length * done // total
        done += len(text)
        placed.append((text, begin, spoken.start_ms + length * done // total))
    return placed


def wrap(words: list[str]) -> list[str]:
    """Lines of at most LINE_CHARACTERS; a longer word is cut."""
    lines = [""]
    for word in words:
        while len(word) > LINE_CHARACTERS:
            lines += [word[:LINE_CHARACTERS], ""]
            word = word[LINE_CHARACTERS:]
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE_CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [line for line in lines if line]


def _clock(ms: int, separator: str) -> str:
    seconds, ms = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{ms:03d}"


def _escaped(text: str) -> str:
    """WebVTT cue text: markup characters are written as references."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _voice(speaker: str) -> str:
    """A WebVTT voice annotation ends at `>` and at a line break."""
    return _escaped(" ".join(speaker.split()))


class VttWriter:
    """WebVTT with the speaker as voice: `<v Anna>Good morning.`"""

    head = "WEBVTT\n\n"
    tail = ""

    def write(self, spoken: SpokenLine) -> str:
        parts = []
        for cue in cues(spoken):
            text = "\n".join(map(_escaped, cue.lines))
            voice = f"<v {_voice(spoken.speaker)}>" if spoken.speaker else ""
            parts.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{voice}{text}\n\n")
        return "".join(parts)


class SrtWriter:
    """SubRip; the speaker stands before the words when it changes, since the format has no voices."""

    head = ""
    tail = ""

    def __init__(self) -> None:
        self._number = 0
        self._speaker: str | None = None

    def write(self, spoken: SpokenLine) -> str:
        parts = []
        for cue in cues(spoken):
            self._number += 1
            text = "\n".join(cue.lines)
            if spoken.speaker and spoken.speaker != self._speaker:
                text = f"{' '.join(spoken.speaker.split())}: {text}"
            self._speaker = spoken.speaker
            parts.append(f"{self._number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n")
        return "".join(parts)


class TextWriter:
    """One line a final: time, speaker, text."""

    head = ""
    tail = ""

    def write(self, spoken: SpokenLine) -> str:
        who = f"{' '.join(spoken.speaker.split())}: " if spoken.speaker else ""
        return f"[{_clock(spoken.start_ms, '.')}] {who}{' '.join(spoken.text.split())}\n"


def writer(kind: Literal["vtt", "srt", "txt"]) -> VttWriter | SrtWriter | TextWriter:
    match kind:
        case "vtt":
            return VttWriter()
        case "srt":
            return SrtWriter()
        case "txt":
            return TextWriter()

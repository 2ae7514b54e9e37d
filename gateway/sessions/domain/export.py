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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, or as much of a long one as fits a line. `glued`: it goes on where the piece before it ended."""

    text: str
    start_ms: int
    end_ms: int
    glued: bool


def cues(spoken: SpokenLine, lead: str = "") -> Iterator[Cue]:
    """Split one final into cues a reader can follow; `lead` stands before its first word."""
    begins, ends = _letter_times(spoken)
    first = begins[0] if begins else spoken.start_ms
    still = [first] * len(lead)
    group: list[_Piece] = []
    for piece in [*_pieces(lead, still, still), *_pieces(spoken.text, begins, ends)]:
        too_long = len(_lines([*group, piece])) > LINES_PER_CUE
        if group and (too_long or piece.end_ms - group[0].start_ms > LONGEST_CUE_MS):
            yield _cue(group)
            group = []
        group.append(piece)
    if group:
        yield _cue(group)


def _cue(group: list[_Piece]) -> Cue:
    start = group[0].start_ms
    length = max(piece.end_ms for piece in group) - start
    return Cue(start, start + min(max(length, SHORTEST_CUE_MS), LONGEST_CUE_MS), tuple(_lines(group)))


def _letter_times(spoken: SpokenLine) -> tuple[list[int], list[int]]:
    """When each letter of the text (spaces apart) begins and ends.

    The provider's words tell, where together they spell the text; else the letters share the utterance's time.
    """
    timed = [("".join(text.split()), start, end) for text, start, end in spoken.words]
    whole = "".join(spoken.text.split())
    if "".join(text for text, _, _ in timed) != whole:
        timed = [(whole, spoken.start_ms, spoken.end_ms)]
    begins: list[int] = []
    ends: list[int] = []
    for text, start, end in timed:
        length = max(end - start, 0)
        begins += [start + length * i // len(text) for i in range(len(text))]
        ends += [start + length * (i + 1) // len(text) for i in range(len(text))]
    return begins, ends


def _pieces(text: str, begins: list[int], ends: list[int]) -> Iterator[_Piece]:
    at = 0
    for word in text.split():
        for i in range(0, len(word), LINE_CHARACTERS):
            part = word[i : i + LINE_CHARACTERS]
            yield _Piece(part, begins[at], ends[at + len(part) - 1], glued=i > 0)
            at += len(part)


def _lines(pieces: list[_Piece]) -> list[str]:
    """Lines of at most LINE_CHARACTERS."""
    lines: list[str] = []
    for piece in pieces:
        space = "" if piece.glued else " "
        if lines and len(lines[-1]) + len(space) + len(piece.text) <= LINE_CHARACTERS:
            lines[-1] += space + piece.text
        else:
            lines.append(piece.text)
    return lines


def _clock(ms: int, separator: str) -> str:
    seconds, ms = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{ms:03d}"


def _escaped(text: str) -> str:
    """WebVTT cue text: markup characters are written as references."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _name(spoken: SpokenLine) -> str:
    """On one line: a name must not break a cue."""
    return " ".join((spoken.speaker or "").split())


class VttWriter:
    """WebVTT with the speaker as voice: `<v Anna>Good morning.`"""

    head = "WEBVTT\n\n"

    def write(self, spoken: SpokenLine) -> str:
        voice = f"<v {_escaped(_name(spoken))}>" if _name(spoken) else ""
        parts = []
        for cue in cues(spoken):
            text = "\n".join(map(_escaped, cue.lines))
            parts.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{voice}{text}\n\n")
        return "".join(parts)


class SrtWriter:
    """SubRip; the speaker stands before the words when it changes, since the format has no voices."""

    head = ""

    def __init__(self) -> None:
        self._number = 0
        self._speaker = ""

    def write(self, spoken: SpokenLine) -> str:
        name = _name(spoken)
        lead = f"{name}:" if name and name != self._speaker else ""
        self._speaker = name
        parts = []
        for cue in cues(spoken, lead):
            self._number += 1
            text = "\n".join(cue.lines)
            parts.append(f"{self._number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n")
        return "".join(parts)


class TextWriter:
    """One line a final: time, speaker, text."""

    head = ""

    def write(self, spoken: SpokenLine) -> str:
        who = f"{_name(spoken)}: " if _name(spoken) else ""
        return f"[{_clock(spoken.start_ms, '.')}] {who}{' '.join(spoken.text.split())}\n"


def writer(kind: Literal["vtt", "srt", "txt"]) -> VttWriter | SrtWriter | TextWriter:
    match kind:
        case "vtt":
            return VttWriter()
        case "srt":
            return SrtWriter()
        case "txt":
            return TextWriter()

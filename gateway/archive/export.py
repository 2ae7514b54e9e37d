"""A transcript as a file: JSON, WebVTT, SubRip or plain text, one final at a time so that it can be streamed.

Captioning guides (BBC, Netflix timed text) ask for at most two lines of about 42 characters and one to seven
seconds a cue; a longer final is split at words, by the words' own times where the provider gave them. WebVTT asks for
cues in the order of their start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
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
# Finals that wait for one that was begun before them and is settled after; about half an hour of one speaker.
HELD_BACK: Final = 500


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


class _InTime:
    """Finals come in the order in which they were settled; files want the order in which they were spoken.

    Who speaks long is settled after who spoke briefly meanwhile. So finals are held back, at most HELD_BACK of them,
    and written by their start; where two speak at once, their cues lie between each other.
    """

    def __init__(self) -> None:
        self._finals: list[tuple[int, int, SpokenLine]] = []
        self._cues: list[tuple[int, int, SpokenLine, Cue]] = []
        self._count = 0

    def write(self, spoken: SpokenLine) -> str:
        """As much of the file as is certain now."""
        self._count += 1
        heappush(self._finals, (spoken.start_ms, self._count, spoken))
        return self._settle(heappop(self._finals)[2]) if len(self._finals) > HELD_BACK else ""

    def finish(self) -> str:
        """The rest of the file."""
        parts = [self._settle(heappop(self._finals)[2]) for _ in range(len(self._finals))]
        return "".join(parts) + self._written(None)

    def _settle(self, spoken: SpokenLine) -> str:
        """The next final by its start: what begins before it can be written."""
        for cue in cues(spoken, self._lead(spoken)):
            self._count += 1
            heappush(self._cues, (cue.start_ms, self._count, spoken, cue))
        return self._written(spoken.start_ms)

    def _written(self, before_ms: int | None) -> str:
        parts = []
        while self._cues and (before_ms is None or self._cues[0][0] < before_ms):
            _, _, spoken, cue = heappop(self._cues)
            parts.append(self._cue(spoken, cue))
        return "".join(parts)

    def _lead(self, spoken: SpokenLine) -> str:
        return ""

    def _cue(self, spoken: SpokenLine, cue: Cue) -> str:
        raise NotImplementedError


class VttWriter(_InTime):
    """WebVTT with the speaker as voice: `<v Anna>Good morning.`"""

    head = "WEBVTT\n\n"

    def _cue(self, spoken: SpokenLine, cue: Cue) -> str:
        voice = f"<v {_escaped(_name(spoken))}>" if _name(spoken) else ""
        text = "\n".join(map(_escaped, cue.lines))
        return f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{voice}{text}\n\n"


class SrtWriter(_InTime):
    """SubRip; the speaker stands before the words when it changes, since the format has no voices."""

    head = ""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._speaker = ""  # of the final before
        self._shown: SpokenLine | None = None  # of the cue before

    def _lead(self, spoken: SpokenLine) -> str:
        before, self._speaker = self._speaker, _name(spoken)
        return f"{self._speaker}:" if self._speaker not in ("", before) else ""

    def _cue(self, spoken: SpokenLine, cue: Cue) -> str:
        lines = cue.lines
        between = self._shown is not None and self._shown is not spoken and _name(self._shown) != _name(spoken)
        if between and _name(spoken) and not lines[0].startswith(_name(spoken)[:LINE_CHARACTERS]):
            lines = _with_name(_name(spoken), lines)
        self._number += 1
        self._shown = spoken
        text = "\n".join(lines)
        return f"{self._number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n"


def _with_name(name: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    """The speaker's name before a cue that follows another speaker's, where there is room for it."""
    first = f"{name}: {lines[0]}"
    if len(first) <= LINE_CHARACTERS:
        return (first, *lines[1:])
    if len(lines) < LINES_PER_CUE and len(name) < LINE_CHARACTERS:
        return (f"{name}:", *lines)
    return lines


class TextWriter:
    """One line a final: time, speaker, text; by their start, as far as HELD_BACK reaches."""

    head = ""

    def __init__(self) -> None:
        self._finals: list[tuple[int, int, SpokenLine]] = []
        self._count = 0

    def write(self, spoken: SpokenLine) -> str:
        """The line of the earliest final that waits, once more than HELD_BACK do; else an empty text."""
        self._count += 1
        heappush(self._finals, (spoken.start_ms, self._count, spoken))
        return self._line() if len(self._finals) > HELD_BACK else ""

    def finish(self) -> str:
        """The rest of the file."""
        return "".join(self._line() for _ in range(len(self._finals)))

    def _line(self) -> str:
        spoken = heappop(self._finals)[2]
        who = f"{_name(spoken)}: " if _name(spoken) else ""
        return f"[{_clock(spoken.start_ms, '.')}] {who}{' '.join(spoken.text.split())}\n"


def writer(kind: Literal["vtt", "srt", "txt"]) -> VttWriter | SrtWriter | TextWriter:
    """A fresh writer for one file: `head`, then `write` once a final in order of `seq`, then `finish`."""
    match kind:
        case "vtt":
            return VttWriter()
        case "srt":
            return SrtWriter()
        case "txt":
            return TextWriter()

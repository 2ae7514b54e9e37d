"""A transcript as a file: JSON, WebVTT, SubRip or plain text, one final at a time so that it can be streamed.

Captioning guides (BBC, Netflix timed text) ask for at most two lines of about 42 characters and one to seven
seconds a cue; a longer final is split where a line may end, by the words' own times where the provider gave them.
Characters are counted in columns: a Chinese one is two. WebVTT asks for cues in the order of their start.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, Literal

from gateway.archive.breaking import Part, columns, parts

Format = Literal["json", "vtt", "srt", "txt"]
CONTENT_TYPES: Final[dict[str, str]] = {
    "json": "application/json",
    "vtt": "text/vtt; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}

LINE_COLUMNS: Final = 42
LINES_PER_CUE: Final = 2
LONGEST_CUE_MS: Final = 7_000
SHORTEST_CUE_MS: Final = 1_000
# What a cue keeps when the next one of its speaker begins even earlier: that one waits as long.
BRIEFEST_CUE_MS: Final = 250
# Finals that wait for one that was begun before them and is settled after; about half an hour of one speaker.
HELD_BACK: Final = 500


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """One final, as much of it as an export needs. `words` are (text, startMs, endMs), possibly none.

    `speaker` is what a viewer reads; `identity` tells two of the same name apart.
    """

    seq: int
    speaker: str | None
    text: str
    start_ms: int
    end_ms: int
    words: tuple[tuple[str, int, int], ...] = ()
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen at one time: at most LINES_PER_CUE lines, for at most LONGEST_CUE_MS."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a line, and when it is spoken."""

    part: Part
    start_ms: int
    end_ms: int


def cues(spoken: SpokenLine, lead: str = "") -> Iterator[Cue]:
    """Split one final into cues, each from its first word to its last; `lead` stands before the first word.

    A cue can be as short as its words: how long it may stay depends on what follows it.
    """
    begins, ends = _letter_times(spoken)
    first = begins[0] if begins else spoken.start_ms
    still = [first] * len(lead)
    pieces = [*_pieces(lead, still, still), *_pieces(spoken.text, begins, ends, bool(lead))]
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if groups and _fits([*groups[-1], piece]):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    if len(groups) > 1 and _length(groups[-1]) < SHORTEST_CUE_MS:
        groups[-2:] = _evened(groups[-2], groups[-1])
    start = first
    for group in groups:
        start = max(start, group[0].start_ms)  # the words' times may run backwards, the text does not
        yield Cue(start, start + min(_length(group), LONGEST_CUE_MS), tuple(_lines(group)))


def _length(group: list[_Piece]) -> int:
    return max(0, *(piece.end_ms - group[0].start_ms for piece in group))


def _fits(group: list[_Piece]) -> bool:
    return _length(group) <= LONGEST_CUE_MS and len(_lines(group)) <= LINES_PER_CUE


def _evened(before: list[_Piece], last: list[_Piece]) -> list[list[_Piece]]:
    """The same pieces as two cues of nearly the same width, so that no last word is left alone for a blink."""
    pieces = [*before, *last]
    fitting = [cut for cut in range(1, len(pieces)) if _fits(pieces[:cut]) and _fits(pieces[cut:])]

    def unevenness(cut: int) -> int:
        return abs(sum(one.part.columns for one in pieces[:cut]) - sum(one.part.columns for one in pieces[cut:]))

    cut = min(fitting, key=unevenness, default=len(before))
    return [pieces[:cut], pieces[cut:]]


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


def _pieces(text: str, begins: list[int], ends: list[int], spaced: bool = False) -> Iterator[_Piece]:
    at = 0
    for part in parts(text, LINE_COLUMNS, spaced):
        letters = sum(not letter.isspace() for letter in part.text)
        if letters:  # a no-break space alone shows nothing
            yield _Piece(part, begins[at], ends[at + letters - 1])
        at += letters


def _lines(pieces: list[_Piece]) -> list[str]:
    """Lines of at most LINE_COLUMNS; a grapheme that is wider has its own."""
    lines: list[str] = []
    width = 0
    for part in (piece.part for piece in pieces):
        if lines and width + part.spaced + part.columns <= LINE_COLUMNS:
            lines[-1] += " " * part.spaced + part.text
            width += part.spaced + part.columns
        else:
            lines.append(part.text)
            width = part.columns
    return lines


def _clock(ms: int, separator: str) -> str:
    seconds, ms = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{ms:03d}"


def _escaped(text: str) -> str:
    """WebVTT cue text: markup characters are written as references."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_SRT_MARKUP: Final = re.compile(r"[<{\\](?=\S)|&(?=#?\w+;)|--(?=>)")


def _disarmed(text: str) -> str:
    """SubRip cue text: the format has no escapes, so an invisible word joiner goes into what players obey.

    That is tags in angle brackets and braces, backslash codes, references (VLC) and the arrow of the times (FFmpeg).
    """
    return _SRT_MARKUP.sub("\\g<0>\u2060", text)


def _name(spoken: SpokenLine) -> str:
    """On one line: a name must not break a cue."""
    return " ".join((spoken.speaker or "").split())


@dataclass(slots=True)
class _Shown:
    """A cue on its way into the file. `named`: its text begins with the speaker's name."""

    spoken: SpokenLine
    cue: Cue
    named: bool

    @property
    def who(self) -> str:
        """Whose cues must not overlap."""
        return self.spoken.identity or _name(self.spoken)


class _InTime:
    """Finals come in the order in which they were settled; files want the order in which they were spoken.

    Who speaks long is settled after who spoke briefly meanwhile. So finals are held back, at most HELD_BACK of them,
    and written by their start; where two speak at once, their cues lie between each other. Cues of one speaker never
    overlap: a short one stays for SHORTEST_CUE_MS, but not past the beginning of the next.
    """

    def __init__(self) -> None:
        self._finals: list[tuple[int, int, SpokenLine]] = []
        self._cues: list[tuple[int, int, _Shown]] = []  # sorted
        self._ends: dict[str, int] = {}  # of each speaker's last cue
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
        """The next final by its start: what ends before it can be written."""
        lead = self._lead(spoken)
        for number, cue in enumerate(cues(spoken, lead)):
            self._count += 1
            insort(self._cues, (cue.start_ms, self._count, _Shown(spoken, cue, bool(lead) and number == 0)))
        return self._written(spoken.start_ms)

    def _written(self, before_ms: int | None) -> str:
        parts = []
        while self._cues and (before_ms is None or _wanted_end(*self._cues[0]) <= before_ms):
            start, count, shown = self._cues.pop(0)
            free = self._ends.get(shown.who, start)
            if start < free:
                insort(self._cues, (free, count, shown))
                continue
            end = max(self._end(_wanted_end(start, count, shown), shown.who), start + BRIEFEST_CUE_MS)
            self._ends[shown.who] = end
            parts.append(self._cue(shown, Cue(start, end, shown.cue.lines)))
        return "".join(parts)

    def _end(self, wanted: int, who: str) -> int:
        """Where the speaker goes on, if that is before `wanted`."""
        for start, _, other in self._cues:
            if start >= wanted:
                break
            if other.who == who:
                return start
        return wanted

    def _lead(self, spoken: SpokenLine) -> str:
        return ""

    def _cue(self, shown: _Shown, cue: Cue) -> str:
        raise NotImplementedError


def _wanted_end(start: int, _: int, shown: _Shown) -> int:
    return max(shown.cue.end_ms, start + SHORTEST_CUE_MS)


class VttWriter(_InTime):
    """WebVTT with the speaker as voice: `<v Anna>Good morning.`"""

    head = "WEBVTT\n\n"

    def _cue(self, shown: _Shown, cue: Cue) -> str:
        name = _escaped(_name(shown.spoken))
        voice = f"<v {name}>" if name else ""
        text = "\n".join(map(_escaped, cue.lines))
        return f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{voice}{text}\n\n"


class SrtWriter(_InTime):
    """SubRip; the speaker stands before the words when it changes, since the format has no voices."""

    head = ""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._speaker = ""  # of the final before
        self._before: _Shown | None = None

    def _lead(self, spoken: SpokenLine) -> str:
        before, self._speaker = self._speaker, _name(spoken)
        return f"{self._speaker}:" if self._speaker not in ("", before) else ""

    def _cue(self, shown: _Shown, cue: Cue) -> str:
        lines, name = cue.lines, _name(shown.spoken)
        if name and not shown.named and self._before is not None and self._before.who != shown.who:
            lines = _with_name(name, lines)
        self._number += 1
        self._before = shown
        text = "\n".join(map(_disarmed, lines))
        return f"{self._number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n"


def _with_name(name: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    """The speaker's name before a cue that follows another speaker's, where there is room for it."""
    first = f"{name}: {lines[0]}"
    if columns(first) <= LINE_COLUMNS:
        return (first, *lines[1:])
    if len(lines) < LINES_PER_CUE and columns(name) < LINE_COLUMNS:
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

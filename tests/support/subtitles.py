"""A strict reader of the WebVTT and SubRip that the gateway writes; anything unexpected is an error."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cue:
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    """As a viewer sees them."""
    speaker: str | None = None


_CLOCK = r"(\d{2,}):([0-5]\d):([0-5]\d)[.,](\d{3})"
_VTT = re.compile(f"{_CLOCK} --> {_CLOCK}".replace("[.,]", r"\."))
_SRT = re.compile(f"{_CLOCK} --> {_CLOCK}".replace("[.,]", ","))
_MARKUP = re.compile(r"<v ([^<>\n]+)>")


def read_vtt(text: str) -> list[Cue]:
    head, *blocks = _blocks(text)
    assert head == ["WEBVTT"], head
    return [_vtt_cue(block) for block in blocks]


def read_srt(text: str) -> list[Cue]:
    found = []
    for number, (label, times, *lines) in enumerate(_blocks(text) if text else [], start=1):
        assert label == str(number), (label, number)
        found.append(Cue(*_times(_SRT, times), tuple(lines)))
    return found


def _blocks(text: str) -> list[list[str]]:
    assert text.endswith("\n\n"), text[-20:]
    blocks = [block.split("\n") for block in text.removesuffix("\n\n").split("\n\n")]
    assert all(all(block) for block in blocks), "an empty line inside a cue"
    return blocks


def _vtt_cue(block: list[str]) -> Cue:
    times, *lines = block
    speaker = None
    if voice := _MARKUP.match(lines[0]):
        speaker = html.unescape(voice[1])
        lines[0] = lines[0][voice.end() :]
    for line in lines:
        assert "-->" not in line
        assert not re.search("[<>]", line), f"raw markup in {line!r}"
        assert not re.search("&(?!amp;|lt;|gt;)", line), f"a raw ampersand in {line!r}"
    return Cue(*_times(_VTT, times), tuple(map(html.unescape, lines)), speaker)


def _times(pattern: re.Pattern[str], line: str) -> tuple[int, int]:
    found = pattern.fullmatch(line)
    assert found, line
    hours, minutes, seconds, ms, *end = map(int, found.groups())
    start_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
    end_ms = ((end[0] * 60 + end[1]) * 60 + end[2]) * 1000 + end[3]
    assert start_ms < end_ms, line
    return start_ms, end_ms

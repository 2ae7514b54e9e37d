"""Captions on a terminal, or as plain lines into a pipe."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final, Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.plain import plain

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "bright_red", "bright_cyan", "bright_green")
# Speakers whose words under way are shown at one time.
_LIVE_LINES: Final = 8


class Screen:
    """Finals, one below the other, with `translations` their numbered translations below them. On a terminal the words
    under way stand below all, one line a speaker, and leave nothing behind. A pipe gets no colours, and words under way
    only with `partials`. Use as a context manager.
    """

    def __init__(self, out: Any, *, partials: bool = False, translations: bool = False) -> None:
        self._console = Console(file=out, markup=False, emoji=False, highlight=False)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._partials = partials
        self._translations = translations
        self._under_way: dict[str, Text] = {}  # by identity
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._under_way.clear()
        self._refresh()

    def show(self, message: Mapping[str, object]) -> None:
        """One message of the live stream; types that are not known are left out."""
        data: Any = message.get("data")
        match message["type"]:
            case "transcript.final":
                self._under_way.pop(data["participantIdentity"], None)
                self._refresh()
                self._final(message["seq"], data)
            case "transcript.partial":
                self._partial(data)
            case "translation" if self._translations and "ofSeq" in data:  # the others come once more
                self._note(f"{data['ofSeq']:4} {plain(data['targetLanguage'])}: {data['text']}", "italic")
            case "session.state":
                self._note(f"— {data['state']}" + (f": {data['reason']}" if data.get("reason") else ""), "dim")
            case "health" if data["status"] != "ok":
                self._note(f"! {'; '.join(data['reasons'])}", "yellow")
            case "gap":
                self._note(f"! finals {data['fromSeq']} to {data['toSeq']} are not available any more", "yellow")
            case "error":
                self._note(f"! {data['message']}", "red")

    def _final(self, seq: object, data: dict[str, Any]) -> None:
        if not self._is_live:
            self._line(f"{seq:4}  {data['startMs'] / 1000:8.2f}s  {_who(data)}: {plain(data['text'])}")
            return
        line = Table.grid(padding=(0, 2))  # a long text goes on below its beginning
        for _ in range(2):
            line.add_column(justify="right", no_wrap=True, style="dim")
        line.add_column(overflow="fold")
        said = Text.assemble((f"{_who(data)}: ", _colour(data)), plain(data["text"]))
        line.add_row(f"{seq:4}", f"{data['startMs'] / 1000:8.2f}s", said)
        self._console.print(line)

    def _partial(self, data: dict[str, Any]) -> None:
        text, identity = plain(data["text"]), data["participantIdentity"]
        if not self._is_live:
            if text and self._partials:
                self._line(f"      … {_who(data)}: {text}")
            return
        self._under_way.pop(identity, None)
        if text:
            lead = f"      … {_who(data)}: "
            room = self._console.width - cell_len(lead) - 1
            self._under_way[identity] = Text.assemble((lead, f"dim {_colour(data)}"), (_tail(text, room), "dim"))
        self._refresh()

    def _note(self, text: str, style: str) -> None:
        if self._is_live:
            self._console.print(Text("      " + plain(text), style=style))
        else:
            self._line("      " + plain(text))

    def _line(self, text: str) -> None:
        self._console.file.write(text + "\n")
        self._console.file.flush()

    def _refresh(self) -> None:
        """The lines at the bottom are there only while a participant speaks."""
        lines = list(self._under_way.values())[-_LIVE_LINES:]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        if lines and self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        if self._live is not None:
            self._live.update(Group(*lines), refresh=True)
        if not lines and self._live is not None:
            self._live.stop()
            self._live = None


def _who(data: dict[str, Any]) -> str:
    return plain(data["participantName"] or data["participantIdentity"])


def _colour(data: dict[str, Any]) -> str:
    """The same for a speaker in every run."""
    return _COLOURS[zlib.crc32(data["participantIdentity"].encode()) % len(_COLOURS)]


def _tail(text: str, columns: int) -> str:
    """As much of the end as fits: what was said last."""
    if cell_len(text) <= columns:
        return text
    words = text.split(" ")
    while len(words) > 1 and cell_len(" ".join(words)) + 2 > columns:
        del words[0]
    return "… " + " ".join(words)

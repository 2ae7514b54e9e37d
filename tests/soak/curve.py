"""What processes hold over time: the verdict on memory, a table, a picture. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

STEADY_MB: Final = 3.0
"""By so much the memory of a process wanders: arenas come and go, a page of a library is touched for the first time."""
GROWS_MB_H: Final = 4.0
"""More than that an hour, on top, is a leak."""
BLOCK_S: Final = 60.0
SHORTEST_S: Final = 600.0
"""Less says nothing about an hour."""
COLOURS: Final = ("#2f6fde", "#d9822b", "#2a9d6f", "#b23fb2", "#8a8f98", "#c43d3d")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment. `process`: its name, and its id where another one had that name before.

    `cpu_s`: since it began. `tasks`, `lag_s`: -1 where it did not answer; the second is the longest that its event loop
    kept a timer waiting in the 15 s before.
    """

    at_s: float
    process: str
    rss_mb: float
    descriptors: int
    threads: int
    tasks: int
    cpu_s: float
    lag_s: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The line through the second half. `over_s`: its length; `mb_h` ± `error`: its slope and the standard error."""

    over_s: float
    mb_h: float
    error: float

    @property
    def grown_mb(self) -> float:
        """Along the line."""
        return self.mb_h * self.over_s / 3600

    @property
    def allowed_mb(self) -> float:
        """What it may grow by in that time."""
        return STEADY_MB + GROWS_MB_H * self.over_s / 3600

    @property
    def is_leak(self) -> bool:
        """Whether it grows by more than it may. Too short a time proves nothing."""
        return self.over_s >= SHORTEST_S and self.grown_mb > self.allowed_mb


def trend(points: Points, until_s: float) -> Trend | None:
    """Of (seconds, MB) until the end of the load, whose first half is the warm-up and does not count.

    The median of each minute, and least squares through these: a single peak moves nothing.
    None: the process was not there for all of the second half, or there are not three such minutes.
    """
    half = until_s / 2
    counted = [(at, value) for at, value in points if half <= at <= until_s]
    if not points or points[0][0] > half or points[-1][0] < until_s - BLOCK_S:
        return None
    blocks: dict[int, list[float]] = {}
    for at, value in counted:
        blocks.setdefault(int((at - half) // BLOCK_S), []).append(value)
    if len(blocks) < 3:
        return None
    hours = [(half + (block + 0.5) * BLOCK_S) / 3600 for block in blocks]
    levels = [statistics.median(values) for values in blocks.values()]
    slope, level = statistics.linear_regression(hours, levels)
    middle = statistics.mean(hours)
    spread = sum((hour - middle) ** 2 for hour in hours)
    misses = sum((one - level - slope * hour) ** 2 for hour, one in zip(hours, levels, strict=True))
    return Trend(until_s - half, slope, (misses / max(len(levels) - 2, 1) / spread) ** 0.5)


def series(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """By process, each in the order of time."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.process, []).append(sample)
    return found


def leaks(samples: Iterable[Sample], until_s: float) -> list[str]:
    """Of processes whose memory grows."""
    found = []
    for name, curve in series(samples).items():
        line = trend([(one.at_s, one.rss_mb) for one in curve], until_s)
        if line is not None and line.is_leak:
            found.append(
                f"{name}: memory grew by {line.grown_mb:.1f} MB in the second half, {line.mb_h:.1f} MB an hour; "
                f"{line.allowed_mb:.1f} MB are allowed"
            )
    return found


def table(samples: Iterable[Sample], until_s: float) -> str:
    """Markdown, a line for each process. The slope is there for those that are judged."""
    moments = [until_s * part for part in (0, 0.25, 0.5, 0.75, 1)]
    heads = [
        "process",
        *(f"RSS at {moment / 60:.0f} min" for moment in moments),
        "highest, MB",
        "second half, MB an hour",
    ]
    heads += ["descriptors", "threads", "tasks", "CPU, % of a core", "loop lag at most, s"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, curve in series(samples).items():
        line = trend([(one.at_s, one.rss_mb) for one in curve], until_s)
        loaded = [one for one in curve if one.at_s <= until_s] or curve
        took = curve[-1].at_s - curve[0].at_s
        cells = [
            name,
            *(_near(curve, moment) for moment in moments),
            f"{max(one.rss_mb for one in curve):.1f}",
            "–" if line is None or line.over_s < SHORTEST_S else f"{line.mb_h:+.1f} ± {line.error:.1f}",
            *(_range(getattr(one, what) for one in loaded) for what in ("descriptors", "threads", "tasks")),
            f"{100 * (curve[-1].cpu_s - curve[0].cpu_s) / took:.1f}" if took else "–",
            f"{max(one.lag_s for one in loaded):.2f}" if max(one.lag_s for one in loaded) >= 0 else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _near(curve: Sequence[Sample], moment: float) -> str:
    one = min(curve, key=lambda one: abs(one.at_s - moment))
    return f"{one.rss_mb:.1f}" if abs(one.at_s - moment) <= BLOCK_S else "–"


def _range(values: Iterable[int]) -> str:
    known = [value for value in values if value >= 0]
    return f"{min(known)} to {max(known)}" if known else "–"


def picture(samples: Iterable[Sample], until_s: float) -> str:
    """SVG: resident memory of each process over the minutes."""
    curves = {name: curve for name, curve in series(samples).items() if len(curve) > 1}
    last = max((curve[-1].at_s for curve in curves.values()), default=1.0)
    top = 20.0 * (int(max((one.rss_mb for curve in curves.values() for one in curve), default=1.0) // 20) + 1)
    left, right, height, foot = 50.0, 700.0, 300.0, 330.0

    def place(at: float, mb: float) -> str:
        return f"{left + (right - left) * at / last:.1f},{foot - height * mb / top:.1f}"

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 400"',
        ' font-family="sans-serif" font-size="12" fill="#777">',
        "<title>Resident memory of each process, MB, over the minutes</title>",
        f'<path d="M{place(until_s / 2, 0)} L{place(until_s / 2, top)}" stroke="#999" stroke-dasharray="4 4"/>',
    ]
    for mb in range(0, int(top) + 1, 20):
        x, y = place(0, mb).split(",")
        parts.append(
            f'<path d="M{x},{y} H{right}" stroke="#999" stroke-opacity=".3"/><text x="8" y="{y}">{mb} MB</text>'
        )
    step = max(round(last / 60 / 6), 1)
    for minute in range(0, int(last / 60) + 1, step):
        x, _ = place(minute * 60, 0).split(",")
        parts.append(f'<text x="{x}" y="{foot + 16}" text-anchor="middle">{minute} min</text>')
    colours = _colours(curves)
    for name, curve in curves.items():
        points = " ".join(place(one.at_s, one.rss_mb) for one in curve)
        parts.append(f'<polyline fill="none" stroke="{colours[name]}" stroke-width="1.5" points="{points}"/>')
    for number, (name, colour) in enumerate({_plain(name): colour for name, colour in colours.items()}.items()):
        x, y = left + 170 * (number % 4), foot + 36 + 16 * (number // 4)
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _plain(name: str) -> str:
    """Without the process id: the lives of one replica have one colour."""
    return name.partition(" pid ")[0]


def _colours(names: Mapping[str, object]) -> dict[str, str]:
    plain = list(dict.fromkeys(map(_plain, names)))
    return {name: COLOURS[plain.index(_plain(name)) % len(COLOURS)] for name in names}

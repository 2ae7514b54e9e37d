"""What a process and all that come from it use, read from /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path


def tree(root: int) -> list[int]:
    """A process and its descendants, those of other sessions too."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_of(stat: Path, ended_children: bool = False) -> float:
    """Seconds of a process or thread so far, from its `stat` in /proc."""
    fields = stat.read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13])) / os.sysconf("SC_CLK_TCK")


def tree_cpu_s(root: int) -> float:
    """Of all of them, and of those that have ended and were waited for."""
    seconds = 0.0
    for pid in tree(root):
        try:
            seconds += cpu_of(Path(f"/proc/{pid}/stat"), ended_children=True)
        except OSError:  # it ends just now; its parent counts it
            continue
    return seconds


def kilobytes(pid: int) -> dict[str, int]:
    """Memory of a process by kind: `Rss`, `Private_Dirty`, … as the kernel names them."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    return {name: int(value) for name, value in found}


def has_loaded(pid: int, library: str) -> bool:
    """Whether the process has that shared library, by a part of its name."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def private_kb(pid: int) -> int:
    """What no other process has, and what ends with it."""
    kb = kilobytes(pid)
    return kb["Private_Clean"] + kb["Private_Dirty"]


def memory_mb(pids: list[int]) -> float:
    """What each has for itself, and once what those of one program share, be it with others too.

    The proportional set size would depend on who else on the machine runs the same libraries.
    """
    private_kb, shared_kb = 0, dict[Path, int]()
    for pid in pids:
        kb = kilobytes(pid)
        private = kb["Private_Clean"] + kb["Private_Dirty"]
        program = Path(f"/proc/{pid}/exe").readlink()
        private_kb += private
        shared_kb[program] = max(shared_kb.get(program, 0), kb["Rss"] - private)
    return (private_kb + sum(shared_kb.values())) / 1024

"""Where a process stands: its tasks by what they wait for, and its threads. Names of tasks and of code alone."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

DEEPEST: Final = 60
"""Frames of a stack that are shown, the outermost first."""
NAMED: Final = 5
"""Tasks that are named for each stack."""
_SLICE: Final = 500
_AWAITING: Final = ((CoroutineType, "cr"), (GeneratorType, "gi"), (AsyncGeneratorType, "ag"))


async def tasks_now() -> str:
    """Every task of this event loop: how many run each coroutine; then each stack, the most frequent first, with how
    many stand there, some of their names, and `module:function:line` of each frame, outermost first. Then the threads.

    Gives way to the loop in between, so that thousands of tasks hold nobody up.
    """
    standing: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    kinds: Counter[str] = Counter()
    for number, task in enumerate(asyncio.all_tasks(), 1):
        if number % _SLICE == 0:
            await asyncio.sleep(0)
        if not task.done():
            stack = tuple(_waiting(task.get_coro()))
            kinds[stack[0].rpartition(":")[0]] += 1
            standing[stack].append(task.get_name())
    lines = [f"{kinds.total()} tasks", *(f"{count:6} {kind}" for kind, count in kinds.most_common())]
    for stack, names in sorted(standing.items(), key=lambda found: -len(found[1])):
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines += ["", f"{len(names)} x {', '.join(sorted(names)[:NAMED])}{more}", *_indented(stack)]
    for name, frames in _threads():
        lines += ["", f"thread {name}", *_indented(frames)]
    return "\n".join(lines) + "\n"


def frames_of(frame: FrameType | None) -> list[FrameType]:
    """Of a stack, the outermost first."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found[::-1]


def function(frame: FrameType) -> str:
    """`module:function`: a file's path would say where the machine keeps it."""
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}"


def _place(frame: FrameType) -> str:
    return f"{function(frame)}:{frame.f_lineno}"


def _waiting(awaiting: Any) -> Iterator[str]:
    """From a task's coroutine down to what waits for no code of Python."""
    for depth in range(DEEPEST):
        kind = next((prefix for kind, prefix in _AWAITING if isinstance(awaiting, kind)), None)
        if kind is None:
            if depth == 0:
                yield f"{type(awaiting).__qualname__}:?"  # of a compiled function
            return
        frame = getattr(awaiting, f"{kind}_frame")
        if frame is not None:
            yield _place(frame)
        inner = getattr(awaiting, f"{kind}_yieldfrom" if kind == "gi" else f"{kind}_await")
        if inner is not None and not isinstance(inner, tuple(kind for kind, _ in _AWAITING)):
            # `async for` and `__await__` put a wrapper without attributes round what is awaited.
            inside = gc.get_referents(inner)
            inner = next((one for one in inside if isinstance(one, (CoroutineType, AsyncGeneratorType))), None)
        awaiting = inner


def _threads() -> Iterator[tuple[str, list[str]]]:
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.ident in frames:
            yield thread.name, [_place(frame) for frame in frames_of(frames[thread.ident])]


def _indented(frames: list[str] | tuple[str, ...]) -> Iterator[str]:
    return (f"    {frame}" for frame in frames)

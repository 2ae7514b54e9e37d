"""RTMP timestamps have 32 bits of milliseconds and wrap after 49.7 days."""

from __future__ import annotations

from typing import Final

_WRAP: Final = 1 << 32


class Unwrapped:
    """Turns wrapping timestamps into ones that keep growing.

    A step of less than half the range is taken as what it is, forwards or backwards.
    """

    def __init__(self) -> None:
        self._value: int | None = None

    def __call__(self, timestamp: int) -> int:
        if self._value is None:
            self._value = timestamp
        else:
            step = (timestamp - self._value) % _WRAP
            self._value += step if step < _WRAP // 2 else step - _WRAP
        return self._value

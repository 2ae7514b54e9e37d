"""What an owner is that cannot renew its membership: cut off, or one of many whose database is away. Pure.

| the beat | other members | verdict |
| --- | --- | --- |
| was refused | - | LOST |
| had no answer | one reaches the database | LOST |
| had no answer | most answer, and none reaches it; or there are none | OUTAGE |
| had no answer | most do not answer | LOST |

`most`: counting this one, which does not reach the database either.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto


class Verdict(Enum):
    LOST = auto()
    """Others can take over what this one owns: it must say and write nothing more."""
    OUTAGE = auto()
    """Nobody can: it goes on, and what is to be written waits on disk."""


def verdict(answers: Sequence[bool | None], *, was_refused: bool = False) -> Verdict:
    """`answers`: of every other member, whether it reaches the database; None: it has not answered."""
    silent = sum(answer is None for answer in answers)
    if was_refused or any(answers) or silent > len(answers) - silent:
        return Verdict.LOST
    return Verdict.OUTAGE

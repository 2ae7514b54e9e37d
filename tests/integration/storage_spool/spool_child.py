"""Appends and forgets for ever, saying on standard output what it was promised. Its parent kills it.

`a N` before an append of record N, `A N` after it; `f N` before record N is forgotten, `F N` after.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from storage.spool.spool import open_spool


def say(word: str, number: int) -> None:
    os.write(1, b"%s %d\n" % (word.encode(), number))


async def main(folder: Path, first: int, seed: int) -> None:
    dice = random.Random(seed)
    number = first
    async with open_spool(folder, 10_000_000, segment_bytes=2_000) as spool:
        while True:
            if dice.random() < 0.7 or not len(spool):
                batch = range(number, number + dice.randrange(1, 8))
                number = batch.stop
                for one in batch:
                    say("a", one)
                await spool.append([b"%d:" % one + bytes(dice.randrange(200)) for one in batch])
                for one in batch:
                    say("A", one)
            else:
                peeked = await spool.peek(dice.randrange(1, 12))
                numbers = [int(data.partition(b":")[0]) for _, data in peeked]
                for one in numbers:
                    say("f", one)
                await spool.forget(peeked[-1][0])
                for one in numbers:
                    say("F", one)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

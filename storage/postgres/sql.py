"""The named queries: one `.sql` file each, read once.

In the files `app."X"` is a table or type of the app, wherever its schema is, and `{name}` stands for the text of
`_name.sql` (lists of columns). Names are always qualified, so that no search_path is needed: a transaction pooler
allows none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("queries")
_INCLUDE: Final = re.compile(r"\{(\w+)\}")
_APP: Final = re.compile(r'\bapp\.(?=")')


class Queries(Mapping[str, str]):
    """Every query, by the name of its file, for the app's tables in `schema`."""

    def __init__(self, schema: str = "public") -> None:
        self._texts = _texts(schema)

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


@cache
def _texts(schema: str) -> Mapping[str, str]:
    where = quoted(schema) + "."
    texts = {path.stem: path.read_text("utf-8").strip() for path in sorted(_FOLDER.glob("*.sql"))}

    def filled(text: str) -> str:
        return _INCLUDE.sub(lambda found: filled(texts["_" + found[1]]), text)

    return {name: _APP.sub(lambda _: where, filled(text)) for name, text in texts.items() if not name.startswith("_")}


def quoted(name: str) -> str:
    """An SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'

"""The modules of a page as one file, for who comes for the first time over a line with long round trips.

Each module becomes a block with names of its own, behind those that it imports, without the comments that begin a line.
Understood is what the pages use: named imports and exports of functions, classes and constants, where a line begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_FROM: Final = re.compile(r"^(import|export) \{([^}]*)\} from '\./([\w-]+\.js)';$", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async function|function\*?|class|const) (\w+))", re.MULTILINE)
_NAMES: Final = re.compile(r"^export \{([\w, ]*)\};$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^ *(?://[^\n]*|/\*\*(?:(?!\*/).)*\*/ *)\n", re.MULTILINE | re.DOTALL)
_OTHER: Final = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


class NotBundled(ValueError):
    """A module is written in a way that is not understood here."""


def whole(entry: str, read: Callable[[str], str]) -> str:
    """One module of `entry` and all that it imports. `read`: the text of a module. Raises: NotBundled."""
    written: dict[str, str] = {}
    exports: dict[str, set[str]] = {}
    _write(entry, read, written, exports, ())
    return "".join(written.values())


def _write(
    name: str, read: Callable[[str], str], written: dict[str, str], exports: dict[str, set[str]], above: tuple[str, ...]
) -> None:
    if name in above:
        raise NotBundled(f"{' → '.join((*above, name))}: modules that import each other")
    if name in written:
        return
    text = _COMMENT.sub("", read(name))
    taken: list[str] = []
    passed: dict[str, str] = {}
    for kind, names, other in _FROM.findall(text):
        _write(other, read, written, exports, (*above, name))
        wanted = [tuple(one.strip().partition(" as ")[::2]) for one in names.split(",") if one.strip()]
        if missing := {one for one, _ in wanted} - exports[other]:
            raise NotBundled(f"{name}: {other} exports no {', '.join(sorted(missing))}")
        if kind == "import":
            inside = ", ".join(f"{one}: {own}" if own else one for one, own in wanted)
            taken.append(f"const {{ {inside} }} = {_variable(other)};\n")
        else:
            passed |= {own or one: f"{_variable(other)}.{one}" for one, own in wanted}
    body = _FROM.sub("", text)
    own = set(_EXPORT.findall(body)) | {one.strip() for names in _NAMES.findall(body) for one in names.split(",")}
    body = _NAMES.sub("", _EXPORT.sub("", body))
    if other := _OTHER.search(body):
        raise NotBundled(f"{name}: {other[0]}")
    exports[name] = own | passed.keys()
    told = ", ".join([*sorted(own), *(f"{one}: {value}" for one, value in passed.items())])
    variable = _variable(name)
    written[name] = (
        f"const {variable} = {{}};\n{{\n{''.join(taken)}{body.strip()}\nObject.assign({variable}, {{ {told} }});\n}}\n"
    )


def _variable(name: str) -> str:
    return "$" + name.removesuffix(".js").replace("-", "_")

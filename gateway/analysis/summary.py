"""A summary without a model: the sentences that say most of what the others say, in spoken order. Pure.

LexRank (Erkan and Radev, 2004): a sentence matters when it shares its rare words with many others that matter. The
matrix of similarities is never made: with sentences as rows of `X` (weights of their words, length 1), `X (Xᵀ rank)`
is the same, and costs as much as there are words. No word lists: how rare a word is in this conversation says how much
it tells, so that it works in any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.analysis.rules import NOTHING_SAID, Line, main_language, one_line

HEADINGS: Final = {
    "en": "[extractive summary: sentences of the transcript, chosen by their words; no language model was used]",
    "ru": "[выдержки: фразы из расшифровки, отобранные по словам; языковая модель не применялась]",
}
_MOST_SENTENCES: Final = 12
_MOST_CHARACTERS: Final = 2_400
_SENTENCE_CHARACTERS: Final = 320
_DAMPING: Final = 0.85
_ROUNDS: Final = 30
_ALIKE: Final = 0.5  # cosine above which two sentences say the same
_SHORT_WORDS: Final = 5  # shorter ones ("Yes, exactly.") rank lower

_END: Final = re.compile(r"(?<=[.!?…])[\"'»”)]*\s+|(?<=[。！？])")
_WORD: Final = re.compile(r"\w+")
# Scripts that put no spaces between words: two neighbouring letters stand for one.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{2,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    line: int
    """Index of the line that it was said in."""
    text: str


def sentences(lines: Sequence[Line]) -> list[Sentence]:
    """In spoken order, with single spaces; a line without punctuation is one sentence."""
    return [
        Sentence(number, text)
        for number, line in enumerate(lines)
        for part in _END.split(line.text)
        if (text := " ".join(part.split()))
    ]


def words(text: str) -> Iterator[str]:
    """What is compared: words without case; letter pairs where a script has no spaces."""
    for word in _WORD.findall(text.casefold()):
        runs = _UNSPACED.findall(word)
        for run in runs:
            yield from (run[i : i + 2] for i in range(len(run) - 1))
        if not runs:
            yield word


def summarise(lines: Sequence[Line]) -> str:
    """At most a dozen sentences under a heading that says what this is. The same lines give the same summary."""
    found = sentences(lines)
    chosen = _choose(found)
    if not chosen:
        return NOTHING_SAID
    heading = HEADINGS.get(main_language(lines) or "en", HEADINGS["en"])
    return "\n".join([heading, *_told(lines, [found[i] for i in chosen])])


def _told(lines: Sequence[Line], chosen: Sequence[Sentence]) -> Iterator[str]:
    """One paragraph for each turn of a speaker."""
    turns: list[tuple[str | None, list[str]]] = []
    for sentence in chosen:
        speaker = lines[sentence.line].speaker
        if not turns or turns[-1][0] != speaker:
            turns.append((speaker, []))
        turns[-1][1].append(one_line(sentence.text, _SENTENCE_CHARACTERS))
    for speaker, said in turns:
        who = f"{one_line(speaker, 80)}: " if speaker else ""
        yield f"– {who}{' '.join(said)}"


def _choose(found: Sequence[Sentence]) -> list[int]:
    """Indexes, ascending."""
    bags = [list(words(sentence.text)) for sentence in found]
    matrix = _Weights(bags)
    rank = matrix.rank()
    lengths = np.array([len(bag) for bag in bags], dtype=np.float64)
    rank *= np.minimum(lengths / _SHORT_WORDS, 1.0)
    wanted = min(_MOST_SENTENCES, max(3, len(found) // 8))
    chosen: list[int] = []
    room = _MOST_CHARACTERS
    # Best first; of equals the earlier one.
    for index in np.argsort(-rank, kind="stable").tolist():
        length = min(len(found[index].text), _SENTENCE_CHARACTERS)
        if rank[index] <= 0 or len(chosen) == wanted:
            break
        if length > room or any(matrix.alike(index, other) > _ALIKE for other in chosen):
            continue
        chosen.append(index)
        room -= length
    return sorted(chosen)


class _Weights:
    """Sentences × words, sparse: tf-idf, every sentence of length 1."""

    def __init__(self, bags: Sequence[Sequence[str]]) -> None:
        numbers: dict[str, int] = {}
        counts: list[dict[int, int]] = []
        for bag in bags:
            counted: dict[int, int] = {}
            for word in bag:
                number = numbers.setdefault(word, len(numbers))
                counted[number] = counted.get(number, 0) + 1
            counts.append(counted)
        self._size = (len(bags), len(numbers))
        self._row = np.array([row for row, counted in enumerate(counts) for _ in counted], dtype=np.int64)
        self._word = np.array([word for counted in counts for word in counted], dtype=np.int64)
        often = np.array([times for counted in counts for times in counted.values()], dtype=np.float64)
        in_sentences = np.bincount(self._word, minlength=len(numbers)).astype(np.float64)
        rarity = np.log1p(len(bags) / np.maximum(in_sentences, 1.0)) - np.log(2.0) + 1e-9
        weight = often * rarity[self._word]
        length = np.sqrt(np.bincount(self._row, weights=weight**2, minlength=len(bags)))
        self._weight = weight / np.maximum(length[self._row], 1e-12)
        self._vectors = [dict[int, float]() for _ in bags]
        for row, word, value in zip(self._row.tolist(), self._word.tolist(), self._weight.tolist(), strict=True):
            self._vectors[row][word] = value

    def rank(self) -> NDArray[np.float64]:
        """How much each sentence matters; the sum is 1 (0 without sentences)."""
        rows, _ = self._size
        rank = np.full(rows, 1.0 / max(rows, 1))
        degree = np.maximum(self._spread(np.ones(rows)), 1e-12)
        for _ in range(_ROUNDS):
            rank = (1 - _DAMPING) / max(rows, 1) + _DAMPING * self._spread(rank / degree)
        return rank

    def _spread(self, rank: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, size = self._size
        by_word = np.bincount(self._word, weights=self._weight * rank[self._row], minlength=size)
        spread: NDArray[np.float64] = np.bincount(self._row, self._weight * by_word[self._word], rows).astype(
            np.float64
        )
        return spread

    def alike(self, one: int, other: int) -> float:
        """Cosine of two sentences, 0 to 1."""
        shorter, longer = sorted((self._vectors[one], self._vectors[other]), key=len)
        return sum(weight * longer.get(word, 0.0) for word, weight in shorter.items())

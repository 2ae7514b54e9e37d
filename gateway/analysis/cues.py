"""Tasks and risks without a model: sentences with words that announce them, in English and Russian. Pure.

A heuristic and no more: it finds what is said plainly ("I'll send the report by Friday", "нужно проверить бэкапы"),
takes some small talk for a task, and sees nothing in other languages. Every item carries the words it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.analysis.rules import Line, Risk, Severity, Task, one_line
from gateway.analysis.summary import sentences

MOST: Final = 50
_TITLE: Final = 200
_QUOTE: Final = 500


def _any(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


_PROMISE: Final = _any(  # the speaker will do it
    r"\bI(?:['’]ll| will| am going to|['’]m going to| need to| have to| must| should)\b",
    r"\bя\s+(?:\w+\s+){0,2}(?:сделаю|подготовлю|отправлю|проверю|напишу|пришлю|посмотрю|разберусь|займусь|позвоню|исправлю|"
    r"обновлю|уточню|добавлю|возьму)\b",
    r"\b(?:сделаю|подготовлю|отправлю|проверю|напишу|пришлю|займусь|исправлю|уточню)\b",
)
_DUTY: Final = _any(  # another person, or the group, is to do it
    r"\b(?:we|you|they|he|she)(?:['’]ll| will)? (?:need|have) to\b",
    r"\b(?:we|you) (?:must|should|ought to)\b",
    r"\blet['’]s (?!see\b|say\b|start\b|begin\b|go\b)\w+",
    r"\b(?:action item|to-?do|next step|follow[- ]?up)s?\b",
    r"\b(?:can|could|would|will) you (?:please )?(?!hear\b|see\b)\w+",
    r"\bplease (?!note\b)\w+",
    r"\b\w+ (?:will|is going to) (?:send|write|prepare|check|fix|update|review|call|ask|finish|add|make|talk|look)\b",
    r"\b(?:нужно|надо|необходимо|следует|должен|должна|должны|придётся|придется)\b",
    r"\bдавай(?:те)?\s+(?!начн|посмотрим)\w+",
    r"\b(?:сделай|подготовь|отправь|проверь|напиши|пришли|посмотри|позвони|исправь|обнови|уточни|добавь)(?:те)?\b",
    r"\b(?:сделаем|подготовим|отправим|проверим|напишем|договорились)\b",
    r"\bзадач[аиуе]\b",
)
_RISK: Final = _any(
    r"\b(?:risks?|risky|blockers?|blocked|concerns?|concerned|worr(?:y|ied)|delay(?:s|ed)?|behind schedule)\b",
    r"\b(?:problem|issue|outage|bottleneck)s?\b",
    r"\b(?:might|may|could) (?:not|fail|slip|break|be late)\b",
    r"\b(?:won['’]t|will not|cannot|can['’]t) (?:make it|finish|be ready|meet|deliver)\b",
    r"\b(?:miss|slip) the (?:deadline|date|release)\b|\bdeadline (?:slips|is at risk)\b|\b(?:run|running) out of\b",
    r"\bриск\w*|\bпроблем\w*|\bблокер\w*|\bзаблокирован\w*|\bопас(?:ен|н)\w*|\bбеспоко\w*|\bбоюсь\b",
    r"\bне успе\w+|\bзадерж\w+|\bсрыв\w*|\bсорв\w+|\bпросроч\w*|\bне хвата\w+|\bможем? не\b|\bмогут не\b",
)
_NO_RISK: Final = _any(
    r"\b(?:no|not an?|without any|isn['’]t an?) (?:\w+ )?(?:risks?|problems?|issues?|concerns?|blockers?|worries)\b",
    r"\b(?:don['’]t|do not|no need to) worry\b|\bno worries\b",
    r"\b(?:нет|без|не)\s+(?:\w+\s+)?(?:риск\w*|проблем\w*|блокер\w*)",
)
_GRAVE: Final = _any(
    r"\b(?:critical|blockers?|blocked|urgent|severe|outage)\b", r"\b(?:критич|блокер|срочно|срыв|заблокирован)\w*"
)
_PLAIN: Final = _any(r"\b(?:risks?|problems?|delay(?:s|ed)?)\b", r"\b(?:риск|проблем|задерж)\w*|\bне успе\w+")
_DUE: Final = _any(
    r"\b(?:by|until|before|on|this|next) (?:the )?(?:end of (?:the )?(?:day|week|month|quarter|year)|"
    r"(?:next )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|tonight|week|month|quarter|noon)\b",
    r"\b(?:today|tomorrow|tonight)\b",
    r"\b(?:до|к|в|во|на)\s+(?:конц[ауе]\s+(?:дня|недели|месяца|года)|понедельник\w*|вторник\w*|сред[уеы]|четверг\w*|"
    r"пятниц\w+|суббот\w+|воскресень\w+|завтра|следующ\w+\s+недел\w+)",
    r"\b(?:сегодня|завтра|послезавтра)\b",
)
_QUESTION_ASKS: Final = _any(
    r"\b(?:can|could|would|will) you\b(?! (?:hear|see)\b)", r"\b(?:можешь|можете|сможешь|сможете)\b"
)


def tasks(lines: Sequence[Line]) -> tuple[Task, ...]:
    """In spoken order, at most MOST; a sentence said twice is one task."""
    return tuple(_tasks(lines))[:MOST]


def risks(lines: Sequence[Line]) -> tuple[Risk, ...]:
    """In spoken order, at most MOST; a sentence said twice is one risk."""
    return tuple(_risks(lines))[:MOST]


def _tasks(lines: Sequence[Line]) -> Iterator[Task]:
    people = list(dict.fromkeys(line.speaker for line in lines if line.speaker))
    seen: set[str] = set()
    for sentence in sentences(lines):
        text, line = sentence.text, lines[sentence.line]
        promised = _PROMISE.search(text) is not None
        asked = _QUESTION_ASKS.search(text) is not None
        if not (promised or asked or _DUTY.search(text)) or (text.endswith("?") and not asked):
            continue
        if len(text.split()) < 3 or text.casefold() in seen:
            continue
        seen.add(text.casefold())
        due = _DUE.search(text)
        yield Task(
            title=one_line(text, _TITLE),
            assignee=line.speaker if promised else _named(text, people, line.speaker),
            due_date=due[0] if due else None,
            quote=one_line(text, _QUOTE),
            at_ms=line.at_ms,
        )


def _risks(lines: Sequence[Line]) -> Iterator[Risk]:
    seen: set[str] = set()
    for sentence in sentences(lines):
        text = sentence.text
        if not _RISK.search(_NO_RISK.sub(" ", text)) or len(text.split()) < 3 or text.casefold() in seen:
            continue
        seen.add(text.casefold())
        yield Risk(
            title=one_line(text, _TITLE),
            severity=_severity(text),
            quote=one_line(text, _QUOTE),
            at_ms=lines[sentence.line].at_ms,
        )


def _severity(text: str) -> Severity:
    if _GRAVE.search(text):
        return "high"
    return "medium" if _PLAIN.search(text) else "low"


def _named(text: str, people: Sequence[str], speaker: str | None) -> str | None:
    """The one of them whose first name stands in the sentence; Russian names also in another case."""
    for person in people:
        first = person.split()[0] if person.split() else ""
        if len(first) < 2 or person == speaker:
            continue
        stem = first[:-1] if len(first) > 3 and not first.isascii() and first[-1] in "аяйь" else first
        tail = r"\w{0,3}" if not first.isascii() else ""
        if re.search(rf"\b{re.escape(stem)}{tail}\b", text, re.IGNORECASE):
            return person
    return None

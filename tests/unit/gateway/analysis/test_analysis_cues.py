"""Tasks and risks without a model: what is said plainly is found, small talk is not."""

from __future__ import annotations

import pytest

from gateway.analysis.cues import MOST, risks, tasks
from gateway.analysis.rules import Line, Risk, Task

ANNA, BOB = "Anna Smith", "Bob"


def task(text: str) -> Task | None:
    """What is found in a sentence of Anna's, in a talk with Bob and Борис."""
    lines = [Line(BOB, "Hello.", "en", 0), Line("Борис", "Привет.", "ru", 0), Line(ANNA, text, None, 4_200)]
    found = tasks(lines)
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("text", "assignee", "due"),
    [
        ("I'll send the report by Friday.", ANNA, "by Friday"),
        ("I will check the backups tomorrow.", ANNA, "tomorrow"),
        ("Bob, can you call the customer before the end of the week?", BOB, "before the end of the week"),
        ("Bob will prepare the slides.", BOB, None),
        ("We need to update the documentation.", None, None),
        ("Let's move the meeting to Thursday.", None, None),
        ("Action item: renew the certificate.", None, None),
        ("Я проверю бэкапы до завтра.", ANNA, "до завтра"),
        ("Нужно обновить сертификат к пятнице.", None, "к пятнице"),
        ("Бориса надо попросить проверить отчёт.", "Борис", None),
        ("Давайте перенесём встречу.", None, None),
    ],
)
def test_what_is_to_be_done_is_found(text: str, assignee: str | None, due: str | None) -> None:
    assert task(text) == Task(text, assignee, due, text, 4_200)


@pytest.mark.parametrize(
    "text",
    [
        "Good morning.",
        "Can you hear me?",
        "Let's see.",
        "Should we ship on Friday?",
        "The weather was nice.",
        "Надо ли нам это?",
        "Хорошо, спасибо.",
        "I will.",
    ],
)
def test_what_is_no_task_is_none(text: str) -> None:
    assert task(text) is None


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("There is a risk that the migration takes longer.", "medium"),
        ("We are blocked by the vendor.", "high"),
        ("The API might not be ready in time.", "low"),
        ("We won't make it before the holidays.", "low"),
        ("Боюсь, мы не успеем к пятнице.", "medium"),
        ("Это критичная проблема с оплатой.", "high"),
        ("Нам не хватает людей.", "low"),
    ],
)
def test_what_may_go_wrong_is_found(text: str, severity: str) -> None:
    [found] = risks([Line(ANNA, text, None, 900)])
    assert (found.title, found.severity, found.quote, found.at_ms) == (text, severity, text, 900)


@pytest.mark.parametrize(
    "text",
    [
        "No problem, thanks a lot.",
        "That is not an issue at all.",
        "Don't worry about it.",
        "Нет проблем, всё готово.",
        "Без проблем, сделаем вместе.",
        "Everything is on track.",
    ],
)
def test_what_is_denied_is_no_risk(text: str) -> None:
    assert risks([Line(ANNA, text, None, 0)]) == ()


def test_repeated_sentences_count_once_and_there_is_an_end() -> None:
    same = [Line(ANNA, "We need to fix the tests.", "en", n) for n in range(9)]
    assert len(tasks(same)) == 1
    many = [Line(ANNA, f"We need to fix test number {n}.", "en", n) for n in range(200)]
    assert len(tasks(many)) == MOST
    assert isinstance(risks([Line(None, "A big risk, surely.", "en", 0)])[0], Risk)

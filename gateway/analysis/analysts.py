"""The two analysts: a language model behind a chat endpoint and, without one, word statistics."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from gateway.analysis import cues, prompt
from gateway.analysis.analyse import AnalysisImpossible
from gateway.analysis.rules import NOTHING_SAID, Conversation, Findings
from gateway.analysis.summary import summarise

if TYPE_CHECKING:
    from gateway.analysis.chat import Chat

_PARTS: Final = 100
_NOTES_PER_JOIN: Final = 4


def _mark() -> str:
    return f"transcript-{secrets.token_hex(6)}"


class ModelAnalyst:
    """Asks the model about each part of the transcript, then to join what it found."""

    def __init__(self, chat: Chat, part_characters: int, mark: Callable[[], str] = _mark) -> None:
        self._chat = chat
        self._limit = part_characters
        self._mark = mark

    async def analyse(self, conversation: Conversation) -> Findings:
        """Raises: AnalysisTrouble, AnalysisImpossible."""
        parts = prompt.parts(list(prompt.lines_of(conversation)), self._limit)
        if not parts:
            return Findings("extractive", NOTHING_SAID)
        if len(parts) > _PARTS:
            raise AnalysisImpossible(
                f"the transcript has {len(parts)} parts, more than {_PARTS}; raise GATEWAY_ANALYSIS_PART_CHARACTERS"
            )
        answers = [
            await self._ask(prompt.ask_about(conversation, part, self._mark(), number, len(parts)))
            for number, part in enumerate(parts, start=1)
        ]
        while len(answers) > 1:  # a join takes at least four, so this ends
            notes = [prompt.noted(answer, self._limit // _NOTES_PER_JOIN - 1) for answer in answers]
            answers = [await self._joined(conversation, group) for group in prompt.parts(notes, self._limit)]
        return prompt.findings(answers[0], conversation.lines)

    async def _joined(self, conversation: Conversation, notes: Sequence[str]) -> prompt.Answer:
        if len(notes) == 1:
            return prompt.parse(notes[0])
        return await self._ask(prompt.ask_to_join(conversation, notes, self._mark()))

    async def _ask(self, messages: list[dict[str, str]]) -> prompt.Answer:
        """An answer that cannot be used is asked for once more, with what is wrong."""
        text = await self._chat.ask(messages, "session_analysis", prompt.SCHEMA)
        try:
            return prompt.parse(text)
        except prompt.UnusableAnswer as trouble:
            again = prompt.ask_again(messages, text, str(trouble))
        text = await self._chat.ask(again, "session_analysis", prompt.SCHEMA)
        try:
            return prompt.parse(text)
        except prompt.UnusableAnswer as trouble:
            raise AnalysisImpossible(f"the model's answer cannot be used, nor its second one: {trouble}") from None


class OfflineAnalyst:
    """No model, no network: see `summary` and `cues`."""

    async def analyse(self, conversation: Conversation) -> Findings:
        """In a thread, since a long session takes seconds of CPU. Raises nothing of its own."""
        return await asyncio.to_thread(_extract, conversation)


def _extract(conversation: Conversation) -> Findings:
    lines = conversation.lines
    return Findings("extractive", summarise(lines), cues.tasks(lines), cues.risks(lines))

"""The account at the speech provider, asked about sessions by id, behind the ports of the sweeper and the erasure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gateway.transcription.usecases.speech import Translation
from gateway.transcription.usecases.sweep import (
    AccountUnavailable,
    ListedSession,
    ProviderReport,
)
from stt.errors import ProviderRefused, SttError
from stt.gladia.client import Provider
from stt.gladia.messages import UNPLACED, SpokenUtterance
from stt.gladia.retranslated import translations as translations_of
from stt.transcript import Utterance, Word


class GladiaAccount:
    """Gladia's REST interface. Its errors become AccountUnavailable; HTTP 404 means that there is no such session."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def mine(self) -> Collection[str]:
        return self._provider.mine

    async def running(self) -> Sequence[ListedSession]:
        try:
            listed = await self._provider.running()
        except SttError as error:
            raise AccountUnavailable(str(error)) from error
        return [ListedSession(one.id, _texts(one.custom_metadata)) for one in listed]

    async def end(self, url: str) -> bool:
        return await self._provider.end(url)

    async def end_by_id(self, session_id: str) -> bool:
        return await self._provider.end_by_id(session_id)

    async def erase(self, session_id: str) -> None:
        try:
            await self._provider.delete(session_id)
        except ProviderRefused as error:
            if error.status != 404:
                raise AccountUnavailable(f"it answers HTTP {error.status}, {error.detail}") from error
        except SttError as error:
            raise AccountUnavailable(str(error)) from error

    async def report(self, session_id: str) -> ProviderReport | None:
        try:
            found = await self._provider.result(session_id)
        except ProviderRefused as error:
            if error.status == 404:
                return None
            raise AccountUnavailable(str(error)) from error
        except SttError as error:
            raise AccountUnavailable(str(error)) from error
        billed = found.result.billing_seconds if found.result is not None else None
        is_over = found.status in ("done", "error")
        utterances = found.result.utterances if found.result is not None and is_over else ()
        ordered = sorted(utterances, key=lambda one: one.start)
        heard = tuple(_utterance(session_id, i, one) for i, one in enumerate(ordered))
        told = translations_of(found.result) if found.result is not None and is_over else ()
        places = {
            (one.channel, one.start): one_heard
            for one, one_heard in zip(ordered, heard, strict=True)
            if one.start < UNPLACED  # of those without a time it cannot be said which is which
        }
        translations = tuple(
            Translation(said.id, said.language, target, one.visible_text)
            for target, one in told
            if (said := places.get((one.channel, one.start))) is not None and target != said.language
        )
        return ProviderReport(is_over, billed, heard, translations)


def _utterance(session_id: str, index: int, spoken: SpokenUtterance) -> Utterance:
    """`id` says where it comes from, and is the same whenever it is read."""
    words = tuple(Word(word.word, word.start, word.end, word.confidence) for word in spoken.words)
    name = f"{session_id}:salvaged_{index:08d}"
    return Utterance(
        name, True, spoken.visible_text, spoken.known_language, spoken.start, spoken.end, spoken.share, words
    )


def _texts(labels: Mapping[str, object] | None) -> dict[str, str]:
    return {key: value for key, value in (labels or {}).items() if isinstance(value, str)}

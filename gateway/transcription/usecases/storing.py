"""Whatever a run has to store, put into the database in one order: finals, meters, translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.transcription.domain.translations import numbered
from gateway.transcription.usecases.journal import Entry, FinalToStore, TranslationToStore, UsageToStore
from gateway.transcription.usecases.live import Live
from gateway.transcription.usecases.records import Records, StoreOutcome


class Storing:
    """Every method may be repeated, and raises RecordsUnavailable."""

    def __init__(self, records: Records, live: Live) -> None:
        self._finals = records.finals
        self._usage = records.usage
        self._translations = records.translations
        self._sessions = records.sessions
        self._live = live
        self._participants: dict[tuple[str, str], str | None] = {}  # (session, identity), while catching up

    async def store(self, entries: Sequence[Entry]) -> StoreOutcome:
        """All of them; translations are also shown. Returns: what became of the finals."""
        finals = [entry for entry in entries if isinstance(entry, FinalToStore)]
        outcome = await self._finals.store(finals) if finals else StoreOutcome()
        for entry in entries:
            if isinstance(entry, UsageToStore):
                await self._usage.save(entry.claimed, entry.participant_ids, entry.usage)
        if translations := [entry for entry in entries if isinstance(entry, TranslationToStore)]:
            await self._translate(translations)
        return outcome

    async def with_participant(self, entry: Entry) -> Entry:
        """A final that was set aside before its speaker's row was known."""
        if not isinstance(entry, FinalToStore) or entry.participant_id is not None:
            return entry
        key = entry.session_id, entry.caption.speaker.identity
        if key not in self._participants:
            try:
                self._participants[key] = await self._sessions.join(entry.session_id, entry.caption.speaker)
            except LookupError:  # the session was deleted, as `store` will say
                self._participants[key] = None
        return replace(entry, participant_id=self._participants[key])

    def forget_participants(self) -> None:
        """Nothing is left to catch up with."""
        self._participants.clear()

    async def keep_strays(self, finals: Sequence[FinalToStore]) -> tuple[int, int]:
        """Without a number of their own. Returns: how many have words that are new, and how many are numbered."""
        strays = await self._finals.store_strays(finals) if finals else 0
        sessions = {final.session_id for final in finals}
        return strays, sum([len(await self._finals.number_strays(session_id)) for session_id in sessions])

    async def _translate(self, translations: Sequence[TranslationToStore]) -> None:
        """They are shown with their numbers; one whose final is not stored yet, or that repeats one, without."""
        slugs = {one.session_id: one.slug for one in translations}
        fresh = await self._translations.store(translations)
        for one in fresh:
            self._live.translation(slugs[one.session_id], numbered(one.data, one.seq, one.of_seq))
        shown = {(one.session_id, one.utterance_id, one.language) for one in fresh}
        for waiting in translations:
            if (waiting.session_id, waiting.utterance_id, waiting.language) not in shown:
                self._live.translation(waiting.slug, waiting.data)

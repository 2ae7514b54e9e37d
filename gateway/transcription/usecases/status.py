"""What is told of transcriptions, running or stopped: from the database, and from the runs of this replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.errors import SessionNotFound
from gateway.outage import Prompt, RecordsUnavailable
from gateway.transcription.domain.billing import Bill
from gateway.transcription.domain.errors import NeverStarted
from gateway.transcription.domain.usage import Figures, Usage
from gateway.transcription.usecases.records import Participation, Records, TranscriptionRecord
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.transcriptions import Transcriptions


@dataclass(frozen=True, slots=True)
class Seen:
    """A transcription for the status page. `run`: when this replica has it. `is_stored`: the database has answered;
    else the record is what the run knows."""

    record: TranscriptionRecord
    run: Run | None
    figures: Figures
    is_stored: bool = True


class Status:
    """Read-only. `here`: the transcriptions of this replica."""

    def __init__(self, here: Transcriptions, records: Records) -> None:
        self._here = here
        self._records = records
        self._prompt = Prompt()

    async def seen(self, slug: str) -> Seen:
        """The session's newest transcription, within PROMPT_S. Without the database what runs here is still seen.

        Raises: SessionNotFound, NeverStarted, RecordsUnavailable.
        """
        try:
            record, used = await self._prompt(lambda: self._stored(slug))
        except RecordsUnavailable:
            run = self._here.run_of(slug)
            if run is None:
                raise
            return self._remembered(run)
        run = self._here.run_of(slug)
        return Seen(record, run, Figures.of(run.usage() if run and not run.finished.is_set() else used))

    async def all_seen(self) -> Sequence[Seen]:
        """Every transcription that is not stopped, on whatever replica, within PROMPT_S; without the database those
        that run here.

        Raises: RecordsUnavailable when nothing runs here either.
        """
        try:
            stored = await self._prompt(self._records.transcriptions.active)
        except RecordsUnavailable:
            if not self._certain:
                raise
            return [self._remembered(run) for run in self._certain]
        found = []
        for record, figures in stored:
            run = self._here.run_of(record.slug)
            found.append(Seen(record, run, Figures.of(run.usage()) if run else figures))
        return found

    @property
    def _certain(self) -> list[Run]:
        """What runs here and is certainly ours."""
        return [run for run in self._here.runs if self._here.run_of(run.claimed.slug) is run]

    def seen_here(self) -> Sequence[Seen]:
        """What runs on this replica, without a question to the database."""
        return [replace(self._remembered(run), is_stored=True) for run in self._certain if not run.finished.is_set()]

    async def usage(self, slug: str) -> Sequence[Usage]:
        """Live figures when it runs here, else the last checkpoint. Raises as `seen`."""
        run = self._here.run_of(slug)
        if run is not None and not run.finished.is_set():
            return run.usage()
        return (await self._prompt(lambda: self._stored(slug)))[1]

    async def bills(self, seen: Seen) -> Sequence[Bill] | None:
        """What the provider billed; None when only the database could tell and does not.

        Raises: RecordsUnavailable when it does not run here.
        """
        try:
            return await self._prompt(lambda: self._records.provider_sessions.bills(seen.record.id))
        except RecordsUnavailable:
            if seen.run is None:
                raise
            return None

    async def people(self, record: TranscriptionRecord) -> Mapping[str, Participation]:
        """Who was ever in its session, by identity; empty while the database, which alone knows, does not answer."""
        try:
            found = await self._prompt(lambda: self._records.sessions.people(record.session_id))
        except RecordsUnavailable:
            return {}
        return {one.identity: one for one in found}

    # --- inside -------------------------------------------------------------------------------------------

    async def _stored(self, slug: str) -> tuple[TranscriptionRecord, Sequence[Usage]]:
        record = await self._records.transcriptions.newest(slug)
        if record is None:
            if await self._records.sessions.by_slug(slug) is None:
                raise SessionNotFound(slug)
            raise NeverStarted(slug)
        return record, await self._records.usage.of_transcription(record.id)

    def _remembered(self, run: Run) -> Seen:
        return Seen(self._here.record_of(run), run, Figures.of(run.usage()), is_stored=False)

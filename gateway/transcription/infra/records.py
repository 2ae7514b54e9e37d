"""All ports of the database, on PostgreSQL."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.transcription.infra.final_records import PostgresFinalRecords
from gateway.transcription.infra.provider_sessions import PostgresProviderSessionRecords
from gateway.transcription.infra.session_records import PostgresSessionRecords
from gateway.transcription.infra.transcription_records import (
    PostgresHostRecords,
    PostgresLeases,
    PostgresTranscriptionRecords,
)
from gateway.transcription.infra.translation_records import PostgresTranslationRecords
from gateway.transcription.infra.usage_records import PostgresUsageRecords
from gateway.transcription.infra.vocabulary_records import PostgresVocabularyRecords
from gateway.transcription.usecases.records import Records
from storage.postgres.pool import Database


def postgres_records(
    database: Database,
    clock: Clock,
    account: str = "",
    process: str = "",
    leases: PostgresLeases | None = None,
    most_participants: int = 0,
) -> Records:
    """`account`: the provider account whose sessions are noted. `process`: this process, which notes them.

    Both may be empty in a program that opens no provider sessions. `leases`: of a replica; else of a process that has
    no row among them. `most_participants`: of one session; 0 = no limit.
    """
    return Records(
        sessions=PostgresSessionRecords(database, clock, most_participants),
        leases=leases or PostgresLeases(database, clock, process),
        transcriptions=PostgresTranscriptionRecords(database),
        hosts=PostgresHostRecords(database),
        finals=PostgresFinalRecords(database, clock),
        translations=PostgresTranslationRecords(database, clock),
        usage=PostgresUsageRecords(database, clock),
        provider_sessions=PostgresProviderSessionRecords(database, clock, account, process),
        vocabularies=PostgresVocabularyRecords(database, clock),
    )

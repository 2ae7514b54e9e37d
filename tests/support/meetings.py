"""Meetings that were written down long ago, put into the database as a replica that transcribed them has left them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.app.system_clock import SystemClock
from gateway.live.protocol import encode_caption
from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.infra.records import postgres_records
from gateway.transcription.usecases.journal import FinalToStore, TranslationToStore
from gateway.transcription.usecases.records import Records
from storage.postgres.pool import open_pool
from storage.postgres.url import parse_database_url

BEGAN = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Said(NamedTuple):
    identity: str
    name: str
    text: str
    start_ms: int
    end_ms: int
    language: str = "en"


def meeting(lines: int) -> list[Said]:
    """Three people, a line each 1.5 s, a few lines in a row; line n says its number n."""
    people = (("anna", "Anna Berg"), ("ben", "Ben Okafor"), ("chloe", "Chloé Martin"))
    return [
        Said(*people[(n // 3) % 3], f"This is line number {n} of the meeting.", 1_500 * n, 1_500 * n + 1_400)
        for n in range(1, lines + 1)
    ]


@asynccontextmanager
async def _records(database_url: str) -> AsyncIterator[Records]:
    async with open_pool(parse_database_url(database_url), size=2) as database:
        yield postgres_records(database, SystemClock())


async def held(
    database_url: str, slug: str, lines: Sequence[Said], translations: Sequence[str] = (), language: str = "de"
) -> None:
    """All of it was said, and its transcription has stopped. `translations`: of the first lines, into `language`."""
    async with _records(database_url) as records:
        session = await records.sessions.by_slug(slug)
        assert session is not None
        options = {"translateTo": [language]} if translations else {}
        claimed, _ = await records.leases.claim(session, "rtmp", options, None, "another replica", 600)
        assert claimed is not None
        finals = []
        for seq, said in enumerate(lines, start=claimed.numbering.last_seq + 1):
            words = tuple(Word(word, said.start_ms, said.end_ms) for word in said.text.split())
            speaker = Speaker(said.identity, said.name)
            moments = [BEGAN + timedelta(milliseconds=ms) for ms in (said.start_ms, said.end_ms)]
            times = (said.start_ms, said.end_ms)
            caption = Caption(f"p:{seq}", said.text, said.language, True, speaker, *moments, *times, 0.9, words)
            epoch = claimed.numbering.epoch
            finals.append(FinalToStore(claimed.lease, session.id, epoch, seq, caption, None, encode_caption(caption)))
        for speaker in {final.caption.speaker for final in finals}:
            await records.sessions.join(session.id, speaker)
        for at in range(0, len(finals), 500):
            await records.finals.store(finals[at : at + 500])
        told = []
        for final, text in zip(finals, translations, strict=False):
            data = {"utteranceId": final.caption.utterance_id, "language": final.caption.language}
            data |= {"targetLanguage": language, "text": text, "participantIdentity": final.caption.speaker.identity}
            told.append(
                TranslationToStore(
                    claimed.lease.transcription_id,
                    session.id,
                    slug,
                    final.caption.utterance_id,
                    language,
                    json.dumps(data).encode(),
                )
            )
        if told:
            await records.translations.store(told)
        await records.leases.finish(claimed.lease, "stopped by request", True)

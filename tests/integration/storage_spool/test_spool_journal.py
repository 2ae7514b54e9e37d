"""The gateway's journal on a real spool: finals and meter readings over a restart, and by number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway.transcription.domain.captions import Caption, Speaker, Word
from gateway.transcription.domain.transcription import Claimed, Lease, Numbering
from gateway.transcription.domain.usage import Usage
from gateway.transcription.infra.journal import open_journal
from gateway.transcription.usecases.journal import FinalToStore, JournalTrouble, TranslationToStore, UsageToStore
from storage.spool.spool import open_spool

NOW = datetime(2026, 1, 5, 10, 0, 0, 123_456, UTC)
LIMIT = 1_000_000
TRANSLATION = TranslationToStore("t", "s", "abc", "p:1", "de", b'{"text":"Guten Morgen."}')


def final(seq: int, session: str = "s", text: str = "Good morning.") -> FinalToStore:
    words = (Word("Good", 10, 200), Word("morning.", 210, 500))
    said = Caption(f"p:{seq}", text, "en", True, Speaker("anna", "Anna"), NOW, NOW, 10, 500, 0.97, words)
    return FinalToStore(Lease("t", 3), session, "epoch1", seq, said, "participant", b'{"text":"%d"}' % seq)


def reading(seconds: int) -> UsageToStore:
    claimed = Claimed(
        Lease("t", 3), "s", "abc", "rtmp", {"costCapUsd": 1}, "the-stream-key", NOW, Numbering("epoch1", NOW, 7)
    )
    used = Usage("u", "anna", NOW, None, seconds, 1, 10, 3, 1, 2, 0.01, 0.01, 0, withheld_s=2.5)
    return UsageToStore(claimed, {"anna": "participant", "bob": None}, (used,))


def without_words(entry: FinalToStore) -> FinalToStore:
    return replace(entry, caption=msgspec.structs.replace(entry.caption, words=()))


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_entries_come_back_as_they_were_after_a_restart(tmp_path: Path) -> None:
    """Also odd texts; what is forgotten does not come back. Words lie in the encoded message only."""
    odd = final(2, text="nul \x00, emoji 🎧, " + "long " * 10_000)
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([final(1), odd])
        await journal.append([reading(5), TRANSLATION])
    async with open_journal(tmp_path, LIMIT) as journal:
        assert len(journal) == 4
        entries, mark = await journal.oldest(2)
        assert entries == [without_words(final(1)), without_words(odd)]
        await journal.forget(mark)
        entries, mark = await journal.oldest(10)
        kept = reading(5)
        assert entries == [replace(kept, claimed=replace(kept.claimed, options={}, stream_key=None)), TRANSLATION]
        await journal.forget(mark)
        assert (len(journal), journal.size) == (0, 0)


async def test_a_final_lies_on_the_disk_as_every_version_writes_it(tmp_path: Path) -> None:
    """After an update the gateway reads what the former one could not store."""
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([final(1)])
    async with open_spool(tmp_path, LIMIT) as spool:
        [(_, record)] = await spool.peek(2)
    caption = {
        "utterance_id": "p:1", "text": "Good morning.", "language": "en", "is_final": True,
        "speaker": {"identity": "anna", "name": "Anna"}, "started_at": NOW, "ended_at": NOW, "start_ms": 10,
        "end_ms": 500, "confidence": 0.97, "words": [],
    }  # fmt: skip
    assert msgspec.msgpack.decode(record) == [
        "final/1",
        {
            "lease": {"transcription_id": "t", "fence": 3}, "session_id": "s", "epoch": "epoch1", "seq": 1,
            "caption": caption, "participant_id": "participant", "data": b'{"text":"1"}',
        },
    ]  # fmt: skip


async def test_a_final_that_an_older_version_wrote_with_its_words_is_read(tmp_path: Path) -> None:
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([final(1)])
    async with open_spool(tmp_path, LIMIT) as spool:
        [(position, record)] = await spool.peek(2)
        tag, entry = msgspec.msgpack.decode(record)
        entry["caption"]["words"] = [{"text": "Good", "start_ms": 10, "end_ms": 200}]
        await spool.append([msgspec.msgpack.encode([tag, entry])])
        await spool.forget(position)
    async with open_journal(tmp_path, LIMIT) as journal:
        [entry], _ = await journal.oldest(2)
        assert (entry.caption.text, entry.data) == ("Good morning.", final(1).data)


async def test_a_reading_lies_on_the_disk_as_every_version_writes_it(tmp_path: Path) -> None:
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([reading(5)])
    async with open_spool(tmp_path, LIMIT) as spool:
        [(_, record)] = await spool.peek(2)
    used = {
        "id": "u", "identity": "anna", "started_at": NOW, "ended_at": None, "duration_seconds": 5,
        "duration_minutes": 1, "audio_chunks_sent": 10, "transcripts_received": 3, "final_transcripts": 1,
        "partial_transcripts": 2, "cost_per_minute": 0.01, "total_cost": 0.01, "errors_count": 0, "gate": "off",
        "heard_s": 0.0, "speech_s": 0.0, "silent_s": 0.0, "kept_s": 2.5,
    }  # fmt: skip
    tag, entry = msgspec.msgpack.decode(record)
    assert (tag, entry["usage"], entry["participant_ids"]) == ("usage/1", [used], {"anna": "participant", "bob": None})


async def test_no_stream_key_lies_on_the_disk(tmp_path: Path) -> None:
    """Whoever reads a disk must not be able to publish."""
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([reading(5)])
        assert b"the-stream-key" not in on_disk(tmp_path)
        assert b"epoch1" in on_disk(tmp_path)


async def test_finals_are_found_by_number_until_they_are_forgotten(tmp_path: Path) -> None:
    """Each session's own, in order, whatever was appended twice."""
    async with open_journal(tmp_path, LIMIT) as journal:
        await journal.append([final(1), final(1, "other"), reading(1), final(2)])
        await journal.append([final(2), final(3)])
        assert [one.seq for one in await journal.finals("s", 0, 10)] == [1, 2, 3]
        assert [(one.seq, one.data) for one in await journal.finals("s", 1, 1)] == [(2, b'{"text":"2"}')]
        assert await journal.finals("nobody", 0, 10) == []
        _, mark = await journal.oldest(4)
        await journal.forget(mark)
        assert [one.seq for one in await journal.finals("s", 0, 10)] == [2, 3]
        _, mark = await journal.oldest(10)
        await journal.forget(mark)
        assert await journal.finals("s", 0, 10) == []


async def test_a_full_journal_says_what_to_do(tmp_path: Path) -> None:
    """And keeps what it has."""
    async with open_journal(tmp_path, 2_000) as journal:
        await journal.append([final(1)])
        with pytest.raises(JournalTrouble, match="limit of 2,000 bytes"):
            await journal.append([final(seq) for seq in range(2, 12)])
        assert len(journal) == 1


async def test_records_of_a_newer_version_are_not_thrown_away(tmp_path: Path) -> None:
    """The message says what to do, and they stay."""
    async with open_spool(tmp_path, LIMIT) as spool:
        await spool.append([b"\x92\xa7final/9\xc0"])
    async with open_journal(tmp_path, LIMIT) as journal:
        with pytest.raises(JournalTrouble, match="start the version that wrote it"):
            await journal.oldest(10)
        assert len(journal) == 1


async def test_two_gateways_cannot_share_one(tmp_path: Path) -> None:
    async with open_journal(tmp_path, LIMIT):
        with pytest.raises(JournalTrouble, match="another process"):
            async with open_journal(tmp_path, LIMIT):
                pass

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from storage.postgres.history import BREAKING, Applied, Migration, newer, next_pending, unfit_history
from storage.postgres.migrate import bundled
from storage.postgres.ownership import TABLES, Column, Facts, Mode, Ownership, Refusal, check, decide

OWN, EXTERNAL = Ownership.OWN, Ownership.EXTERNAL


def _facts(tables: str, *, prisma: bool, own: bool) -> Facts:
    present = {"none": (), "some": TABLES[:3], "all": TABLES}[tables]
    return Facts(columns={table: {} for table in present}, prisma_history=prisma, own_history=own)


@pytest.mark.parametrize(
    ("tables", "prisma", "own", "mode", "decision"),
    [
        ("none", False, False, "auto", OWN),
        ("none", False, False, "own", OWN),
        ("none", False, False, "external", "run the app's migrations first"),
        ("none", True, False, "auto", "have not run yet"),
        ("none", True, False, "own", "have not run yet"),
        ("none", True, True, "external", "have not run yet"),
        ("none", False, True, "auto", "schema="),
        ("some", False, False, "auto", "missing: Participant, TranscriptSegment, TranscriptionUsage, SessionAnalysis"),
        ("some", False, True, "own", "missing: Participant"),
        ("some", True, False, "external", "missing: Participant"),
        ("all", False, True, "auto", OWN),
        ("all", False, True, "own", OWN),
        ("all", False, True, "external", EXTERNAL),
        ("all", True, False, "auto", EXTERNAL),
        ("all", True, False, "own", "somebody else"),
        ("all", False, False, "auto", EXTERNAL),
        ("all", False, False, "own", "somebody else"),
        ("all", True, True, "auto", EXTERNAL),
        ("all", True, True, "own", "somebody else"),
    ],
)
def test_whose_tables(tables: str, prisma: bool, own: bool, mode: Mode, decision: Ownership | str) -> None:
    made = decide(mode, _facts(tables, prisma=prisma, own=own))
    if isinstance(decision, Ownership):
        assert made is decision
    else:
        assert isinstance(made, Refusal)
        assert decision in made.reason


def _sound() -> Facts:
    """What the app's own schema looks like, written down independently of the code under test."""
    time = "timestamp(3) without time zone"

    def columns(spec: str) -> Mapping[str, Column]:
        kinds = {"t": "text", "d": time, "i": "integer", "f": "double precision", "b": "boolean", "j": "jsonb"}
        parsed = (word.partition(":") for word in spec.split())
        return {
            name: Column(kinds.get(kind.rstrip("!"), kind.rstrip("!")), kind.endswith("!"), False)
            for name, _, kind in parsed
        }

    return Facts(
        columns={
            "Space": columns("id:t!"),
            "User": columns("id:t!"),
            "VideoSession": columns(
                "id:t! slug:t! title:t createdByUserId:t status:SessionStatus! createdAt:d! startedAt:d endedAt:d "
                "lastActivityAt:d spaceId:t! rawTranscriptBlobUrl:t rawTranscriptSizeBytes:i rawTranscriptReadyAt:d"
            ),
            "Participant": columns(
                "id:t! videoSessionId:t! userId:t identity:t! name:t role:ParticipantRole! joinedAt:d! leftAt:d"
            ),
            "TranscriptSegment": columns(
                "id:t! videoSessionId:t! participantId:t utteranceId:t! text:t! language:t isFinal:b! startedAt:d! "
                "endedAt:d createdAt:d!"
            ),
            "TranscriptionUsage": columns(
                "id:t! videoSessionId:t! participantId:t userId:t startedAt:d! endedAt:d durationSeconds:i! "
                "durationMinutes:i! audioChunksSent:i! transcriptsReceived:i! finalTranscripts:i! "
                "partialTranscripts:i! costPerMinute:f! totalCost:f! errorsCount:i! createdAt:d! updatedAt:d!"
            ),
            "SessionAnalysis": columns(
                "id:t! sessionId:t! status:AnalysisStatus! createdAt:d! updatedAt:d! summary:t tasksJson:j risksJson:j"
            ),
        },
        prisma_history=True,
        own_history=False,
        unique=frozenset(
            {
                ("VideoSession", ("slug",)),
                ("Participant", ("videoSessionId", "identity")),
                ("TranscriptSegment", ("videoSessionId", "utteranceId")),
                ("TranscriptionUsage", ("id",)),
                ("SessionAnalysis", ("sessionId",)),
            }
        ),
        labels={
            "SessionStatus": frozenset({"CREATED", "LIVE", "ENDED", "EXPIRED", "ARCHIVED"}),
            "ParticipantRole": frozenset({"HOST", "GUEST"}),
            "AnalysisStatus": frozenset({"PENDING", "RUNNING", "DONE", "FAILED"}),
        },
        privileges=frozenset((table, right) for table in TABLES for right in ("SELECT", "INSERT", "UPDATE", "DELETE")),
    )


def _changed(table: str, column: str, new: Column | None) -> Facts:
    facts = _sound()
    columns = {name: value for name, value in facts.columns[table].items() if name != column}
    if new is not None:
        columns[column] = new
    return replace(facts, columns={**facts.columns, table: columns})


def test_the_apps_schema_is_sound_and_more_labels_are_fine() -> None:
    assert check(_sound()) == ([], [])


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (_changed("TranscriptSegment", "text", None), 'column "TranscriptSegment"."text" (text) is missing'),
        (
            _changed("TranscriptSegment", "startedAt", Column("timestamp with time zone", True, False)),
            'column "TranscriptSegment"."startedAt" is timestamp with time zone; it must be timestamp(3)',
        ),
        (_changed("Participant", "role", Column("text", True, False)), '"role" is text; it must be ParticipantRole'),
        (_changed("Participant", "name", Column("text", True, False)), '"Participant"."name" is NOT NULL'),
        (_changed("Participant", "identity", Column("text", False, False)), '"identity" allows NULL'),
        (
            _changed("TranscriptSegment", "tenantId", Column("text", True, False)),
            '"TranscriptSegment"."tenantId" is NOT NULL without a default',
        ),
        (
            replace(_sound(), unique=_sound().unique - {("TranscriptSegment", ("videoSessionId", "utteranceId"))}),
            '"TranscriptSegment" lacks the unique index on (videoSessionId, utteranceId)',
        ),
        (
            replace(_sound(), labels={**(_sound().labels or {}), "SessionStatus": frozenset({"CREATED", "LIVE"})}),
            'enum "SessionStatus" lacks ENDED, EXPIRED',
        ),
        (
            replace(_sound(), privileges=_sound().privileges - {("TranscriptSegment", "UPDATE")}),
            'may not UPDATE on "TranscriptSegment"',
        ),
    ],
)
def test_each_thing_that_would_break_a_write_is_one_problem(facts: Facts, problem: str) -> None:
    problems, warnings = check(facts)
    assert len(problems) == 1
    assert problem in problems[0]
    assert warnings == []


@pytest.mark.parametrize(
    "facts",
    [
        _changed("TranscriptSegment", "note", Column("text", False, False)),
        _changed("TranscriptSegment", "tenantId", Column("text", True, True)),
    ],
)
def test_a_column_that_an_insert_may_leave_out_is_no_problem(facts: Facts) -> None:
    assert check(facts) == ([], [])


def test_without_the_rights_of_the_sessions_module_there_is_only_a_warning() -> None:
    rights = _sound().privileges - {("VideoSession", "INSERT"), ("SessionAnalysis", "INSERT")}
    problems, warnings = check(replace(_sound(), privileges=rights))
    assert problems == []
    assert len(warnings) == 2


def test_all_problems_are_reported_at_once() -> None:
    broken = replace(_sound(), columns={}, unique=frozenset(), labels={}, privileges=frozenset())
    problems, _ = check(broken)
    assert len(problems) == 5 + 3  # tables (whose details would be noise) and enums


def _migration(set_: str, version: int, text: str = "SELECT 1") -> Migration:
    return Migration(set_, version, "x", text)


def _applied(migration: Migration) -> Applied:
    return Applied(migration.set, migration.version, migration.name, migration.checksum)


BUILD = (_migration("gateway", 1), _migration("gateway", 2), _migration("app", 1))


@pytest.mark.parametrize(
    ("done", "ownership", "label"),
    [
        ((), OWN, "app/0001_x"),
        ((2,), OWN, "gateway/0001_x"),
        ((2, 0), OWN, "gateway/0002_x"),
        ((2, 0, 1), OWN, None),
        ((), EXTERNAL, "gateway/0001_x"),
        ((0, 1), EXTERNAL, None),
    ],
)
def test_the_apps_tables_come_first_and_only_where_they_are_ours(
    done: tuple[int, ...], ownership: Ownership, label: str | None
) -> None:
    step = next_pending([_applied(BUILD[n]) for n in done], BUILD, ownership)
    assert (step.label if step else None) == label


def test_a_newer_history_that_breaks_and_a_changed_file_are_both_refused() -> None:
    breaking = Applied("gateway", 3, "breaking_x", "")
    history = [_applied(_migration("gateway", 1, "something else")), breaking, _applied(_migration("gateway", 4))]
    broken, changed = unfit_history(history, BUILD)
    assert "gateway/0001_x was changed" in changed
    assert "gateway/0003_breaking_x was applied by a newer gateway" in broken
    assert [row.label for row in newer(history, BUILD)] == ["gateway/0003_breaking_x", "gateway/0004_x"]


@pytest.mark.parametrize(
    "migration",
    [m for m in bundled() if m.version > 1 and not m.name.startswith(BREAKING)],
    ids=lambda m: m.label,
)
def test_a_migration_that_does_not_say_that_it_breaks_only_adds(migration: Migration) -> None:
    """What the version before writes and reads is as it was, so it may be started again."""
    text = re.sub(r"--.*", "", migration.text)
    assert not re.search(r"\b(DROP|RENAME|TRUNCATE|ALTER\s+COLUMN|ADD\s+CONSTRAINT|SET\s+NOT\s+NULL)\b", text, re.I)
    for column in re.findall(r"ADD COLUMN[^,;]*", text, re.I):
        assert "NOT NULL" not in column or "DEFAULT" in column, column


def test_the_bundled_files_are_numbered_from_one_without_a_hole() -> None:
    for name in ("app", "gateway"):
        versions = [m.version for m in bundled() if m.set == name]
        assert versions == list(range(1, len(versions) + 1))
        assert versions

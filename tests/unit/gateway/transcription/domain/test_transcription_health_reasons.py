"""What is known of a transcription's parts, and the sentences that people read."""

from __future__ import annotations

import pytest

from gateway.transcription.domain.health import NO_PUBLISHER_YET, Facts, TrackFacts, reasons
from gateway.transcription.domain.link_state import LinkState as S

WELL = TrackFacts("anna", S.STREAMING)
FULL = "the provider's concurrent sessions are all in use; audio is held"
RESTORED = "the connection to the speech provider is being restored"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(), ()),
        (Facts([WELL]), ()),
        (Facts([WELL], provider="it is down"), ("it is down",)),
        (Facts(provider="it is down"), ()),  # no track waits for it
        (Facts([WELL, TrackFacts("ben", S.WAITING)]), (FULL,)),
        (Facts([TrackFacts("anna", S.CONNECTING, backlog_s=3.1)]), (RESTORED,)),
        (Facts([TrackFacts("anna", S.CREATING, backlog_s=3.1)]), (RESTORED,)),
        (Facts([TrackFacts("anna", S.CONNECTING, backlog_s=3.0)]), ()),  # as at every first word
        (Facts([TrackFacts("anna", S.STREAMING, backlog_s=9.0)]), ()),
        (Facts(database_behind_s=2.1), ("the database is behind; finals are kept on disk",)),
        (Facts(database_behind_s=2.0), ()),
        (Facts(database_behind_s=3, disk="full"), ("the database is behind; finals are kept in memory only",)),
        (Facts(disk="full"), ()),
        (Facts([TrackFacts("anna", S.STREAMING, trouble="use AAC")]), ("use AAC",)),
        (Facts(lost_audio="0.4 s of anna's audio were left out"), ("0.4 s of anna's audio were left out",)),
        (Facts(source="no such room"), ("no such room",)),
        (Facts(awaits_publisher="rtmp"), (NO_PUBLISHER_YET["rtmp"],)),
        (Facts(source="no such room", awaits_publisher="rtmp"), ("no such room",)),
    ],
)
def test_each_fact_has_its_sentence(facts: Facts, said: tuple[str, ...]) -> None:
    assert reasons(facts) == said


def test_a_mute_provider_is_told_with_who_speaks() -> None:
    [said] = reasons(Facts([WELL, TrackFacts("ben", S.STREAMING, is_mute=True)]))
    assert said.startswith("ben speaks and no text comes")


def test_several_reasons_stand_from_the_general_to_the_particular() -> None:
    tracks = [TrackFacts("anna", S.WAITING, is_mute=True, trouble="use AAC")]
    found = reasons(Facts(tracks, "it is down", 5.0, None, "no such room"))
    assert [one.split()[0] for one in found] == ["it", "the", "the", "anna", "use", "no"]

"""What a gateway says of its work: never a word, never a secret; always whose work it is."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from follow_scene import (
    CALLER,
    DATABASE_PASSWORD,
    MARKED,
    OTLP_HEADER,
    REDIS_PASSWORD,
    REFUSED,
    SECRETS,
    STOPPER,
    Followed,
    Span,
    follow,
    found,
)
from support.postgres import PostgresServer


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Followed]:
    with postgres_server.database() as url:
        yield asyncio.run(follow(tmp_path_factory.mktemp("follow"), url))


def test_the_sentence_went_through_everything(followed: Followed) -> None:
    assert {*MARKED, REFUSED} <= set(followed.shown)
    assert followed.outside.quoted, "the language model has seen it"
    assert {"transcription.started", "transcription.stopped", "session.ended"} <= {
        kind for kind, _ in followed.outside.told
    }
    assert any(line.get("level") == "debug" for line in followed.log)
    assert any("connection lost" in line["message"] for line in followed.log)
    assert any("refused by the database" in line["message"] for line in followed.log)


def test_no_word_is_in_a_log_line(followed: Followed) -> None:
    assert [line for line in followed.log if found(json.dumps(line))] == []


PAGES = "metrics, metrics of the first, metrics afterwards, timeline, timeline of the first, status, usage, audit, "
PAGES += "replicas, webhooks, readyz"


@pytest.mark.parametrize("page", PAGES.split(", "))
def test_no_word_is_on_a_page_of_figures(followed: Followed, page: str) -> None:
    assert found(followed.pages[page]) == []


def test_no_word_is_in_an_error(followed: Followed) -> None:
    errors = {name: text for name, text in followed.pages.items() if name.startswith(("no ", "too ", "credential"))}
    assert len(errors) == 7 and {name: found(text) for name, text in errors.items() if found(text)} == {}


def test_no_word_is_in_a_span(followed: Followed) -> None:
    assert (
        followed.outside.raw and [body for body in followed.outside.raw if found(body.decode(errors="replace"))] == []
    )


def test_no_secret_is_anywhere(followed: Followed) -> None:
    secrets = {
        **SECRETS,
        "redis": REDIS_PASSWORD,
        "database": DATABASE_PASSWORD,
        "otlp": OTLP_HEADER,
        **followed.secrets,
    }
    secrets["whsec"] = SECRETS["GATEWAY_WEBHOOK_SECRET"].removeprefix("whsec_")
    told = {f"line {n}": json.dumps(line) for n, line in enumerate(followed.log)}
    told |= followed.pages
    told |= {f"spans {n}": body.decode(errors="replace") for n, body in enumerate(followed.outside.raw)}
    assert len(secrets) > 8
    assert {
        (name, where) for name, secret in secrets.items() for where, text in told.items() if secret in text
    } == set()


# --- request ids ------------------------------------------------------------------------------------------------


def test_an_answer_has_its_callers_id_or_a_new_one(followed: Followed) -> None:
    assert (followed.ids["create"], followed.ids["start"]) == ("create-1", "start-1")
    assert "two words" not in followed.ids.values()
    assert len(set(followed.ids.values())) == len(followed.ids), "no two requests share one"


def test_a_line_of_the_access_log_has_it(followed: Followed) -> None:
    [line] = followed.lines(logger="gateway.access", request="start-1")
    assert line["message"] == "POST /api/transcription/start"


def test_the_provider_is_asked_under_the_id_of_the_start(followed: Followed) -> None:
    heads = [head for head in followed.provider_heard.split(b"\r\n\r\n") if b"POST /v2/live" in head]
    assert b"X-Request-Id: start-1" in heads[0] and all(b"X-Request-Id: " in head for head in heads)


def test_the_clients_lines_say_whose_session_it_is(followed: Followed) -> None:
    """The library that writes them knows nothing of sessions."""
    lines = followed.lines(logger="stt.gladia.client")
    assert {"opened", "lost", "over"} <= {word for line in lines for word in line["message"].replace(":", " ").split()}
    assert {(line["session"], line["identity"]) for line in lines} == {(followed.slug, "anna")}
    assert len({line["transcription"] for line in lines}) == 1
    assert lines[0]["request"] == "start-1"


def test_a_change_in_a_life_is_one_line(followed: Followed) -> None:
    lines = [line for line in followed.lines(level="info", session=followed.slug) if line["logger"] != "gateway.access"]
    changes = Counter(re.sub(r" [0-9a-f-]{36}|[:(].*", "", line["message"]).strip() for line in lines)
    wanted = {
        "session created": 1,
        "transcription started": 2,  # on either gateway
        "track began": 2,
        "provider session opened": 2,
        "provider session": 1,  # its connection was lost
        "provider session is over": 2,
        "track ended": 2,
        "handed over to another replica": 1,
        "taken over from a living replica": 1,
        "transcription stopped": 1,
        "session ended": 1,
        "the transcript document is ready": 1,
    }
    assert {message: changes[message] for message in wanted} == wanted


# --- traces -----------------------------------------------------------------------------------------------------


def one(followed: Followed, name: str) -> Span:
    """The one that went well: errors are asked for, too."""
    [span] = [span for span in followed.outside.named(name) if span.facts.get("http.response.status_code", 200) < 400]
    return span


def key(span: Span) -> tuple[str, str]:
    return span.trace, span.id


def test_the_callers_trace_goes_on_through_the_whole_life(followed: Followed) -> None:
    """On both gateways: the second one has read the start's span from the database."""
    _, trace, caller, _ = CALLER.split("-")
    request, start = one(followed, "POST /api/transcription/start"), one(followed, "transcription start")
    assert (request.trace, request.parent, start.parent) == (trace, caller, request.id)
    assert request.facts["http.response.status_code"] == 201
    assert start.facts["gateway.request"] == "start-1"
    assert start.resource["service.name"] == "transcription-gateway"
    for name in ("provider session", "transcription stop"):
        spans = followed.outside.named(name)
        assert {(span.trace, span.parent, span.facts["gateway.session"]) for span in spans} == {
            (trace, start.id, followed.slug)
        }
        assert len({span.resource["service.instance.id"] for span in spans}) == 2


def test_a_cut_connection_is_a_seam_of_its_session(followed: Followed) -> None:
    seams, sessions = followed.outside.named("provider seam"), followed.outside.named("provider session")
    assert seams and {seam.facts["gateway.outcome"] for seam in seams} == {"resumed"}
    [cut] = [span for span in sessions if span.id in {seam.parent for seam in seams}]
    assert cut.facts["gateway.outcome"] == "closed" and cut.facts["gateway.seconds_sent"] > 3


def test_who_hands_over_and_who_takes_over_share_a_trace_and_have_a_link_to_the_start(followed: Followed) -> None:
    given, taken = one(followed, "transcription hand over"), one(followed, "transcription take over")
    assert given.trace == taken.trace
    assert given.resource["service.instance.id"] != taken.resource["service.instance.id"]
    assert given.links == taken.links == [key(one(followed, "transcription start"))]


def test_the_stop_has_a_link_to_whoever_stopped_it(followed: Followed) -> None:
    request = one(followed, "POST /api/transcription/stop")
    assert (request.trace, request.parent) == tuple(STOPPER.split("-")[1:3])
    links = [span.links for span in followed.outside.named("transcription stop")]
    assert [key(request)] in links


@pytest.mark.parametrize("name", ["document write", "webhook send"])
def test_what_follows_has_a_link_to_the_start(followed: Followed, name: str) -> None:
    start = one(followed, "transcription start")
    spans = [span for span in followed.outside.named(name) if key(start) in span.links]
    assert any(not span.failed for span in spans)  # one that was not answered in time is sent again


def test_a_webhook_receiver_can_go_on_with_the_trace(followed: Followed) -> None:
    sent = {key(span) for span in followed.outside.named("webhook send")}
    got = {tuple(headers["traceparent"].split("-")[1:3]) for _, headers in followed.outside.told}
    assert got and got <= sent


def test_the_collector_is_shown_its_credential(followed: Followed) -> None:
    assert followed.outside.credentials == {OTLP_HEADER}

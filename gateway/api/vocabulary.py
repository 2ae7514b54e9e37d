"""The words that a space keeps for its transcriptions: over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from gateway.api import wishes
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.schemas import Vocabulary as Words
from gateway.api.sessions import caller_of
from gateway.api.web import json_answer, read_body
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.live.credentials import Access
from gateway.sessions.domain.access import What
from gateway.sessions.usecases.admission import Admission
from gateway.transcription.domain.preferences import MOST_WORDS
from gateway.transcription.domain.speech import VocabularyWord, Word
from gateway.transcription.domain.vocabulary import Vocabulary
from gateway.transcription.usecases.records import VocabularyRecords

if TYPE_CHECKING:
    from aiohttp import web

_LONGEST_ID: Final = 128
_SPACE: Final = Parameter("id", "path", "the space's id")
Spelling = Annotated[dict[Word, list[Word]], Meta(max_length=MOST_WORDS)]


class VocabularyBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """`words`: as `customVocabulary` of a start. `spelling`: as `customSpelling`. It replaces what was kept."""

    words: Words = []
    spelling: Spelling = {}


class VocabularyView(msgspec.Struct, rename="camel"):
    """Both empty where the space keeps nothing."""

    words: list[str | VocabularyWord]
    spelling: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class VocabularyApi:
    """`check`: what a credential proves."""

    vocabularies: VocabularyRecords
    admission: Admission
    check: Callable[[str | None], Awaitable[Access]]

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        path = "/api/spaces/{id}/vocabulary"
        refused: dict[int, type | None] = {400: Problem, 401: Problem, 403: Problem, 503: Problem}
        return [
            Route("GET", path, self.show, "Words and spellings that a space keeps for its transcriptions",
                  credential="user", parameters=(_SPACE,), answers={200: VocabularyView, **refused}, tag="limits"),
            Route("PUT", path, self.replace, "Replace them; transcriptions that start from now on have them",
                  credential="user", body=VocabularyBody, parameters=(_SPACE,),
                  answers={200: VocabularyView, 413: Problem, **refused}, tag="limits", audit="vocabulary"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/spaces/{id}/vocabulary`, for members of the space and services: 200."""
        return _answer(await self.vocabularies.of_space(await self._space(request)))

    async def replace(self, request: web.Request) -> web.Response:
        """`PUT /api/spaces/{id}/vocabulary`, for the same: 200 with what is kept."""
        space_id = await self._space(request)
        body = await read_body(request, VocabularyBody)
        kept = Vocabulary(wishes.words(body.words), wishes.spelling(body.spelling))
        await self.vocabularies.save(space_id, kept)
        return _answer(kept)

    async def _space(self, request: web.Request) -> str:
        space_id = request.match_info["id"]
        if len(space_id) > _LONGEST_ID:
            raise WrongRequest(f"the id of a space has at most {_LONGEST_ID} characters")
        access = await self.check(credentials.bearer(request.headers.get("Authorization", "")))
        self.admission.space(caller_of(access), What.CHOOSE_WORDS, space_id)
        return space_id


def _answer(kept: Vocabulary) -> web.Response:
    spelling = {word: list(forms) for word, forms in kept.spelling.items()}
    return json_answer(VocabularyView(list(kept.words), spelling))

"""A client of the HTTP API and of the live stream, for the commands that talk to a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.cli import request
from gateway.cli.errors import ApiRefused, absent
from transcription_client import Message, TranscriptError, Unavailable, transcript

RECONNECT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Client:
    """Of the gateway at `url`. Nothing is asked before the first call."""

    url: str
    token: str = field(repr=False)

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """JSON in, JSON out. Raises: ApiRefused."""
        return await asyncio.to_thread(request.call, self.url, self.token, method, path, body)

    async def follow(self, slug: str, since: str | None = None, lang: str | None = None) -> AsyncIterator[Message]:
        """The live stream until the transcription has stopped, across cuts and restarts of the gateway.

        `lang`: of translations only those into this language, each once.

        Raises: ApiRefused when it is refused, when nobody is there, or when no gateway has answered for RECONNECT_S.
        """
        has_answered = False
        try:
            async with transcript(
                self.url,
                slug,
                self.token,
                since=since,
                lang=lang,
                until="stopped",
                first_patience_s=0,
                patience_s=RECONNECT_S,
            ) as stream:
                async for message in stream:
                    has_answered = True
                    yield message
        except Unavailable as error:
            if not has_answered:
                raise absent(str(error)) from error
            where = f"; go on later with --since {stream.position}" if stream.position else ""
            raise ApiRefused(f"the stream was cut and could not be opened again: {error}{where}") from error
        except (TranscriptError, ValueError) as error:
            raise ApiRefused(str(error)) from error

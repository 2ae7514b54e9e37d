"""The analysis wing: what works off the queue of ended sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.analysis.analyse import Analyses, AnalysisOptions, Analyst
from gateway.analysis.analysts import ModelAnalyst, OfflineAnalyst
from gateway.analysis.chat import ChatOptions, open_chat
from gateway.analysis.queue import PostgresAnalyses
from gateway.app.replica import Replica
from gateway.settings import Settings


@asynccontextmanager
async def open_analyses(replica: Replica) -> AsyncIterator[Analyses]:
    """The queue and its analyst; `Analyses.work` must have ended before the block does."""
    settings = replica.settings
    options = AnalysisOptions(workers=settings.analysis_workers, attempts=settings.analysis_attempts)
    async with _open_analyst(settings) as analyst:
        yield Analyses(PostgresAnalyses(replica.database, replica.clock), analyst, replica.clock, options)


def chat_options(settings: Settings, url: str) -> ChatOptions:
    """`url`: GATEWAY_ANALYSIS_URL, which the caller knows to be set."""
    return ChatOptions(url, settings.analysis_model or "", settings.analysis_key, settings.analysis_timeout_s)


@asynccontextmanager
async def _open_analyst(settings: Settings) -> AsyncIterator[Analyst]:
    """A language model where one is configured; one that fails is never silently replaced by word statistics."""
    if settings.analysis_url is None:
        yield OfflineAnalyst()
        return
    async with open_chat(chat_options(settings, settings.analysis_url)) as chat:
        yield ModelAnalyst(chat, settings.analysis_part_characters)

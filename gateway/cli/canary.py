"""`gateway canary`: speaks a known sentence through a deployed gateway, again and again, and shows how it went."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress

from gateway import logs
from gateway.app.metrics_page import metrics_page
from gateway.cli.canary_figures import CanaryFigures
from gateway.cli.canary_round import Outcome, Round, Sentence, Step, known_sentence
from gateway.cli.client import Client
from gateway.cli.errors import DONE, FAILED
from gateway.cli.plain import plain
from gateway.cli.remote import where
from gateway.cli.signals import stop_signals
from gateway.settings import WrongSettings

log = logging.getLogger(__name__)


async def canary(args: argparse.Namespace) -> int:
    """Until a signal; with `--once` one round, FAILED when any step of it fails. Raises: WrongSettings, StartFailed."""
    client = Client(*where(args))

    def asked() -> Client:
        nonlocal client
        with suppress(WrongSettings):  # a secret that is being replaced: the former token once more
            client = Client(*where(args))
        return client

    sentence = await asyncio.to_thread(known_sentence)
    if args.once:
        return await _once(client, sentence, args.words)
    logs.configure("text" if os.environ.get("GATEWAY_LOG_FORMAT") == "text" else "json", "info")
    figures = CanaryFigures()
    async with stop_signals() as stop, metrics_page(args.host, args.port, figures.text, setting="--port"):
        rounds = asyncio.create_task(repeat(asked, sentence, args.words, args.every, figures), name="rounds")
        stopping = asyncio.create_task(stop.wait(), name="signals")
        await asyncio.wait({rounds, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        rounds.cancel()  # the session of the round under way is deleted all the same
        with suppress(asyncio.CancelledError):
            await rounds
    return DONE


async def repeat(
    client: Callable[[], Client], sentence: Sentence, least: float, every_s: float, figures: CanaryFigures
) -> None:
    """A round each `every_s`, one at a time, with a client of its own. Runs until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        outcome = await Round(client(), sentence, least).run()
        figures.note(outcome)
        _tell(outcome)
        await asyncio.sleep(max(0.0, began + every_s - clock()))


async def _once(client: Client, sentence: Sentence, least: float) -> int:
    def told(step: Step, seconds: float) -> None:
        print(f"ok    {step:6} {seconds:6.2f} s", flush=True)

    outcome = await Round(client, sentence, least, told).run()
    if outcome.words_share is not None:
        parts = [f"{outcome.words_share:.0%} of the words"]
        parts += [f"first text after {outcome.first_partial_s:.2f} s"] if outcome.first_partial_s is not None else []
        parts += [f"last final after {outcome.final_s:.2f} s"] if outcome.final_s is not None else []
        print(f"heard {', '.join(parts)}")
    if outcome.failed is None:
        return DONE
    print(f"FAIL  {outcome.failed}: {plain(outcome.why)}")
    return FAILED


def _tell(outcome: Outcome) -> None:
    facts = {"words": outcome.words_share, "firstPartialS": outcome.first_partial_s, "finalS": outcome.final_s}
    facts = {name: round(value, 3) for name, value in facts.items() if value is not None}
    if outcome.failed is None:
        log.info("the sentence came back", extra=facts)
    else:
        log.error("%s failed: %s", outcome.failed, outcome.why, extra=facts)

"""A session's messages on their way to its client: which go where, and what the fault plan does to them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from stt.local import messages
from stt.local.callbacks import Callbacks
from stt.local.faults import Finals, Inject, Script
from stt.local.messages import Message, Topic
from stt.local.outbox import Letter, Outbox
from stt.local.request import SessionConfig

MAX_RECORDED: Final = 10_000  # of the record's `messages`


class Delivery:
    """To the socket by `outbox`, to the URL of the request by `callbacks`. Use it inside a running event loop."""

    def __init__(self, id_: str, config: SessionConfig, script: Script) -> None:
        self.script = script
        self.outbox = Outbox()
        self.callbacks = Callbacks(config.callback_url, id_) if config.callback_url else None
        self.recorded: list[str] = []
        """Messages for the session's record, as JSON text; acknowledgements and partials are left out."""
        self._id = id_
        self._config = config
        self._late: deque[Callable[[], None]] = deque()
        self._none_late = asyncio.Event()
        self._none_late.set()

    async def settled(self) -> None:
        """Return when no final is held back by the fault plan."""
        await self._none_late.wait()

    def emit(self, message: Message) -> None:
        """Send one message to each receiver that asked for its kind."""
        wire = message.wire(self._id, datetime.now(UTC))
        if self.callbacks is not None and message.topic.wanted(self._config.callback):
            self.callbacks.put(wire)
        if not message.topic.wanted(self._config.socket):
            return
        if self.script.faults.mute and message.topic in (Topic.PARTIAL, Topic.FINAL):
            return
        text = json.dumps(wire, separators=(",", ":"))
        if message.topic not in (Topic.ACK, Topic.PARTIAL) and len(self.recorded) < MAX_RECORDED:
            self.recorded.append(text)
        if message.topic is Topic.FINAL:
            self._emit_final(wire, text)
        else:
            self.outbox.put(Letter(text, message.topic))

    def inject(self, item: Inject) -> None:
        """Send a message that a fault plan put there."""
        match item.kind:
            case "raw":
                self.outbox.put(Letter(item.text))
            case "malformed":
                self.outbox.put(Letter('{"type":"transcript","data":{"id":'))
            case "error":
                self.emit(messages.error(item.code, "injected by the fault plan"))
            case "start_session":
                self._inject(messages.lifecycle("start_session"))
            case "unknown":
                self._inject(Message(Topic.LIFECYCLE, "weather_report", {"data": {"sky": "clear"}}))
            case "incomplete":
                self._inject(Message(Topic.FINAL, "transcript", {}))

    def _inject(self, message: Message) -> None:
        self.outbox.put(Letter(json.dumps(message.wire(self._id, datetime.now(UTC)))))

    def _emit_final(self, wire: dict[str, Any], text: str) -> None:
        plan, ordinal = self.script.faults.finals, self.script.next_final()
        if ordinal in plan.missing:
            return
        if plan.moved_s or plan.words != "exact":
            wire = {**wire, "data": {**wire["data"], "utterance": _retold(wire["data"]["utterance"], plan)}}
            text = json.dumps(wire, separators=(",", ":"))
        letters = [Letter(text, Topic.FINAL, ordinal)]
        if ordinal in plan.repeated:
            letters *= 2
        if plan.stale_partials:
            stale = {**wire, "data": {**wire["data"], "is_final": False}}
            letters.append(Letter(json.dumps(stale), Topic.PARTIAL))

        def post() -> None:
            for letter in letters:
                self.outbox.put(letter)

        if plan.delay_s:
            self._post_late(post, plan.delay_s)
        else:
            post()

    def _post_late(self, post: Callable[[], None], delay_s: float) -> None:
        def arrive() -> None:
            self._late.popleft()()  # the oldest: timers of one moment come in any order
            if not self._late:
                self._none_late.set()

        self._late.append(post)
        self._none_late.clear()
        asyncio.get_running_loop().call_later(delay_s, arrive)


def _retold(utterance: dict[str, Any], plan: Finals) -> dict[str, Any]:
    """The same words, as a fault plan wants them told."""
    if plan.words == "untimed":
        return _untimed(utterance) | {"words": [_untimed(word) for word in utterance["words"]]}
    moved = {key: utterance[key] + plan.moved_s for key in ("start", "end")}
    words = []
    for word in utterance["words"] if plan.words != "none" else ():
        start = word["start"] + plan.moved_s
        end = {"no_length": start, "end_first": start - 0.2}.get(plan.words, word["end"] + plan.moved_s)
        words.append({**word, "start": start, "end": end})
    return {**utterance, **moved, "words": words}


def _untimed(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key not in ("start", "end")}

"""One session as the server runs it: its engine, its outbox, its timers, its end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from stt.local import messages
from stt.local.audio import AudioDecoder
from stt.local.callbacks import Callbacks
from stt.local.faults import Inject, Script, SessionFaults
from stt.local.messages import Message, Topic
from stt.local.outbox import HangUp, Letter, Outbox
from stt.local.recogniser import Engine, Event, Finished, Hear, Listening, Recogniser
from stt.local.request import SessionConfig
from stt.local.session import Phase, Session
from stt.tasks import TaskOwner

log = logging.getLogger(__name__)

MESSAGES_KEPT: Final = 10_000  # of the record's `messages`


class Socket(Protocol):
    """The open connection of a session."""

    async def hang_up(self, code: int | None) -> None:
        """Close with `code`, or abort the TCP connection (None)."""

    def replace(self) -> None:
        """Another connection takes over."""


class Tape(Protocol):
    """Where recorded audio goes. It may refuse when it is full."""

    def write(self, session_id: str, audio: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_duration_s` bounds audio and wall clock alike; None of the times is 0."""

    idle_s: float
    max_duration_s: float
    frame_limit_bytes: int


class Live:
    """Connects the pure `Session` with an engine and with whoever is connected.

    What tests look at: `status` (queued, processing, done, error), `open` (not yet ended: it would be billed),
    `connected`, `connections` (how many there have been), `audio_bytes` (acknowledged), `finals` (as sent in `data`).
    """

    def __init__(
        self,
        *,
        id_: str,
        token: str,
        number: int,
        config: SessionConfig,
        faults: SessionFaults,
        limits: Limits,
        engine: Engine,
        tasks: TaskOwner,
        tape: Tape | None,
    ) -> None:
        self.id, self.token, self.number = id_, token, number
        self.config, self.limits = config, limits
        self.session = Session(config, faults, engine.translate, engine.annotate)
        self.script = Script(faults)
        self.outbox = Outbox()
        self.callbacks = Callbacks(config.callback_url, id_) if config.callback_url else None
        self.created_at = datetime.now(UTC)
        self.completed_at: datetime | None = None
        self.error_code: int | None = None
        self.debug: dict[str, Any] = {}
        self.result: dict[str, Any] | None = None
        self.messages: list[str] = []
        self.connections = 0
        self.socket: Socket | None = None
        self._engine, self._tasks, self._tape = engine, tasks, tape
        self._decoder = AudioDecoder(config.encoding, config.sample_bytes, config.sample_rate, config.channels)
        self._recognisers: list[Recogniser] = []
        self._unfinished = config.channels
        self._heard_all = asyncio.Event()
        self._late: deque[Callable[[], None]] = deque()
        self._none_late = asyncio.Event()
        self._none_late.set()
        self._ended = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(self.max_duration_s, self.expire)

    # --- seen from outside ----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        return self.session.status

    @property
    def open(self) -> bool:
        return self.session.phase not in (Phase.DONE, Phase.FAILED)

    @property
    def connected(self) -> bool:
        return self.socket is not None

    @property
    def audio_bytes(self) -> int:
        return self.session.acknowledged

    @property
    def behind_s(self) -> float:
        """Seconds of audio that the engine has yet to hear."""
        return max((recogniser.behind_s for recogniser in self._recognisers), default=0.0)

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [{"id": final.id, "is_final": True, "utterance": final.utterance} for final in self.session.finals]

    @property
    def faults(self) -> SessionFaults:
        return self.script.faults

    @faults.setter
    def faults(self, faults: SessionFaults) -> None:
        """Change the plan of a running session; what already happened does not happen again by itself."""
        self.script = Script(faults)
        self.session.faults = faults
        self._timer.cancel()
        if self.session.accepts_audio:
            age = (datetime.now(UTC) - self.created_at).total_seconds()
            left = max(self.max_duration_s - age, 0)
            self._timer = asyncio.get_running_loop().call_later(left, self.expire)

    @property
    def max_duration_s(self) -> float:
        given = self.faults.max_duration_s
        return self.limits.max_duration_s if given is None else given

    async def ended(self) -> None:
        """Return when the session is done or has failed."""
        await self._ended.wait()

    # --- connections ----------------------------------------------------------------------------------------

    def connect(self, socket: Socket) -> None:
        """`socket` is the session's connection from here on."""
        self.socket = socket
        self.connections += 1
        if self.session.phase is Phase.WAITING:
            self.session.move(Phase.RECORDING)
            self.emit(messages.lifecycle("start_recording"))
        elif self.session.accepts_audio:
            self.hear(self.session.resume())

    def disconnect(self, socket: Socket) -> None:
        if self.socket is socket:
            self.socket = None
            self.outbox.disconnected(replay=self.faults.undelivered == "replay")

    @property
    def deliverable(self) -> bool:
        """Is there a point in connecting: is the session open, or its end not yet delivered?"""
        return self.open or (self.session.phase is Phase.DONE and len(self.outbox) > 0)

    # --- audio ----------------------------------------------------------------------------------------------

    async def room(self) -> None:
        """Return when the engine can be given more audio."""
        for recogniser in self._recognisers:
            await recogniser.room()

    def acknowledge(self, end: int, *, then: HangUp | None = None) -> None:
        """Acknowledge audio and hear it; `then` goes out directly behind the ack."""
        message, audio = self.session.acknowledge(end)
        if not self.script.loses_ack(end):
            self.emit(message)
        if then is not None:
            self.outbox.put(then)
        self.hear(audio)
        for item in self.script.injections(end):
            self.inject(item)
        if self.session.duration >= self.max_duration_s:
            self.expire()

    def hear(self, audio: bytes) -> None:
        if not audio:
            return
        if self._tape is not None:
            self._tape.write(self.id, audio)
        if self.faults.deaf:
            audio = bytes(len(audio))
        self._feed(self._decoder.push(audio))

    def _feed(self, channels: list[bytes]) -> None:
        if not self._recognisers:
            self._recognisers = [self._open(channel) for channel in range(self.config.channels)]
        for recogniser, pcm in zip(self._recognisers, channels, strict=True):
            if pcm:
                recogniser.feed(pcm)

    def _open(self, channel: int) -> Recogniser:
        listening = Listening(
            endpointing_s=self.config.endpointing_s,
            longest_s=self.config.longest_s,
            partials=self.config.socket.partials or self.config.callback.partials,
        )
        return self._engine.open(listening, self._ear(channel))

    def _ear(self, channel: int) -> Hear:
        def hear(event: Event) -> None:
            for message in self.session.heard(channel, event):
                self.emit(message)
            if isinstance(event, Finished):
                self._unfinished -= 1
                if self._unfinished == 0:
                    self._heard_all.set()

        return hear

    # --- the end --------------------------------------------------------------------------------------------

    def stop(self) -> Message:
        """`stop_recording`: returns its acknowledgement. Asked again, it only answers again."""
        if self.session.accepts_audio:
            self.hear(self.session.stop())
            if not self.faults.ignore_stop:
                self._tasks.start(self._finish(), f"stt-finish-{self.id}")
        return self.session.stopped(self.behind_s)

    def expire(self) -> None:
        """The maximum duration is reached."""
        if not self.session.accepts_audio:
            return
        log.info("session %s ends at its maximum duration", self.id)
        code = self.faults.max_duration_code
        if code is None:
            self.stop()
        else:
            self.fail(408)
            self.outbox.put(HangUp(code))

    def fail(self, error_code: int) -> None:
        """End at once, without results."""
        self.session.move(Phase.FAILED)
        self.error_code = error_code
        self._close()

    async def _finish(self) -> None:
        began = time.monotonic()
        self._timer.cancel()
        self._feed(self._decoder.flush())
        for recogniser in self._recognisers:
            recogniser.finish()
        await self._heard_all.wait()
        await self._none_late.wait()
        await asyncio.sleep(self.faults.end_delay_s)
        self.result = self.session.result(time.monotonic() - began)
        for message in self.session.end(self.result):
            self.emit(message)
        self.outbox.put(HangUp(1000))
        self._close()

    def _close(self) -> None:
        self.completed_at = datetime.now(UTC)
        self.close()
        if self.callbacks is not None:
            self.callbacks.end()
        self._ended.set()

    def close(self) -> None:
        """Let go of the engine and the clock."""
        self._timer.cancel()
        for recogniser in self._recognisers:
            recogniser.close()
        self._recognisers = []

    # --- messages -------------------------------------------------------------------------------------------

    def emit(self, message: Message) -> None:
        """Send one message to everybody who asked for its kind."""
        wire = message.wire(self.id, datetime.now(UTC))
        if self.callbacks is not None and message.topic.wanted(self.config.callback):
            self.callbacks.put(wire)
        if not message.topic.wanted(self.config.socket):
            return
        if self.faults.mute and message.topic in (Topic.PARTIAL, Topic.FINAL):
            return
        text = json.dumps(wire, separators=(",", ":"))
        if message.topic not in (Topic.ACK, Topic.PARTIAL) and len(self.messages) < MESSAGES_KEPT:
            self.messages.append(text)
        if message.topic is Topic.FINAL:
            self._emit_final(wire, text)
        else:
            self.outbox.put(Letter(text, message.topic))

    def _emit_final(self, wire: dict[str, Any], text: str) -> None:
        plan, ordinal = self.faults.finals, self.script.next_final()
        if ordinal in plan.missing:
            return
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
                wire = messages.lifecycle("start_session").wire(self.id, datetime.now(UTC))
                self.outbox.put(Letter(json.dumps(wire)))
            case "unknown":
                wire = Message(Topic.LIFECYCLE, "weather_report", {"data": {"sky": "clear"}}).wire(
                    self.id, datetime.now(UTC)
                )
                self.outbox.put(Letter(json.dumps(wire)))
            case "incomplete":
                wire = Message(Topic.FINAL, "transcript", {}).wire(self.id, datetime.now(UTC))
                self.outbox.put(Letter(json.dumps(wire)))

"""One session as the server runs it: its connection, its engine, its timer, its end."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from stt.local import messages
from stt.local.channels import Channels
from stt.local.delivery import Delivery
from stt.local.faults import Script, SessionFaults
from stt.local.messages import Message
from stt.local.outbox import HangUp
from stt.local.recogniser import Engine, Event
from stt.local.request import SessionConfig
from stt.local.session import Phase, Session
from stt.tasks import TaskOwner

log = logging.getLogger(__name__)


class Socket(Protocol):
    """The open connection of a session."""

    async def hang_up(self, code: int | None) -> None:
        """Close with `code`, or abort the TCP connection (None)."""

    def replace(self) -> None:
        """Another connection takes over."""


class Tape(Protocol):
    """Where recorded audio goes. It may refuse when it is full."""

    def write(self, session_id: str, audio: bytes) -> None:
        """Append audio in the session's own encoding."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_duration_s` bounds audio and wall clock alike; None of the times is 0."""

    idle_s: float
    max_duration_s: float
    frame_limit_bytes: int


class Live:
    """Connects the pure `Session` with an engine (`channels`) and with its client (`delivery`).

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
        self.delivery = Delivery(id_, config, self.script)
        self.channels = Channels(config, engine, self._heard)
        self.created_at = datetime.now(UTC)
        self.completed_at: datetime | None = None
        self.error_code: int | None = None
        self.debug: dict[str, Any] = {}
        self.result: dict[str, Any] | None = None
        self.connections = 0
        self.socket: Socket | None = None
        self._tasks, self._tape = tasks, tape
        self._ended = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(self.max_duration_s, self.expire)

    # --- seen from outside ----------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """As in the session's record: queued, processing, done or error."""
        return self.session.status

    @property
    def open(self) -> bool:
        """Whether it has not ended: it counts against the account's limit."""
        return self.session.phase not in (Phase.DONE, Phase.FAILED)

    @property
    def connected(self) -> bool:
        """Whether a client is connected now."""
        return self.socket is not None

    @property
    def audio_bytes(self) -> int:
        """Acknowledged, over all connections, in the session's own encoding."""
        return self.session.acknowledged

    @property
    def behind_s(self) -> float:
        """Seconds of audio that the engine has yet to hear."""
        return self.channels.behind_s

    @property
    def finals(self) -> list[dict[str, Any]]:
        """`data` of each final transcript that was made, also of those that a fault plan withheld."""
        return [{"id": final.id, "is_final": True, "utterance": final.utterance} for final in self.session.finals]

    @property
    def faults(self) -> SessionFaults:
        """The plan in force. A new one counts its ordinals anew; what already happened does not happen again."""
        return self.script.faults

    @faults.setter
    def faults(self, faults: SessionFaults) -> None:
        self.script = self.delivery.script = Script(faults)
        self.session.faults = faults
        self._timer.cancel()
        if self.session.accepts_audio:
            age = (datetime.now(UTC) - self.created_at).total_seconds()
            left = max(self.max_duration_s - age, 0)
            self._timer = asyncio.get_running_loop().call_later(left, self.expire)

    @property
    def max_duration_s(self) -> float:
        """Seconds of audio, and of life, after which the session ends by itself."""
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
            self.delivery.emit(messages.lifecycle("start_recording"))
        elif self.session.accepts_audio:
            self.hear(self.session.resume())

    def disconnect(self, socket: Socket) -> None:
        """`socket` is gone; without effect when another one has taken its place."""
        if self.socket is socket:
            self.socket = None
            self.delivery.outbox.disconnected(replay=self.faults.undelivered == "replay")

    @property
    def deliverable(self) -> bool:
        """Is there a point in connecting: is the session open, or its end not yet delivered?"""
        return self.open or (self.session.phase is Phase.DONE and len(self.delivery.outbox) > 0)

    # --- audio ----------------------------------------------------------------------------------------------

    def acknowledge(self, end: int, *, then: HangUp | None = None) -> None:
        """Acknowledge audio up to byte `end` and hear it; `then` goes out directly behind the acknowledgement."""
        message, audio = self.session.acknowledge(end)
        if not self.script.loses_ack(end):
            self.delivery.emit(message)
        if then is not None:
            self.delivery.outbox.put(then)
        self.hear(audio)
        for item in self.script.injections(end):
            self.delivery.inject(item)
        if self.session.duration >= self.max_duration_s:
            self.expire()

    def hear(self, audio: bytes) -> None:
        """Record audio in the session's encoding and give it to the engine."""
        if not audio:
            return
        if self._tape is not None:
            self._tape.write(self.id, audio)
        if self.faults.deaf:
            audio = bytes(len(audio))
        self.channels.feed(audio)

    def _heard(self, channel: int, event: Event) -> None:
        for message in self.session.heard(channel, event):
            self.delivery.emit(message)

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
            self.delivery.outbox.put(HangUp(code))

    def fail(self, error_code: int) -> None:
        """End at once, without results; `error_code` goes into the record."""
        self.session.move(Phase.FAILED)
        self.error_code = error_code
        self._close()

    async def _finish(self) -> None:
        began = time.monotonic()
        self._timer.cancel()
        await self.channels.finish()
        await self.delivery.settled()
        await asyncio.sleep(self.faults.end_delay_s)
        self.result = self.session.result(time.monotonic() - began)
        for message in self.session.end(self.result):
            self.delivery.emit(message)
        self.delivery.outbox.put(HangUp(1000))
        self._close()

    def _close(self) -> None:
        self.completed_at = datetime.now(UTC)
        self.close()
        if self.delivery.callbacks is not None:
            self.delivery.callbacks.end()
        self._ended.set()

    def close(self) -> None:
        """Let go of the engine and the clock."""
        self._timer.cancel()
        self.channels.close()

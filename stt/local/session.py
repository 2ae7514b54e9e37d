"""One session, without sockets or clocks: audio bytes and speech events in, counters and server messages out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from stt.local import messages
from stt.local.faults import SessionFaults
from stt.local.messages import Message
from stt.local.recogniser import Event, Finished, Heard, SpeechEnded, SpeechStarted, Stumbled, Word
from stt.local.request import SessionConfig
from stt.local.summary import summarise

Translate: TypeAlias = Callable[[str, str], str | None]
Annotate: TypeAlias = Callable[[str, tuple[Word, ...]], list[dict[str, Any]] | None]
CANNOT: Final = "the local speech server cannot do this; the provider can"


class Phase(Enum):
    """Life of a session. Audio is taken in WAITING and RECORDING only; MOVES lists the steps."""

    WAITING = "waiting"  # no client has connected yet
    RECORDING = "recording"
    FINISHING = "finishing"  # stop_recording came; finals are still on their way
    DONE = "done"
    FAILED = "failed"


MOVES: Final = {
    (Phase.WAITING, Phase.RECORDING),
    (Phase.WAITING, Phase.FINISHING),
    (Phase.RECORDING, Phase.FINISHING),
    (Phase.FINISHING, Phase.DONE),
    (Phase.WAITING, Phase.FAILED),
    (Phase.RECORDING, Phase.FAILED),
    (Phase.FINISHING, Phase.FAILED),
}
STATUS: Final = {
    Phase.WAITING: "queued",
    Phase.RECORDING: "processing",
    Phase.FINISHING: "processing",
    Phase.DONE: "done",
    Phase.FAILED: "error",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """A final as it was made: its place, its wire form, its translations, what else was found in it by kind."""

    id: str
    utterance: dict[str, Any]
    translations: tuple[tuple[str, str | None], ...]
    notes: Mapping[str, list[dict[str, Any]] | None]


class Session:
    """Counters, ids and results of one session.

    Received bytes count from the session's start over all connections. Bytes between `acknowledged` and `received` are
    held here: they are handed out to be heard when they are acknowledged, and a reconnect forgets or keeps them.
    """

    def __init__(self, config: SessionConfig, faults: SessionFaults, translate: Translate, annotate: Annotate) -> None:
        self.config, self.faults = config, faults
        self.phase = Phase.WAITING
        self.acknowledged = 0
        self.finals: list[Settled] = []
        self._held = bytearray()
        self._translate = translate
        self._annotate = annotate
        self._language = config.languages[0] if config.languages else "en"
        self._id_base = [0] * config.channels
        self._next_id = [0] * config.channels

    @property
    def received(self) -> int:
        """Bytes of audio since the session's start, acknowledged or not."""
        return self.acknowledged + len(self._held)

    @property
    def duration(self) -> float:
        """Seconds of audio acknowledged."""
        return self.acknowledged / self.config.byte_rate

    @property
    def status(self) -> str:
        """As in the session's record: queued, processing, done or error."""
        return STATUS[self.phase]

    @property
    def accepts_audio(self) -> bool:
        """Whether audio may still come: no stop, end or failure has been."""
        return self.phase in (Phase.WAITING, Phase.RECORDING)

    def move(self, to: Phase) -> None:
        """Enter another phase. Raises: RuntimeError when MOVES does not list the step."""
        if (self.phase, to) not in MOVES:
            raise RuntimeError(f"a session cannot go from {self.phase.name} to {to.name}")
        self.phase = to

    # --- audio ----------------------------------------------------------------------------------------------

    def receive(self, chunk: bytes) -> int:
        """Take bytes without acknowledging them. Returns the offset behind them."""
        self._held += chunk
        return self.received

    def acknowledge(self, end: int) -> tuple[Message, bytes]:
        """Acknowledge up to `end`. Returns the message, and the audio that is to be heard now."""
        start = self.acknowledged
        audio = bytes(self._held[: end - start])
        del self._held[: end - start]
        self.acknowledged = end
        rate = self.config.byte_rate
        data = {"byte_range": [start, end], "time_range": [round(start / rate, 6), round(end / rate, 6)]}
        return messages.ack("audio_chunk", data), audio

    def resume(self) -> bytes:
        """A client connects again. Returns audio that survived the cut and is to be heard now."""
        if self.faults.restart_ids:
            self._id_base = list(self._next_id)
        if self.faults.unacknowledged == "keep":
            return self.acknowledge(self.received)[1]
        self._held.clear()
        return b""

    def stop(self) -> bytes:
        """No more audio will be taken. Returns what is still to be heard."""
        audio = self.acknowledge(self.received)[1]
        self.move(Phase.FINISHING)
        return audio

    def stopped(self, left_s: float) -> Message:
        """The answer to every `stop_recording`, also a repeated one. `left_s`: audio the engine has yet to hear."""
        data = {"recording_duration": round(self.duration, 3), "recording_left_to_process": round(left_s, 3)}
        return messages.ack("stop_recording", data)

    # --- speech ---------------------------------------------------------------------------------------------

    def heard(self, channel: int, event: Event) -> list[Message]:
        """What the engine heard on one channel, as messages in the order in which they are sent."""
        match event:
            case SpeechStarted(at):
                return [messages.speech("speech_start", at, channel)]
            case SpeechEnded(at):
                return [messages.speech("speech_end", at, channel)]
            case Stumbled(text):
                return [messages.error("internal_error", text)]
            case Heard():
                return self._transcripts(channel, event)
            case Finished():
                return []

    def _transcripts(self, channel: int, heard: Heard) -> list[Message]:
        number = heard.utterance - self._id_base[channel]
        # An utterance cut in two by a restart of the ids goes on as number 0.
        self._next_id[channel] = heard.utterance + 1 if heard.is_final else heard.utterance
        id_ = f"{channel:02}_{number:08}"
        body = messages.utterance(heard.words, channel, self._language)
        first = messages.transcript(id_, body, is_final=heard.is_final)
        if not heard.is_final:
            return [first]
        translations = tuple((target, self._translated(body["text"], target)) for target in self._targets())
        notes = {kind: self._annotate(kind, heard.words) for kind in self._kinds()}
        settled = Settled(id_, body, translations, notes)
        self.finals.append(settled)
        name = id_ if self.faults.utterance_id == "full" else str(number)
        return [first, *self._addons(name, settled)]

    def _kinds(self) -> list[str]:
        asked = {"named_entity_recognition": self.config.entities, "sentiment_analysis": self.config.sentiment}
        return [kind for kind, wanted in asked.items() if wanted]

    def _targets(self) -> tuple[str, ...]:
        targets = self.config.targets
        if self.faults.self_translation and targets and self._language not in targets:
            targets = (*targets, self._language)
        return targets

    def _translated(self, text: str, target: str) -> str | None:
        return text if target == self._language else self._translate(text, target)

    def _addons(self, name: str, final: Settled) -> list[Message]:
        made, body = [], final.utterance
        for target, text in final.translations:
            data = {
                "utterance_id": name,
                "utterance": body,
                "original_language": self._language,
                "target_language": target,
                "translated_utterance": {**_retold(body, text), "language": target} if text else None,
            }
            made.append(messages.addon("translation", data if text else None, None if text else CANNOT))
        for kind, found in final.notes.items():
            if kind == "sentiment_analysis" and found is not None:
                found = [{**one, "channel": body["channel"]} for one in found]
            note = {"utterance_id": name, "utterance": body, "results": found}
            made.append(messages.addon(kind, note) if found is not None else messages.addon(kind, None, CANNOT))
        return made

    # --- the end --------------------------------------------------------------------------------------------

    def end(self, result: dict[str, Any]) -> list[Message]:
        """After the last final: everything up to `end_session`. `result`: what `result()` returned."""
        self.move(Phase.DONE)
        last = [messages.end_recording(self.duration), messages.post("post_transcript", result["transcription"])]
        last.append(messages.post("post_final_transcript", result))
        if self.config.summary:
            last.append(messages.post("post_summarization", {"results": result["summarization"]["results"]}))
        return [*last, messages.lifecycle("end_session")]

    def result(self, took_s: float) -> dict[str, Any]:
        """The `result` object of the session's record, without `messages`. `took_s`: seconds since the stop."""
        ordered = sorted(self.finals, key=lambda final: (final.utterance["start"], final.utterance["channel"]))
        result: dict[str, Any] = {
            "metadata": {
                "audio_duration": round(self.duration, 3),
                "number_of_distinct_channels": self.config.channels,
                "billing_time": round(self.duration * self.config.channels, 3),
                "transcription_time": round(took_s, 3),
            },
            "transcription": self._transcription([final.utterance for final in ordered], self._language),
        }
        if self._targets():
            result["translation"] = self._translation_result(ordered)
        if self.config.summary:
            text = summarise([final.utterance["text"] for final in ordered], self.config.summary)
            result["summarization"] = _addon_result(text, is_empty=not ordered)
        for kind in self._kinds():
            result[kind] = self._note_result(kind, ordered)
        return result

    def _note_result(self, kind: str, ordered: list[Settled]) -> dict[str, Any]:
        found = [final.notes[kind] for final in ordered]
        if not found or any(notes is None for notes in found):
            return _failed_addon()
        notes = [note for of_final in found for note in of_final or ()]
        # The document of the API says that sentiments are one text here, and entities a list.
        return _addon_result(json.dumps(notes) if kind == "sentiment_analysis" else notes, is_empty=not notes)

    def _translation_result(self, ordered: list[Settled]) -> dict[str, Any]:
        results = []
        for target in self._targets():
            lines = [
                {**_retold(final.utterance, text), "language": target}
                for final in ordered
                for language, text in final.translations
                if language == target and text
            ]
            failed = bool(ordered) and not lines
            results.append({"error": _cannot() if failed else None, **self._transcription(lines, target)})
        success = not any(item["error"] for item in results)
        return {**_addon_result(results, is_empty=not ordered), "success": success}

    def _transcription(self, utterances: list[dict[str, Any]], language: str) -> dict[str, Any]:
        return {
            "full_transcript": "".join(line["text"] for line in utterances).strip(),
            "languages": [language] if utterances else [],
            "utterances": utterances,
        }


def _retold(body: dict[str, Any], text: str) -> dict[str, Any]:
    """An utterance in other words: times are kept where the number of words is."""
    told = text.split()
    same = len(told) == len(body["words"])
    words = [{**old, "word": f" {new}"} for old, new in zip(body["words"], told, strict=True)] if same else []
    return {**body, "text": text, "words": words}


def _addon_result(results: Any, *, is_empty: bool) -> dict[str, Any]:
    return {"success": True, "is_empty": is_empty, "exec_time": 0, "error": None, "results": results}


def _cannot() -> dict[str, Any]:
    return {"status_code": 501, "exception": "NotImplemented", "message": CANNOT}


def _failed_addon() -> dict[str, Any]:
    return {"success": False, "is_empty": True, "exec_time": 0, "error": _cannot(), "results": None}

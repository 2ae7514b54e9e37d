"""The multi-user transcriber of LiveKit's own agents, as its documentation shows it, with its Gladia plugin; or, with
BENCH_VAD=streams, the way of bbb-livekit-stt: each microphone's frames straight into a stream of the plugin.

Run by `bench/livekit_compare.py` with an interpreter that has `livekit-agents` and `livekit-plugins-gladia`. Every
final is a line of the file BENCH_FINALS: seconds since the epoch, identity, words.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, AutoSubscribe, JobContext, StopResponse, cli, room_io, stt
from livekit.plugins import gladia

server = AgentServer(load_fnc=lambda: 0.0, num_idle_processes=1, host="127.0.0.1", port=0)


def speech() -> gladia.STT:
    return gladia.STT(base_url=os.environ["BENCH_STT_URL"], api_key="any", languages=["en"], code_switching=False)


def tell(identity: str, words: str) -> None:
    with open(os.environ["BENCH_FINALS"], "a") as out:  # noqa: PTH123  # a child's stdout is the worker's log
        out.write(f"{time.time()} {identity} {words}\n")


class Transcriber(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="not needed", stt=speech())

    async def on_user_turn_completed(self, chat_ctx, new_message=None) -> None:
        raise StopResponse


@server.rtc_session(agent_name="transcriber")
async def transcribe(job: JobContext) -> None:
    if os.environ["BENCH_VAD"] == "streams":
        await transcribe_tracks(job)
        return
    sessions: dict[str, asyncio.Task[None]] = {}

    async def listen(identity: str) -> None:
        more = {} if os.environ["BENCH_VAD"] == "default" else {"vad": None}
        session = AgentSession(turn_detection="stt", **more)

        @session.on("user_input_transcribed")
        def heard(event) -> None:
            if event.is_final:
                tell(identity, event.transcript)

        options = room_io.RoomOptions(
            audio_input=True, text_input=False, audio_output=False, text_output=True, participant_identity=identity
        )
        await session.start(agent=Transcriber(), room=job.room, room_options=options)

    def came(participant: rtc.RemoteParticipant) -> None:
        sessions[participant.identity] = asyncio.create_task(listen(participant.identity))

    job.room.on("participant_connected", came)
    await job.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    for participant in job.room.remote_participants.values():
        came(participant)


async def transcribe_tracks(job: JobContext) -> None:
    working: set[asyncio.Task[None]] = set()
    provider = speech()

    async def forward(track: rtc.Track, stream: stt.SpeechStream) -> None:
        async for event in rtc.AudioStream(track):
            stream.push_frame(event.frame)

    async def listen(track: rtc.Track, identity: str) -> None:
        async with provider.stream() as stream:
            forwarding = asyncio.create_task(forward(track, stream))
            async for event in stream:
                if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                    tell(identity, event.alternatives[0].text)
            forwarding.cancel()

    @job.room.on("track_subscribed")
    def came(track: rtc.Track, publication: rtc.TrackPublication, participant: rtc.RemoteParticipant) -> None:
        working.add(asyncio.create_task(listen(track, participant.identity)))

    await job.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)


if __name__ == "__main__":
    sys.argv[1:] = ["start"]
    cli.run_app(server)

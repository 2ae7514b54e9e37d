"""The multi-user transcriber of LiveKit's own agents, as its documentation shows it, with its Gladia plugin.

Run by `bench/livekit_compare.py` with an interpreter that has `livekit-agents` and `livekit-plugins-gladia`. Every
final is a line of the file BENCH_FINALS: seconds since the epoch, identity, words.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, AutoSubscribe, JobContext, StopResponse, cli, room_io
from livekit.plugins import gladia

server = AgentServer(load_fnc=lambda: 0.0, num_idle_processes=1, host="127.0.0.1", port=0)


class Transcriber(Agent):
    def __init__(self) -> None:
        speech = gladia.STT(base_url=os.environ["BENCH_STT_URL"], api_key="any", languages=["en"], code_switching=False)
        super().__init__(instructions="not needed", stt=speech)

    async def on_user_turn_completed(self, chat_ctx, new_message=None) -> None:
        raise StopResponse


@server.rtc_session(agent_name="transcriber")
async def transcribe(job: JobContext) -> None:
    sessions: dict[str, asyncio.Task[None]] = {}

    async def listen(identity: str) -> None:
        more = {} if os.environ["BENCH_VAD"] == "default" else {"vad": None}
        session = AgentSession(turn_detection="stt", **more)

        @session.on("user_input_transcribed")
        def heard(event) -> None:
            if event.is_final:
                with open(os.environ["BENCH_FINALS"], "a") as out:  # noqa: PTH123  # a child's stdout is the worker's log
                    out.write(f"{time.time()} {identity} {event.transcript}\n")

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


if __name__ == "__main__":
    sys.argv[1:] = ["start"]
    cli.run_app(server)

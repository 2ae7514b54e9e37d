"""A publisher written by hand, to say on the wire what real ones say, and what they should not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from fractions import Fraction
from typing import Self

import av
import numpy as np

from ingest.rtmp import amf0
from ingest.rtmp.chunk_stream import ChunkReader, Message, write

FRAME_MS = 1024 / 48
VIDEO_KEYFRAME = b"\x17\x01\x00\x00\x00" + bytes(9_000)


def aac_tone(hz: float, seconds: float) -> tuple[bytes, list[bytes]]:
    """AudioSpecificConfig and the frames of a tone, AAC 48 kHz stereo."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "fltp"
    encoder.time_base = Fraction(1, 48_000)
    frames: list[bytes] = []
    for at in range(0, round(seconds * 48_000), 1024):
        wave = 0.25 * np.sin(2 * np.pi * hz * np.arange(at, at + 1024) / 48_000)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, at
        frames += [bytes(packet) for packet in encoder.encode(frame)]
    return bytes(encoder.extradata or b""), frames


def command(*values: object, stream_id: int = 0) -> Message:
    return Message(20, stream_id, 0, amf0.encode(*values))


class Client:
    """One connection. `chunk_bytes` 4096 is OBS, 128 an encoder that never changes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk_bytes: int) -> None:
        self.reader, self.writer = reader, writer
        self.chunk_bytes = chunk_bytes
        types = dict.fromkeys((1, 3, 4, 5, 6, 20), 1 << 20)
        self._answers = ChunkReader(types, skip_limit=0, lane_limit=9, assembly_limit=1 << 20)
        self._said: list[list[object]] = []

    @classmethod
    async def open(cls, port: int, chunk_bytes: int = 4096) -> Self:
        """Connected, handshake done, chunk size sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = cls(reader, writer, chunk_bytes)
        writer.write(b"\x03" + bytes(1536))
        try:
            await reader.readexactly(1 + 2 * 1536)
        except (ConnectionError, asyncio.IncompleteReadError):
            await client.close()
            raise
        writer.write(bytes(1536) + write(Message(1, 0, 0, chunk_bytes.to_bytes(4, "big")), 128, 2))
        return client

    def send(self, message: Message, csid: int = 3) -> None:
        self.writer.write(write(message, self.chunk_bytes, csid))

    async def ask(self, name: str, app: str = "live") -> str:
        """Ask to publish. Returns the code of the answer."""
        self.send(command("connect", 1, {"app": app, "type": "nonprivate", "tcUrl": f"rtmp://host/{app}"}))
        self.send(command("releaseStream", 2, None, name))
        self.send(command("FCPublish", 3, None, name))
        self.send(command("createStream", 4, None))
        self.send(command("publish", 5, None, name, "live", stream_id=1), 4)
        return await self.status()

    @classmethod
    async def publish(cls, port: int, name: str, chunk_bytes: int = 4096) -> Self:
        client = await cls.open(port, chunk_bytes)
        code = await client.ask(name)
        assert code == "NetStream.Publish.Start", code
        return client

    async def status(self) -> str:
        """The code of the next onStatus."""
        while True:
            for n, values in enumerate(self._said):
                if values[0] == "onStatus" and isinstance(values[3], dict):
                    del self._said[: n + 1]
                    return str(values[3]["code"])
            data = await self.reader.read(65_536)
            if not data:
                raise ConnectionError("the server hung up without a word")
            self._said += [amf0.decode(m.payload) for m in self._answers.receive(memoryview(data)) if m.type == 20]

    async def hung_up(self) -> None:
        """Wait until the server has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass

    def audio(self, timestamp_ms: float, body: bytes) -> None:
        self.send(Message(8, 1, int(timestamp_ms), body), 4)

    def video(self, timestamp_ms: float, body: bytes = VIDEO_KEYFRAME) -> None:
        self.send(Message(9, 1, int(timestamp_ms), body), 6)

    async def play(self, sound: tuple[bytes, list[bytes]], *, first_ms: float = 0.0, with_video: bool = True) -> None:
        """The whole of a sound, as fast as the server takes it."""
        config, frames = sound
        self.audio(first_ms, b"\xaf\x00" + config)
        for n, frame in enumerate(frames):
            self.audio(first_ms + n * FRAME_MS, b"\xaf\x01" + frame)
            if with_video and n % 2:
                self.video(first_ms + n * FRAME_MS)
            await self.writer.drain()

    async def unpublish(self, name: str) -> None:
        self.send(command("FCUnpublish", 6, None, name))
        self.send(command("deleteStream", 7, None, 1))
        assert await self.status() == "NetStream.Unpublish.Success"

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Die without a word."""
        self.writer.transport.abort()

    async def send_raw(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

"""Publish a sound file over RTMP as an encoder does: AAC in FLV, paced by the clock.

Run as `python -m gateway.cli.publish FILE [URL]`, in a process of its own, which reads the URL from its input when it
gets none, so that it may start before there is one: PyAV keeps the interpreter's lock while it
connects, so a publisher inside the gateway's process would wait for a server that cannot answer.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import av

_RATE = 44_100


class PublishFailed(Exception):
    """The server refused or dropped the publish."""


def publish(file: Path, url: str, stop: threading.Event, *, tail_s: float = 0.5) -> float:
    """Send `file` to `url` in real time, then keep the connection for `tail_s`.

    Returns: seconds of audio sent. Raises: PublishFailed.
    """
    try:
        with av.open(str(file)) as source, av.open(url, "w", format="flv") as target:
            stream = target.add_stream("aac", rate=_RATE, layout="mono")
            stream.bit_rate = 96_000
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=_RATE, frame_size=1024)
            frames = [out for frame in source.decode(audio=0) for out in resampler.resample(frame)]
            sent = 0.0
            began = time.monotonic()
            for frame in [*frames, *resampler.resample(None)]:
                if stop.wait(max(0.0, began + sent - time.monotonic())):
                    break
                target.mux(stream.encode(frame))
                sent += frame.samples / _RATE
            target.mux(stream.encode(None))
            stop.wait(tail_s)
            return sent
    except (av.FFmpegError, OSError) as error:
        raise PublishFailed(f"publishing to {url.rpartition('/')[0]}/… failed: {error}") from error


def main() -> None:
    """For `python -m`: until the file's end, SIGTERM or SIGINT. Exits with 1 and one line when refused."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    file, *told = sys.argv[1:]
    url = told[0] if told else sys.stdin.readline().strip()
    if not url:  # who has started it wants nothing any more
        return
    try:
        publish(Path(file), url, stop)
    except PublishFailed as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()

"""A watcher's socket."""

from __future__ import annotations


class FakeTransport:
    """A socket whose reader takes what the test says: `stuck` keeps everything in the buffer until `read`."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.buffered = bytearray()
        self.arrived = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        if self.closing:
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.buffered += data
        if not self.stuck:
            self.read()

    def send(self, data: bytes) -> int:
        """Past the transport, into a kernel that takes little for a stuck reader. Returns: how much it took."""
        assert not self.buffered, "bytes would overtake others"
        taken = 0 if self.closing else min(len(data), 9) if self.stuck else len(data)
        self.arrived += data[:taken]
        return taken

    def read(self, size: int | None = None) -> None:
        taken = len(self.buffered) if size is None else size
        self.arrived += self.buffered[:taken]
        del self.buffered[:taken]

    def get_write_buffer_size(self) -> int:
        return len(self.buffered)

    def is_closing(self) -> bool:
        return self.closing

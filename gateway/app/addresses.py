"""The URLs under which this gateway is reached, for answers, documents and publishers. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlsplit


class Addresses:
    """Wings get the methods, not their results: a port is known for certain only when its listener is bound."""

    def __init__(self, public_url: str | None, http_port: int) -> None:
        """`public_url`: GATEWAY_PUBLIC_URL, which goes before any port. `http_port`: as set; 0 until it is bound."""
        self._public_url = public_url
        self._http_port = http_port
        self._rtmp_port: int | None = None
        self._private_port: int | None = None

    def http_bound(self, port: int) -> None:
        """The HTTP listener has this port."""
        self._http_port = port

    def rtmp_bound(self, port: int) -> None:
        """The RTMP listener has this port. Never called where RTMP is off."""
        self._rtmp_port = port

    def private_bound(self, port: int) -> None:
        """A listener of this process alone has this port of the loopback interface. Called in workers only."""
        self._private_port = port

    def private_url(self) -> str | None:
        """Where this very process is reached; None where no other one listens on its public port."""
        return None if self._private_port is None else f"http://127.0.0.1:{self._private_port}"

    def http_url(self) -> str:
        """`http://HOST[:PORT]` or `https://…`, without a slash at its end."""
        return self._public_url or f"http://localhost:{self._http_port}"

    def rtmp_base(self) -> str | None:
        """`rtmp://HOST:PORT`; None while no RTMP listener is bound."""
        if self._rtmp_port is None:
            return None
        host = urlsplit(self.http_url()).hostname or "localhost"
        return f"rtmp://{f'[{host}]' if ':' in host else host}:{self._rtmp_port}"

    def document_url(self, slug: str) -> str:
        """Where a session's transcript document is read, for stores that have no URL of their own."""
        return f"{self.http_url()}/api/sessions/{quote(slug, safe='')}/document"

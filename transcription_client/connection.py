"""What both streams share: how they introduce themselves, and what the end of a connection means."""

from __future__ import annotations

import random
import time
from typing import Any, Final

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from transcription_client.following import CUT, Following

# By the library's own rule a gateway that answers no ping within 20 s is gone; pings go out every 20 s.
OPTIONS: Final[dict[str, Any]] = {
    "subprotocols": [Subprotocol("transcript.v1")],
    "open_timeout": 10,
    "close_timeout": 2,
    "max_size": 16 * 1024 * 1024,
    "proxy": None,
}
ENDS: Final = (WebSocketException, OSError, ValueError)


def headers(token: object) -> dict[str, str]:
    """Raises: ValueError for what cannot be a credential."""
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise ValueError("token: printable ASCII text is needed, or a function that returns it")
    return {"Authorization": f"Bearer {token}"} if token else {}


def delay_after(error: Exception, following: Following) -> float:
    """One of ENDS has ended a connection or a try. Returns: seconds until the next. Raises: Refused, Unavailable."""
    now, chance = time.monotonic(), random.random()  # noqa: S311 - no secret
    match error:
        case ConnectionClosed(rcvd=close):
            code, reason = (close.code, close.reason) if close else (CUT, "")
            return following.closed(code, reason, now, chance)
        case InvalidStatus(response=response):
            return following.answered(response.status_code, response.body.decode(errors="replace"), now, chance)
        case WebSocketException() | OSError():
            return following.unanswered(str(error) or type(error).__name__, now, chance)
        case _:
            return following.unreadable(str(error), now, chance)

"""What can go wrong at a speech provider, one class per reaction of the caller."""

from __future__ import annotations

from typing import ClassVar


class SttError(Exception):
    """Base of everything this room raises. `retryable`: whether trying again can help."""

    retryable: ClassVar[bool] = False


class ProviderRefused(SttError):
    """The provider answered 4xx (other than 408 and 429): the request has to change, not the timing."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.detail = message
        advice = "check GLADIA_API_KEY" if status in (401, 403) else "check the transcription's options"
        super().__init__(f"the speech provider refused the session (HTTP {status}: {message}); {advice}")


class ProviderFull(SttError):
    """HTTP 429: the account's concurrent sessions are all in use."""

    retryable = True

    def __init__(self, message: str = "too many concurrent sessions") -> None:
        super().__init__(f"the speech provider is full ({message}); waiting for a free session")


class ProviderUnavailable(SttError):
    """No usable answer: network error, time-out, 408 or 5xx."""

    retryable = True

    def __init__(self, cause: str) -> None:
        super().__init__(f"the speech provider cannot be reached ({cause}); trying again")


class MalformedMessage(SttError):
    """The provider sent something that is not its protocol. Counted and skipped, never taken for the end.

    `kind`: the message's type where that can be told, else `other`. `may_be_final`: a final may have been in it.
    """

    def __init__(self, kind: str, cause: str, *, may_be_final: bool) -> None:
        self.kind = kind
        self.may_be_final = may_be_final
        super().__init__(f"not a message of the provider's protocol ({kind}): {cause}")

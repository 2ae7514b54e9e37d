"""The secrets in force, which change without a restart when the files that they are read from do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gateway.live.credentials import Secrets
from gateway.settings import Settings, WrongSettings, secret_files
from gateway.variables import lines

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0


class HeldSecrets:
    """What the wings read at each use, never keep. Settings themselves stay as they were at start."""

    def __init__(self, settings: Settings, env: Mapping[str, str] | None = None) -> None:
        """`env`: where to read again; None: nowhere, the settings were not read from an environment."""
        self._now = settings
        self._env = env
        self._files = secret_files(env) if env is not None else []
        self._seen = _states(self._files)
        self.changed: list[Callable[[], None]] = []
        """Called after secrets were read again and differed: what was admitted with the former ones is looked at."""
        self.rotations = 0
        """How often secrets were read again and differed."""

    def credentials(self) -> Secrets:
        """What callers' credentials are checked against."""
        now = self._now
        return Secrets(
            now.api_tokens,
            lines(now.jwt_secret),
            self.livekit_keys(),
            now.jwt_audience,
            now.jwt_issuer,
        )

    def livekit_keys(self) -> tuple[tuple[str, str], ...]:
        """Pairs of key and secret, of which the first signs; empty where none is set."""
        return tuple(zip(lines(self._now.livekit_api_key), lines(self._now.livekit_api_secret), strict=False))

    def webhook_secrets(self) -> tuple[str, ...]:
        """What signs for GATEWAY_WEBHOOK_URL; empty where none is set."""
        return self._now.webhook_secrets

    def provider_key(self) -> str:
        """Of the speech provider; empty where none is set."""
        return self._now.gladia_api_key or ""

    def gateway_token(self) -> str:
        """With which the gateway at WS_SERVER_URL is asked."""
        return self._now.ws_server_token or next(iter(self._now.api_tokens), "")

    def read_again(self) -> None:
        """Take what the files hold now. What cannot be used is logged and changes nothing."""
        if self._env is None:
            return
        self._seen = _states(self._files)
        try:
            fresh = Settings.from_env(self._env)
        except WrongSettings as error:
            log.error("secrets were read again and cannot be used; the former ones stay in force: %s", error)
            return
        if fresh != self._now:
            self._now = fresh
            self.rotations += 1
            log.info("secrets were read again and have changed")
            for tell in self.changed:
                tell()

    async def watch(self) -> None:
        """Read again after a change of a file. Runs until cancelled."""
        while self._files:
            await asyncio.sleep(LOOK_S)
            if _states(self._files) != self._seen:
                self.read_again()


def _states(files: list[Path]) -> list[object]:
    """Whatever differs after a file was written, or replaced, as mounted secrets are by a link. A few local stats."""
    found: list[object] = []
    for file in files:
        try:
            stat = file.stat()
            found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        except OSError:
            found.append(None)
    return found

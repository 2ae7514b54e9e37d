"""How one environment variable is read: from itself, or from the file that its `…_FILE` names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_SECRET_BYTES: Final = 32
_FILE_BYTES: Final = 64 * 1024


class WrongSettings(Exception):
    """All problems of the environment at once; the text is for the operator."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


def as_text(value: str) -> str:
    """As it is."""
    return value


def as_names(value: str) -> tuple[str, ...]:
    """Comma-separated; empty parts are dropped."""
    return tuple(filter(None, (part.strip() for part in value.split(","))))


def as_flag(value: str) -> bool:
    """Raises: ValueError."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[value.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def as_number(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers in that range, both ends included."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return number

    return parse


def as_whole(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers in that range, both ends included."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,12}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def as_choice(*options: str) -> Callable[[str], str]:
    """A parser that takes one of these words."""

    def parse(value: str) -> str:
        if value not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return value

    return parse


def as_url(*schemes: str) -> Callable[[str], str]:
    """A parser of URLs with one of these schemes and a place; without a slash at the end."""

    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            place = parts.path if parts.scheme == "unix" else parts.hostname or "host=" in parts.query
            good = parts.scheme in schemes and bool(place)
            _ = parts.port
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value.rstrip("/")

    return parse


def as_redis_url(value: str) -> str:
    """Of one server, a Unix socket, or several Sentinels. Raises: ValueError."""
    scheme, _, rest = value.partition("://")
    if not scheme.endswith("+sentinel"):
        return as_url("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")(value)
    hosts, _, master = rest.partition("?")[0].rpartition("@")[2].partition("/")
    if scheme not in ("redis+sentinel", "rediss+sentinel") or not hosts or not master.strip("/"):
        raise ValueError("must name Sentinels and their master: redis+sentinel://HOST:26379,HOST/MASTER/0")
    return value


def as_gateway_url(value: str) -> str:
    """Of another gateway. Raises: ValueError."""
    url = as_url("http", "https")(value)
    if urlsplit(url).username is not None:
        raise ValueError("must hold no user name; a gateway is asked with a token, WS_SERVER_TOKEN")
    return url


def as_replica_url(value: str) -> str:
    """Of this process, as other replicas see it. Raises: ValueError."""
    url = as_url("http", "https")(value)
    parts = urlsplit(url)
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and port alone: http://10.0.0.5:8080")
    return url


def as_blob_url(value: str) -> str:
    """Of a store of documents. Raises: ValueError."""
    if value == "vercel:":
        return value
    parts = urlsplit(value)
    named = parts.netloc if parts.scheme == "s3" else not parts.netloc and parts.path.startswith("/")
    if parts.scheme not in ("file", "s3") or not named or parts.query or parts.fragment:
        raise ValueError("must be file:///FOLDER, s3://BUCKET/PREFIX or vercel:")
    return value


def as_vercel_token(value: str) -> str:
    """Of a Vercel Blob store. Raises: ValueError."""
    if not re.fullmatch(r"vercel_blob_rw_[A-Za-z0-9]+_\S+", value):
        raise ValueError("must be a token as Vercel shows it, vercel_blob_rw_…")
    return value


def lines(value: str | None) -> tuple[str, ...]:
    """A secret that is being rotated has several lines: the first one signs, all are accepted."""
    return tuple(filter(None, (line.strip() for line in (value or "").splitlines())))


def as_secret(value: str) -> str:
    """Of HS256, several in lines: RFC 7518 (3.2) asks for as many bytes as its hash has. Raises: ValueError."""
    if any(len(line.encode()) < _SECRET_BYTES for line in lines(value)):
        raise ValueError(
            f"must have at least {_SECRET_BYTES} bytes, or it can be found from one token by trying: "
            'make one with `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )
    return value


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: how it is read, and its line in docs/settings.md."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str
    meaning: str
    is_secret: bool = False
    is_paired: bool = False
    """Belongs to a secret, as a key's name does, and changes with it."""

    @property
    def file(self) -> str | None:
        """Name of the variable that names a file with the value, where there is one."""
        return f"{self.name}_FILE" if self.is_secret or self.is_paired else None

    def given(self, env: Mapping[str, str]) -> str:
        """What is set, without spaces around it; empty for nothing. Raises: ValueError."""
        direct, path = env.get(self.name, "").strip(), env.get(self.file or "", "").strip()
        if not path:
            return direct
        if direct:
            raise ValueError(f"and {self.file} are both set; choose one")
        try:
            with Path(path).open("rb") as file:
                held = file.read(_FILE_BYTES + 1)
            value = held.decode().strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
            raise ValueError(f"cannot be read from the file of {self.file}: {reason}") from None
        if not value or len(held) > _FILE_BYTES:
            raise ValueError(f"cannot be read from the file of {self.file}: it is empty, or too large")
        return value

"""Open files: what the system's limit leaves to the listeners, so that database, provider and disk get theirs."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.app.admittance import Caps
from gateway.app.listener import ListenerOptions
from gateway.settings import Settings
from ingest.rtmp.options import RtmpOptions

_NO_LIMIT: Final = 1_000_000
_BACKLOG: Final = 4096


@dataclass(frozen=True, slots=True)
class Files:
    """Connections that each listener may hold. `backlog`: how many may be waiting for one accept."""

    http: int
    rtmp: int
    backlog: int


def open_files() -> int:
    """How many this process may have open; a large number where nothing says."""
    if sys.platform == "win32":
        return _NO_LIMIT
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else soft


def raise_open_files() -> None:
    """To what the system grants without asking: the usual 1,024 are for programs that use select()."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NO_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _NO_LIMIT)
    with suppress(ValueError, OSError):
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def divide(settings: Settings, allowed: int) -> Files:
    """Where not all limits fit beside the reserve, RTMP gets a third of the rest at most, HTTP what is left."""
    rtmp = settings.max_rtmp_connections if settings.rtmp_port else 0
    rest = max(allowed - settings.reserved_files, 2)
    if rtmp + settings.max_http_connections > rest:
        rtmp = min(rtmp, max(rest // 3, 1))
    http = min(settings.max_http_connections, rest - rtmp)
    # Until a connection too many is closed it is open: no more may come at once than the reserve can bear.
    spare = allowed - http - rtmp
    return Files(http, max(rtmp, 1), max(min(_BACKLOG, spare // 4), 8))


def judge(settings: Settings, allowed: int) -> tuple[bool, str]:
    """Whether at least half of the connections that the limits allow can be had, and what to know or do."""
    files = divide(settings, allowed)
    wanted = settings.max_http_connections + (settings.max_rtmp_connections if settings.rtmp_port else 0)
    needed = wanted + settings.reserved_files
    if needed <= allowed:
        return True, f"{allowed:,} allowed, {needed:,} needed at most"
    return files.http + files.rtmp >= wanted / 2, (
        f"{allowed:,} are allowed, the limits ask for {needed:,}: {files.http:,} HTTP and {files.rtmp:,} RTMP "
        f"connections are taken instead; set `ulimit -n {needed}` (LimitNOFILE= of systemd, --ulimit nofile= of "
        "Docker), or lower GATEWAY_MAX_HTTP_CONNECTIONS and GATEWAY_MAX_RTMP_CONNECTIONS"
    )


def listener_options(settings: Settings, files: Files, *, is_shared: bool) -> ListenerOptions:
    """Of the HTTP listener. `is_shared`: with other processes of this gateway."""
    return ListenerOptions(
        settings.http_host,
        settings.http_port,
        Caps(files.http, settings.max_http_connections_per_address, settings.trusted_proxies),
        head_s=settings.http_head_s,
        body_s=settings.http_body_s,
        keepalive_s=settings.http_keepalive_s,
        backlog=files.backlog,
        is_shared=is_shared,
    )


def rtmp_options(settings: Settings, files: Files, *, is_shared: bool) -> RtmpOptions:
    """Of the RTMP listener. `is_shared`: with other processes of this gateway."""
    return RtmpOptions(
        settings.rtmp_host,
        max(settings.rtmp_port, 0),
        handshake_s=settings.rtmp_handshake_s,
        publish_s=settings.rtmp_publish_s,
        connections=files.rtmp,
        connections_per_address=settings.max_rtmp_connections_per_address,
        shared=settings.trusted_proxies,
        backlog=min(512, files.backlog),
        is_shared=is_shared,
    )

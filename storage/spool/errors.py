"""What can go wrong with the spool, one class per reaction of a caller."""

from __future__ import annotations

import errno
from typing import Final

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolError(Exception):
    """Base. Nothing of the call that raised it is kept; the same call may succeed later."""


class SpoolFull(SpoolError):
    """No room: the limit is reached, or the disk is full."""


class SpoolFailed(SpoolError):
    """The disk does not do what it is told."""


class SpoolInUse(SpoolError):
    """Another process has the folder."""


def from_os(error: OSError, folder: object) -> SpoolError:
    """SpoolFull when the disk has no room, else SpoolFailed; its text names `folder` and says what to do."""
    why = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return SpoolFull(f"no room for the spool in {folder} ({why}); free some, or set GATEWAY_DATA_DIR")
    return SpoolFailed(f"the spool in {folder} cannot be used ({why}); check the disk, or set GATEWAY_DATA_DIR")
